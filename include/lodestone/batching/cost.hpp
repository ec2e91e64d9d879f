// What a micro-batch costs: a part that grows with tokens and a part that grows with attended pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/attention/slices.hpp>
#include <lodestone/batching/concept.hpp>

namespace lodestone::batching {

/// Floating-point operations of one training step; any common unit will do, since only ratios are used.
///
/// Packing makes token counts equal but not costs: one document of 64k tokens has 64 times the attention pairs of 64
/// documents of 1k. model/cost.hpp fills this for a Llama-family model.
struct cost_model {
  /// Attention layers that see only the last `window` keys.
  struct windowed_layers {
    std::int64_t window = 0;  ///< keys, at least 1
    double per_pair = 0.0;    ///< of all these layers together
  };

  double per_token = 1.0;                  ///< linear layers
  double per_pair = 0.0;                   ///< layers with full causal attention: n (n + 1) / 2 pairs for n tokens
  std::vector<windowed_layers> windows{};  ///< one entry for each window
  double per_micro_batch = 0.0;            ///< what even an empty one costs: launches, gathering sharded weights

  /// Attention's part for one sequence.
  [[nodiscard]] double attention(std::int64_t length) const {
    slice own{0, length, 0, length, slice_kind::causal};
    double sum = per_pair * static_cast<double>(pairs(own));
    for (const windowed_layers& layers : windows) {
      own.window = layers.window;
      sum += layers.per_pair * static_cast<double>(pairs(own));
    }
    return sum;
  }

  /// Cost of one sequence of `length` tokens, without a micro-batch's fixed part.
  [[nodiscard]] double sequence(std::int64_t length) const {
    return per_token * static_cast<double>(length) + attention(length);
  }

  /// Cost of a micro-batch; `lengths` holds those of all examples of the store.
  [[nodiscard]] double micro_batch(const lodestone::micro_batch& batch, std::span<const std::int64_t> lengths) const {
    double sum = per_micro_batch;
    for (const std::int64_t example : batch.examples) sum += sequence(lengths[static_cast<std::size_t>(example)]);
    return sum;
  }

  /// Cost of a micro-batch as it is arranged; `shapes` holds those of all examples of the store.
  ///
  /// An answer of a shared prompt costs what its own tokens add: attention(length) - attention(prompt) pairs. Answers
  /// computed one by one go forward once more for their log-probabilities: 4 passes where a step has 3.
  [[nodiscard]] double micro_batch(const lodestone::micro_batch& batch, std::span<const example_shape> shapes) const {
    double sum = 0.0;
    std::int64_t group = no_group;  // of the example before
    for (const std::int64_t example : batch.examples) {
      const example_shape& shape = shapes[static_cast<std::size_t>(example)];
      sum += sequence(shape.length);
      if (batch.arranged == arrangement::shared_prompt && shape.group == group) sum -= sequence(shape.prompt);
      group = shape.group;
    }
    if (batch.arranged == arrangement::one_by_one)
      return sum * 4.0 / 3.0 + per_micro_batch * static_cast<double>(batch.examples.size());
    return sum + per_micro_batch;
  }
};

}  // namespace lodestone::batching
