// Definitions of randpos.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>

#include <lodestone/core/inline.hpp>
#include <lodestone/position/randpos.hpp>

namespace lodestone::position {

namespace detail {

LODESTONE_INLINE void draw_ascending(std::span<std::int32_t> out, std::int64_t low, std::int64_t width,
                                     random_stream& random) {
  auto left = static_cast<std::uint64_t>(width);
  std::size_t next = 0;
  for (std::int64_t id = low; next < out.size(); ++id, --left)
    if (random.below(left) < out.size() - next) out[next++] = static_cast<std::int32_t>(id);
}

}  // namespace detail

LODESTONE_INLINE void randpos::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                    std::span<std::int32_t> out) const {
  check_window(static_cast<std::int64_t>(out.size()), window, example);
  random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
  detail::draw_ascending(out, 0, window, random);
}

}  // namespace lodestone::position
