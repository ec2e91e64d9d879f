#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/elementwise.hpp>

#include "matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;
using host_test::framed;

namespace {

double silu(double g) { return g / (1.0 + std::exp(-g)); }

template <class T>
void check_bias(std::int64_t rows, std::int64_t columns) {
  host<T> backend(2);
  const framed<T> y(rows, columns, 1);
  const tensor<T, 1> bias = host_test::normal<T, 1>({{columns}}, 2);
  tensor<T, 1> gradient = host_test::normal<T, 1>({{columns}}, 3);
  std::vector<double> sums = elements(gradient.view());
  std::vector<double> expected;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      sums[static_cast<std::size_t>(j)] += static_cast<double>(y(i, j));
      expected.push_back(static_cast<double>(y(i, j)) + static_cast<double>(bias.view()(j)));
    }
  backend.bias_gradient(y, gradient);
  backend.add_bias(y, bias);
  BOOST_TEST(distance(elements(y.view), expected) <= host_test::tolerance<T>);
  BOOST_TEST(distance(elements(gradient.view()), sums) <= host_test::tolerance<T>);
  BOOST_TEST(y.intact());
}

template <class T>
void check_swiglu(std::int64_t rows, std::int64_t width) {
  host<T> backend(2);
  const framed<T> gate_up(rows, 2 * width, 4);
  const framed<T> out(rows, width, 5);
  backend.swiglu(gate_up, out);
  std::vector<double> expected;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      expected.push_back(silu(static_cast<double>(gate_up(i, j))) * static_cast<double>(gate_up(i, j + width)));
  BOOST_TEST(distance(elements(out.view), expected) <= host_test::tolerance<T>);
  BOOST_TEST(out.intact());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_elementwise)

BOOST_AUTO_TEST_CASE(bias_is_added_to_rows_and_its_gradient_sums_columns) {
  constexpr std::pair<std::int64_t, std::int64_t> shapes[] = {{0, 3}, {1, 1}, {7, 33}, {513, 40}, {300, 0}};
  for (const auto& [rows, columns] : shapes) {
    check_bias<float>(rows, columns);
    check_bias<double>(rows, columns);
  }
}

BOOST_AUTO_TEST_CASE(swiglu_equals_plain_loops) {
  for (const auto& [rows, width] : {std::pair<std::int64_t, std::int64_t>{0, 3}, {1, 1}, {7, 33}, {130, 171}}) {
    check_swiglu<float>(rows, width);
    check_swiglu<double>(rows, width);
  }
}

BOOST_AUTO_TEST_CASE(swiglu_saturates_without_overflow) {
  host<float> backend(1);
  tensor<float, 2> gate_up(extents<2>{{1, 4}});
  gate_up.flat()[0] = -200.0F;
  gate_up.flat()[1] = 200.0F;
  gate_up.flat()[2] = gate_up.flat()[3] = 3.0F;
  tensor<float, 2> out(extents<2>{{1, 2}});
  tensor<float, 2> dout(extents<2>{{1, 2}});
  dout.flat()[0] = dout.flat()[1] = 1.0F;
  backend.swiglu(gate_up, out);
  BOOST_TEST(out.flat()[0] == 0.0F);
  BOOST_TEST(out.flat()[1] == 600.0F);
  backend.swiglu_gradient(gate_up, dout, gate_up);  // in place
  BOOST_TEST(gate_up.flat()[0] == 0.0F);
  BOOST_TEST(gate_up.flat()[1] == 3.0F);
  BOOST_TEST(gate_up.flat()[2] == 0.0F);
  BOOST_TEST(gate_up.flat()[3] == 200.0F);
}

BOOST_AUTO_TEST_CASE(swiglu_gradient_equals_finite_differences) {
  host<double> backend(2);
  const framed<double> gate_up(5, 14, 6);
  const framed<double> out(5, 7, 7);
  const framed<double> dout(5, 7, 8);
  const framed<double> gradient(5, 14, 9);
  backend.swiglu_gradient(gate_up, dout, gradient);
  const auto value = [&] {
    backend.swiglu(gate_up, out);
    return host_test::dot(elements(out.view), elements(dout.view));
  };
  BOOST_TEST(distance(elements(gradient.view), host_test::slope(gate_up.view, value)) <= 1e-8);
  BOOST_TEST(gradient.intact());
}

BOOST_AUTO_TEST_CASE(embedding_copies_rows_and_its_gradient_adds_repeated_tokens) {
  host<double> backend(2);
  const std::vector<std::int32_t> tokens{3, 0, 3, 1, 3};
  const framed<double> table(4, 70, 1);
  const framed<double> out(5, 70, 2);
  const framed<double> dtable(4, 70, 3);
  std::vector<double> chosen;
  std::vector<double> sums = elements(dtable.view);
  backend.embed(tokens, table, out);
  for (std::size_t t = 0; t < tokens.size(); ++t)
    for (std::int64_t j = 0; j < 70; ++j) {
      const double value = table(tokens[t], j);
      chosen.push_back(value);
      sums[static_cast<std::size_t>(tokens[t] * 70 + j)] += value;
    }
  backend.embed_gradient(tokens, out, dtable);
  BOOST_TEST((elements(out.view) == chosen));
  BOOST_TEST(distance(elements(dtable.view), sums) <= 1e-15);
  BOOST_TEST(out.intact());
  BOOST_TEST(dtable.intact());
}

