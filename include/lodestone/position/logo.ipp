// Definitions of logo.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/position/randpos.hpp>

namespace lodestone::position {

namespace detail {

// LOGO (arXiv 2410.18533, equation 4 and appendix D), made strictly increasing.
//
// With real length k = S + sum of c_j + T, window K and N chunks, chunk j has the ids of its own bin: bins stand
// behind each other from S to K - T, and bin j is c_j + (K - k) / N wide (rounded so that they fill that range).
// Chunks in one piece lie uniformly at random in their bin, sparse ones are a random subset of it.
LODESTONE_INLINE void fill_logo(const layout& parts, std::int64_t window, bool is_sparse, tail_place place,
                                random_stream& random, std::span<std::int32_t> out) {
  const auto slack = window - static_cast<std::int64_t>(out.size());
  const auto count = static_cast<std::int64_t>(parts.chunks.size());
  // floor(j slack / N) without a product that could pass 2^63.
  const auto share = [&](std::int64_t j) { return slack / count * j + slack % count * j / count; };
  piecewise pieces(out);
  write_block(pieces.next(parts.prefix), 0);
  std::int64_t base = parts.prefix;
  std::int64_t behind = parts.prefix;  // one past the last id so far
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t tokens = parts.chunks[static_cast<std::size_t>(j)];
    const std::int64_t low = base + share(j);
    const std::int64_t gap = share(j + 1) - share(j);
    const std::span<std::int32_t> ids = pieces.next(tokens);
    if (is_sparse)
      draw_ascending(ids, low, tokens + gap, random);
    else
      write_block(ids, low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(gap) + 1)));
    behind = std::int64_t{ids.back()} + 1;
    base += tokens;
  }
  write_block(pieces.next(parts.tail), place == tail_place::far_end ? window - parts.tail : behind);
}

}  // namespace detail

LODESTONE_INLINE void logo_mix::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                     std::span<std::int32_t> out) const {
  if (!(continuous >= 0.0 && continuous <= 1.0))
    throw config_error("the share of continuous samples must lie in [0, 1]", "logo_mix::continuous");
  const auto n = static_cast<std::int64_t>(out.size());
  check_window(n, window, example);
  random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
  const bool is_sparse = random.uniform() >= continuous;
  detail::fill_logo(rule.parts(example, n), window, is_sparse, tail, random, out);
}

LODESTONE_INLINE void logo_continuous::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                            std::span<std::int32_t> out) const {
  logo_mix{window, 1.0, tail, rule}.fill(example, seed, epoch, out);
}

LODESTONE_INLINE void logo_sparse::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                        std::span<std::int32_t> out) const {
  logo_mix{window, 0.0, tail, rule}.fill(example, seed, epoch, out);
}

}  // namespace lodestone::position
