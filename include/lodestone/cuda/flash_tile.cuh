// Pieces that the kernels of flash_mma share: swizzled tiles in shared memory, products of tiles, masks, the walk.
#pragma once

#include <cstdint>

#include <lodestone/cuda/flash_mma.hpp>
#include <lodestone/cuda/mma.cuh>

namespace lodestone::on_cuda::detail {

/// What a kernel of flash_mma gets.
struct flash_call {
  flash_arguments arguments;
  flash_walk_view walk;
  std::int32_t heads;     ///< query heads
  std::int32_t group;     ///< query heads of one kv head
  float scale;            ///< of q . k
  float scale_log2;       ///< the same times log2 e: the softmax is computed in powers of two
};

inline constexpr float flash_log2e = 1.4426950408889634F;
inline constexpr int flash_warp = 32;

[[nodiscard]] __device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff80'0000); }

/// Rows of D bf16 in shared memory, in 16-byte columns that are exchanged within a row (by an exclusive or with the
/// row) so that eight rows of one column lie in eight different groups of four banks: no bank conflicts, no padding.
template <int D>
struct flash_layout {
  static constexpr int columns = D / 8;
  static constexpr int row_bytes = D * 2;
  /// Columns that swap places: the largest power of two that divides the columns, 8 at most.
  static constexpr int swapped = (columns & -columns) < 8 ? (columns & -columns) : 8;

  [[nodiscard]] __device__ static __forceinline__ unsigned offset(int row, int column) {
    return static_cast<unsigned>(row * row_bytes + ((column ^ (row / (8 / swapped) % swapped)) << 4));
  }
};

/// The address that a lane gives to ldmatrix, and those of the same lane 16 rows and 16 elements further on.
template <int D>
struct flash_lane {
  unsigned even;  // column c
  unsigned odd;   // column c + 2; unused where an exclusive or reaches every column

  static constexpr bool is_power_of_two = (D & (D - 1)) == 0;

  __device__ __forceinline__ flash_lane(unsigned base, int row, int column)
      : even(base + flash_layout<D>::offset(row, column)), odd(base + flash_layout<D>::offset(row, column + 2)) {}

