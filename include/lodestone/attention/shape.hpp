// The sizes of one attention call.
#pragma once

#include <cstdint>

namespace lodestone {

/// Heads and scale of an attention call. Query rows hold `heads` vectors of head_dim elements, key and value rows
/// `kv_heads`; heads is a multiple of kv_heads, and query head h reads key-value head h / (heads / kv_heads).
struct attention_shape {
  std::int64_t heads = 1;     ///< H
  std::int64_t kv_heads = 1;  ///< K
  std::int64_t head_dim = 1;  ///< D
  double scale = 1.0;         ///< factor of q . k before the softmax, usually 1 / sqrt(head_dim)

  /// Query heads that share a key-value head.
  [[nodiscard]] constexpr std::int64_t group() const { return heads / kv_heads; }
  friend constexpr bool operator==(const attention_shape&, const attention_shape&) = default;
};

}  // namespace lodestone
