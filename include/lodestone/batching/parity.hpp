// The packs that LongAlign's released trainer would build, for comparison; what it loses is kept and named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/steps.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// A replay of the released pack building (github.com/THUDM/LongAlign, sort_and_group.py).
struct original_packs {
  std::vector<micro_batch> packs;     ///< of fewer than `tokens` tokens each, in file order
  std::vector<std::int64_t> skipped;  ///< examples of `tokens` tokens or more, which it passes over
  std::vector<std::int64_t> lost;     ///< examples of the last, still open pack, which it never writes
};

/// Next-fit in file order with a strict bound: a pack holds at most tokens - 1, so that two halves never share one.
[[nodiscard]] inline original_packs replay_original(std::span<const std::int64_t> lengths, std::int64_t tokens) {
  if (tokens < 1) throw config_error("must be at least 1", "batching.tokens");
  original_packs result;
  micro_batch open;
  std::int64_t used = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const auto example = static_cast<std::int64_t>(i);
    if (lengths[i] >= tokens || lengths[i] < 1) {
      result.skipped.push_back(example);
      continue;
    }
    if (used + lengths[i] >= tokens) {
      result.packs.push_back(std::exchange(open, {}));
      used = 0;
    }
    open.examples.push_back(example);
    used += lengths[i];
  }
  result.lost = std::move(open.examples);
  return result;
}

/// The boundaries that the original hands to its attention kernel: starts of the sequences, and the pack's end. What is
/// left of a pack becomes one more "sequence" of padding there; here no padding exists.
[[nodiscard]] inline std::vector<std::int64_t> original_boundaries(const micro_batch& pack,
                                                                   std::span<const std::int64_t> lengths,
                                                                   std::int64_t tokens) {
  std::vector<std::int64_t> boundaries{0};
  for (const std::int64_t example : pack.examples)
    boundaries.push_back(boundaries.back() + lengths[static_cast<std::size_t>(example)]);
  boundaries.push_back(tokens);
  return boundaries;
}

/// The original's packs, in file order and the same in every epoch, and after them what it would have lost: the open
/// pack, and each skipped example by itself, so that every example is still trained exactly once.
///
/// Examples longer than `tokens` are refused as everywhere else; those of exactly `tokens` are kept.
struct original_packed {
  std::int64_t tokens = 65'536;     ///< the original's packs hold fewer than this
  std::int64_t packs_per_step = 8;  ///< positive

  /// The same for every seed and epoch. Throws data_error for an example without tokens or longer than `tokens`,
  /// config_error for settings out of range.
  [[nodiscard]] epoch_plan plan(std::span<const std::int64_t> lengths, std::uint64_t, std::uint64_t) const {
    detail::check_lengths(lengths);
    detail::check_fits(lengths, tokens);
    original_packs replay = replay_original(lengths, tokens);
    std::vector<micro_batch> stream = std::move(replay.packs);
    if (!replay.lost.empty()) stream.push_back({.examples = std::move(replay.lost)});
    for (const std::int64_t example : replay.skipped) stream.push_back({.examples = {example}});
    return cut_into_steps(std::move(stream), lengths, {.micro_batches = packs_per_step});
  }
};

static_assert(batching_strategy<original_packed>);

}  // namespace lodestone::batching
