// Which rank computes which micro-batches of a step, balanced by cost.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <queue>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/cost.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// How often ranks wait for each other.
enum class meeting : std::uint8_t {
  once_per_step,     ///< replicated weights: one reduction of gradients at the end
  each_micro_batch,  ///< sharded weights: every layer of every micro-batch is gathered from all ranks
};

/// For each rank its micro-batches, as indices into step_plan::micro_batches, in the order in which it computes them.
///
/// Together the ranks hold every micro-batch exactly once. Ranks may hold unequal numbers, also none; with
/// meeting::each_micro_batch the j-th of every rank form a round, and a rank with fewer must still take part in the
/// collectives of the remaining rounds (rounds() says how many).
struct assignment {
  std::vector<std::vector<std::int64_t>> of_rank;

  [[nodiscard]] std::size_t rounds() const {
    std::size_t most = 0;
    for (const auto& mine : of_rank) most = std::max(most, mine.size());
    return most;
  }
};

/// Predicted seconds, in the unit of `costs`, until the slowest rank is done with a step.
[[nodiscard]] inline double step_time(const assignment& plan, std::span<const double> costs, meeting when) {
  const auto cost = [&](std::int64_t batch) { return costs[static_cast<std::size_t>(batch)]; };
  double time = 0.0;
  if (when == meeting::once_per_step) {
    for (const auto& mine : plan.of_rank) {
      double sum = 0.0;
      for (const std::int64_t batch : mine) sum += cost(batch);
      time = std::max(time, sum);
    }
    return time;
  }
  for (std::size_t round = 0; round < plan.rounds(); ++round) {
    double slowest = 0.0;
    for (const auto& mine : plan.of_rank)
      if (round < mine.size()) slowest = std::max(slowest, cost(mine[round]));
    time += slowest;
  }
  return time;
}

/// Micro-batches in the order of the plan, rank after rank: what trainers do that do not look at cost.
[[nodiscard]] inline assignment assign_in_order(std::size_t micro_batches, int ranks) {
  if (ranks < 1) throw config_error("must be at least 1", "ranks");
  assignment plan{std::vector<std::vector<std::int64_t>>(static_cast<std::size_t>(ranks))};
  for (std::size_t i = 0; i < micro_batches; ++i)
    plan.of_rank[i % static_cast<std::size_t>(ranks)].push_back(static_cast<std::int64_t>(i));
  return plan;
}

/// Balanced, deterministic assignment of micro-batches with the given costs.
///
/// once_per_step: longest processing time first, each micro-batch to the least loaded rank; the slowest rank is at most
/// 4/3 - 1/(3 ranks) of the optimum (Graham, "Bounds on multiprocessing timing anomalies", 1969). each_micro_batch:
/// micro-batches of like cost share a round, which minimises the sum of the rounds' maxima over rounds of `ranks`.
/// Equal costs keep the order of the plan. The content of the step does not change: only who computes what.
[[nodiscard]] inline assignment assign(std::span<const double> costs, int ranks,
                                       meeting when = meeting::once_per_step) {
  assignment plan = assign_in_order(0, ranks);
  std::vector<std::int64_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return costs[static_cast<std::size_t>(a)] > costs[static_cast<std::size_t>(b)];
  });
  const auto size = static_cast<std::size_t>(ranks);
  if (when == meeting::each_micro_batch) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::size_t place = i % size;  // every other round runs backwards, so that no rank is always the slowest
      plan.of_rank[i / size % 2 == 0 ? place : size - 1 - place].push_back(order[i]);
    }
    return plan;
  }
  using load = std::pair<double, std::size_t>;
  std::priority_queue<load, std::vector<load>, std::greater<>> least;
  for (std::size_t rank = 0; rank < size; ++rank) least.emplace(0.0, rank);
  for (const std::int64_t batch : order) {
    const auto [sum, rank] = least.top();
    least.pop();
    plan.of_rank[rank].push_back(batch);
    least.emplace(sum + costs[static_cast<std::size_t>(batch)], rank);
  }
  for (auto& mine : plan.of_rank) std::sort(mine.begin(), mine.end());
  return plan;
}

/// Costs of the micro-batches of a step.
[[nodiscard]] inline std::vector<double> costs(const step_plan& step, std::span<const std::int64_t> lengths,
                                               const cost_model& model) {
  std::vector<double> result;
  result.reserve(step.micro_batches.size());
  for (const micro_batch& batch : step.micro_batches) result.push_back(model.micro_batch(batch, lengths));
  return result;
}

}  // namespace lodestone::batching
