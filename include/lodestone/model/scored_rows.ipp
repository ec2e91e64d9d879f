// Definitions of scored_rows.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>

#include <lodestone/core/inline.hpp>
#include <lodestone/model/scored_rows.hpp>

namespace lodestone {

LODESTONE_INLINE scored_rows scored_rows::group(std::span<const scored_token> scored) {
  scored_rows result;
  result.entries.resize(scored.size());
  for (std::size_t k = 0; k < scored.size(); ++k) result.entries[k] = static_cast<std::int64_t>(k);
  std::ranges::stable_sort(result.entries, {}, [&](std::int64_t k) { return scored[static_cast<std::size_t>(k)].row; });
  for (const std::int64_t k : result.entries) {
    const scored_token& token = scored[static_cast<std::size_t>(k)];
    if (result.rows.empty() || result.rows.back() != token.row) {
      result.rows.push_back(token.row);
      result.offsets.push_back(static_cast<std::int64_t>(result.labels.size()));
    }
    result.labels.push_back(token.label);
  }
  result.offsets.push_back(static_cast<std::int64_t>(result.labels.size()));
  return result;
}

}  // namespace lodestone
