#include <lodestone/position/original.hpp>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace lodestone;

namespace {

/// 96 tokens of context in chunks of 32 behind 4 tokens of prefix, and 20 tokens of tail.
struct grid_sample {
  std::vector<std::int32_t> tokens = std::vector<std::int32_t>(120, 1);
  std::vector<std::int64_t> chunks{4, 36, 68, 100};

  template <class Policy>
  [[nodiscard]] std::vector<std::int32_t> ids(const Policy& policy, std::uint64_t epoch, std::int64_t index = 0) const {
    std::vector<std::int32_t> out(tokens.size());
    policy.fill({.tokens = tokens, .labels = {}, .weights = {}, .index = index, .chunks = chunks}, 7, epoch, out);
    return out;
  }
};

void check_blocks(const std::vector<std::int32_t>& ids) {
  for (std::size_t i = 1; i < ids.size(); ++i) {
    const bool may_jump = i == 4 || i == 36 || i == 68 || i == 100;
    BOOST_REQUIRE(ids[i] > ids[i - 1]);
    if (!may_jump) BOOST_REQUIRE(ids[i] == ids[i - 1] + 1);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(position_original)

BOOST_AUTO_TEST_CASE(covering_starts_are_those_of_the_notebook) {
  const std::vector<std::int64_t> expected{0, 3, 7};  // the notebook's own output for 5 tokens in 12 ids
  BOOST_TEST(position::covering_starts(5, 12) == expected, boost::test_tools::per_element());
  BOOST_TEST(position::covering_starts(12, 12) == std::vector<std::int64_t>{0}, boost::test_tools::per_element());
  for (std::int64_t slots = 1; slots < 40; ++slots)
    for (std::int64_t tokens = 1; tokens <= slots; ++tokens) {
      std::set<std::int64_t> seen;
      for (const std::int64_t start : position::covering_starts(tokens, slots))
        for (std::int64_t id = start; id < start + tokens; ++id) seen.insert(id);
      BOOST_REQUIRE(std::int64_t(seen.size()) == slots);
      BOOST_REQUIRE(*seen.rbegin() == slots - 1);
    }
  BOOST_CHECK_THROW(static_cast<void>(position::covering_starts(5, 4)), config_error);
}

BOOST_AUTO_TEST_CASE(the_notebook_keeps_two_places_a_chunk_and_asks_at_the_far_end) {
  // Bins of (1024 - 4 - 60) / 3 = 320 ids, 10 candidates each, 32 apart.
  const position::original_notebook policy{.window = 1'024, .reserve = 60};
  const grid_sample sample;
  std::set<std::int32_t> kept, combinations, over_examples;
  for (std::uint64_t epoch = 0; epoch < 200; ++epoch) {
    const auto ids = sample.ids(policy, epoch);
    check_blocks(ids);
    BOOST_TEST(ids[100] == 1'024 - 60 + 1);
    kept.insert(ids[4]);
    BOOST_TEST((ids[4] - 4) % 32 == 0);
    BOOST_TEST(ids[36] >= 4 + 320);
    BOOST_TEST(ids[68] >= 4 + 640);
    combinations.insert(ids[4] + 1'000 * ids[36] + 1'000'000 * ids[68]);
    over_examples.insert(sample.ids(policy, 0, static_cast<std::int64_t>(epoch))[4]);
  }
  BOOST_TEST(kept.size() == 2U);
  BOOST_TEST(combinations.size() == 8U);  // 2^3: the notebook's product
  BOOST_TEST(over_examples.size() == 10U);
  // Where the notebook's tail would leave the window it stands one id earlier.
  BOOST_TEST(sample.ids(position::original_notebook{.window = 1'024, .reserve = 20}, 0).back() == 1'023);
}

BOOST_AUTO_TEST_CASE(the_builder_asks_behind_the_context) {
  // Bins of (1024 - 60 - 4) / 4 = 240 ids; the context ends before 4 + 3 * 240.
  const position::original_sparse policy{.window = 1'024, .reserve = 60};
  const grid_sample sample;
  std::set<std::int32_t> places;
  for (std::uint64_t epoch = 0; epoch < 200; ++epoch) {
    const auto ids = sample.ids(policy, epoch);
    check_blocks(ids);
    BOOST_TEST(ids[36] >= 4 + 240);
    BOOST_TEST(ids[99] < 4 + 3 * 240);
    BOOST_TEST(ids[100] == ids[99] + 1);
    places.insert(ids[4]);
  }
  BOOST_TEST(places.size() == 8U);  // ceil(240 / 32)
  BOOST_CHECK_THROW(sample.ids(position::original_sparse{.window = 170, .reserve = 60}, 0), config_error);
}

BOOST_AUTO_TEST_CASE(the_whole_context_slides_in_steps_of_its_length) {
  const position::original_continue policy{.window = 1'024, .reserve = 60};
  const grid_sample sample;
  std::set<std::int32_t> places;
  for (std::uint64_t epoch = 0; epoch < 400; ++epoch) {
    const auto ids = sample.ids(policy, epoch);
    check_blocks(ids);
    for (std::size_t i = 5; i < ids.size(); ++i) BOOST_REQUIRE(ids[i] == ids[i - 1] + 1);
    places.insert(ids[4]);
  }
  // S, S + 96, ... while start + 96 <= K - q = 964: ten of them.
  BOOST_TEST(places.size() == 10U);
  BOOST_TEST(*places.begin() == 4);
  BOOST_TEST(*places.rbegin() == 4 + 9 * 96);
  BOOST_CHECK_THROW(sample.ids(position::original_continue{.window = 150, .reserve = 60}, 0), config_error);
}

BOOST_AUTO_TEST_CASE(the_published_settings_give_the_published_counts) {
  // 16 chunks of 1,024 tokens in 65,536 ids: 3 places of the whole context, and a context that never passes 0.93 K.
  std::vector<std::int32_t> tokens(16 * 1'024 + 200, 1);
  std::vector<std::int64_t> chunks;
  for (std::int64_t j = 0; j <= 16; ++j) chunks.push_back(1'024 * j);
  const example_view example{.tokens = tokens, .labels = {}, .weights = {}, .chunks = chunks};
  std::vector<std::int32_t> ids(tokens.size());
  std::set<std::int32_t> places;
  std::int32_t top = 0;
  for (std::uint64_t epoch = 0; epoch < 200; ++epoch) {
    position::original_continue{}.fill(example, 1, epoch, ids);
    places.insert(ids.front());
    position::original_sparse{}.fill(example, 1, epoch, ids);
    top = std::max(top, ids[16 * 1'024 - 1]);
  }
  BOOST_TEST(places.size() == 3U);
  BOOST_TEST(top / 65'536.0 < 0.93);
  BOOST_TEST(top / 65'536.0 > 0.92);
}

BOOST_AUTO_TEST_SUITE_END()
