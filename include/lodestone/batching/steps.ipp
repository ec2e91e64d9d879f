// Definitions of steps.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <numeric>
#include <string>
#include <utility>

#include <lodestone/batching/steps.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>

namespace lodestone::batching {

namespace detail {

LODESTONE_INLINE void check_lengths(std::span<const std::int64_t> lengths) {
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] <= 0)
      throw data_error("has " + std::to_string(lengths[i]) + " tokens", "example " + std::to_string(i),
                       "drop it when the data are prepared");
}

LODESTONE_INLINE void check_fits(std::span<const std::int64_t> lengths, std::int64_t tokens) {
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] > tokens)
      throw data_error("has " + std::to_string(lengths[i]) + " tokens, a pack holds " + std::to_string(tokens),
                       "example " + std::to_string(i),
                       "raise batching.tokens, or drop, truncate or split long examples when the data are prepared");
}

LODESTONE_INLINE std::vector<std::int64_t> shuffled_order(std::size_t n, std::uint64_t seed, std::uint64_t epoch,
                                                          std::uint64_t stream) {
  std::vector<std::int64_t> order(n);
  std::iota(order.begin(), order.end(), std::int64_t{0});
  random_stream random(seed, random_purpose::shuffle, epoch, stream);
  shuffle(std::span(order), random);
  return order;
}

}  // namespace detail

LODESTONE_INLINE epoch_plan cut_into_steps(std::vector<micro_batch> stream, std::span<const std::int64_t> lengths,
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

