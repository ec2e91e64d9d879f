#include <algorithm>
#include <cmath>
#include <limits>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/simd.hpp>

using namespace lodestone::on_host;

namespace {

// Largest error of power_of_two over [low, 1), in units of the last place of the correctly rounded result.
template <class T>
double worst_error(T low, T step) {
  constexpr int lanes = simd<T, register_bytes>::lanes;
  double worst = 0;
  for (T start = low; start < T{1}; start += step * static_cast<T>(lanes)) {
    T x[lanes];
    T y[lanes];
    for (int lane = 0; lane < lanes; ++lane) x[lane] = y[lane] = start + step * static_cast<T>(lane);
    power_of_two<T>(as_register(y));
    for (int lane = 0; lane < lanes; ++lane) {
      const long double exact = std::exp2(static_cast<long double>(x[lane]));
      const T rounded = static_cast<T>(exact);
      const T unit = std::nextafter(rounded, std::numeric_limits<T>::infinity()) - rounded;
      worst = std::max(worst, static_cast<double>(std::fabs(static_cast<long double>(y[lane]) - exact)) /
                                  static_cast<double>(unit));
    }
  }
  return worst;
}

template <class T>
T one(T x) {
  constexpr int lanes = simd<T, register_bytes>::lanes;
  T values[lanes];
  std::fill_n(values, lanes, x);
  power_of_two<T>(as_register(values));
  return values[lanes - 1];
}

template <class T>
void check_special_values() {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  BOOST_TEST(one(T{0}) == T{1});
  BOOST_TEST(one(T{-1}) == T{0.5});
  BOOST_TEST(one(T{64}) == std::exp2(T{64}));
  BOOST_TEST(one(-infinity) == T{0});
  BOOST_TEST(one(std::numeric_limits<T>::lowest()) == T{0});
  BOOST_TEST(std::isnan(one(std::numeric_limits<T>::quiet_NaN())));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_simd)

BOOST_AUTO_TEST_CASE(powers_of_two_are_within_two_ulps) {
  BOOST_TEST(worst_error<float>(-125.9F, 0.00037F) <= 2.0);
  BOOST_TEST(worst_error<double>(-1021.9, 0.0031) <= 2.0);
}

BOOST_AUTO_TEST_CASE(special_values_are_exact) {
  check_special_values<float>();
  check_special_values<double>();
}

BOOST_AUTO_TEST_CASE(registers_may_lie_at_any_address) {
  float values[32];
  for (int i = 0; i < 32; ++i) values[i] = static_cast<float>(i);
  const float* constant = values;
  as_register(values + 1) = as_register(constant + 3) * 2.0F;
  BOOST_TEST(values[0] == 0.0F);
  BOOST_TEST(values[1] == 6.0F);
  BOOST_TEST(values[2] == 8.0F);
}

BOOST_AUTO_TEST_SUITE_END()
