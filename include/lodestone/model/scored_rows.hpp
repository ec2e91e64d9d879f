// The scored tokens of a batch, grouped by hidden row: each row's logits are computed once, however often it is scored.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/token_batch.hpp>

namespace lodestone {

/// Row rows[r] has the labels labels[offsets[r]] .. labels[offsets[r + 1]]; the k-th of them is entry entries[k] of
/// token_batch::scored.
struct scored_rows {
  std::vector<std::int64_t> rows;     ///< ascending, unique
  std::vector<std::int64_t> offsets;  ///< [rows + 1]
  std::vector<std::int32_t> labels;   ///< [scored]
  std::vector<std::int64_t> entries;  ///< [scored]

  /// Groups `scored`; each row's labels keep the order in which they are listed.
  [[nodiscard]] static scored_rows group(std::span<const scored_token> scored) {
    scored_rows result;
    result.entries.resize(scored.size());
    for (std::size_t k = 0; k < scored.size(); ++k) result.entries[k] = static_cast<std::int64_t>(k);
    std::ranges::stable_sort(result.entries, {},
                             [&](std::int64_t k) { return scored[static_cast<std::size_t>(k)].row; });
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
};

}  // namespace lodestone
