// Attention over slices on tensor cores: arguments, the schedule that the host builds from the slices, and launchers.
//
// The schedule cuts rows into tiles and lists for each tile the ranges of columns that it walks, in both directions:
// tiles of query rows walk keys (forward, dQ) and tiles of keys walk query rows (dK, dV). With a slice as a band,
// low <= column - row <= up inside a rectangle, the second is the transpose of the first, so one builder serves both.
// Tiles never cross a row where no slice continues: a pack is cut at its documents. The one incomplete tile of such a
// stretch stands where it walks least: first among query tiles (early queries see few keys), last among key tiles (late
// keys are seen by few queries), so that short documents waste few rows. Slices that share rows (answers of one shared
// prompt) share tiles, each with its range of rows. Memory is linear in tiles plus (tile, slice) pairs that meet.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::on_cuda {

/// The head dimensions that flash_mma is built for.
[[nodiscard]] constexpr bool flash_supports(std::int64_t head_dim) {
  return head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128 || head_dim == 256;
}

/// Rows of a tile of query rows: what four warps hold in registers.
[[nodiscard]] constexpr std::int64_t flash_query_rows(std::int64_t head_dim) { return head_dim > 128 ? 64 : 128; }
/// Rows of a tile of keys: 128, for eight warps, where tiles of 64 for four warps would take more than half of the
/// 164 KB of shared memory that the smallest target has.
[[nodiscard]] constexpr std::int64_t flash_key_rows(std::int64_t head_dim) {
  return head_dim == 96 || head_dim == 128 ? 128 : 64;
}

/// A tile of rows and the segments that it walks.
struct flash_tile {
  /// Rows of the stream.
  ///@{
  std::int32_t row_begin = 0;
  std::int32_t row_end = 0;
  ///@}
  /// Indices in the segments of its walk; equal when no row sees anything.
  ///@{
  std::int32_t segment_begin = 0;
  std::int32_t segment_end = 0;
  ///@}
};

/// Columns [column_begin, column_end) that rows [row_begin, row_end) of a tile see where low <= column - row <= up.
/// Every row of the tile sees every column of [inner_begin, inner_end): blocks of columns inside need no mask.
struct flash_segment {
  /// Rows and columns of the streams, absolute; see above.
  ///@{
  std::int32_t row_begin = 0;
  std::int32_t row_end = 0;
  std::int32_t column_begin = 0;
  std::int32_t column_end = 0;
  std::int32_t low = 0;
  std::int32_t up = 0;
  std::int32_t inner_begin = 0;
  std::int32_t inner_end = 0;
  ///@}
};

/// Tiles of one direction in device memory, the longest walk first.
struct flash_walk_view {
  const flash_tile* tiles = nullptr;        ///< [tile_count]
  const flash_segment* segments = nullptr;  ///< of all tiles; a tile's are consecutive
  std::int32_t tile_count = 0;              ///< tiles that together hold every row once
  std::int32_t heads_together = 1;  ///< (kv) heads whose tiles run side by side, so that what they walk stays in L2
};

/// A schedule in device memory.
struct flash_schedule_view {
  flash_walk_view queries;  ///< tiles of query rows, for the forward pass and dQ
  flash_walk_view keys;     ///< tiles of keys, for dK and dV
};

/// Tiles of one direction.
struct flash_walk {
  std::vector<flash_tile> tiles;        ///< the longest walk first
  std::vector<flash_segment> segments;  ///< of all tiles; a tile's are consecutive
  std::int32_t heads_together = 1;      ///< as in flash_walk_view
};

/// What flash_forward and flash_backward do for one list of slices: plain arrays, uploaded as one block of bytes.
struct flash_schedule {
  flash_walk queries;  ///< tiles of query rows, which walk keys
  flash_walk keys;     ///< tiles of keys, which walk query rows

  /// Device pointers of the four arrays, for a caller that uploads each of them.
  struct pointers {
    /// The copy of the array of this name in `queries` or `keys`; null only where that is empty.
    ///@{
    const flash_tile* query_tiles = nullptr;
    const flash_segment* query_segments = nullptr;
    const flash_tile* key_tiles = nullptr;
    const flash_segment* key_segments = nullptr;
    ///@}
  };

