// Definitions of slices.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <string>
#include <vector>

#include <lodestone/attention/slices.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

LODESTONE_INLINE void check_slices(std::span<const slice> slices, std::int64_t query_rows, std::int64_t key_rows) {
  std::vector<std::size_t> order(slices.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const slice& s = slices[order[i] = i];
    if (s.q_begin < 0 || s.q_end < s.q_begin || s.q_end > query_rows || s.k_begin < 0 || s.k_end < s.k_begin ||
        s.k_end > key_rows)
      throw shape_error("slice " + std::to_string(i) + " lies outside the stream of " + std::to_string(query_rows) +
                        " queries and " + std::to_string(key_rows) + " keys");
    if (s.window < 0 || (s.window > 0 && s.kind == slice_kind::full))
      throw shape_error("slice " + std::to_string(i) + " has a window, which only causal slices can have");
  }
  std::ranges::sort(order, {}, [&](std::size_t i) { return slices[i].q_begin; });
  std::vector<std::size_t> open;  // slices whose query range may still meet the next one
  for (const std::size_t i : order) {
    const slice& s = slices[i];
    if (s.queries() == 0 || s.keys() == 0) continue;
    std::erase_if(open, [&](std::size_t j) { return slices[j].q_end <= s.q_begin; });
    for (const std::size_t j : open)
      if (slices[j].k_begin < s.k_end && s.k_begin < slices[j].k_end)
        throw shape_error("slices " + std::to_string(j) + " and " + std::to_string(i) + " overlap");
    open.push_back(i);
  }
}

}  // namespace lodestone

