#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/parity.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/batching/steps.hpp>
#include <lodestone/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace lodestone;
using batching::packing;

namespace {

struct without_epoch {
  epoch_plan plan(std::span<const std::int64_t>, std::uint64_t) const { return {}; }
};
static_assert(!batching_strategy<without_epoch>);

/// Many short ones and a few long ones, as long-context data are.
std::vector<std::int64_t> long_tailed(std::size_t n, std::int64_t longest, std::uint64_t seed) {
  random_stream random(seed, random_purpose::user);
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < n; ++i) {
    const double scale = static_cast<double>(longest) / 16.0;
    const double length = 16.0 * std::exp(std::log(scale) * std::pow(random.uniform(), 2.0));
    lengths.push_back(std::clamp(static_cast<std::int64_t>(length), std::int64_t{1}, longest));
  }
  return lengths;
}

std::int64_t total(const micro_batch& batch, std::span<const std::int64_t> lengths) {
  std::int64_t sum = 0;
  for (const std::int64_t i : batch.examples) sum += lengths[static_cast<std::size_t>(i)];
  return sum;
}

std::vector<micro_batch> flat(const epoch_plan& plan) {
  std::vector<micro_batch> all;
  for (const step_plan& step : plan.steps)
    all.insert(all.end(), step.micro_batches.begin(), step.micro_batches.end());
  return all;
}

void check_each_example_once(const epoch_plan& plan, std::size_t n) {
  std::vector<int> seen(n, 0);
  for (const micro_batch& batch : flat(plan)) {
    BOOST_TEST(!batch.examples.empty());
    for (const std::int64_t i : batch.examples) ++seen.at(static_cast<std::size_t>(i));
  }
  BOOST_TEST(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
  for (const step_plan& step : plan.steps) BOOST_TEST(!step.micro_batches.empty());
}

/// The laws of batching/concept.hpp.
template <batching_strategy Strategy>
void check_laws(const Strategy& strategy, bool reshuffles = true) {
  for (const std::size_t n : {0U, 1U, 2U, 7U, 64U, 501U}) {
    const std::vector<std::int64_t> lengths = long_tailed(n, 1000, n);
    const epoch_plan first = strategy.plan(lengths, 1, 0);
    check_each_example_once(first, n);
    BOOST_TEST((strategy.plan(lengths, 1, 0) == first));
    if (n < 64 || !reshuffles) continue;
    const epoch_plan next_epoch = strategy.plan(lengths, 1, 1);
    check_each_example_once(next_epoch, n);
    BOOST_TEST((next_epoch != first));
    BOOST_TEST((strategy.plan(lengths, 2, 0) != first));
  }
}

std::size_t pack_count(packing algorithm, std::span<const std::int64_t> lengths, std::int64_t tokens,
                       std::int64_t window = 0) {
  const batching::packed strategy{.tokens = tokens, .algorithm = algorithm, .window = window};
  return flat(strategy.plan(lengths, 3, 0)).size();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(batching_strategies)

BOOST_AUTO_TEST_CASE(every_strategy_obeys_the_laws) {
  check_laws(batching::naive{.sequences_per_step = 8});
  check_laws(batching::naive{.tokens_per_step = 3000});
  check_laws(batching::sorted{.sequences_per_step = 24, .group = 8});
  check_laws(batching::sorted{.tokens_per_step = 5000, .group = 5, .tokens = 1200});
  for (const packing algorithm : {packing::next_fit, packing::first_fit_decreasing, packing::best_fit_decreasing}) {
    check_laws(batching::packed{.tokens = 1000, .packs_per_step = 4, .algorithm = algorithm});
    check_laws(batching::packed{.tokens = 1500, .sequences_per_step = 30, .algorithm = algorithm, .window = 50});
    check_laws(batching::packed{.tokens = 1000, .tokens_per_step = 4000, .algorithm = algorithm});
  }
  check_laws(batching::original_packed{.tokens = 1001, .packs_per_step = 4}, false);
}

BOOST_AUTO_TEST_CASE(packs_stay_within_their_budget_and_can_be_full) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<std::int64_t> lengths = long_tailed(200, 512, seed);
    for (const packing algorithm : {packing::next_fit, packing::first_fit_decreasing, packing::best_fit_decreasing}) {
      const batching::packed strategy{.tokens = 512, .algorithm = algorithm};
      for (const micro_batch& pack : flat(strategy.plan(lengths, seed, 0))) BOOST_TEST(total(pack, lengths) <= 512);
    }
  }
  const std::vector<std::int64_t> halves{8, 8, 16, 8, 8};
  for (const packing algorithm : {packing::next_fit, packing::first_fit_decreasing, packing::best_fit_decreasing})
    BOOST_TEST(pack_count(algorithm, std::vector<std::int64_t>{8, 8, 8, 8, 8, 8}, 16) == 3U);
  BOOST_TEST(pack_count(packing::best_fit_decreasing, halves, 16) == 3U);
}

