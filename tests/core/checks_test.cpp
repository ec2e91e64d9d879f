#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/checks.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/tensor.hpp>

using namespace lodestone;

namespace {

/// Views without memory behind them: the checks read shapes alone, whatever the backend.
tensor_view<float, 2, no_memory> matrix(std::int64_t rows, std::int64_t columns, std::int64_t stride = 0) {
  return {nullptr, extents<2>{{rows, columns}}, stride == 0 ? columns : stride};
}
tensor_view<float, 1, no_memory> vector(std::int64_t size, std::int64_t stride = 1) {
  return {nullptr, extents<1>{{size}}, stride};
}

/// The message of what `check` throws; empty when it throws nothing.
std::string message_of(const std::function<void()>& check) {
  try {
    check();
  } catch (const shape_error& refused) {
    return refused.what();
  }
  return {};
}

bool mentions(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(core_checks)

BOOST_AUTO_TEST_CASE(shapes_that_fit_pass_and_others_are_named) {
  BOOST_TEST(message_of([] { checks::gemm_nt(matrix(3, 4), matrix(5, 4), matrix(3, 5)); }).empty());
  const std::string text = message_of([] { checks::gemm_nt(matrix(3, 4), matrix(5, 6), matrix(3, 5)); });
  BOOST_TEST(mentions(text, "gemm_nt: got [3, 4], [5, 6], [3, 5]; it needs x[M,C], w[N,C], y[M,N]"), text);
}

BOOST_AUTO_TEST_CASE(each_operation_refuses_each_operand_that_does_not_fit) {
  const std::vector<std::int32_t> tokens{0, 2};
  const std::vector<std::int64_t> rows{0, 2};
  struct one {
    const char* name;
    bool fits;
    std::function<void()> check;
  };
  const one all[] = {
      {"gemm_nn", true, [] { checks::gemm_nn(matrix(3, 5), matrix(5, 4), matrix(3, 4)); }},
      {"gemm_nn", false, [] { checks::gemm_nn(matrix(3, 5), matrix(4, 5), matrix(3, 4)); }},
      {"gemm_tn", true, [] { checks::gemm_tn(matrix(3, 5), matrix(3, 4), matrix(5, 4)); }},
      {"gemm_tn", false, [] { checks::gemm_tn(matrix(3, 5), matrix(2, 4), matrix(5, 4)); }},
      {"add_bias", true, [] { checks::add_bias(matrix(2, 3), vector(3)); }},
      {"add_bias", false, [] { checks::add_bias(matrix(2, 3), vector(3, 2)); }},
      {"bias_gradient", true, [] { checks::bias_gradient(matrix(2, 3), vector(3)); }},
      {"bias_gradient", false, [] { checks::bias_gradient(matrix(2, 3), vector(2)); }},
      {"embed", true, [&] { checks::embed(tokens, matrix(3, 4), matrix(2, 4)); }},
      {"embed", false, [&] { checks::embed(tokens, matrix(3, 4), matrix(3, 4)); }},
      {"embed", false, [&] { checks::embed(tokens, matrix(2, 4), matrix(2, 4)); }},
      {"embed_gradient", true, [&] { checks::embed_gradient(tokens, matrix(2, 4), matrix(3, 4)); }},
      {"embed_gradient", false, [&] { checks::embed_gradient(tokens, matrix(2, 4), matrix(3, 5)); }},
      {"embed_gradient", false, [&] { checks::embed_gradient(tokens, matrix(2, 4), matrix(2, 4)); }},
      {"gather_rows", true, [&] { checks::gather_rows(matrix(3, 4), rows, matrix(2, 4)); }},
      {"gather_rows", false, [&] { checks::gather_rows(matrix(2, 4), rows, matrix(2, 4)); }},
      {"scatter_add_rows", true, [&] { checks::scatter_add_rows(matrix(2, 4), rows, matrix(3, 4)); }},
      {"scatter_add_rows", false, [&] { checks::scatter_add_rows(matrix(2, 4), rows, matrix(3, 5)); }},
      {"rmsnorm", true, [] { checks::rmsnorm(matrix(2, 6), vector(3), matrix(2, 6), vector(4)); }},
      {"rmsnorm", false, [] { checks::rmsnorm(matrix(2, 6), vector(4), matrix(2, 6), vector(4)); }},
      {"rmsnorm", false, [] { checks::rmsnorm(matrix(2, 6), vector(0), matrix(2, 6), vector(4)); }},
      {"rmsnorm_gradient", true,
       [] { checks::rmsnorm_gradient(matrix(2, 6), vector(6), vector(2), matrix(2, 6), matrix(2, 6), vector(0)); }},
      {"rmsnorm_gradient", false,
       [] { checks::rmsnorm_gradient(matrix(2, 6), vector(6), vector(2), matrix(2, 6), matrix(2, 6), vector(5)); }},
      {"rope", true, [] { checks::rope(matrix(2, 8, 20), 4, matrix(2, 2), matrix(2, 2)); }},
      {"rope", false, [] { checks::rope(matrix(2, 8), 4, matrix(2, 3), matrix(2, 3)); }},
      {"rope", false, [] { checks::rope(matrix(2, 8), 0, matrix(2, 0), matrix(2, 0)); }},
      {"swiglu", true, [] { checks::swiglu(matrix(2, 8), matrix(2, 4)); }},
      {"swiglu", false, [] { checks::swiglu(matrix(2, 7), matrix(2, 4)); }},
      {"swiglu_gradient", true, [] { checks::swiglu_gradient(matrix(2, 8), matrix(2, 4), matrix(2, 8)); }},
      {"swiglu_gradient", false, [] { checks::swiglu_gradient(matrix(2, 8), matrix(2, 4), matrix(2, 4)); }},
      {"adamw", true, [] { checks::adamw(vector(3), vector(3), vector(3), vector(3)); }},
      {"adamw", false, [] { checks::adamw(vector(3), vector(3), vector(3), vector(3, 2)); }},
  };
  for (const one& own : all) {
    const std::string text = message_of(own.check);
    BOOST_TEST(text.empty() == own.fits, own.name << ": " << text);
    if (!own.fits) BOOST_TEST(text.starts_with(std::string(own.name) + ": "), text);
  }
}

BOOST_AUTO_TEST_CASE(indices_outside_their_range_are_refused) {
  const auto tokens = [](std::vector<std::int32_t> ids) {
    return message_of([&] { check_tokens(ids, 5, "embed"); });
  };
  BOOST_TEST(tokens({0, 4, 4, 1}).empty());
  BOOST_TEST(mentions(tokens({0, 5}), "embed: token 5 lies outside the table of 5 rows"));
  BOOST_TEST(mentions(tokens({-1}), "token -1"));
  const auto rows = [](std::vector<std::int64_t> indices) {
    return message_of([&] { check_rows(indices, 5, "gather_rows"); });
  };
  BOOST_TEST(rows({}).empty());
  BOOST_TEST(rows({0, 2, 4}).empty());
  for (const auto& wrong : {std::vector<std::int64_t>{5}, {-1}, {2, 2}, {3, 1}})
    BOOST_TEST(mentions(rows(wrong), "gather_rows: row indices must be ascending, unique and below 5"));
}

BOOST_AUTO_TEST_CASE(labels_and_their_offsets_are_checked) {
  const auto check = [](std::vector<std::int64_t> offsets, std::vector<std::int32_t> labels, std::size_t values,
                        std::int64_t statistics = 2) {
    return message_of([&] { check_labels(matrix(2, 7), vector(statistics), offsets, labels, values, "labels"); });
  };
  BOOST_TEST(check({0, 1, 3}, {6, 0, 0}, 3).empty());
  BOOST_TEST(check({1, 1, 2}, {99, 6}, 2).empty());  // a chunk reads the labels between its offsets alone
  BOOST_TEST(mentions(check({0, 3}, {1, 1, 1}, 3), "offsets[m+1]"));
  BOOST_TEST(mentions(check({0, 1, 3}, {1, 1, 1}, 3, 3), "lse[m]"));
  BOOST_TEST(mentions(check({0, 2, 1}, {1, 1, 1}, 3), "offsets must be ascending and not negative"));
  BOOST_TEST(mentions(check({-1, 0, 1}, {1, 1, 1}, 3), "offsets must be ascending and not negative"));
  BOOST_TEST(mentions(check({0, 1, 4}, {1, 1, 1}, 9), "offsets end at 4, past 3 labels"));
  BOOST_TEST(mentions(check({0, 1, 3}, {1, 1, 1}, 2), "past 3 labels or 2 values"));
  BOOST_TEST(mentions(check({0, 1, 2}, {1, 7}, 2), "label 7 lies outside the vocabulary of 7"));
  const std::string text = message_of([] {
    checks::label_gradient(matrix(1, 7), vector(1), std::vector<std::int64_t>{0, 1}, std::vector<std::int32_t>{2}, 1,
                           matrix(1, 6));
  });
  BOOST_TEST(mentions(text, "label_gradient: got [1, 7], [1, 6]"), text);
}

BOOST_AUTO_TEST_SUITE_END()
