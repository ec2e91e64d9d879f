// Attention of few query rows over many keys, as in decoding: the pieces of work that the host cuts from the slices,
// and launchers.
//
// A tile holds the query heads of one key-value head for all rows of a slice, so that keys and values are read once;
// what a tile sees is cut into pieces of keys that many blocks walk at the same time. Each piece leaves sums and the
// scale of its softmax in float, and a second kernel merges the pieces of every row in the order of the list. How the
// keys of a slice are cut depends on that slice and the heads alone: a row's bits are the same whatever rows stand
// beside it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/cuda/flash_mma.hpp>

namespace lodestone::on_cuda {

/// Rows of one slice up to which its keys are cut into pieces.
inline constexpr std::int64_t flash_decode_rows = 16;

/// Whether a call is decoding: every slice has few rows, and the sums of the pieces stay small.
[[nodiscard]] inline bool flash_decode_serves(std::span<const slice> slices, std::int64_t queries) {
  return queries <= 32 * flash_decode_rows &&
         std::ranges::all_of(slices, [](const slice& s) { return s.queries() <= flash_decode_rows; });
}

/// Query rows [row_begin, row_end) against columns [column_begin, column_end): row r sees the columns c with
/// low <= c - r <= up.
struct flash_piece {
  /// Rows and columns of the streams, absolute; see above.
  ///@{
  std::int32_t row_begin = 0;
  std::int32_t row_end = 0;
  std::int32_t column_begin = 0;
  std::int32_t column_end = 0;
  std::int32_t low = 0;
  std::int32_t up = 0;
  ///@}
  std::int32_t partial = 0;  ///< of its first row: rows of all pieces are numbered in the order of the pieces
  std::int32_t unused = 0;   ///< fills 32 bytes
};

/// Pieces in device memory.
struct flash_decode_view {
  const flash_piece* pieces = nullptr;  ///< [piece_count]
  const std::int32_t* first = nullptr;  ///< [queries + 1]: row r's partials are list[first[r]] to list[first[r + 1]]
  const std::int32_t* list = nullptr;   ///< [partials]
  std::int32_t piece_count = 0;         ///< of all rows
  std::int32_t partials = 0;            ///< rows of all pieces
};

/// What flash_decode does for one list of slices: plain arrays, uploaded as one block of bytes.
struct flash_decode_schedule {
  std::vector<flash_piece> pieces;  ///< those of a tile consecutive, in the order of the slices
  std::vector<std::int32_t> first;  ///< as in flash_decode_view
  std::vector<std::int32_t> list;   ///< as in flash_decode_view

  [[nodiscard]] std::int64_t partials() const {
    return static_cast<std::int64_t>(list.size());
  }  ///< rows of all pieces
  /// Bytes of the three arrays as copy_to lays them out.
  [[nodiscard]] std::size_t bytes() const {
    return pieces.size() * sizeof(flash_piece) + (first.size() + list.size()) * sizeof(std::int32_t);
  }
  /// Writes bytes() bytes to host memory, ready for one copy to the device.
  void copy_to(std::byte* to) const {
    const auto put = [&to](const auto& values) {
      if (values.empty()) return;
      std::memcpy(to, values.data(), values.size() * sizeof(values[0]));
      to += values.size() * sizeof(values[0]);
    };
    put(pieces);
    put(first);
    put(list);
  }
  /// The view of a copy of copy_to's bytes at `device`, which is aligned to 32 bytes as every allocation is.
  [[nodiscard]] flash_decode_view view(const void* device) const {
    const auto* begin = static_cast<const flash_piece*>(device);
    const auto* numbers = reinterpret_cast<const std::int32_t*>(begin + pieces.size());
    return {begin, numbers, numbers + first.size(), static_cast<std::int32_t>(pieces.size()),
            static_cast<std::int32_t>(list.size())};
  }
};

/// Floats that the pieces of a schedule leave: for each partial row and head D sums, the scale and the sum of weights.
[[nodiscard]] inline std::int64_t flash_decode_scratch(const flash_decode_schedule& schedule,
                                                       const attention_shape& shape) {
  return schedule.partials() * shape.heads * (shape.head_dim + 2);
}

/// Writes o and lse as flash_forward does, with its operands and errors. `scratch` is device memory of
/// flash_decode_scratch floats.
template <int HeadDim>
void flash_decode(const flash_arguments& arguments, const flash_decode_view& schedule, float* scratch,
                  cudaStream_t stream);

/// The pieces of a list of slices over `queries` rows and `keys` keys, for calls that flash_decode_serves. Throws
/// shape_error as make_flash_schedule.
[[nodiscard]] inline flash_decode_schedule make_flash_decode_schedule(std::span<const slice> slices,
                                                                      std::int64_t queries, std::int64_t keys,
                                                                      const attention_shape& shape) {
  detail::flash_check_sizes(slices, queries, keys, shape);
  // Enough blocks for two on each of 132 multiprocessors with one sequence; pieces of 128 keys at least, and multiples
  // of the 64 that four warps take at once.
  constexpr std::int64_t step = 64;
  const std::int64_t most = std::max<std::int64_t>(1, 264 / std::max<std::int64_t>(1, shape.kv_heads));
  const std::int64_t tile_rows = std::max<std::int64_t>(1, 16 / shape.group());
  flash_decode_schedule schedule;
  std::vector<std::vector<std::int32_t>> of_row(static_cast<std::size_t>(queries));
  std::int32_t partial = 0;
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  for (const slice& s : slices) {
    if (s.queries() <= 0 || s.keys() <= 0) continue;
    const detail::flash_band band = detail::flash_query_band(s);
    const std::int64_t width = band.column_end - band.column_begin;
    const std::int64_t parts = std::clamp<std::int64_t>(width / (2 * step), 1, most);
    const std::int64_t share = ((width + parts - 1) / parts + step - 1) / step * step;
    for (std::int64_t row = band.row_begin; row < band.row_end; row += tile_rows) {
      const std::int64_t end = std::min(row + tile_rows, band.row_end);
      for (std::int64_t at = band.column_begin; at < band.column_end; at += share) {
        const std::int64_t begin = std::max(at, band.first(row));
        const std::int64_t last = std::min({at + share, band.column_end, band.last(end - 1)});
        if (begin >= last) continue;
        schedule.pieces.push_back(
            {narrow(row), narrow(end), narrow(begin), narrow(last), narrow(band.low), narrow(band.up), partial, 0});
        for (std::int64_t r = row; r < end; ++r) of_row[static_cast<std::size_t>(r)].push_back(partial++);
      }
    }
  }
  schedule.first.push_back(0);
  for (const std::vector<std::int32_t>& own : of_row) {
    schedule.list.insert(schedule.list.end(), own.begin(), own.end());
    schedule.first.push_back(narrow(static_cast<std::int64_t>(schedule.list.size())));
  }
  return schedule;
}

}  // namespace lodestone::on_cuda
