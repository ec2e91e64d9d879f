// Definitions of attention.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <numbers>
#include <numeric>

#include <lodestone/core/inline.hpp>
#include <lodestone/host/attention.hpp>

namespace lodestone::on_host {

namespace attention {

LODESTONE_INLINE std::vector<component> components(std::span<const slice> slices, std::int64_t kv_heads) {
  std::vector<std::size_t> leader(slices.size());
  std::iota(leader.begin(), leader.end(), std::size_t{0});
  const auto find = [&](std::size_t i) {
    while (leader[i] != i) i = leader[i] = leader[leader[i]];
    return i;
  };
  // Sorted by where they begin, ranges that meet follow one another under a running end.
  std::vector<std::size_t> order(slices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto join = [&](auto begin_of, auto end_of) {
    std::ranges::sort(order, {}, [&](std::size_t i) { return begin_of(slices[i]); });
    std::size_t last = 0;
    std::int64_t end = std::numeric_limits<std::int64_t>::min();
    for (const std::size_t i : order) {
      if (lodestone::pairs(slices[i]) == 0) continue;
      if (begin_of(slices[i]) < end) leader[find(i)] = find(last);
      end = std::max(end, end_of(slices[i]));
      last = i;
    }
  };
  join([](const slice& s) { return s.q_begin; }, [](const slice& s) { return s.q_end; });
  join([](const slice& s) { return s.k_begin; }, [](const slice& s) { return s.k_end; });

  std::vector<component> found;
  std::vector<std::size_t> place(slices.size(), slices.size());
  std::int64_t total = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const std::int64_t count = lodestone::pairs(slices[i]);
    if (count == 0) continue;
    std::size_t& at = place[find(i)];
    if (at == slices.size()) {
      at = found.size();
      found.emplace_back();
    }
    found[at].slices.push_back(slices[i]);
    found[at].pairs += count;
    total += count;
  }
  std::ranges::stable_sort(found, std::ranges::greater{}, &component::pairs);
  // Every share has sums of query gradients of its own, so there are at most 16 tasks' worth, and 8 a head.
  for (component& c : found) {
    const double part = static_cast<double>(c.pairs) / static_cast<double>(total);
    c.shares = std::clamp<std::int64_t>(static_cast<std::int64_t>(16.0 * part / static_cast<double>(kv_heads)), 1, 8);
  }
  return found;
}

}  // namespace attention

}  // namespace lodestone::on_host

