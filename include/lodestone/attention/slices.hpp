// The attention mask as a short list of slices: which query rows see which key rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// How the rows of a slice see its keys.
enum class slice_kind : std::int32_t {
  full,    ///< every query row sees every key
  causal,  ///< aligned at the end: the last query row sees all keys, each earlier row one fewer
};

/// Query rows [q_begin, q_end) see keys [k_begin, k_end), which may be rows of another stream (a cache).
///
/// With n queries and m keys, query i of a causal slice sees keys j <= i + m - n (indices within the slice). A window
/// w > 0 keeps only the last w of them: j > i + m - n - w; it belongs to causal slices. The keys that a query row sees
/// are the union over its slices; slices never overlap (check_slices).
struct slice {
  std::int64_t q_begin = 0;              ///< first query row
  std::int64_t q_end = 0;                ///< one past the last query row
  std::int64_t k_begin = 0;              ///< first key row
  std::int64_t k_end = 0;                ///< one past the last key row
  slice_kind kind = slice_kind::causal;  ///< how the rows see the keys
  std::int64_t window = 0;               ///< 0: unlimited

  [[nodiscard]] constexpr std::int64_t queries() const { return q_end - q_begin; }  ///< number of query rows
  /// Number of key rows, before mask and window.
  [[nodiscard]] constexpr std::int64_t keys() const { return k_end - k_begin; }

  /// First key, in stream rows, that query row q sees.
  [[nodiscard]] constexpr std::int64_t first_key(std::int64_t q) const {
    return window == 0 ? k_begin : std::max(k_begin, last_key(q) - window);
  }
  /// One past the last key, in stream rows, that query row q sees; at most first_key(q) when it sees none.
  [[nodiscard]] constexpr std::int64_t last_key(std::int64_t q) const {
    return kind == slice_kind::full ? k_end : std::clamp(k_end - (q_end - 1 - q), k_begin, k_end);
  }

  friend constexpr bool operator==(const slice&, const slice&) = default;
};

/// Number of (query, key) pairs of a slice: its cost in attention, up to 4 D H floating-point operations a pair
/// forward.
[[nodiscard]] constexpr std::int64_t pairs(const slice& s) {
  if (s.kind == slice_kind::full) return s.queries() * s.keys();
  const std::int64_t rows = std::min(s.queries(), s.keys());  // earlier rows see nothing
  if (s.window == 0) return rows * s.keys() - rows * (rows - 1) / 2;
  const std::int64_t narrow = std::clamp(s.keys() - s.window, std::int64_t{0}, rows);  // rows that the window cuts
  const std::int64_t rest = rows - narrow;
  return narrow * s.window + rest * (s.keys() - narrow) - rest * (rest - 1) / 2;
}

/// Sum of pairs() over a list.
[[nodiscard]] constexpr std::int64_t pairs(std::span<const slice> slices) {
  std::int64_t sum = 0;
  for (const slice& s : slices) sum += pairs(s);
  return sum;
}

/// Throws shape_error unless every slice lies within [0, query_rows) x [0, key_rows) and no (query, key) rectangle is
/// covered twice. Rectangles of causal slices are compared whole: a triangle cut into a square is an overlap here.
void check_slices(std::span<const slice> slices, std::int64_t query_rows, std::int64_t key_rows);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/attention/slices.ipp>
#endif
