// Definitions of merge.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <queue>
#include <vector>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/merge.hpp>

namespace lodestone::text {

LODESTONE_INLINE std::size_t merge_word(const merge_table& merges, std::span<std::int32_t> symbols) {
  std::size_t count = symbols.size();
  std::array<std::uint32_t, merge_limit> ranks;  // of the pair (i, i + 1)
  std::array<std::int32_t, merge_limit> becomes;
  const auto look = [&](std::size_t i) {
    const merge_table::merge found = merges.find(symbols[i], symbols[i + 1]);
    ranks[i] = found.rank;
    becomes[i] = found.symbol;
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == merge_table::no_rank) break;
    symbols[best] = becomes[best];
    const auto close_gap = [&](auto& row, std::size_t from) {
      std::copy(row.begin() + static_cast<std::ptrdiff_t>(from + 1), row.begin() + static_cast<std::ptrdiff_t>(count),
                row.begin() + static_cast<std::ptrdiff_t>(from));
    };
    close_gap(symbols, best + 1);
    close_gap(ranks, best);
    close_gap(becomes, best);
    --count;
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  return count;
}

LODESTONE_INLINE std::size_t merge_text(const merge_table& merges, std::span<std::int32_t> symbols) {
  constexpr std::uint32_t nowhere = 0xffff'ffffU;
  struct candidate {
    std::uint32_t rank;
    std::uint32_t place;
    std::int32_t left;  // the two sides when the candidate was found: it is stale if they have changed
    std::int32_t right;
    std::int32_t becomes;
    bool operator>(const candidate& other) const {
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  struct neighbours {
    std::uint32_t before;
    std::uint32_t after;
  };
  const auto count = static_cast<std::uint32_t>(symbols.size());
  std::vector<neighbours> links(count);
  std::vector<candidate> found;
  found.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    links[i] = {i == 0 ? nowhere : i - 1, i + 1 == count ? nowhere : i + 1};
    if (i + 1 == count) break;
    const merge_table::merge one = merges.find(symbols[i], symbols[i + 1]);
    if (one.rank != merge_table::no_rank) found.push_back({one.rank, i, symbols[i], symbols[i + 1], one.symbol});
  }
  std::priority_queue heap(std::greater<candidate>{}, std::move(found));
  const auto consider = [&](std::uint32_t left, std::uint32_t right) {
    const merge_table::merge one = merges.find(symbols[left], symbols[right]);
    if (one.rank != merge_table::no_rank) heap.push({one.rank, left, symbols[left], symbols[right], one.symbol});
  };
  constexpr std::int32_t gone = -1;
  while (!heap.empty()) {
    const candidate top = heap.top();
    heap.pop();
    const std::uint32_t left = top.place;
    const std::uint32_t right = links[left].after;
    if (symbols[left] != top.left || right == nowhere || symbols[right] != top.right) continue;
    symbols[left] = top.becomes;
    symbols[right] = gone;
    links[left].after = links[right].after;
    if (links[left].after != nowhere) {
      links[links[left].after].before = left;
      consider(left, links[left].after);
    }
    if (links[left].before != nowhere) consider(links[left].before, left);
  }
  const auto rest = std::remove(symbols.begin(), symbols.end(), gone);
  return static_cast<std::size_t>(rest - symbols.begin());
}

}  // namespace lodestone::text

