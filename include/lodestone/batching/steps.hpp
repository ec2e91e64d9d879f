// Cutting a sequence of micro-batches into optimiser steps of a stated content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>

namespace lodestone::batching {

/// How much one optimiser step holds, in exactly one unit; the number of ranks is not among them.
///
/// Micro-batches are never divided: a step closes with the micro-batch that reaches the stated content. The last step
/// of an epoch may hold less.
struct step_content {
  std::int64_t micro_batches = 0;
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;
};

namespace detail {

/// Lengths as every strategy needs them: at least 1. Throws data_error naming the example.
inline void check_lengths(std::span<const std::int64_t> lengths) {
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] <= 0)
      throw data_error("has " + std::to_string(lengths[i]) + " tokens", "example " + std::to_string(i),
                       "drop it when the data are prepared");
}

/// Throws data_error for an example that no stream of `tokens` can hold.
inline void check_fits(std::span<const std::int64_t> lengths, std::int64_t tokens) {
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] > tokens)
      throw data_error("has " + std::to_string(lengths[i]) + " tokens, a pack holds " + std::to_string(tokens),
                       "example " + std::to_string(i),
                       "raise batching.tokens, or drop, truncate or split long examples when the data are prepared");
}

/// 0, 1, ..., n - 1 in the random order of (seed, epoch). `stream` separates the orders that one plan draws.
[[nodiscard]] inline std::vector<std::int64_t> shuffled_order(std::size_t n, std::uint64_t seed, std::uint64_t epoch,
                                                              std::uint64_t stream = 0) {
  std::vector<std::int64_t> order(n);
  std::iota(order.begin(), order.end(), std::int64_t{0});
  random_stream random(seed, random_purpose::shuffle, epoch, stream);
  shuffle(std::span(order), random);
  return order;
}

}  // namespace detail

/// Cuts `stream`, in its order, into steps. Throws config_error unless exactly one field of `content` is positive and
/// the others are 0.
[[nodiscard]] inline epoch_plan cut_into_steps(std::vector<micro_batch> stream, std::span<const std::int64_t> lengths,
                                               const step_content& content) {
  const int given = (content.micro_batches != 0) + (content.sequences != 0) + (content.tokens != 0);
  if (given != 1 || content.micro_batches < 0 || content.sequences < 0 || content.tokens < 0)
    throw config_error("the content of a step must be given once, as a positive number of packs, sequences or tokens",
                       "batching");
  const std::int64_t wanted = content.micro_batches + content.sequences + content.tokens;
  epoch_plan plan;
  std::int64_t held = wanted;
  for (micro_batch& batch : stream) {
    if (held >= wanted) {
      plan.steps.emplace_back();
      held = 0;
    }
    if (content.micro_batches > 0) held += 1;
    if (content.sequences > 0) held += static_cast<std::int64_t>(batch.examples.size());
    if (content.tokens > 0)
      for (const std::int64_t example : batch.examples) held += lengths[static_cast<std::size_t>(example)];
    plan.steps.back().micro_batches.push_back(std::move(batch));
  }
  return plan;
}

}  // namespace lodestone::batching
