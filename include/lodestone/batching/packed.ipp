// Definitions of packed.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <set>
#include <utility>

#include <lodestone/batching/packed.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::batching {

namespace detail {

LODESTONE_INLINE std::vector<micro_batch> next_fit(std::span<const std::int64_t> order,
                                                   std::span<const std::int64_t> lengths, std::int64_t tokens) {
  std::vector<micro_batch> packs;
  std::int64_t room = -1;
  for (const std::int64_t example : order) {
    const std::int64_t length = lengths[static_cast<std::size_t>(example)];
    if (packs.empty() || room < length) {
      packs.emplace_back();
      room = tokens;
    }
    packs.back().examples.push_back(example);
    room -= length;
  }
  return packs;
}

/// Room of every pack that may ever open, as a tournament tree: the leftmost pack with enough room in O(log n).
class room_tree {
 public:
  room_tree(std::size_t packs, std::int64_t tokens)
      : leaves_(std::bit_ceil(std::max<std::size_t>(packs, 1))), most_(2 * leaves_, tokens) {}

  /// Takes `length` from the leftmost pack that has it and returns the pack; an unopened pack always has.
  std::size_t take(std::int64_t length) {
    std::size_t node = 1;
    while (node < leaves_) node = most_[2 * node] >= length ? 2 * node : 2 * node + 1;
    const std::size_t pack = node - leaves_;
    most_[node] -= length;
    for (node /= 2; node > 0; node /= 2) most_[node] = std::max(most_[2 * node], most_[2 * node + 1]);
    return pack;
  }

 private:
  std::size_t leaves_;
  std::vector<std::int64_t> most_;
};

LODESTONE_INLINE std::vector<micro_batch> first_fit(std::span<const std::int64_t> order,
                                                    std::span<const std::int64_t> lengths, std::int64_t tokens) {
  std::vector<micro_batch> packs;
  room_tree rooms(order.size(), tokens);
  for (const std::int64_t example : order) {
    const std::size_t pack = rooms.take(lengths[static_cast<std::size_t>(example)]);
    if (pack == packs.size()) packs.emplace_back();
    packs[pack].examples.push_back(example);
  }
  return packs;
}

LODESTONE_INLINE std::vector<micro_batch> best_fit(std::span<const std::int64_t> order,
                                                   std::span<const std::int64_t> lengths, std::int64_t tokens) {
  std::vector<micro_batch> packs;
  std::set<std::pair<std::int64_t, std::size_t>> open;  // (room, pack)
  for (const std::int64_t example : order) {
    const std::int64_t length = lengths[static_cast<std::size_t>(example)];
    std::pair<std::int64_t, std::size_t> place{tokens, packs.size()};
    const auto found = open.lower_bound({length, 0});
    if (found != open.end()) {
      place = *found;
      open.erase(found);
    } else {
      packs.emplace_back();
    }
    packs[place.second].examples.push_back(example);
    place.first -= length;
    if (place.first > 0) open.insert(place);
  }
  return packs;
}

}  // namespace detail

LODESTONE_INLINE epoch_plan packed::plan(std::span<const std::int64_t> lengths, std::uint64_t seed,
                                         std::uint64_t epoch) const {
  if (tokens < 1) throw config_error("must be at least 1", "batching.tokens");
  if (window < 0) throw config_error("must not be negative", "batching.window", "0 packs all examples together");
  detail::check_lengths(lengths);
  detail::check_fits(lengths, tokens);
  std::vector<std::int64_t> order = detail::shuffled_order(lengths.size(), seed, epoch, 0);
  const std::size_t run = window == 0 ? std::max<std::size_t>(order.size(), 1) : static_cast<std::size_t>(window);
  std::vector<micro_batch> packs;
  for (std::size_t begin = 0; begin < order.size(); begin += run) {
    const std::span<std::int64_t> part = std::span(order).subspan(begin, std::min(run, order.size() - begin));
    for (micro_batch& pack : pack_examples(part, lengths)) packs.push_back(std::move(pack));
  }
  std::vector<micro_batch> stream;
  stream.reserve(packs.size());
  for (const std::int64_t pack : detail::shuffled_order(packs.size(), seed, epoch, 1))
    stream.push_back(std::move(packs[static_cast<std::size_t>(pack)]));
  return cut_into_steps(std::move(stream), lengths, content());
}

LODESTONE_INLINE std::vector<micro_batch> packed::pack_examples(std::span<std::int64_t> order,
                                                                std::span<const std::int64_t> lengths) const {
  if (algorithm == packing::next_fit) return detail::next_fit(order, lengths, tokens);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
  });
  return algorithm == packing::first_fit_decreasing ? detail::first_fit(order, lengths, tokens)
                                                    : detail::best_fit(order, lengths, tokens);
}

LODESTONE_INLINE step_content packed::content() const {
  const bool none = packs_per_step == 0 && sequences_per_step == 0 && tokens_per_step == 0;
  return {.micro_batches = none ? 8 : packs_per_step, .sequences = sequences_per_step, .tokens = tokens_per_step};
}

}  // namespace lodestone::batching

