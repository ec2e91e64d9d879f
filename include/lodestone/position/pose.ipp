// Definitions of pose.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/position/pose.hpp>

namespace lodestone::position {

LODESTONE_INLINE void pose::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                 std::span<std::int32_t> out) const {
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
        i + 1 == count ? n - start : 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most)));
    if (i > 0) bias += static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(window - n - bias + 1)));
    detail::write_block(pieces.next(length), start + bias);
    start += length;
  }
}

}  // namespace lodestone::position
