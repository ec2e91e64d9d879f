// Compatibility modes: the position ids of LOGO's released notebook and of its authors' data builder.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/position/concept.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

/// Starts of the blocks of `tokens` ids that cover `slots` ids: m = ceil(slots / tokens) of them, the i-th at
/// floor(i (slots - tokens) / (m - 1)), the only one at 0. Requires 1 <= tokens <= slots.
[[nodiscard]] inline std::vector<std::int64_t> covering_starts(std::int64_t tokens, std::int64_t slots) {
  if (tokens < 1 || tokens > slots)
    throw config_error("a block of " + std::to_string(tokens) + " ids does not fit into a bin of " +
                           std::to_string(slots),
                       "position_window", "raise it, or take smaller chunks");
  std::vector<std::int64_t> starts(static_cast<std::size_t>((slots - 1) / tokens + 1), 0);
  const auto last = static_cast<std::int64_t>(starts.size()) - 1;
  for (std::int64_t i = 1; i <= last; ++i) starts[static_cast<std::size_t>(i)] = i * (slots - tokens) / last;
  return starts;
}

/// The notebook that was released with LOGO, without its beacon tokens.
///
/// Bins of floor((K - S - q) / N) ids follow each other from S; a chunk keeps two random covering_starts() of its bin
/// and each sample takes one of them. The notebook writes all 2^N combinations, here an epoch draws one. The question
/// begins at K - q + 1, or earlier where the notebook would leave the window.
struct original_notebook {
  std::int64_t window = 65'536;  ///< K
  std::int64_t reserve = 512;    ///< q, ids kept for question and answer; at least those of the example are
  layout_rule rule{};            ///< finds the chunks

  /// Writes the ids; throws config_error when a chunk does not fit into its bin.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const {
    const auto n = static_cast<std::int64_t>(out.size());
    check_window(n, window, example);
    const layout parts = rule.parts(example, n);
    const std::int64_t q = std::max(reserve, parts.tail);
    const auto key = static_cast<std::uint64_t>(example.index);
    // What a chunk keeps is the same in all epochs: an epoch that no run reaches is its key.
    random_stream kept(seed, random_purpose::position, 0xff'ffff, key);
    random_stream random(seed, random_purpose::position, epoch, key);
    detail::piecewise pieces(out);
    detail::write_block(pieces.next(parts.prefix), 0);
    const auto count = static_cast<std::int64_t>(parts.chunks.size());
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t tokens = parts.chunks[static_cast<std::size_t>(j)];
      const std::int64_t bin = (window - parts.prefix - q) / count;
      std::vector<std::int64_t> starts = covering_starts(tokens, bin);
      shuffle(std::span(starts), kept);
      starts.resize(std::min<std::size_t>(starts.size(), 2));
      detail::write_block(pieces.next(tokens), parts.prefix + j * bin + starts[random.below(starts.size())]);
    }
    detail::write_block(pieces.next(parts.tail), std::min(window - q + 1, window - parts.tail));
  }
};

/// What the authors' data builder calls "sparse": blocks, nearest to the paper's continuous chunks.
///
/// Bins of floor((K - q - S) / (N + 1)) ids follow each other from S, so the context never reaches the last part of the
/// window; a chunk takes one of the covering_starts() of its bin. Question and answer follow the last chunk.
struct original_sparse {
  std::int64_t window = 65'536;  ///< K
  std::int64_t reserve = 1'000;  ///< q, ids kept for question and answer; at least those of the example are
  layout_rule rule{};            ///< finds the chunks

  /// Writes the ids; throws config_error when a chunk does not fit into its bin.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const {
    const auto n = static_cast<std::int64_t>(out.size());
    check_window(n, window, example);
    const layout parts = rule.parts(example, n);
    random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
    detail::piecewise pieces(out);
    detail::write_block(pieces.next(parts.prefix), 0);
    const auto count = static_cast<std::int64_t>(parts.chunks.size());
    const std::int64_t bin = (window - std::max(reserve, parts.tail) - parts.prefix) / (count + 1);
    std::int64_t behind = parts.prefix;
    for (std::int64_t j = 0; j < count; ++j) {
      const std::int64_t tokens = parts.chunks[static_cast<std::size_t>(j)];
      const std::vector<std::int64_t> starts = covering_starts(tokens, bin);
      const std::int64_t first = parts.prefix + j * bin + starts[random.below(starts.size())];
      detail::write_block(pieces.next(tokens), first);
      behind = first + tokens;
    }
    detail::write_block(pieces.next(parts.tail), behind);
  }
};

/// What the authors' data builder calls "continue": the whole context as one block, slid over the window.
///
/// With r tokens of context the block begins at S, S + r, S + 2r, ... as long as it ends by K - q; each sample
/// takes one of these places. Question and answer follow.
struct original_continue {
  std::int64_t window = 65'536;  ///< K
  std::int64_t reserve = 1'000;  ///< q, ids kept for question and answer; at least those of the example are
  layout_rule rule{};            ///< finds prefix and tail

  /// Writes the ids; throws config_error when the context does not fit in front of the reserve.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const {
    const auto n = static_cast<std::int64_t>(out.size());
    check_window(n, window, example);
    const layout parts = rule.parts(example, n);
    const std::int64_t context = parts.context();
    std::int64_t first = parts.prefix;
    if (context > 0) {
      const std::int64_t places = (window - std::max(reserve, parts.tail) - parts.prefix) / context;
      if (places < 1)
        throw config_error("example " + std::to_string(example.index) + " has " + std::to_string(context) +
                               " tokens of context, which leave no room for the reserve of " + std::to_string(reserve),
                           "position_window", "raise it, or shorten the example");
      random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
      first += context * static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(places)));
    }
    detail::piecewise pieces(out);
    detail::write_block(pieces.next(parts.prefix), 0);
    detail::write_block(pieces.next(context + parts.tail), first);
  }
};

static_assert(position_policy<original_notebook> && position_policy<original_sparse> &&
              position_policy<original_continue>);

}  // namespace lodestone::position
