// PoSE: a few blocks of consecutive ids with skips between them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>
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
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const {
    if (chunks < 1) throw config_error("PoSE needs at least one chunk", "pose::chunks");
    const auto n = static_cast<std::int64_t>(out.size());
    check_window(n, window, example);
    random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
    const std::int64_t count = std::min(chunks, n);
    detail::piecewise pieces(out);
    std::int64_t start = 0;
    std::int64_t bias = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t most = (n + 1) / count;
      const std::int64_t length =
          i + 1 == count ? n - start
                         : 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most)));
      if (i > 0) bias += static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(window - n - bias + 1)));
      detail::write_block(pieces.next(length), start + bias);
      start += length;
    }
  }
};

static_assert(position_policy<pose>);

}  // namespace lodestone::position
