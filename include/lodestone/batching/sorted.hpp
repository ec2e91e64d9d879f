// Sorted batching: groups of neighbours in length, the groups in random order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/steps.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// LongAlign section 3.3: sort by length, cut into groups of `group` neighbours, shuffle the groups in every epoch.
///
/// Sequences of a group follow each other in the step, so ranks that meet at each micro-batch do equal work when the
/// number of ranks divides `group`. Nothing is dropped: when `group` does not divide the number of examples, the group
/// of the longest ones is smaller. Examples of equal length are shuffled among themselves, so that their company
/// changes from epoch to epoch. A step holds whole groups' micro-batches in sequence; several groups a step soften the
/// bias of steps that are all short or all long (the paper mixes 12).
struct sorted {
  std::int64_t sequences_per_step = 0;  ///< give this
  std::int64_t tokens_per_step = 0;     ///< or this
  std::int64_t group = 8;               ///< neighbours that stay together
  std::int64_t tokens = 0;              ///< neighbours of a group share streams of up to this; 0: one sequence each

  /// Throws data_error for an example without tokens or longer than a stream, config_error for settings out of range.
  [[nodiscard]] epoch_plan plan(std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) const {
    if (group < 1) throw config_error("must be at least 1", "batching.group", "the number of ranks is a good choice");
    if (tokens < 0) throw config_error("must not be negative", "batching.tokens");
    detail::check_lengths(lengths);
    if (tokens > 0) detail::check_fits(lengths, tokens);
    const auto length = [&](std::int64_t example) { return lengths[static_cast<std::size_t>(example)]; };

    std::vector<std::int64_t> order = detail::shuffled_order(lengths.size(), seed, epoch, 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return length(a) < length(b); });
    const auto size = static_cast<std::size_t>(group);
    const std::size_t groups = (order.size() + size - 1) / size;
    std::vector<micro_batch> stream;
    for (const std::int64_t g : detail::shuffled_order(groups, seed, epoch, 1)) {
      const std::size_t begin = static_cast<std::size_t>(g) * size;
      const std::size_t end = std::min(begin + size, order.size());
      std::int64_t room = 0;  // left in the open stream
      for (std::size_t i = begin; i < end; ++i) {
        if (room < length(order[i])) {
          stream.emplace_back();
          room = tokens;
        }
        stream.back().examples.push_back(order[i]);
        room -= length(order[i]);
      }
    }
    return cut_into_steps(std::move(stream), lengths, {.sequences = sequences_per_step, .tokens = tokens_per_step});
  }
};

static_assert(batching_strategy<sorted>);

}  // namespace lodestone::batching
