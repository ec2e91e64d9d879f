// What a position policy is: it writes the position ids of one sequence.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <lodestone/batching/example.hpp>

namespace lodestone {

/// Fills out[0 .. n) with the position ids of an example of n tokens.
///
/// Requires: `fill(example, seed, epoch, out)`, a pure function of its arguments (random numbers come from
/// random_stream{seed, random_purpose::position, epoch, example.index}). Laws: ids are non-negative and strictly
/// increasing. Not required: that they start at 0 or are consecutive.
template <class P>
concept position_policy = requires(const P& policy, const example_view& example, std::uint64_t seed,
                                   std::uint64_t epoch, std::span<std::int32_t> out) {
  policy.fill(example, seed, epoch, out);
};

}  // namespace lodestone