  /// Of A in row-major order, and of B stored [k x n] (transposed by the load): 16 x 16 a load.
  [[nodiscard]] __device__ static __forceinline__ flash_lane of_rows(unsigned base, int row, int column,
                                                              int thread = static_cast<int>(threadIdx.x)) {
    const int lane = thread % flash_warp;
    return {base, row + lane % 16, column + lane / 16};
  }
  /// Of B stored [n x k], 16 n x 16 k a load, and of A stored [k x m] (transposed by the load).
  [[nodiscard]] __device__ static __forceinline__ flash_lane of_columns(unsigned base, int row, int column,
                                                                 int thread = static_cast<int>(threadIdx.x)) {
    const int lane = thread % flash_warp;
    return {base, row + lane % 8 + lane / 16 * 8, column + lane / 8 % 2};
  }
  [[nodiscard]] __device__ __forceinline__ flash_lane moved(unsigned bytes) const {
    flash_lane result = *this;
    result.even += bytes;
    result.odd += bytes;
    return result;
  }
  /// `rows` steps of 16 rows and `columns` steps of 16 elements on.
  [[nodiscard]] __device__ __forceinline__ unsigned at(int rows, int columns) const {
    const auto down = static_cast<unsigned>(rows * 16 * flash_layout<D>::row_bytes);
    if constexpr (is_power_of_two)
      return (even ^ static_cast<unsigned>(columns * 32)) + down;  // tiles are aligned to their rows
    else
      return (columns % 2 == 0 ? even : odd) + static_cast<unsigned>(columns / 2 * 64) + down;
  }
};

/// Starts copying `Rows` rows of D elements; rows from `valid` on become zeros.
template <int D, int Rows, int Threads>
__device__ __forceinline__ void flash_load(unsigned to, const bf16* from, std::int64_t stride, int valid) {
  using layout = flash_layout<D>;
  constexpr int total = Rows * layout::columns;
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (Threads % (8 * layout::columns) == 0 && total % Threads == 0) {
    constexpr int step = Threads / layout::columns;  // rows, a multiple of eight: the swizzle repeats
    const int row = thread / layout::columns;
    const int column = thread % layout::columns;
    const bf16* source = from + row * stride + column * 8;
    const unsigned target = to + layout::offset(row, column);
#pragma unroll
    for (int i = 0; i < Rows / step; ++i) {
      const bool is_read = row + i * step < valid;
      ptx::copy_async_16(target + static_cast<unsigned>(i * step * layout::row_bytes), is_read ? source : from,
                         is_read);
      source += step * stride;
    }
  } else {
#pragma unroll
    for (int i = 0; i < (total + Threads - 1) / Threads; ++i) {
      const int index = thread + i * Threads;
      const int row = index / layout::columns;
      const int column = index % layout::columns;
      const bool is_read = row < valid;
      if (total % Threads == 0 || index < total)
        ptx::copy_async_16(to + layout::offset(row, column), is_read ? from + row * stride + column * 8 : from,
                           is_read);
    }
  }
}

/// Writes the first `valid` rows of a tile in shared memory to global memory.
template <int D, int Rows, int Threads>
__device__ __forceinline__ void flash_store(bf16* to, std::int64_t stride, unsigned from, int valid) {
  using layout = flash_layout<D>;
  for (int index = static_cast<int>(threadIdx.x); index < Rows * layout::columns; index += Threads) {
    const int row = index / layout::columns;
    const int column = index % layout::columns;
    if (row >= valid) break;
    unsigned values[4];
    ptx::load_shared(values, from + layout::offset(row, column));
    *reinterpret_cast<uint4*>(to + row * stride + column * 8) = make_uint4(values[0], values[1], values[2], values[3]);
  }
}

/// Puts accumulators, rounded to bf16, into a tile: rows from `row`, 16-byte columns from `column`.
template <int D, int M, int N>
__device__ __forceinline__ void flash_put(unsigned to, const float (&from)[M][N][4], int row, int column, float factor,
                                          int thread = static_cast<int>(threadIdx.x)) {
  const int lane = thread % flash_warp;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        ptx::store_shared(to + flash_layout<D>::offset(row + m * 16 + half * 8 + lane / 4, column + n) +
                              static_cast<unsigned>(lane % 4 * 4),
                          ptx::pack_bf16(from[m][n][2 * half] * factor, from[m][n][2 * half + 1] * factor));
}

template <int M, int N>
__device__ __forceinline__ void flash_clear(float (&to)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) to[m][n][e] = 0.0F;
}

/// c [16 M x 8 N] = a b^T over D, both in shared memory as rows of D.
template <int D, int M, int N>
__device__ __forceinline__ void flash_scores(float (&c)[M][N][4], const flash_lane<D>& a, const flash_lane<D>& b) {
  flash_clear(c);
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    unsigned left[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) ptx::ldmatrix(left[m], a.at(m, k));
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
      unsigned right[4];
      ptx::ldmatrix(right, b.at(n, k));
#pragma unroll
      for (int m = 0; m < M; ++m) {
        ptx::mma(c[m][2 * n], left[m], right[0], right[1]);
        ptx::mma(c[m][2 * n + 1], left[m], right[2], right[3]);
      }
    }
  }
}

/// c [16 M x 8 N] += a b with a [16 M x 16 K] in registers and b [16 K x 8 N] in shared memory.
template <int D, int M, int N, int K>
__device__ __forceinline__ void flash_accumulate(float (&c)[M][N][4], const unsigned (&a)[M][K][4],
                                                 const flash_lane<D>& b) {
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
      unsigned right[4];
      ptx::ldmatrix_transposed(right, b.at(k, n));
#pragma unroll
      for (int m = 0; m < M; ++m) {
        ptx::mma(c[m][2 * n], a[m][k], right[0], right[1]);
        ptx::mma(c[m][2 * n + 1], a[m][k], right[2], right[3]);
      }
    }
    if constexpr (N % 2 == 1) {
      unsigned right[2];
      ptx::ldmatrix_transposed(right, b.at(k, N / 2));
#pragma unroll
      for (int m = 0; m < M; ++m) ptx::mma(c[m][N - 1], a[m][k], right[0], right[1]);
    }
  }
}

