// LOGO's position synthesis: the chunks of a context spread over a window that is longer than the text.
#pragma once

#include <cstdint>
#include <span>

#include <lodestone/position/concept.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

/// Where question and answer stand: right behind the last token of the context, or at the far end of the window.
enum class tail_place : std::uint8_t { adjacent, far_end };

/// LOGO's mix, drawn once for each example and epoch: chunks in one piece with probability `continuous`, else sparse
/// ones; 9 : 1 "in actual deployment" (appendix D).
struct logo_mix {
  std::int64_t window = 65'536;            ///< K, ids of the target context
  double continuous = 0.9;                 ///< share of samples with chunks in one piece, in [0, 1]
  tail_place tail = tail_place::adjacent;  ///< of question and answer
  layout_rule rule{};                      ///< finds the chunks

  /// Writes the ids; throws config_error when the example is longer than the window.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
};

/// LOGO's continuous chunks: the ids of a chunk are consecutive, with one random bias for all its tokens.
struct logo_continuous {
  std::int64_t window = 65'536;            ///< K, ids of the target context
  tail_place tail = tail_place::adjacent;  ///< of question and answer
  layout_rule rule{};                      ///< finds the chunks

  /// Writes the ids; throws config_error when the example is longer than the window.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
};

/// LOGO's sparse chunks: every token of a chunk has a bias of its own, so ids within a chunk have gaps.
struct logo_sparse {
  std::int64_t window = 65'536;            ///< K, ids of the target context
  tail_place tail = tail_place::adjacent;  ///< of question and answer
  layout_rule rule{};                      ///< finds the chunks

  /// Writes the ids; throws config_error when the example is longer than the window.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
};

static_assert(position_policy<logo_mix> && position_policy<logo_continuous> && position_policy<logo_sparse>);

}  // namespace lodestone::position

#ifndef LODESTONE_COMPILED
#include <lodestone/position/logo.ipp>
#endif
