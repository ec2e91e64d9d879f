#include <cmath>
#include <cstdint>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/head.hpp>

#include "matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;
using host_test::framed;

namespace {

// Rows with no label, one, and several (the last prompt row of a shared prefix), one of them twice.
const std::vector<std::int64_t> offsets{0, 0, 1, 4, 5};
const std::vector<std::int32_t> labels{7, 0, 36, 36, 20};
const std::vector<double> coefficients{-0.5, 0.25, -1.0, 0.75, 2.0};

}  // namespace

BOOST_AUTO_TEST_SUITE(host_head)

BOOST_AUTO_TEST_CASE(log_probabilities_equal_plain_loops) {
  const auto check = []<class T>(T) {
    host<T> backend(2);
    const framed<T> logits(4, 37, 1);
    tensor<T, 1> lse(extents<1>{{4}});
    std::vector<double> log_probs(labels.size());
    backend.label_log_probs(logits, offsets, labels, lse, log_probs);
    for (std::int64_t r = 0; r < 4; ++r) {
      double sum = 0;
      for (std::int64_t j = 0; j < 37; ++j) sum += std::exp(static_cast<double>(logits(r, j)));
      BOOST_TEST(std::abs(static_cast<double>(lse.view()(r)) - std::log(sum)) <= host_test::tolerance<T>);
      const auto at = static_cast<std::size_t>(r);
      for (auto k = static_cast<std::size_t>(offsets[at]); k < static_cast<std::size_t>(offsets[at + 1]); ++k)
        BOOST_TEST(std::abs(log_probs[k] - (static_cast<double>(logits(r, labels[k])) - std::log(sum))) <=
                   (sizeof(T) == 4 ? 1e-6 : 1e-14));
    }
  };
  check(0.0F);
  check(0.0);
}

BOOST_AUTO_TEST_CASE(large_logits_neither_overflow_nor_lose_digits) {
  host<float> backend(1);
  tensor<float, 2> logits(extents<2>{{2, 3}});
  for (const float base : {10'000.0F, -10'000.0F}) {
    for (std::int64_t r = 0; r < 2; ++r)
      for (std::int64_t j = 0; j < 3; ++j) logits.view()(r, j) = base + static_cast<float>(j);
    tensor<float, 1> lse(extents<1>{{2}});
    std::vector<double> log_probs(2);
    const std::vector<std::int64_t> rows{0, 1, 2};
    const std::vector<std::int32_t> ids{2, 0};
    backend.label_log_probs(logits, rows, ids, lse, log_probs);
    const double rest = std::log(1 + std::exp(-1.0) + std::exp(-2.0));
    BOOST_TEST(std::abs(log_probs[0] + rest) < 1e-7);
    BOOST_TEST(std::abs(log_probs[1] + 2 + rest) < 1e-7);
  }
}

BOOST_AUTO_TEST_CASE(a_chunk_may_start_anywhere_in_the_list_of_labels) {
  host<double> backend(1);
  const framed<double> logits(4, 37, 1);
  tensor<double, 1> lse(extents<1>{{4}});
  std::vector<double> whole(labels.size());
  std::vector<double> chunked(labels.size(), -1.0);
  backend.label_log_probs(logits, offsets, labels, lse, whole);
  tensor<double, 1> part(extents<1>{{2}});
  const auto later = std::span<const std::int64_t>(offsets).subspan(2);
  backend.label_log_probs(logits.view.rows(2, 4), later, labels, part, chunked);
  BOOST_TEST(chunked[0] == -1.0);  // belongs to an earlier row
  for (std::size_t k = 1; k < labels.size(); ++k) BOOST_TEST(chunked[k] == whole[k]);
}

BOOST_AUTO_TEST_CASE(gradient_equals_finite_differences) {
  host<double> backend(2);
  const framed<double> logits(4, 37, 2);
  tensor<double, 1> lse(extents<1>{{4}});
  std::vector<double> log_probs(labels.size());
  const auto value = [&] {
    backend.label_log_probs(logits, offsets, labels, lse, log_probs);
    return host_test::dot(log_probs, coefficients);
  };
  const std::vector<double> slope = host_test::slope(logits.view, value);
  value();
  backend.label_gradient(logits, lse, offsets, labels, coefficients, logits);
  BOOST_TEST(distance(elements(logits.view), slope) <= 1e-9);
  BOOST_TEST(logits.intact());
  for (std::int64_t r = 0; r < 4; ++r) {  // the softmax sums to 1, so every row of the gradient sums to 0
    double sum = 0;
    for (std::int64_t j = 0; j < 37; ++j) sum += logits(r, j);
    BOOST_TEST(std::abs(sum) <= 1e-14);
  }
}

BOOST_AUTO_TEST_CASE(labels_and_offsets_that_do_not_fit_are_refused) {
  host<float> backend(1);
  tensor<float, 2> logits(extents<2>{{1, 3}});
  tensor<float, 1> lse(extents<1>{{1}});
  std::vector<double> values(2);
  const auto run = [&](const std::vector<std::int64_t>& at, const std::vector<std::int32_t>& ids) {
    backend.label_log_probs(logits, at, ids, lse, values);
  };
  BOOST_CHECK_NO_THROW(run({0, 1}, {2}));
  BOOST_CHECK_THROW(run({0, 1}, {3}), shape_error);
  BOOST_CHECK_THROW(run({0, 1}, {-1}), shape_error);
  BOOST_CHECK_THROW(run({0, 2}, {1}), shape_error);
  BOOST_CHECK_THROW(run({1, 0}, {1, 1}), shape_error);
  BOOST_CHECK_THROW(run({0, 3}, {0, 1, 2}), shape_error);  // more labels than places for their values
  BOOST_CHECK_THROW(run({0}, {1}), shape_error);
}

BOOST_AUTO_TEST_CASE(no_rows_do_nothing) {
  host<float> backend(2);
  tensor<float, 2> logits(extents<2>{{0, 3}});
  tensor<float, 1> lse(extents<1>{{0}});
  const std::vector<std::int64_t> at{0};
  backend.label_log_probs(logits, at, {}, lse, {});
  backend.label_gradient(logits, lse, at, {}, {}, logits);
}

BOOST_AUTO_TEST_SUITE_END()