BOOST_AUTO_TEST_CASE(decreasing_algorithms_fill_at_least_as_well_as_next_fit) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<std::int64_t> lengths = long_tailed(300, 4096, 100 + seed);
    const std::size_t next = pack_count(packing::next_fit, lengths, 4096);
    const std::size_t first = pack_count(packing::first_fit_decreasing, lengths, 4096);
    const std::size_t best = pack_count(packing::best_fit_decreasing, lengths, 4096);
    BOOST_TEST(first <= next);
    BOOST_TEST(best <= next);
    const std::int64_t sum = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    const auto bound = static_cast<std::size_t>((sum + 4095) / 4096);
    BOOST_TEST(best >= bound);
    BOOST_TEST(best <= 11 * bound / 9 + 1);  // 11/9 of the optimum plus one (Johnson, 1973)
    BOOST_TEST(pack_count(packing::best_fit_decreasing, lengths, 4096, 100) >= best);
  }
}

// The textbook definitions, in O(n^2), on the same order of examples.
BOOST_AUTO_TEST_CASE(first_and_best_fit_equal_their_quadratic_definitions) {
  random_stream random(5, random_purpose::user);
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t n = 1 + random.below(40);
    const std::int64_t tokens = 1 + static_cast<std::int64_t>(random.below(60));
    std::vector<std::int64_t> lengths, order(n);
    for (std::size_t i = 0; i < n; ++i)
      lengths.push_back(1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(tokens))));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    shuffle(std::span(order), random);
    const auto plain = [&](bool best) {
      std::vector<micro_batch> packs;
      for (const std::int64_t example : order) {
        const std::int64_t length = lengths[static_cast<std::size_t>(example)];
        std::size_t place = packs.size();
        for (std::size_t p = 0; p < packs.size(); ++p) {
          if (total(packs[p], lengths) + length > tokens) continue;
          if (place == packs.size() || (best && total(packs[p], lengths) > total(packs[place], lengths))) place = p;
        }
        if (place == packs.size()) packs.emplace_back();
        packs[place].examples.push_back(example);
      }
      return packs;
    };
    BOOST_TEST((batching::detail::first_fit(order, lengths, tokens) == plain(false)));
    BOOST_TEST((batching::detail::best_fit(order, lengths, tokens) == plain(true)));
  }
}

