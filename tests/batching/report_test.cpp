#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/cost.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/model/cost.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/core/random.hpp>

using namespace lodestone;
using batching::assignment;
using batching::cost_model;
using batching::meeting;

namespace {

std::vector<double> random_costs(std::size_t n, std::uint64_t seed) {
  random_stream random(seed, random_purpose::user);
  std::vector<double> costs;
  for (std::size_t i = 0; i < n; ++i) costs.push_back(std::floor(1.0 + 100.0 * random.uniform() * random.uniform()));
  return costs;
}

void check_each_once(const assignment& plan, std::size_t n) {
  std::vector<int> seen(n, 0);
  for (const auto& mine : plan.of_rank)
    for (const std::int64_t batch : mine) ++seen.at(static_cast<std::size_t>(batch));
  BOOST_TEST(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
}

/// Least possible time over all assignments, by trying every one.
double optimum(const std::vector<double>& costs, std::size_t ranks) {
  double best = 1e300;
  std::vector<std::size_t> owner(costs.size(), 0);
  for (;;) {
    std::vector<double> load(ranks, 0.0);
    for (std::size_t i = 0; i < costs.size(); ++i) load[owner[i]] += costs[i];
    best = std::min(best, *std::max_element(load.begin(), load.end()));
    std::size_t i = 0;
    while (i < owner.size() && ++owner[i] == ranks) owner[i++] = 0;
    if (i == owner.size()) return best;
  }
}

/// Least sum of the rounds' maxima over all orders cut into rounds of `ranks`.
double best_rounds(std::vector<double> costs, std::size_t ranks) {
  std::sort(costs.begin(), costs.end());
  double best = 1e300;
  do {
    double time = 0.0;
    for (std::size_t i = 0; i < costs.size(); i += ranks)
      time += *std::max_element(costs.begin() + static_cast<std::ptrdiff_t>(i),
                                costs.begin() + static_cast<std::ptrdiff_t>(std::min(i + ranks, costs.size())));
    best = std::min(best, time);
  } while (std::next_permutation(costs.begin(), costs.end()));
  return best;
}

std::vector<std::int64_t> lengths_of_long_context_data() {
  random_stream random(11, random_purpose::user);
  std::vector<std::int64_t> lengths;
  for (int i = 0; i < 2000; ++i)  // most below 8k, the rest flat up to 64k
    lengths.push_back(random.uniform() < 0.85 ? 200 + static_cast<std::int64_t>(random.below(7'800))
                                              : 8'000 + static_cast<std::int64_t>(random.below(57'000)));
  return lengths;
}

model_config seven_billion() {
  model_config config;
  config.hidden = 4096;
  config.layers = 32;
  config.heads = 32;
  config.kv_heads = 32;
  config.head_dim = 128;
  config.feed_forward = 11008;
  config.vocabulary = 32256;
  return config;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(batching_report)

BOOST_AUTO_TEST_CASE(costs_are_tokens_plus_pairs) {
  const cost_model model{.per_token = 2.0, .per_pair = 0.5, .windows = {{2, 1.0}}, .per_micro_batch = 100.0};
  const std::vector<std::int64_t> lengths{3, 4};
  // 3 tokens: 6 + 0.5 x 6 pairs + 1 x (1 + 2 + 2); 4 tokens: 8 + 0.5 x 10 + (1 + 2 + 2 + 2)
  BOOST_TEST(model.sequence(3) == 14.0);
  BOOST_TEST(model.sequence(4) == 20.0);
  BOOST_TEST(model.micro_batch({{0, 1}}, lengths) == 134.0);
}

BOOST_AUTO_TEST_CASE(training_cost_counts_the_operations_of_a_llama) {
  const cost_model model = training_cost(seven_billion());
  // 6.476e9 weights in the layers of Llama-2-7B, 6 operations each; 14 x 4096 x 32 a pair.
  BOOST_TEST(std::abs(model.per_token / 6.0 - 6.476e9) < 1e7);
  BOOST_TEST(model.per_pair == 14.0 * 4096.0 * 32.0);
  BOOST_TEST(training_cost(seven_billion(), 1.0).per_token == model.per_token / 6.0 * 8.0);
  model_config windowed = seven_billion();
  windowed.windows.assign(32, 0);
  windowed.windows[3] = windowed.windows[7] = 4096;
  const cost_model mixed = training_cost(windowed);
  BOOST_TEST(mixed.per_pair == 14.0 * 4096.0 * 30.0);
  BOOST_TEST_REQUIRE(mixed.windows.size() == 1U);
  BOOST_TEST(mixed.windows[0].per_pair == 14.0 * 4096.0 * 2.0);
}

BOOST_AUTO_TEST_CASE(assignments_hold_everything_once_and_are_deterministic) {
  for (const int ranks : {1, 2, 3, 8, 50})
    for (const std::size_t n : {0U, 1U, 7U, 40U})
      for (const meeting when : {meeting::once_per_step, meeting::each_micro_batch}) {
        const std::vector<double> costs = random_costs(n, n);
        const assignment plan = batching::assign(costs, ranks, when);
        BOOST_TEST(plan.of_rank.size() == static_cast<std::size_t>(ranks));
        check_each_once(plan, n);
        BOOST_TEST((batching::assign(costs, ranks, when).of_rank == plan.of_rank));
        if (when == meeting::each_micro_batch)
          BOOST_TEST(plan.rounds() == (n + static_cast<std::size_t>(ranks) - 1) / static_cast<std::size_t>(ranks));
      }
  BOOST_CHECK_THROW(static_cast<void>(batching::assign(random_costs(3, 1), 0)), config_error);
}

BOOST_AUTO_TEST_CASE(longest_first_is_within_four_thirds_of_the_optimum) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::vector<double> costs = random_costs(7, seed);
    for (const int ranks : {2, 3}) {
      const double time =
          batching::step_time(batching::assign(costs, ranks), costs, meeting::once_per_step);
      const double best = optimum(costs, static_cast<std::size_t>(ranks));
      BOOST_TEST(time >= best);
      BOOST_TEST(time <= (4.0 / 3.0 - 1.0 / (3.0 * ranks)) * best + 1e-9);
    }
  }
}

BOOST_AUTO_TEST_CASE(rounds_of_like_cost_are_the_optimum) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const std::vector<double> costs = random_costs(7, 40 + seed);
    for (const int ranks : {2, 3}) {
      const assignment plan = batching::assign(costs, ranks, meeting::each_micro_batch);
      BOOST_TEST(batching::step_time(plan, costs, meeting::each_micro_batch) ==
                 best_rounds(costs, static_cast<std::size_t>(ranks)));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_report_counts_what_the_plan_holds) {
  const std::vector<std::int64_t> lengths{4, 6, 10, 3, 7};
  const epoch_plan plan{{{{{{0, 1}}, {{2}}}}, {{{{4, 3}}}}}};
  const cost_model model{.per_token = 1.0, .per_pair = 0.1};
  const std::array ranks{1, 2};
  const batching::plan_report report = batching::make_report("packed", plan, lengths, model, ranks, 12);
  BOOST_TEST(report.examples == 5);
  BOOST_TEST(report.tokens == 30);
  BOOST_TEST(report.steps == 2);
  BOOST_TEST(report.micro_batches == 3);
  BOOST_TEST(report.tokens_lost == 0);
  BOOST_TEST(report.examples_repeated == 0);
  BOOST_TEST(report.fill == 30.0 / 36.0);
  BOOST_TEST(report.sequences.least == 1);
  BOOST_TEST(report.sequences.most == 2);
  BOOST_TEST(std::abs(report.sequences.mean - 5.0 / 3.0) < 1e-15);
  BOOST_TEST(report.stream.most == 10);
  BOOST_TEST(report.step_tokens.most == 20);
  BOOST_TEST_REQUIRE(report.histogram.size() == 3U);  // 2-3, 4-7, 8-15
  BOOST_TEST(report.histogram[0].examples == 1);
  BOOST_TEST(report.histogram[1].examples == 3);
  BOOST_TEST(report.histogram[1].tokens == 17);
  const double pairs = 10 + 21 + 55 + 6 + 28;
  BOOST_TEST(std::abs(report.cost - (30.0 + 0.1 * pairs)) < 1e-12);
  BOOST_TEST(std::abs(report.attention_share - 0.1 * pairs / report.cost) < 1e-12);

  BOOST_TEST_REQUIRE(report.on(2) != nullptr);
  BOOST_TEST(report.on(3) == nullptr);
  const batching::rank_times& two = *report.on(2);
  const double slowest = std::max(10.0 + 3.1, 10.0 + 5.5) + 10.0 + 3.4;
  BOOST_TEST(std::abs(two.once_per_step - slowest) < 1e-12);
  BOOST_TEST(std::abs(two.each_micro_batch - slowest) < 1e-12);
  BOOST_TEST(std::abs(two.mean - report.cost / 2.0) < 1e-12);
  BOOST_TEST(std::abs(report.on(1)->slowest_over_mean(report.on(1)->once_per_step) - 1.0) < 1e-12);
}

BOOST_AUTO_TEST_CASE(a_plan_that_loses_or_repeats_examples_is_found_out) {
  const std::vector<std::int64_t> lengths{4, 6, 10};
  const epoch_plan plan{{{{{{0, 0}}}}}};
  const batching::plan_report report = batching::make_report("broken", plan, lengths, {}, {});
  BOOST_TEST(report.examples_lost == 2);
  BOOST_TEST(report.tokens_lost == 16);
  BOOST_TEST(report.examples_repeated == 1);
}

// The effect that LongAlign reports: ranks wait for the longest under naive batching, and hardly under the other two.
BOOST_AUTO_TEST_CASE(packing_and_sorting_shorten_the_predicted_epoch) {
  const std::vector<std::int64_t> lengths = lengths_of_long_context_data();
  const cost_model model = training_cost(seven_billion(), 1.0);
  const std::array ranks{1, 8};
  const std::vector<batching::plan_report> reports{
      batching::make_report("naive", batching::naive{.sequences_per_step = 96}.plan(lengths, 1, 0), lengths, model,
                            ranks),
      batching::make_report("sorted", batching::sorted{.sequences_per_step = 96}.plan(lengths, 1, 0), lengths, model,
                            ranks),
      batching::make_report("packed", batching::packed{}.plan(lengths, 1, 0), lengths, model, ranks, 65'536)};
  for (const batching::plan_report& report : reports) {
    BOOST_TEST(report.tokens_lost == 0);
    BOOST_TEST(std::abs(report.cost - reports[0].cost) < 1e-6 * report.cost);  // the same work, differently divided
    for (const batching::rank_times& times : report.ranks) {
      BOOST_TEST(times.once_per_step >= times.mean * (1.0 - 1e-12));
      BOOST_TEST(times.each_micro_batch >= times.once_per_step * (1.0 - 1e-12));
      BOOST_TEST(times.in_plan_order >= times.each_micro_batch * (1.0 - 1e-12));
    }
  }
  const auto time = [&](std::size_t i) { return reports[i].on(8)->in_plan_order; };
  BOOST_TEST(time(0) > 2.0 * time(1));
  BOOST_TEST(time(0) > 1.5 * time(2));
  BOOST_TEST(reports[2].fill > 0.98);

  const std::string text = batching::to_text(reports[2]);
  for (const char* part : {"packed: 2,000 examples", "lost                       0 tokens, 0 examples",
                           "of 65,536 tokens", "slowest rank over the mean", "8 ranks"})
    BOOST_TEST(text.find(part) != std::string::npos);
  const std::string table = batching::compare_text(reports, 8);
  BOOST_TEST(table.find("naive") != std::string::npos);
  BOOST_TEST(table.find("1.000") != std::string::npos);
  BOOST_TEST(batching::compare_text(reports, 5).empty());
  BOOST_TEST_MESSAGE(text << table);
}

BOOST_AUTO_TEST_CASE(an_empty_plan_has_a_report) {
  const std::array ranks{2};
  const batching::plan_report report = batching::make_report("none", epoch_plan{}, std::span<const std::int64_t>{}, {}, ranks);
  BOOST_TEST(report.fill == 0.0);
  BOOST_TEST(!batching::to_text(report).empty());
}

BOOST_AUTO_TEST_CASE(a_shared_prompt_counts_once_in_the_report) {
  // Two groups of a chosen and a rejected answer: prompts of 90 and 50 tokens.
  const std::vector<example_shape> shapes{{.length = 100, .prompt = 90, .group = 0, .role = 0},
                                          {.length = 95, .prompt = 90, .group = 0, .role = 1},
                                          {.length = 60, .prompt = 50, .group = 1, .role = 0},
                                          {.length = 70, .prompt = 50, .group = 1, .role = 1}};
  const batching::cost_model cost{.per_token = 1.0};
  const auto of = [&](const epoch_plan& plan) { return batching::make_report("plan", plan, shapes, cost, {}); };
  const batching::plan_report shared = of(batching::shared_prefix{.tokens = 200}.plan(shapes, 1, 0));
  BOOST_TEST(shared.stream.most == 105 + 80);
  BOOST_TEST(shared.cost == 185.0);
  BOOST_TEST(shared.tokens == 325);
  BOOST_TEST(shared.examples_lost == 0);
  const batching::plan_report separate = of(batching::separate{}.plan(shapes, 1, 0));
  BOOST_TEST(separate.stream.most == 195);
  BOOST_TEST(separate.cost == 4.0 / 3.0 * 325.0, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_SUITE_END()
