// Definitions of original.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/position/original.hpp>

namespace lodestone::position {

LODESTONE_INLINE std::vector<std::int64_t> covering_starts(std::int64_t tokens, std::int64_t slots) {
  if (tokens < 1 || tokens > slots)
    throw config_error(
        "a block of " + std::to_string(tokens) + " ids does not fit into a bin of " + std::to_string(slots),
        "position_window", "raise it, or take smaller chunks");
  std::vector<std::int64_t> starts(static_cast<std::size_t>((slots - 1) / tokens + 1), 0);
  const auto last = static_cast<std::int64_t>(starts.size()) - 1;
  for (std::int64_t i = 1; i <= last; ++i) starts[static_cast<std::size_t>(i)] = i * (slots - tokens) / last;
  return starts;
}

LODESTONE_INLINE void original_notebook::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                              std::span<std::int32_t> out) const {
  const auto n = static_cast<std::int64_t>(out.size());
  check_window(n, window, example);
  const layout parts = rule.parts(example, n);
  const std::int64_t q = std::max(reserve, parts.tail);
  const auto key = static_cast<std::uint64_t>(example.index);
  // What a chunk keeps is the same in all epochs: an epoch that no run reaches is its key.
  random_stream kept(seed, random_purpose::position, 0xff'ffff, key);
  random_stream random(seed, random_purpose::position, epoch, key);
  detail::piecewise pieces(out);
  detail::write_block(pieces.next(parts.prefix), 0);
  const auto count = static_cast<std::int64_t>(parts.chunks.size());
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t tokens = parts.chunks[static_cast<std::size_t>(j)];
    const std::int64_t bin = (window - parts.prefix - q) / count;
    std::vector<std::int64_t> starts = covering_starts(tokens, bin);
    shuffle(std::span(starts), kept);
    starts.resize(std::min<std::size_t>(starts.size(), 2));
    detail::write_block(pieces.next(tokens), parts.prefix + j * bin + starts[random.below(starts.size())]);
  }
  detail::write_block(pieces.next(parts.tail), std::min(window - q + 1, window - parts.tail));
}

LODESTONE_INLINE void original_sparse::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                            std::span<std::int32_t> out) const {
  const auto n = static_cast<std::int64_t>(out.size());
  check_window(n, window, example);
  const layout parts = rule.parts(example, n);
  random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
  detail::piecewise pieces(out);
  detail::write_block(pieces.next(parts.prefix), 0);
  const auto count = static_cast<std::int64_t>(parts.chunks.size());
  const std::int64_t bin = (window - std::max(reserve, parts.tail) - parts.prefix) / (count + 1);
  std::int64_t behind = parts.prefix;
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t tokens = parts.chunks[static_cast<std::size_t>(j)];
    const std::vector<std::int64_t> starts = covering_starts(tokens, bin);
    const std::int64_t first = parts.prefix + j * bin + starts[random.below(starts.size())];
    detail::write_block(pieces.next(tokens), first);
    behind = first + tokens;
  }
  detail::write_block(pieces.next(parts.tail), behind);
}

LODESTONE_INLINE void original_continue::fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch,
                                              std::span<std::int32_t> out) const {
  const auto n = static_cast<std::int64_t>(out.size());
  check_window(n, window, example);
  const layout parts = rule.parts(example, n);
  const std::int64_t context = parts.context();
  std::int64_t first = parts.prefix;
  if (context > 0) {
    const std::int64_t places = (window - std::max(reserve, parts.tail) - parts.prefix) / context;
    if (places < 1)
      throw config_error("example " + std::to_string(example.index) + " has " + std::to_string(context) +
                             " tokens of context, which leave no room for the reserve of " + std::to_string(reserve),
                         "position_window", "raise it, or shorten the example");
    random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
    first += context * static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(places)));
  }
  detail::piecewise pieces(out);
  detail::write_block(pieces.next(parts.prefix), 0);
  detail::write_block(pieces.next(context + parts.tail), first);
}

}  // namespace lodestone::position