/// c [16 M x 8 N] += a^T b over `Rows` rows of both in shared memory.
template <int Rows, int D, int A, int M, int N>
__device__ __forceinline__ void flash_accumulate_rows(float (&c)[M][N][4], const flash_lane<A>& a,
                                                      const flash_lane<D>& b) {
#pragma unroll
  for (int k = 0; k < Rows / 16; ++k) {
    unsigned left[M][1][4];
#pragma unroll
    for (int m = 0; m < M; ++m) ptx::ldmatrix_transposed(left[m][0], a.at(k, m));
    flash_accumulate<D>(c, left, b.moved(static_cast<unsigned>(k * 16 * flash_layout<D>::row_bytes)));
  }
}

/// Accumulators [16 M x 8 N] as the left factor of the next product, [16 M x 16 (N / 2)].
template <int M, int N>
__device__ __forceinline__ void flash_round(unsigned (&to)[M][N / 2][4], const float (&from)[M][N][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int k = 0; k < N / 2; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        to[m][k][i] = ptx::pack_bf16(from[m][2 * k + i / 2][i % 2 * 2], from[m][2 * k + i / 2][i % 2 * 2 + 1]);
}

/// Calls visit(m, n, e) for the accumulators outside a segment; (0, 0, 0) of lane 0 belongs to (row, column).
template <int M, int N, class Visit>
__device__ __forceinline__ void flash_for_each_hidden(const flash_segment& s, int row, int column, const Visit& visit) {
  const int lane = static_cast<int>(threadIdx.x) % flash_warp;
  const int first_column = column + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + m * 16 + half * 8 + lane / 4;
      const bool is_inside = r >= s.row_begin && r < s.row_end;
      const int begin = is_inside ? max(s.column_begin, r + s.low) - first_column : 0;
      const int end = is_inside ? min(s.column_end, r + s.up + 1) - first_column : 0;
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (n * 8 + e < begin || n * 8 + e >= end) visit(m, n, 2 * half + e);
    }
}

/// A place in the blocks of columns that a tile walks.
template <int Columns>
struct flash_place {
  int segment;
  int column;
  int column_end;

  __device__ __forceinline__ flash_place(const flash_segment* segments, const flash_tile& tile)
      : segment(tile.segment_begin), column(0), column_end(0) {
    enter(segments, tile);
  }
  __device__ __forceinline__ void enter(const flash_segment* segments, const flash_tile& tile) {
    if (segment >= tile.segment_end) return;
    column = segments[segment].column_begin;
    column_end = segments[segment].column_end;
  }
  [[nodiscard]] __device__ __forceinline__ bool is_done(const flash_tile& tile) const {
    return segment >= tile.segment_end;
  }
  __device__ __forceinline__ void advance(const flash_segment* segments, const flash_tile& tile) {
    column += Columns;
    if (column < column_end) return;
    ++segment;
    enter(segments, tile);
  }
  /// Whether some row of the tile does not see some column of this block.
  [[nodiscard]] __device__ __forceinline__ bool is_cut(const flash_segment& s) const {
    return column < s.inner_begin || column + Columns > s.inner_end;
  }
};

/// The tile and head of this block: heads in groups whose walks stay in L2, within a group the longest tiles first.
struct flash_item {
  flash_tile tile;
  int head;

  __device__ __forceinline__ explicit flash_item(const flash_walk_view& walk) {
    const auto together = static_cast<unsigned>(walk.heads_together);
    const unsigned of_group = static_cast<unsigned>(walk.tile_count) * together;
    const unsigned rest = blockIdx.x % of_group;
    tile = walk.tiles[rest / together];
    head = static_cast<int>(blockIdx.x / of_group * together + rest % together);
  }
};

}  // namespace lodestone::on_cuda::detail
