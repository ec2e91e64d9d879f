// How long 8 ranks take for an epoch under each batching strategy, by the cost model of plans: nothing is run.
//
// Lengths as in LongAlign's data: nine of ten examples even from 512 to 8k tokens, the others even to 64k; the shape of
// Llama-3-8B. Micro-batches dealt out as they come, as trainers do that look at no cost, and balanced by cost.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/cost.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/cost.hpp>

int main() {
  using namespace lodestone;
  constexpr int ranks = 8;
  std::vector<std::int64_t> lengths;
  for (std::uint64_t i = 0; i < 9'600; ++i) {
    random_stream random(i, random_purpose::user);
    const bool is_short = random.uniform() < 0.9;
    const double low = is_short ? 512 : 8'192;
    const double high = is_short ? 8'192 : 65'536;
    lengths.push_back(static_cast<std::int64_t>(low + (high - low) * random.uniform()));
  }
  model_config config;
  config.hidden = 4096;
  config.layers = 32;
  config.heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.feed_forward = 14'336;
  const batching::cost_model cost = training_cost(config);

  struct row {
    std::string name;
    double seconds[4] = {};  // once per step dealt, balanced; each micro-batch dealt, balanced
    double mean = 0.0;
  };
  std::vector<row> rows;
  const auto measure = [&](std::string name, const epoch_plan& plan) {
    row own{.name = std::move(name)};
    for (const step_plan& step : plan.steps) {
      const std::vector<double> costs = batching::costs(step, lengths, cost);
      const auto dealt = batching::assign_in_order(costs.size(), ranks);
      for (const batching::meeting when : {batching::meeting::once_per_step, batching::meeting::each_micro_batch}) {
        const std::size_t at = when == batching::meeting::once_per_step ? 0 : 2;
        own.seconds[at] += batching::step_time(dealt, costs, when);
        own.seconds[at + 1] += batching::step_time(batching::assign(costs, ranks, when), costs, when);
      }
      for (const double one : costs) own.mean += one / ranks;
    }
    rows.push_back(own);
  };
  measure("naive, 96 sequences", batching::naive{.sequences_per_step = 96}.plan(lengths, 1, 0));
  measure("sorted, 96 sequences in groups of 8",
          batching::sorted{.sequences_per_step = 96, .group = 8}.plan(lengths, 1, 0));
  for (const std::int64_t packs : {8, 16, 24})
    measure("packed, " + std::to_string(packs) + " packs of 65,536",
            batching::packed{.tokens = 65'536, .packs_per_step = packs}.plan(lengths, 1, 0));

  std::printf("time of an epoch on %d ranks, mean of the ranks = 1 (the slowest over the mean)\n", ranks);
  std::printf("%-38s %12s %12s %12s %12s\n", "", "once a step", "balanced", "each batch", "balanced");
  for (const row& r : rows) {
    std::printf("%-38s", r.name.c_str());
    for (const double seconds : r.seconds) std::printf(" %12.2f", seconds / r.mean);
    std::printf("\n");
  }
  std::printf("naive dealt out, over each\n");
  for (const row& r : rows) {
    std::printf("%-38s", r.name.c_str());
    for (int k = 0; k < 4; ++k) std::printf(" %12.2f", rows.front().seconds[k / 2 * 2] / r.seconds[k]);
    std::printf("\n");
  }
}
