// PoSE: a few blocks of consecutive ids with skips between them.
#pragma once

#include <cstdint>
#include <span>

#include <lodestone/position/concept.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

/// Positional skip-wise training (Zhu et al., arXiv 2309.10400, section 3.2): n = L_c tokens are cut into N chunks;
/// chunk i, which starts at token st_i, has the ids st_i + u_i, st_i + u_i + 1, ... with the skipping bias u_0 = 0 and
/// u_i ~ U{u_{i-1}, ..., L_t - L_c}.
///
/// Lengths are drawn as the authors' program draws them: each chunk but the last has 1 to (n + 1) / N tokens. The text
/// is the example as it stands (v_i = st_i). Chunks are cut anywhere, within an answer too.
struct pose {
  std::int64_t window = 65'536;  ///< L_t
  std::int64_t chunks = 2;       ///< N, at least 1

  /// Writes the ids; throws config_error when the example is longer than the window.
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const;
};

static_assert(position_policy<pose>);

}  // namespace lodestone::position

#ifndef LODESTONE_COMPILED
#include <lodestone/position/pose.ipp>
#endif