  /// Bytes of the four arrays as copy_to lays them out: segments first, since they are the larger elements.
  [[nodiscard]] std::size_t bytes() const {
    return (queries.segments.size() + keys.segments.size()) * sizeof(flash_segment) +
           (queries.tiles.size() + keys.tiles.size()) * sizeof(flash_tile);
  }
  /// Writes bytes() bytes to host memory, ready for one copy to the device.
  void copy_to(std::byte* to) const {
    const auto put = [&to](const auto& values) {
      if (values.empty()) return;
      std::memcpy(to, values.data(), values.size() * sizeof(values[0]));
      to += values.size() * sizeof(values[0]);
    };
    put(queries.segments);
    put(keys.segments);
    put(queries.tiles);
    put(keys.tiles);
  }
  /// The view of a copy of copy_to's bytes at `device`, which is aligned to 32 bytes as every allocation is.
  [[nodiscard]] flash_schedule_view view(const void* device) const {
    const auto* query_segments = static_cast<const flash_segment*>(device);
    const auto* key_segments = query_segments + queries.segments.size();
    const void* end = key_segments + keys.segments.size();
    const auto* query_tiles = static_cast<const flash_tile*>(end);
    return view(pointers{query_tiles, query_segments, query_tiles + queries.tiles.size(), key_segments});
  }
  /// The view of copies that lie where `at` says.
  [[nodiscard]] flash_schedule_view view(const pointers& at) const {
    const auto count = [](const flash_walk& walk) { return static_cast<std::int32_t>(walk.tiles.size()); };
    return {{at.query_tiles, at.query_segments, count(queries), queries.heads_together},
            {at.key_tiles, at.key_segments, count(keys), keys.heads_together}};
  }
};

/// Operands of one call, all in device memory. Row t of q begins at q + t * q_stride and holds shape.heads vectors of
/// head_dim elements, rows of k and v shape.kv_heads; each may be columns of a wider matrix. Pointers are multiples of
/// 16 bytes and strides multiples of 8 elements. Rows of o and dq that see no key, and rows of dk and dv that no query
/// sees, are written as zeros; lse of such a row is -infinity.
struct flash_arguments {
  attention_shape shape;     ///< head_dim must be the launcher's HeadDim
  std::int64_t queries = 0;  ///< rows of q, o, d_o, dq
  std::int64_t keys = 0;     ///< rows of k, v, dk, dv

  /// q [queries, H D]; k, v [keys, K D].
  ///@{
  const bf16* q = nullptr;
  const bf16* k = nullptr;
  const bf16* v = nullptr;
  ///@}
  /// Elements from row to row.
  ///@{
  std::int64_t q_stride = 0;
  std::int64_t k_stride = 0;
  std::int64_t v_stride = 0;
  ///@}
  bf16* o = nullptr;  ///< written by the forward pass, read by the backward pass
  std::int64_t o_stride = 0;  ///< elements from row to row
  float* lse = nullptr;  ///< [queries * heads], head h of row t at t * heads + h; written forward, read backward

  // The backward pass alone:
  /// d_o, dq [queries, H D]; dk, dv [keys, K D]. d_o is read, the others are overwritten.
  ///@{
  const bf16* d_o = nullptr;
  bf16* dq = nullptr;
  bf16* dk = nullptr;
  bf16* dv = nullptr;
  ///@}
  /// Elements from row to row.
  ///@{
  std::int64_t d_o_stride = 0;
  std::int64_t dq_stride = 0;
  std::int64_t dk_stride = 0;
  std::int64_t dv_stride = 0;
  ///@}
  float* delta = nullptr;  ///< [queries * heads], scratch: the rows' sums of d_o * o

  float* dq_sums = nullptr;  ///< [queries * heads * head_dim], scratch of flash_backward_atomic alone
};

/// Writes o and lse: softmax(scale q k^T) v over the slices of the schedule, bf16 operands, fp32 sums and softmax.
/// Asynchronous on `stream`; throws shape_error for operands that do not fit HeadDim and alignment, and error when the
/// launch is refused. The same operands give the same bits.
template <int HeadDim>
void flash_forward(const flash_arguments& arguments, const flash_schedule_view& schedule, cudaStream_t stream);

/// Overwrites dq, dk and dv (and delta) from q, k, v, o, lse and d_o. o and lse may be those of rows whose softmax runs
/// over more keys than this schedule's. No atomics: the same operands give the same bits. Throws as flash_forward.
template <int HeadDim>
void flash_backward(const flash_arguments& arguments, const flash_schedule_view& schedule, cudaStream_t stream);

/// flash_backward in five products instead of seven: dQ is added up in fp32 by atomics, in dq_sums, in an order that
/// changes from run to run, and its last bits with it. dk and dv have the bits of flash_backward. Faster by 2 to 5%
/// with heads of 128, slower by 8% with heads of 64, where additions weigh more (one H200, 22 November 2026).
template <int HeadDim>
void flash_backward_atomic(const flash_arguments& arguments, const flash_schedule_view& schedule, cudaStream_t stream);

