// Position ids 0, 1, 2, ... for every sequence: the ordinary case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <lodestone/position/concept.hpp>

namespace lodestone::position {

/// Every sequence starts at 0, wherever it lies in the stream: a packed sequence rotates exactly as it does alone.
struct contiguous {
  /// out[i] = i, whatever the example, seed and epoch.
  void fill(const example_view&, std::uint64_t, std::uint64_t, std::span<std::int32_t> out) const {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>(i);
  }
};

static_assert(position_policy<contiguous>);

}  // namespace lodestone::position
