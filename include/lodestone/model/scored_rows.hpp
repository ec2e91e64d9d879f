// The scored tokens of a batch, grouped by hidden row: each row's logits are computed once, however often it is scored.
#pragma once

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
  [[nodiscard]] static scored_rows group(std::span<const scored_token> scored);
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/scored_rows.ipp>
#endif
