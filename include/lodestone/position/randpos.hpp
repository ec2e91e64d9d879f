// RandPos: position ids drawn from the whole window without repetition, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <lodestone/core/random.hpp>
#include <lodestone/position/concept.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

namespace detail {

/// A uniformly random subset of [low, low + width) with as many ids as `out` has places, ascending: selection sampling,
/// which takes each id with probability (ids wanted) / (ids left). Requires out.size() <= width.
inline void draw_ascending(std::span<std::int32_t> out, std::int64_t low, std::int64_t width, random_stream& random) {
  auto left = static_cast<std::uint64_t>(width);
  std::size_t next = 0;
  for (std::int64_t id = low; next < out.size(); ++id, --left)
    if (random.below(left) < out.size() - next) out[next++] = static_cast<std::int32_t>(id);
}

}  // namespace detail

/// Randomised positional encodings (Ruoss et al., arXiv 2305.16843, section 3): the ids of n tokens are a uniformly
/// random n-subset of [0, L), in ascending order, drawn anew for each example and epoch. The cost of a draw is O(L).
struct randpos {
  std::int64_t window = 65'536;  ///< L

  /// Writes the ids; throws config_error when the example is longer than the window.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const {
    check_window(static_cast<std::int64_t>(out.size()), window, example);
    random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
    detail::draw_ascending(out, 0, window, random);
  }
};

static_assert(position_policy<randpos>);

}  // namespace lodestone::position
