// Mixtures by count and by weight.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <map>
#include <numeric>

#include <lodestone/data/mixture.hpp>

using namespace lodestone;

namespace {

using counts = std::vector<std::int64_t>;

std::int64_t sum(const std::vector<std::int32_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(data_mixture)

BOOST_AUTO_TEST_CASE(counts_and_weights) {
  const std::vector<mixture_part> plain{{10, {}, {}}, {20, {}, {}}};
  BOOST_TEST(mixture_counts(plain) == (counts{10, 20}));
  const std::vector<mixture_part> counted{{10, 4, {}}, {20, 50, {}}, {7, {}, {}}, {5, 0, {}}};
  BOOST_TEST(mixture_counts(counted) == (counts{4, 50, 7, 0}));
  // 1 : 3 of 10 and 60 examples, none repeated: the first source is used up.
  const std::vector<mixture_part> weighted{{10, {}, 1.0}, {60, {}, 3.0}, {9, {}, 0.0}};
  BOOST_TEST(mixture_counts(weighted) == (counts{10, 30, 0}));
  BOOST_TEST(mixture_counts(weighted, 400) == (counts{100, 300, 0}));
  // Fractions that binary cannot hold lose nothing.
  const std::vector<mixture_part> fractions{{3, {}, 0.7}, {1000, {}, 1.4}};  // 3 / 0.7 * 0.7 < 3
  BOOST_TEST(mixture_counts(fractions) == (counts{3, 6}));
}

BOOST_AUTO_TEST_CASE(contradictions) {
  const auto refuse = [](const std::vector<mixture_part>& parts, std::optional<std::int64_t> total = std::nullopt) {
    BOOST_CHECK_THROW((void)mixture_counts(parts, total), config_error);
  };
  refuse({{10, 3, 1.0}});
  refuse({{10, -1, {}}});
  refuse({{10, {}, -1.0}});
  refuse({{10, {}, std::nan("")}});
  refuse({{0, 3, {}}});
  refuse({{0, {}, 1.0}});
  refuse({{10, {}, 1.0}, {10, {}, {}}});
  refuse({{10, {}, 1.0}, {10, 5, {}}});
  refuse({{10, {}, 0.0}});
  refuse({{10, {}, {}}}, 5);
}

BOOST_AUTO_TEST_CASE(chosen_examples) {
  for (const std::int64_t count : {0, 1, 5, 9, 10, 11, 25}) {
    const std::vector<std::int32_t> times = choose_examples(10, count, 42, 0);
    BOOST_TEST(sum(times) == count);
    const auto [low, high] = std::minmax_element(times.begin(), times.end());
    BOOST_TEST(*high - *low <= 1);
    BOOST_TEST(times == choose_examples(10, count, 42, 0));  // the seed alone decides
  }
  BOOST_TEST(choose_examples(100, 50, 42, 0) != choose_examples(100, 50, 43, 0));
  BOOST_TEST(choose_examples(100, 50, 42, 0) != choose_examples(100, 50, 42, 1));
  BOOST_TEST(choose_examples(0, 0, 42, 0).empty());
  // Every pair of 5 is chosen about equally often: 10 pairs, 4000 draws, 400 expected, standard deviation 19.
  std::map<std::vector<std::int32_t>, int> seen;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) ++seen[choose_examples(5, 2, seed, 0)];
  BOOST_TEST(seen.size() == 10U);
  for (const auto& [pair, number] : seen) BOOST_TEST((number > 320 && number < 480));
}

BOOST_AUTO_TEST_CASE(indices_run_over_the_concatenation) {
  const std::vector<mixture_part> parts{{3, {}, {}}, {4, 6, {}}};
  const std::vector<std::int64_t> indices = mixture_indices(parts, 7);
  BOOST_REQUIRE(indices.size() == 9U);
  BOOST_TEST(std::is_sorted(indices.begin(), indices.end()));
  BOOST_TEST((indices[0] == 0 && indices[1] == 1 && indices[2] == 2 && indices.back() == 6));
}

BOOST_AUTO_TEST_SUITE_END()