BOOST_AUTO_TEST_CASE(tokens_outside_the_table_are_refused) {
  host<float> backend(1);
  tensor<float, 2> table(extents<2>{{4, 3}});
  tensor<float, 2> out(extents<2>{{1, 3}});
  for (const std::int32_t token : {-1, 4}) {
    const std::vector<std::int32_t> tokens{token};
    BOOST_CHECK_THROW(backend.embed(tokens, table, out), shape_error);
    BOOST_CHECK_THROW(backend.embed_gradient(tokens, out, table), shape_error);
  }
}

BOOST_AUTO_TEST_CASE(rows_are_gathered_and_scattered) {
  host<double> backend(2);
  const framed<double> x(9, 5, 1);
  const framed<double> y(3, 5, 2);
  const std::vector<std::int64_t> rows{0, 4, 8};
  backend.gather_rows(x, rows, y);
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::int64_t j = 0; j < 5; ++j) BOOST_TEST(y(static_cast<std::int64_t>(i), j) == x(rows[i], j));
  std::vector<double> expected = elements(x.view);
  for (const std::int64_t row : rows)
    for (std::int64_t j = 0; j < 5; ++j) expected[static_cast<std::size_t>(row * 5 + j)] *= 2;
  backend.scatter_add_rows(y, rows, x);
  BOOST_TEST((elements(x.view) == expected));
  BOOST_TEST(x.intact());
  for (const std::vector<std::int64_t>& wrong :
       {std::vector<std::int64_t>{0, 0, 1}, std::vector<std::int64_t>{2, 1, 3}, std::vector<std::int64_t>{0, 1, 9}}) {
    BOOST_CHECK_THROW(backend.gather_rows(x, wrong, y), shape_error);
    BOOST_CHECK_THROW(backend.scatter_add_rows(y, wrong, x), shape_error);
  }
}

BOOST_AUTO_TEST_CASE(add_fill_and_scale_respect_the_frame) {
  host<float> backend(2);
  const framed<float> x(300, 77, 1);
  const framed<float> y(300, 77, 2);
  std::vector<double> expected = elements(y.view);
  const std::vector<double> added = elements(x.view);
  for (std::size_t i = 0; i < expected.size(); ++i)
    expected[i] = static_cast<double>((static_cast<float>(expected[i]) + static_cast<float>(added[i])) * 0.5F);
  backend.add(x, y);
  backend.scale(y.view, 0.5F);
  BOOST_TEST((elements(y.view) == expected));
  BOOST_TEST(y.intact());
  backend.fill(y.view, 7.0F);
  BOOST_TEST((elements(y.view) == std::vector<double>(300 * 77, 7.0)));
  BOOST_TEST(y.intact());
  tensor<float, 3> cube(extents<3>{{40, 50, 60}});
  backend.fill(cube.view(), -1.0F);
  backend.scale(cube.view(), 3.0F);
  for (const float value : cube.flat()) BOOST_REQUIRE(value == -3.0F);
}

BOOST_AUTO_TEST_CASE(copy_converts_between_element_types) {
  host<float> backend(2);
  const framed<float> x(33, 9, 1);
  tensor<bf16, 2> half(extents<2>{{33, 9}});
  tensor<f16, 2> other(extents<2>{{33, 9}});
  tensor<double, 2> wide(extents<2>{{33, 9}});
  backend.copy(x.view, half.view());
  backend.copy(x.view, other.view());
  backend.copy(half.view(), wide.view());
  for (std::int64_t i = 0; i < 33; ++i)
    for (std::int64_t j = 0; j < 9; ++j) {
      BOOST_REQUIRE(half.view()(i, j) == bf16(x(i, j)));
      BOOST_REQUIRE(other.view()(i, j) == f16(x(i, j)));
      BOOST_REQUIRE(wide.view()(i, j) == static_cast<double>(static_cast<float>(bf16(x(i, j)))));
    }
  backend.copy(wide.view(), x.view);
  BOOST_TEST(x.intact());
  tensor<float, 2> small(extents<2>{{3, 9}});
  BOOST_CHECK_THROW(backend.copy(x.view, small.view()), shape_error);
}

BOOST_AUTO_TEST_CASE(operations_on_no_rows_do_nothing) {
  host<float> backend(2);
  tensor<float, 2> none(extents<2>{{0, 6}});
  tensor<float, 2> half(extents<2>{{0, 3}});
  tensor<float, 2> table(extents<2>{{4, 6}});
  backend.add(none, none);
  backend.swiglu(none, half);
  backend.swiglu_gradient(none, half, none);
  backend.embed({}, table, none);
  backend.embed_gradient({}, none, table);
  backend.gather_rows(table, {}, none);
  backend.scatter_add_rows(none, {}, table);
  backend.fill(none.view(), 1.0F);
  backend.scale(none.view(), 1.0F);
  backend.copy(none.view(), none.view());
  for (const float value : table.flat()) BOOST_TEST(value == 0.0F);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  host<float> backend(1);
  tensor<float, 2> a(extents<2>{{4, 6}});
  tensor<float, 2> b(extents<2>{{4, 5}});
  tensor<float, 1> v(extents<1>{{5}});
  BOOST_CHECK_THROW(backend.add(a, b), shape_error);
  BOOST_CHECK_THROW(backend.swiglu(a, b), shape_error);
  BOOST_CHECK_THROW(backend.swiglu_gradient(a, b, a), shape_error);
  BOOST_CHECK_THROW(backend.add_bias(a, v), shape_error);
  BOOST_CHECK_THROW(backend.bias_gradient(a, v), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
