// Fixed tiles over rows: what every host operation shares.
#pragma once

#include <algorithm>
#include <cstdint>

#include <lodestone/core/checks.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/thread_pool.hpp>

namespace lodestone::on_host {

/// Two axes; rows may lie apart.
template <class T>
using matrix = tensor_view<T, 2>;
/// One axis.
template <class T>
using vector = tensor_view<T, 1>;

/// Rows of one tile: about 16k elements, enough to pay for handing the tile out. Depends on the shape alone, never on
/// the number of threads.
[[nodiscard]] constexpr std::int64_t rows_per_tile(std::int64_t row_elements) {
  constexpr std::int64_t tile_elements = 16'384;
  return std::max<std::int64_t>(1, tile_elements / std::max<std::int64_t>(1, row_elements));
}

/// Number of tiles of `size` elements that cover `total`.
[[nodiscard]] constexpr std::int64_t tile_count(std::int64_t total, std::int64_t size) {
  return (total + size - 1) / size;
}

/// Runs work(begin, end) over tiles of `step` out of [0, total).
template <class Work>
void for_tiles(thread_pool& pool, std::int64_t total, std::int64_t step, const Work& work) {
  pool.run(tile_count(total, step), [&](std::int64_t tile) {
    const std::int64_t begin = tile * step;
    work(begin, std::min(total, begin + step));
  });
}

/// Runs work(begin, end) over row tiles of a matrix of `rows` rows with `row_elements` elements each.
template <class Work>
void for_row_tiles(thread_pool& pool, std::int64_t rows, std::int64_t row_elements, const Work& work) {
  for_tiles(pool, rows, rows_per_tile(row_elements), work);
}

/// Sum of term(i) for i in [0, count): sixteen running sums so that the loop vectorises without reordering licences,
/// combined pairwise.
template <class Sum, class Term>
[[nodiscard]] Sum lane_sum(std::int64_t count, const Term& term) {
  constexpr int lanes = 16;
  Sum sums[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += static_cast<Sum>(term(i + lane));
  for (int lane = 0; i < count; ++i, ++lane) sums[lane] += static_cast<Sum>(term(i));
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

/// Adds to sums[j] the column sums over all rows: each tile of rows sums into its own buffer with
/// sum_rows(begin, end, T* partial), and the buffers are added in tile order. Twice that many rows never need twice
/// that many buffers: a tile has at least `rows / 64` rows.
template <class T, class SumRows>
void add_column_sums(thread_pool& pool, std::int64_t rows, std::int64_t columns, T* sums, const SumRows& sum_rows) {
  if (rows == 0 || columns == 0) return;
  const std::int64_t step = std::max<std::int64_t>({64, rows_per_tile(columns), tile_count(rows, 64)});
  const std::int64_t tiles = tile_count(rows, step);
  tensor<T, 2> partial(extents<2>{{tiles, columns}});
  for_tiles(pool, rows, step, [&](std::int64_t begin, std::int64_t end) {
    sum_rows(begin, end, partial.data() + begin / step * columns);
  });
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const T* part = partial.data() + tile * columns;
    for (std::int64_t j = 0; j < columns; ++j) sums[j] += part[j];
  }
}

}  // namespace lodestone::on_host
