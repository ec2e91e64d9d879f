// Which rank computes which micro-batches of a step, balanced by cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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
  std::vector<std::vector<std::int64_t>> of_rank;  ///< [ranks]; a rank's list may be empty

  /// The most micro-batches that one rank holds; 0 for an empty step.
  [[nodiscard]] std::size_t rounds() const;
};

/// Predicted seconds, in the unit of `costs`, until the slowest rank is done with a step.
[[nodiscard]] double step_time(const assignment& plan, std::span<const double> costs, meeting when);

/// Micro-batches in the order of the plan, rank after rank: what trainers do that do not look at cost.
[[nodiscard]] assignment assign_in_order(std::size_t micro_batches, int ranks);

/// Balanced, deterministic assignment of micro-batches with the given costs.
///
/// once_per_step: longest processing time first, each micro-batch to the least loaded rank; the slowest rank is at most
/// 4/3 - 1/(3 ranks) of the optimum (Graham, "Bounds on multiprocessing timing anomalies", 1969). each_micro_batch:
/// micro-batches of like cost share a round, which minimises the sum of the rounds' maxima over rounds of `ranks`.
/// Equal costs keep the order of the plan. The content of the step does not change: only who computes what.
[[nodiscard]] assignment assign(std::span<const double> costs, int ranks, meeting when = meeting::once_per_step);

/// Costs of the micro-batches of a step, from the lengths of all examples or, for groups of answers, their shapes.
///@{
[[nodiscard]] std::vector<double> costs(const step_plan& step, std::span<const std::int64_t> lengths,
                                        const cost_model& model);
[[nodiscard]] std::vector<double> costs(const step_plan& step, std::span<const example_shape> shapes,
                                        const cost_model& model);
///@}

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/assignment.ipp>
#endif