namespace detail {

/// A slice seen from its rows: row r sees the columns c with low <= c - r <= up inside the rectangle.
struct flash_band {
  std::int64_t row_begin = 0, row_end = 0, column_begin = 0, column_end = 0;
  std::int64_t low = 0, up = 0;

  [[nodiscard]] std::int64_t first(std::int64_t row) const { return std::max(column_begin, row + low); }
  [[nodiscard]] std::int64_t last(std::int64_t row) const { return std::min(column_end, row + up + 1); }
};

// A full slice has no diagonals. Streams are shorter than this, so that row + low and row + up + 1 fit 32 bits.
inline constexpr std::int64_t flash_unbounded = std::int64_t{1} << 30;

/// Throws shape_error for slices that overlap or leave the streams, and for sizes that flash_mma does not serve.
inline void flash_check_sizes(std::span<const slice> slices, std::int64_t queries, std::int64_t keys,
                              const attention_shape& shape) {
  if (!flash_supports(shape.head_dim))
    throw shape_error("a head dimension of " + std::to_string(shape.head_dim), "attention policy flash_mma",
                      "64, 80, 96, 128 and 256 are built; use attention_reference");
  if (queries < 0 || keys < 0 || queries >= flash_unbounded || keys >= flash_unbounded)
    throw shape_error(std::to_string(queries) + " queries and " + std::to_string(keys) + " keys",
                      "attention policy flash_mma", "streams hold fewer than 2^30 rows");
  check_slices(slices, queries, keys);
}

// Rows that see nothing and columns that nothing sees are left out: what they hold may be anything.
[[nodiscard]] inline flash_band flash_query_band(const slice& s) {
  if (s.kind == slice_kind::full) return {s.q_begin, s.q_end, s.k_begin, s.k_end, -flash_unbounded, flash_unbounded};
  const std::int64_t up = s.k_end - s.q_end;
  const std::int64_t low = s.window == 0 ? -flash_unbounded : up + 1 - s.window;
  const std::int64_t first_row = std::max(s.q_begin, s.k_begin - up);
  return {first_row, s.q_end, std::max(s.k_begin, first_row + low), s.k_end, low, up};
}

[[nodiscard]] inline flash_band flash_transpose(const flash_band& b) {
  return {b.column_begin, b.column_end, b.row_begin, b.row_end, -b.up, -b.low};
}

/// Tiles of `tile_rows` rows over [0, rows), cut where no band continues; the incomplete one stands first or last.
[[nodiscard]] inline std::vector<flash_tile> flash_cut(std::span<const flash_band> bands, std::int64_t rows,
                                                       std::int64_t tile_rows, bool is_incomplete_first) {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (const flash_band& b : bands) ranges.emplace_back(b.row_begin, b.row_end);
  std::ranges::sort(ranges);
  std::vector<flash_tile> tiles;
  const auto cut = [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rest = (end - begin) % tile_rows;
    for (std::int64_t at = begin; at < end;) {
      const std::int64_t size = is_incomplete_first && at == begin && rest != 0 ? rest : tile_rows;
      const std::int64_t next = std::min(at + size, end);
      tiles.push_back({static_cast<std::int32_t>(at), static_cast<std::int32_t>(next), 0, 0});
      at = next;
    }
  };
  std::int64_t done = 0;
  for (std::size_t i = 0; i < ranges.size();) {
    const std::int64_t begin = ranges[i].first;
    std::int64_t end = begin;
    for (; i < ranges.size() && (ranges[i].first < end || ranges[i].first == begin); ++i)
      end = std::max(end, ranges[i].second);
    cut(done, begin);  // rows that no band covers are written too
    cut(begin, end);
    done = end;
  }
  cut(done, rows);
  return tiles;
}

[[nodiscard]] inline flash_walk flash_build(std::span<const flash_band> bands, std::int64_t rows,
                                            std::int64_t tile_rows, bool is_incomplete_first) {
  flash_walk walk;
  std::vector<flash_tile> tiles = flash_cut(bands, rows, tile_rows, is_incomplete_first);
  std::vector<std::int64_t> cost(tiles.size(), 1);
  // Once to count the segments of each tile, once to write them; a band meets consecutive tiles.
  const auto for_each_meeting = [&](const auto& visit) {
    for (const flash_band& b : bands) {
      auto t = std::ranges::partition_point(tiles, [&](const flash_tile& tile) { return tile.row_end <= b.row_begin; });
      for (; t != tiles.end() && t->row_begin < b.row_end; ++t) {
        const std::int64_t begin = std::max<std::int64_t>(t->row_begin, b.row_begin);
        const std::int64_t end = std::min<std::int64_t>(t->row_end, b.row_end);
        const std::int64_t first = b.first(begin);
        const std::int64_t last = b.last(end - 1);
        if (first < last) visit(static_cast<std::size_t>(t - tiles.begin()), b, begin, end, first, last);
      }
    }
  };
  for_each_meeting([&](std::size_t t, const flash_band&, std::int64_t, std::int64_t, std::int64_t first,
                       std::int64_t last) {
    ++tiles[t].segment_end;
    cost[t] += last - first + 64;  // about one block of columns is the price of starting a segment
  });
  std::int64_t total = 0;
  for (flash_tile& tile : tiles) {
    const std::int64_t count = tile.segment_end;
    tile.segment_begin = tile.segment_end = static_cast<std::int32_t>(total);
    total += count;
  }
  if (total > std::numeric_limits<std::int32_t>::max())
    throw shape_error(std::to_string(total) + " meetings of tiles and slices", "attention schedule",
                      "merge slices, or split the batch");
  walk.segments.resize(static_cast<std::size_t>(total));
  for_each_meeting([&](std::size_t t, const flash_band& b, std::int64_t begin, std::int64_t end, std::int64_t first,
                       std::int64_t last) {
    const bool is_whole = begin == tiles[t].row_begin && end == tiles[t].row_end;
    const std::int64_t inner_begin = b.first(end - 1);
    const std::int64_t inner_end = is_whole ? b.last(begin) : inner_begin;
    const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
    walk.segments[static_cast<std::size_t>(tiles[t].segment_end++)] = {
        narrow(begin), narrow(end), narrow(first),       narrow(last),
        narrow(b.low), narrow(b.up), narrow(inner_begin), narrow(std::max(inner_begin, inner_end))};
  });
  std::vector<std::size_t> order(tiles.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return cost[a] > cost[b]; });
  walk.tiles.reserve(tiles.size());
  for (const std::size_t i : order) walk.tiles.push_back(tiles[i]);
  // The largest number of bytes that one head's tile walks decides in make_flash_schedule; kept here until then.
  walk.heads_together = static_cast<std::int32_t>(order.empty() ? 1 : std::min(cost[order[0]], flash_unbounded));
  return walk;
}

