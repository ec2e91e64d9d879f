// What a batching strategy is: lengths, or shapes, of all examples in, a plan of steps out.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/example.hpp>

namespace lodestone {

/// How the examples of a micro-batch stand in streams.
enum class arrangement : std::uint8_t {
  end_to_end,     ///< one stream; each example is a causal slice of its own
  shared_prompt,  ///< one stream; the prompt of a preference group once, then its answers, which do not see each other
  one_by_one,     ///< a stream for each example, one after the other: memory of the longest alone
};

/// Examples that are computed together: the unit of forward and backward. For packing it is a pack.
struct micro_batch {
  std::vector<std::int64_t> examples;                  ///< indices in the store, in stream order
  arrangement arranged = arrangement::end_to_end;      ///< how they stand in streams
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

/// All that a strategy knows of an example.
struct example_shape {
  std::int64_t length = 0;        ///< tokens
  std::int64_t prompt = 0;        ///< as in example_view
  std::int64_t group = no_group;  ///< as in example_view
  std::int32_t role = 0;          ///< as in example_view
};

/// Tokens of the streams of a micro-batch; a shared prompt counts once, where the answers of a group are neighbours.
[[nodiscard]] inline std::int64_t stream_tokens(const micro_batch& batch, std::span<const example_shape> shapes) {
  std::int64_t sum = 0;
  std::int64_t group = no_group;  // of the example before
  for (const std::int64_t example : batch.examples) {
    const example_shape& shape = shapes[static_cast<std::size_t>(example)];
    sum += shape.length;
    if (batch.arranged == arrangement::shared_prompt && shape.group == group) sum -= shape.prompt;
    group = shape.group;
  }
  return sum;
}

/// A strategy for examples that stand alone: it looks at lengths.
template <class B>
concept plans_lengths =
    requires(const B& strategy, std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) {
      { strategy.plan(lengths, seed, epoch) } -> std::same_as<epoch_plan>;
    };

/// A strategy that keeps the answers to a prompt together: it looks at shapes.
template <class B>
concept plans_shapes =
    requires(const B& strategy, std::span<const example_shape> shapes, std::uint64_t seed, std::uint64_t epoch) {
      { strategy.plan(shapes, seed, epoch) } -> std::same_as<epoch_plan>;
    };

/// A batching strategy turns the lengths, or the shapes, of all examples into the plan of one epoch.
///
/// Requires: `plan(lengths, seed, epoch)` or `plan(shapes, seed, epoch)`, pure. Laws: every example stands exactly once
/// in the plan; the plan depends on nothing else. Not required: any relation to ranks (batching/assignment.hpp
/// distributes micro-batches) or to the content of examples.
template <class B>
concept batching_strategy = plans_lengths<B> || plans_shapes<B>;

}  // namespace lodestone
