// Compatibility modes: the position ids of LOGO's released notebook and of its authors' data builder.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/position/concept.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

/// Starts of the blocks of `tokens` ids that cover `slots` ids: m = ceil(slots / tokens) of them, the i-th at
/// floor(i (slots - tokens) / (m - 1)), the only one at 0. Requires 1 <= tokens <= slots.
[[nodiscard]] std::vector<std::int64_t> covering_starts(std::int64_t tokens, std::int64_t slots);

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
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
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
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
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
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
};

static_assert(position_policy<original_notebook> && position_policy<original_sparse> &&
              position_policy<original_continue>);

}  // namespace lodestone::position

#ifndef LODESTONE_COMPILED
#include <lodestone/position/original.ipp>
#endif