// The largest divisor of `count` whose heads' walks of `bytes` each fit the L2 cache of the smallest target (40 MB).
[[nodiscard]] inline std::int32_t flash_heads_in_cache(std::int64_t count, std::int64_t bytes) {
  constexpr std::int64_t cache = std::int64_t{32} << 20;
  std::int64_t together = std::clamp<std::int64_t>(cache / std::max<std::int64_t>(bytes, 1), 1, count);
  while (count % together != 0) --together;
  return static_cast<std::int32_t>(together);
}

}  // namespace detail

/// The schedule of a list of slices over `queries` rows and `keys` keys. Throws shape_error for slices that overlap or
/// leave the streams, and for sizes that flash_mma does not serve.
[[nodiscard]] inline flash_schedule make_flash_schedule(std::span<const slice> slices, std::int64_t queries,
                                                        std::int64_t keys, const attention_shape& shape) {
  detail::flash_check_sizes(slices, queries, keys, shape);
  std::vector<detail::flash_band> bands;
  for (const slice& s : slices)
    if (s.queries() > 0 && s.keys() > 0) bands.push_back(detail::flash_query_band(s));
  flash_schedule schedule;
  schedule.queries = detail::flash_build(bands, queries, flash_query_rows(shape.head_dim), true);
  for (detail::flash_band& b : bands) b = detail::flash_transpose(b);
  schedule.keys = detail::flash_build(bands, keys, flash_key_rows(shape.head_dim), false);
  const std::int64_t row_bytes = 4 * shape.head_dim;  // of k and v, or of q and d_o
  flash_walk& by_query = schedule.queries;
  flash_walk& by_key = schedule.keys;
  by_query.heads_together = static_cast<std::int32_t>(shape.group()) *
                            detail::flash_heads_in_cache(shape.kv_heads, by_query.heads_together * row_bytes);
  by_key.heads_together =
      detail::flash_heads_in_cache(shape.kv_heads, by_key.heads_together * row_bytes * shape.group());
  return schedule;
}

}  // namespace lodestone::on_cuda
