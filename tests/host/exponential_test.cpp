#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/exponential.hpp>

using lodestone::on_host::exponential;

namespace {

// Distance in units of the last place of the correctly rounded result, `exact` being wider than T.
template <class T>
double ulps(T got, long double exact) {
  const T rounded = static_cast<T>(exact);
  const T next = std::nextafter(rounded, std::numeric_limits<T>::infinity());
  const long double unit = static_cast<long double>(next) - static_cast<long double>(rounded);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) / unit);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_exponential)

BOOST_AUTO_TEST_CASE(float_is_within_two_ulps_from_underflow_to_overflow) {
  double worst = 0;
  for (float x = -103.9F; x < 88.7F; x += 0.00037F)
    worst = std::max(worst, ulps(exponential(x), std::exp(static_cast<long double>(x))));
  BOOST_TEST_MESSAGE("largest error " << worst << " ulp");
  BOOST_TEST(worst <= 2.0);
}

BOOST_AUTO_TEST_CASE(double_is_within_two_ulps_from_underflow_to_overflow) {
  double worst = 0;
  for (double x = -745.0; x < 709.7; x += 0.0037123)
    worst = std::max(worst, ulps(exponential(x), std::exp(static_cast<long double>(x))));
  BOOST_TEST_MESSAGE("largest error " << worst << " ulp");
  BOOST_TEST(worst <= 2.0);
}

BOOST_AUTO_TEST_CASE(special_values_are_exact) {
  const auto check = []<class T>(T) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    BOOST_TEST(exponential(T{0}) == T{1});
    BOOST_TEST(exponential(-T{0}) == T{1});
    BOOST_TEST(exponential(-infinity) == T{0});
    BOOST_TEST(exponential(std::numeric_limits<T>::lowest()) == T{0});
    BOOST_TEST(exponential(infinity) == infinity);
    BOOST_TEST(exponential(std::numeric_limits<T>::max()) == infinity);
    BOOST_TEST(std::isnan(exponential(std::numeric_limits<T>::quiet_NaN())));
  };
  check(0.0F);
  check(0.0);
}

BOOST_AUTO_TEST_SUITE_END()
