// RandPos: position ids drawn from the whole window without repetition, in order.
#pragma once

#include <cstdint>
#include <span>

#include <lodestone/core/random.hpp>
#include <lodestone/position/concept.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

namespace detail {

/// A uniformly random subset of [low, low + width) with as many ids as `out` has places, ascending: selection sampling,
/// which takes each id with probability (ids wanted) / (ids left). Requires out.size() <= width.
void draw_ascending(std::span<std::int32_t> out, std::int64_t low, std::int64_t width, random_stream& random);

}  // namespace detail

/// Randomised positional encodings (Ruoss et al., arXiv 2305.16843, section 3): the ids of n tokens are a uniformly
/// random n-subset of [0, L), in ascending order, drawn anew for each example and epoch. The cost of a draw is O(L).
struct randpos {
  std::int64_t window = 65'536;  ///< L

  /// Writes the ids; throws config_error when the example is longer than the window.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
};

static_assert(position_policy<randpos>);

}  // namespace lodestone::position

#ifndef LODESTONE_COMPILED
#include <lodestone/position/randpos.ipp>
#endif