BOOST_AUTO_TEST_CASE(a_million_examples_are_packed_at_once) {
  std::vector<std::int64_t> lengths = long_tailed(1'000'000, 65'536, 9);
  const auto packs = flat(batching::packed{.algorithm = packing::best_fit_decreasing}.plan(lengths, 1, 0));
  const std::int64_t sum = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  BOOST_TEST(static_cast<double>(sum) / (static_cast<double>(packs.size()) * 65'536.0) > 0.999);
}

// max_len 16, lengths 8 8 3 5 15 16 4: what the released trainer builds, passes over and never writes.
BOOST_AUTO_TEST_CASE(the_original_is_replayed_and_what_it_loses_is_kept) {
  const std::vector<std::int64_t> lengths{8, 8, 3, 5, 15, 16, 4};
  const batching::original_packs replay = batching::replay_original(lengths, 16);
  using boundaries = std::vector<std::int64_t>;
  const std::vector<boundaries> expected{{0, 8, 16}, {0, 8, 11, 16}, {0, 5, 16}, {0, 15, 16}};
  BOOST_TEST_REQUIRE(replay.packs.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    BOOST_TEST((batching::original_boundaries(replay.packs[i], lengths, 16) == expected[i]));
  BOOST_TEST((replay.skipped == std::vector<std::int64_t>{5}));
  BOOST_TEST((replay.lost == std::vector<std::int64_t>{6}));

  const epoch_plan plan = batching::original_packed{.tokens = 16, .packs_per_step = 4}.plan(lengths, 1, 0);
  check_each_example_once(plan, lengths.size());
  BOOST_TEST_REQUIRE(plan.steps.size() == 2U);
  BOOST_TEST((plan.steps[0].micro_batches == replay.packs));
  BOOST_TEST((plan.steps[1].micro_batches == std::vector<micro_batch>{{{6}}, {{5}}}));

  // Next-fit as it stands here loses nothing, whatever the order.
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    check_each_example_once(batching::packed{.tokens = 16, .algorithm = packing::next_fit}.plan(lengths, seed, 0), 7);
}

BOOST_AUTO_TEST_CASE(sorted_groups_are_neighbours_and_nothing_is_dropped) {
  std::vector<std::int64_t> lengths(100);  // all different, so that a length tells its group
  for (std::size_t i = 0; i < lengths.size(); ++i) lengths[i] = static_cast<std::int64_t>(10 * i + 1);
  random_stream random(6, random_purpose::user);
  shuffle(std::span(lengths), random);
  const batching::sorted strategy{.sequences_per_step = 8, .group = 8};
  std::vector<std::int64_t> in_order(lengths);
  std::sort(in_order.begin(), in_order.end());
  const std::vector<micro_batch> stream = flat(strategy.plan(lengths, 1, 0));
  BOOST_TEST_REQUIRE(stream.size() == 100U);  // each sequence its own micro-batch
  std::vector<std::vector<std::int64_t>> groups(1);
  std::size_t shorter_groups = 0;
  // 12 groups of 8 and one of 4 with the longest; wherever it stands, the others follow in eights.
  for (std::size_t i = 0; i < stream.size();) {
    const std::int64_t first = total(stream[i], lengths);
    const bool is_last_group = first >= in_order[96];
    const std::size_t size = is_last_group ? 4 : 8;
    shorter_groups += is_last_group ? 1 : 0;
    std::vector<std::int64_t> group;
    for (std::size_t k = 0; k < size; ++k) group.push_back(total(stream[i + k], lengths));
    BOOST_TEST(std::is_sorted(group.begin(), group.end()));
    const auto place = std::lower_bound(in_order.begin(), in_order.end(), group.front()) - in_order.begin();
    BOOST_TEST(std::is_permutation(group.begin(), group.end(), in_order.begin() + place / 8 * 8));
    i += size;
  }
  BOOST_TEST(shorter_groups == 1U);
}

BOOST_AUTO_TEST_CASE(sorted_neighbours_share_streams_when_asked_to) {
  const std::vector<std::int64_t> lengths = long_tailed(100, 1000, 4);
  const batching::sorted strategy{.sequences_per_step = 16, .group = 8, .tokens = 1200};
  std::size_t shared = 0;
  for (const micro_batch& batch : flat(strategy.plan(lengths, 1, 0))) {
    BOOST_TEST(total(batch, lengths) <= 1200);
    shared += batch.examples.size() > 1 ? 1 : 0;
  }
  BOOST_TEST(shared > 5U);
}

BOOST_AUTO_TEST_CASE(steps_hold_what_was_asked_for) {
  const std::vector<std::int64_t> lengths = long_tailed(103, 1000, 8);
  const epoch_plan by_sequences = batching::naive{.sequences_per_step = 10}.plan(lengths, 1, 0);
  BOOST_TEST(by_sequences.steps.size() == 11U);
  for (std::size_t i = 0; i < 10; ++i) BOOST_TEST(by_sequences.steps[i].micro_batches.size() == 10U);
  BOOST_TEST(by_sequences.steps[10].micro_batches.size() == 3U);

  const epoch_plan by_packs = batching::packed{.tokens = 1000, .packs_per_step = 4}.plan(lengths, 1, 0);
  for (std::size_t i = 0; i + 1 < by_packs.steps.size(); ++i)
    BOOST_TEST(by_packs.steps[i].micro_batches.size() == 4U);

  const epoch_plan by_tokens = batching::packed{.tokens = 1000, .tokens_per_step = 3500}.plan(lengths, 1, 0);
  for (std::size_t i = 0; i + 1 < by_tokens.steps.size(); ++i) {
    std::int64_t sum = 0, without_last = 0;
    for (const micro_batch& pack : by_tokens.steps[i].micro_batches) {
      without_last = sum;
      sum += total(pack, lengths);
    }
    BOOST_TEST(sum >= 3500);
    BOOST_TEST(without_last < 3500);
  }
}

BOOST_AUTO_TEST_CASE(errors_name_the_example_or_the_key) {
  const auto message = [](const auto& strategy, const std::vector<std::int64_t>& lengths) -> std::string {
    try {
      static_cast<void>(strategy.plan(lengths, 1, 0));
    } catch (const error& failure) {
      return failure.what();
    }
    return "no error";
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  const std::string too_long = message(batching::packed{.tokens = 16}, {4, 17, 3});
  BOOST_TEST(says(too_long, "example 1"));
  BOOST_TEST(says(too_long, "17 tokens, a pack holds 16"));
  BOOST_TEST(says(message(batching::naive{.sequences_per_step = 2}, {4, 0}), "example 1"));
  BOOST_TEST(says(message(batching::original_packed{.tokens = 16}, {17}), "example 0"));
  BOOST_TEST(says(message(batching::sorted{.sequences_per_step = 2, .tokens = 16}, {17}), "example 0"));
  BOOST_TEST(says(message(batching::sorted{.sequences_per_step = 2, .group = 0}, {1}), "batching.group"));
  BOOST_TEST(says(message(batching::packed{.tokens = 0}, {1}), "batching.tokens"));
  BOOST_TEST(says(message(batching::packed{.packs_per_step = 2, .tokens_per_step = 9}, {1}), "given once"));
  BOOST_TEST(says(message(batching::naive{}, {1}), "given once"));
  BOOST_TEST(says(message(batching::naive{.sequences_per_step = -1}, {1}), "given once"));
}

BOOST_AUTO_TEST_SUITE_END()
