#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/optimise.hpp>

#include "../support/support.hpp"
#include "matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;

namespace {

template <class T>
tensor<T, 1> vector_of(const nlohmann::json& numbers) {
  tensor<T, 1> values(extents<1>{{static_cast<std::int64_t>(numbers.size())}});
  for (std::size_t i = 0; i < numbers.size(); ++i) values.flat()[i] = static_cast<T>(numbers[i].get<double>());
  return values;
}

template <class T>
void check_against_torch(double tolerance, double gradient_scale) {
  const auto cases = nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("optim/adamw.json")));
  BOOST_REQUIRE(cases.size() >= 3);
  for (const auto& c : cases) {
    host<T> backend(2);
    tensor<T, 1> weights = vector_of<T>(c["weights"]);
    tensor<T, 1> first(weights.shape());
    tensor<T, 1> second(weights.shape());
    int number = 0;
    for (const auto& step : c["steps"]) {
      ++number;
      optim::adamw_step settings;
      settings.learning_rate = c["lr"];
      settings.beta1 = c["betas"][0];
      settings.beta2 = c["betas"][1];
      settings.epsilon = c["eps"];
      settings.weight_decay = c["weight_decay"];
      settings.bias_correction1 = 1 - std::pow(settings.beta1, number);
      settings.bias_correction2 = 1 - std::pow(settings.beta2, number);
      settings.gradient_scale = gradient_scale;
      tensor<T, 1> gradient = vector_of<T>(step["gradient"]);
      backend.scale(gradient.view(), 1 / gradient_scale);
      backend.adamw(weights, first, second, gradient, settings);
      BOOST_TEST(distance(elements(weights.view()), step["weights"].get<std::vector<double>>()) <= tolerance);
      BOOST_TEST(distance(elements(first.view()), step["first_moment"].get<std::vector<double>>()) <= tolerance);
      BOOST_TEST(distance(elements(second.view()), step["second_moment"].get<std::vector<double>>()) <= tolerance);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_optimise)

BOOST_AUTO_TEST_CASE(adamw_equals_torch) {
  check_against_torch<double>(1e-14, 1.0);
  check_against_torch<double>(1e-14, 0.25);
  check_against_torch<float>(2e-6, 1.0);
}

BOOST_AUTO_TEST_CASE(adamw_gives_the_same_bits_for_any_split_of_a_tensor) {
  constexpr std::int64_t count = 40'000;
  const optim::adamw_step settings{.learning_rate = 1e-2,
                                   .weight_decay = 0.1,
                                   .bias_correction1 = 0.3,
                                   .bias_correction2 = 0.2,
                                   .gradient_scale = 0.7};
  std::vector<std::vector<unsigned char>> seen;
  for (const std::int64_t pieces : {1, 2, 7}) {
    host<float> backend(3);
    auto weights = host_test::normal<float, 1>({{count}}, 1);
    auto first = host_test::normal<float, 1>({{count}}, 2);
    auto second = host_test::normal<float, 1>({{count}}, 3);
    for (float& value : second.flat()) value *= value;
    const auto gradient = host_test::normal<float, 1>({{count}}, 4);
    for (std::int64_t i = 0; i < pieces; ++i) {
      const std::int64_t begin = count * i / pieces;
      const std::int64_t end = count * (i + 1) / pieces;
      backend.adamw(weights.view().rows(begin, end), first.view().rows(begin, end), second.view().rows(begin, end),
                    gradient.view().rows(begin, end), settings);
    }
    seen.push_back(host_test::bits(weights));
    for (const float value : weights.flat()) BOOST_REQUIRE(std::isfinite(value));
  }
  BOOST_TEST((seen[0] == seen[1]));
  BOOST_TEST((seen[0] == seen[2]));
}

BOOST_AUTO_TEST_CASE(adamw_refuses_moments_of_another_size) {
  host<float> backend(1);
  tensor<float, 1> a(extents<1>{{3}});
  tensor<float, 1> b(extents<1>{{4}});
  BOOST_CHECK_THROW(backend.adamw(a, b, a, a, {}), shape_error);
  BOOST_CHECK_THROW(backend.adamw(a, a, b, a, {}), shape_error);
  BOOST_CHECK_THROW(backend.adamw(a, a, a, b, {}), shape_error);
}

BOOST_AUTO_TEST_CASE(sum_of_squares_is_accurate_and_independent_of_threads) {
  for (const std::int64_t count : {0, 1, 15, 16'384, 100'003}) {
    const auto values = host_test::normal<float, 1>({{count}}, 5);
    long double expected = 0;
    for (const float value : values.flat()) {
      const auto wide = static_cast<long double>(value);
      expected += wide * wide;
    }
    host<float> one(1);
    const double sum = one.sum_of_squares(values);
    BOOST_TEST(std::abs(sum - static_cast<double>(expected)) <= 1e-13 * static_cast<double>(expected));
    for (const int threads : {2, 3}) BOOST_TEST(host<float>(threads).sum_of_squares(values) == sum);
  }
  tensor<float, 1> large(extents<1>{{2}});
  large.flat()[0] = large.flat()[1] = 1e30F;  // the square overflows float, not double
  BOOST_TEST(std::abs(host<float>(1).sum_of_squares(large) / 2e60 - 1.0) < 1e-6);
}

BOOST_AUTO_TEST_CASE(all_finite_finds_one_bad_number_anywhere) {
  const auto check = []<class T>(T) {
    host<T> backend(2);
    tensor<T, 1> values(extents<1>{{50'001}});
    values.flat()[3] = std::numeric_limits<T>::max();
    values.flat()[4] = std::numeric_limits<T>::denorm_min();
    BOOST_TEST(backend.all_finite(values));
    for (const std::size_t place : {std::size_t{0}, std::size_t{16'384}, std::size_t{50'000}})
      for (const T bad : {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(),
                          std::numeric_limits<T>::quiet_NaN()}) {
        values.flat()[place] = bad;
        BOOST_TEST(!backend.all_finite(values));
        values.flat()[place] = T{0};
      }
    BOOST_TEST(backend.all_finite({}));
  };
  check(0.0F);
  check(0.0);
}

BOOST_AUTO_TEST_SUITE_END()
