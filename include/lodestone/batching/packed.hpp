// Packed batching: several sequences share a stream of bounded length; nothing is dropped.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/steps.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// How sequences are put into packs.
enum class packing : std::uint8_t {
  next_fit,               ///< one open pack, examples in random order; O(n)
  first_fit_decreasing,   ///< longest first, into the first pack with room; O(n log n)
  best_fit_decreasing,    ///< longest first, into the fullest pack with room; O(n log n)
};

namespace detail {

/// `order`, in its order, into packs of at most `tokens`: a pack is closed when the next example does not fit.
[[nodiscard]] inline std::vector<micro_batch> next_fit(std::span<const std::int64_t> order,
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

/// Every example of `order` goes into the first pack that has room.
[[nodiscard]] inline std::vector<micro_batch> first_fit(std::span<const std::int64_t> order,
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

/// Every example of `order` goes into the fullest pack that has room; of equally full ones, into the oldest.
[[nodiscard]] inline std::vector<micro_batch> best_fit(std::span<const std::int64_t> order,
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

/// LongAlign section 3.3: concatenate sequences up to `tokens`, so that every micro-batch is of almost equal size.
///
/// Examples are shuffled by (seed, epoch), packed, and the packs shuffled. With `window` > 0, each run of that many
/// shuffled examples is packed by itself: the decreasing algorithms then put different sequences together in each
/// epoch, for a slightly lower fill. A pack may be filled exactly, the last one is kept, and an example longer than
/// `tokens` is a data_error that names it.
struct packed {
  std::int64_t tokens = 65'536;
  std::int64_t packs_per_step = 0;      ///< give one of these three; 8 packs when none is given
  std::int64_t sequences_per_step = 0;  ///< a step closes with the pack that reaches it
  std::int64_t tokens_per_step = 0;     ///< likewise
  packing algorithm = packing::best_fit_decreasing;
  std::int64_t window = 0;              ///< examples packed together; 0: all

  [[nodiscard]] epoch_plan plan(std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) const {
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

 private:
  [[nodiscard]] std::vector<micro_batch> pack_examples(std::span<std::int64_t> order,
                                                       std::span<const std::int64_t> lengths) const {
    if (algorithm == packing::next_fit) return detail::next_fit(order, lengths, tokens);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
    });
    return algorithm == packing::first_fit_decreasing ? detail::first_fit(order, lengths, tokens)
                                                      : detail::best_fit(order, lengths, tokens);
  }

  [[nodiscard]] step_content content() const {
    const bool none = packs_per_step == 0 && sequences_per_step == 0 && tokens_per_step == 0;
    return {.micro_batches = none ? 8 : packs_per_step, .sequences = sequences_per_step, .tokens = tokens_per_step};
  }
};

static_assert(batching_strategy<packed>);

}  // namespace lodestone::batching
