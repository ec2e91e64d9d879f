#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/random.hpp>

using namespace lodestone;

namespace {
using words = std::array<std::uint32_t, 4>;
}

BOOST_AUTO_TEST_SUITE(core_random)

// The known answers that the authors of Philox distribute with Random123 (kat_vectors, philox4x32 10).
BOOST_AUTO_TEST_CASE(philox_gives_the_known_answers) {
  static_assert(philox4x32({0, 0, 0, 0}, {0, 0}) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  BOOST_TEST((philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
              words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  BOOST_TEST((philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

BOOST_AUTO_TEST_CASE(equal_keys_give_equal_streams_and_any_other_key_another) {
  const auto first = [](random_stream stream) {
    std::array<std::uint32_t, 6> numbers{};
    for (auto& number : numbers) number = stream();
    return numbers;
  };
  const auto base = first({1, random_purpose::shuffle, 2, 3});
  BOOST_TEST((base == first({1, random_purpose::shuffle, 2, 3})));
  std::set<std::array<std::uint32_t, 6>> distinct{base};
  for (const auto& other :
       {first({2, random_purpose::shuffle, 2, 3}), first({1, random_purpose::mixture, 2, 3}),
        first({1, random_purpose::shuffle, 3, 3}), first({1, random_purpose::shuffle, 2, 4}),
        first({1ULL << 32, random_purpose::shuffle, 2, 3}), first({1, random_purpose::shuffle, 2, 1ULL << 32})})
    distinct.insert(other);
  BOOST_TEST(distinct.size() == 7);
}

BOOST_AUTO_TEST_CASE(uniform_numbers_fill_the_unit_interval) {
  random_stream random(5, random_purpose::user);
  constexpr int count = 200'000;
  double sum = 0;
  std::array<int, 10> bins{};
  for (int i = 0; i < count; ++i) {
    const double u = random.uniform();
    BOOST_REQUIRE((u >= 0.0 && u < 1.0));
    sum += u;
    ++bins[static_cast<std::size_t>(u * 10)];
  }
  BOOST_TEST(std::abs(sum / count - 0.5) < 5 * 0.2887 / std::sqrt(count));  // five standard errors
  for (const int bin : bins) BOOST_TEST(std::abs(bin - count / 10) < 5 * std::sqrt(count * 0.09));
}

BOOST_AUTO_TEST_CASE(below_is_unbiased_for_bounds_that_do_not_divide_the_range) {
  random_stream random(6, random_purpose::user);
  constexpr int count = 70'000;
  std::array<int, 7> bins{};
  for (int i = 0; i < count; ++i) ++bins[random.below(7)];
  for (const int bin : bins) BOOST_TEST(std::abs(bin - count / 7) < 5 * std::sqrt(count * 6.0 / 49.0));
  BOOST_TEST(random.below(1) == 0);
  for (int i = 0; i < 1000; ++i) BOOST_REQUIRE(random.below((1ULL << 63) + 1) <= (1ULL << 63));
}

BOOST_AUTO_TEST_CASE(normal_numbers_have_mean_0_variance_1_and_the_right_tails) {
  random_stream random(7, random_purpose::user);
  constexpr int count = 200'000;
  double sum = 0;
  double squares = 0;
  int beyond_two = 0;
  for (int i = 0; i < count; ++i) {
    const double x = random.normal();
    BOOST_REQUIRE(std::isfinite(x));
    sum += x;
    squares += x * x;
    beyond_two += std::abs(x) > 2.0 ? 1 : 0;
  }
  BOOST_TEST(std::abs(sum / count) < 5 / std::sqrt(count));
  BOOST_TEST(std::abs(squares / count - 1.0) < 5 * std::sqrt(2.0 / count));
  BOOST_TEST(std::abs(beyond_two / static_cast<double>(count) - 0.0455) < 5 * std::sqrt(0.0455 / count));
}

BOOST_AUTO_TEST_CASE(shuffle_is_a_uniform_permutation) {
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  random_stream random(8, random_purpose::shuffle);
  shuffle(std::span(items), random);
  BOOST_TEST(!std::ranges::is_sorted(items));
  std::vector<int> sorted = items;
  std::ranges::sort(sorted);
  for (int i = 0; i < 100; ++i) BOOST_TEST(sorted[static_cast<std::size_t>(i)] == i);

  std::array<int, 6> counts{};  // of the six orders of three items
  constexpr int rounds = 60'000;
  for (int round = 0; round < rounds; ++round) {
    std::array<int, 3> three{0, 1, 2};
    shuffle(std::span<int>(three), random);
    ++counts[static_cast<std::size_t>(three[0] * 2 + (three[1] > three[2] ? 1 : 0))];
  }
  for (const int count : counts) BOOST_TEST(std::abs(count - rounds / 6) < 5 * std::sqrt(rounds * 5.0 / 36.0));

  std::vector<int> none;
  shuffle(std::span(none), random);
}

BOOST_AUTO_TEST_CASE(a_stream_is_a_standard_generator) {
  static_assert(random_stream::min() == 0 && random_stream::max() == 0xffffffffU);
  static_assert(random_stream(0, random_purpose::user)() != random_stream(1, random_purpose::user)());
  random_stream random(9, random_purpose::user);
  std::vector<int> items(50);
  std::iota(items.begin(), items.end(), 0);
  std::shuffle(items.begin(), items.end(), random);
  BOOST_TEST(!std::ranges::is_sorted(items));
}

// The numbers are those of a Philox and an FNV-1a in Python. Runs that were stopped go on with their seeds: they stay.
BOOST_AUTO_TEST_CASE(the_seed_of_a_name_is_its_own_and_stays) {
  static_assert(seed_of(42, random_purpose::synthesis, "") == 0x3b68'3c6b'8002'e753U);
  BOOST_TEST(seed_of(42, random_purpose::synthesis, "needle/0") == 0xc37b'c176'4206'33b6U);
  BOOST_TEST(seed_of((1ULL << 40) + 7, random_purpose::synthesis, "needle/0") == 0xdf8f'4ddb'23c8'3c62U);
  BOOST_TEST(seed_of(42, random_purpose::synthesis, "\u5317\u4eac") == 0x2497'c1f6'4d3e'd006U);  // bytes above 127
  BOOST_TEST(seed_of(42, random_purpose::sampling, "needle/0", 1) == 0xb6e3'0fec'9ee2'c80cU);
  BOOST_TEST(seed_of((1ULL << 40) + 7, random_purpose::sampling, "\u5317\u4eac", 1) == 0x52cf'733f'86da'389dU);
}

BOOST_AUTO_TEST_SUITE_END()
