// Definitions of assignment.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

#include <lodestone/batching/assignment.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::batching {

LODESTONE_INLINE std::size_t assignment::rounds() const {
  std::size_t most = 0;
  for (const auto& mine : of_rank) most = std::max(most, mine.size());
  return most;
}

LODESTONE_INLINE double step_time(const assignment& plan, std::span<const double> costs, meeting when) {
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

LODESTONE_INLINE assignment assign_in_order(std::size_t micro_batches, int ranks) {
  if (ranks < 1) throw config_error("must be at least 1", "ranks");
  assignment plan{std::vector<std::vector<std::int64_t>>(static_cast<std::size_t>(ranks))};
  for (std::size_t i = 0; i < micro_batches; ++i)
    plan.of_rank[i % static_cast<std::size_t>(ranks)].push_back(static_cast<std::int64_t>(i));
  return plan;
}

LODESTONE_INLINE assignment assign(std::span<const double> costs, int ranks, meeting when) {
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

LODESTONE_INLINE std::vector<double> costs(const step_plan& step, std::span<const std::int64_t> lengths,
                                           const cost_model& model) {
  std::vector<double> result;
  result.reserve(step.micro_batches.size());
  for (const micro_batch& batch : step.micro_batches) result.push_back(model.micro_batch(batch, lengths));
  return result;
}

LODESTONE_INLINE std::vector<double> costs(const step_plan& step, std::span<const example_shape> shapes,
                                           const cost_model& model) {
  std::vector<double> result;
  result.reserve(step.micro_batches.size());
  for (const micro_batch& batch : step.micro_batches) result.push_back(model.micro_batch(batch, shapes));
  return result;
}

}  // namespace lodestone::batching

