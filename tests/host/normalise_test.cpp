#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/normalise.hpp>

#include "matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;
using host_test::framed;

namespace {

template <class T>
void check_forward(std::int64_t rows, std::int64_t groups, std::int64_t size) {
  host<T> backend(2);
  const framed<T> x(rows, groups * size, 1);
  const framed<T> y(rows, groups * size, 2);
  const auto weight = host_test::normal<T, 1>({{size}}, 3);
  tensor<T, 1> rstd(extents<1>{{rows * groups}});
  const T epsilon = static_cast<T>(1e-3);
  backend.rmsnorm(x, weight, epsilon, y, rstd);
  std::vector<double> expected;
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t g = 0; g < groups; ++g) {
      double squares = 0;
      for (std::int64_t i = 0; i < size; ++i) squares += std::pow(static_cast<double>(x(t, g * size + i)), 2);
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(size) + static_cast<double>(epsilon));
      BOOST_TEST(std::abs(static_cast<double>(rstd.view()(t * groups + g)) - inverse) <=
                 host_test::tolerance<T> * inverse);
      for (std::int64_t i = 0; i < size; ++i)
        expected.push_back(static_cast<double>(x(t, g * size + i)) * inverse * static_cast<double>(weight.view()(i)));
    }
  BOOST_TEST(distance(elements(y.view), expected) <= host_test::tolerance<T>);
  BOOST_TEST(y.intact());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_normalise)

BOOST_AUTO_TEST_CASE(rmsnorm_equals_plain_loops_over_rows_and_heads) {
  constexpr std::int64_t shapes[][3] = {{0, 1, 4}, {1, 1, 1}, {5, 1, 37}, {300, 1, 64}, {9, 3, 20}, {40, 8, 16}};
  for (const auto& shape : shapes) {
    check_forward<float>(shape[0], shape[1], shape[2]);
    check_forward<double>(shape[0], shape[1], shape[2]);
  }
}

BOOST_AUTO_TEST_CASE(gradients_equal_finite_differences) {
  for (const std::int64_t groups : {1, 3}) {
    host<double> backend(2);
    constexpr std::int64_t rows = 6;
    constexpr std::int64_t size = 19;
    const framed<double> x(rows, groups * size, 1);
    const framed<double> dy(rows, groups * size, 2);
    const framed<double> y(rows, groups * size, 3);
    const framed<double> dx(rows, groups * size, 4);
    auto weight = host_test::normal<double, 1>({{size}}, 5);
    auto dweight = host_test::normal<double, 1>({{size}}, 6);
    tensor<double, 1> rstd(extents<1>{{rows * groups}});
    const auto value = [&] {
      backend.rmsnorm(x, weight, 1e-3, y, rstd);
      return host_test::dot(elements(y.view), elements(dy.view));
    };
    const std::vector<double> slope = host_test::slope(x.view, value);
    const std::vector<double> weight_slope = host_test::slope(host_test::as_row(weight), value);
    value();

    std::vector<double> weight_expected = elements(dweight.view());
    for (std::size_t i = 0; i < weight_expected.size(); ++i) weight_expected[i] += weight_slope[i];
    std::vector<double> sum = elements(dx.view);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += slope[i];
    backend.rmsnorm_gradient(x, weight, rstd, dy, dx, dweight, 1.0);
    BOOST_TEST(distance(elements(dx.view), sum) <= 1e-8);
    BOOST_TEST(distance(elements(dweight.view()), weight_expected) <= 1e-8);

    for (std::int64_t t = 0; t < rows; ++t)
      for (std::int64_t i = 0; i < groups * size; ++i) dx(t, i) = std::numeric_limits<double>::quiet_NaN();
    const std::vector<double> kept = elements(dweight.view());
    backend.rmsnorm_gradient(x, weight, rstd, dy, dx, {}, 0.0);  // neither reads dx nor touches the weight's gradient
    BOOST_TEST(distance(elements(dx.view), slope) <= 1e-8);
    BOOST_TEST((elements(dweight.view()) == kept));
    BOOST_TEST(dx.intact());

    tensor<double, 1> in_place_weight(extents<1>{{size}});
    backend.rmsnorm_gradient(x, weight, rstd, dy, dy, in_place_weight, 0.0);
    BOOST_TEST(distance(elements(dy.view), slope) <= 1e-8);
    BOOST_TEST(distance(elements(in_place_weight.view()), weight_slope) <= 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(weight_gradients_of_many_rows_add_up) {
  host<double> backend(2);
  constexpr std::int64_t rows = 5000;
  const auto x = host_test::normal<double, 2>({{rows, 24}}, 1);
  const auto dy = host_test::normal<double, 2>({{rows, 24}}, 2);
  const auto weight = host_test::normal<double, 1>({{8}}, 3);
  const auto rstd = host_test::normal<double, 1>({{rows * 3}}, 4);
  tensor<double, 2> dx(x.shape());
  tensor<double, 1> dweight(extents<1>{{8}});
  backend.rmsnorm_gradient(x, weight, rstd, dy, dx, dweight, 0.0);
  std::vector<double> expected(8);
  for (std::int64_t t = 0; t < rows; ++t)
    for (std::int64_t i = 0; i < 24; ++i)
      expected[static_cast<std::size_t>(i % 8)] += dy.view()(t, i) * x.view()(t, i) * rstd.view()(t * 3 + i / 8);
  BOOST_TEST(distance(elements(dweight.view()), expected) <= 1e-12);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  host<float> backend(1);
  tensor<float, 2> x(extents<2>{{4, 6}});
  tensor<float, 1> weight(extents<1>{{4}});
  tensor<float, 1> none(extents<1>{{0}});
  tensor<float, 1> rstd(extents<1>{{4}});
  BOOST_CHECK_THROW(backend.rmsnorm(x, weight, 0, x, rstd), shape_error);
  BOOST_CHECK_THROW(backend.rmsnorm(x, none, 0, x, rstd), shape_error);
  BOOST_CHECK_THROW(backend.rmsnorm_gradient(x, weight, rstd, x, x, {}, 0), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
