// Naive batching: every sequence is its own micro-batch, in random order.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/steps.hpp>

namespace lodestone::batching {

/// The baseline: no sequence shares a stream with another, and neighbours in a step have unrelated lengths, so ranks
/// that meet at each micro-batch wait for the longest. The order is a new shuffle in every epoch.
struct naive {
  std::int64_t sequences_per_step = 0;  ///< give this
  std::int64_t tokens_per_step = 0;     ///< or this

  /// Throws data_error for an example without tokens, config_error as cut_into_steps does.
  [[nodiscard]] epoch_plan plan(std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) const {
    detail::check_lengths(lengths);
    std::vector<micro_batch> stream;
    stream.reserve(lengths.size());
    for (const std::int64_t example : detail::shuffled_order(lengths.size(), seed, epoch))
      stream.push_back({.examples = {example}});
    return cut_into_steps(std::move(stream), lengths, {.sequences = sequences_per_step, .tokens = tokens_per_step});
  }
};

static_assert(batching_strategy<naive>);

}  // namespace lodestone::batching
