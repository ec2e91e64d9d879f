// What a batching strategy is: lengths in, a plan of steps out.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

namespace lodestone {

/// Examples that share one stream: the unit of forward and backward. For packing it is a pack.
struct micro_batch {
  std::vector<std::int64_t> examples;  ///< indices in the store, in stream order
  friend bool operator==(const micro_batch&, const micro_batch&) = default;
};

/// One optimiser step: its content never depends on the number of ranks.
struct step_plan {
  std::vector<micro_batch> micro_batches;  ///< in plan order; batching::assign() shares them out
  friend bool operator==(const step_plan&, const step_plan&) = default;
};

/// One epoch.
struct epoch_plan {
  std::vector<step_plan> steps;  ///< in the order of training
  friend bool operator==(const epoch_plan&, const epoch_plan&) = default;
};

/// A batching strategy turns the lengths of all examples into the plan of one epoch.
///
/// Requires: `plan(lengths, seed, epoch)`, pure. Laws: every example stands exactly once in the plan; the plan depends
/// on nothing else. Not required: any relation to ranks (batching/assignment.hpp distributes micro-batches) or to the
/// content of examples.
template <class B>
concept batching_strategy =
    requires(const B& strategy, std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) {
      { strategy.plan(lengths, seed, epoch) } -> std::same_as<epoch_plan>;
    };

}  // namespace lodestone
