// The embedding's gradient: sums of the rows of each token, in pieces that are fixed by the tokens alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>

namespace lodestone::on_cuda {

namespace detail {

/// Packs of columns that a thread adds up, a block's width apart: two keep enough reads under way where most pieces are
/// single rows.
inline constexpr int embed_gradient_packs = 2;

/// One piece a block (x) and range of columns (y): target row += its rows of dout, in order. The target is the token's
/// row of dtable or a row of `partials` [.., width], which starts at 0.
template <int N, class T>
__global__ void __launch_bounds__(256)
    embed_gradient_kernel(const token_piece* pieces, const std::int32_t* order, matrix<const T> dout,
                          matrix<float> dtable, float* partials) {
  constexpr int packs = embed_gradient_packs;
  const token_piece piece = pieces[blockIdx.x];
  const std::int64_t width = dtable.size(1);
  const bool is_total = piece.partial < 0;
  float* const target = is_total ? dtable.data() + piece.token * dtable.stride() : partials + piece.partial * width;
  std::int64_t columns[packs];
  bool is_within[packs];
  pack<float, N> sums[packs];
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    columns[p] = (std::int64_t{blockIdx.y * packs + p} * blockDim.x + threadIdx.x) * N;
    is_within[p] = columns[p] < width;
    if (!is_within[p]) columns[p] = 0;  // read and dropped, so that reading has no branches
    sums[p] = is_total ? load<N>(target + columns[p]) : pack<float, N>{};
  }
  const auto add_rows = [&](auto rows, std::int32_t first) {  // reads all of them before it adds the first
    constexpr int count = decltype(rows)::value;
    pack<T, N> values[count][packs];
#pragma unroll
    for (int r = 0; r < count; ++r) {
      const T* const from = dout.data() + order[first + r] * dout.stride();
#pragma unroll
      for (int p = 0; p < packs; ++p) values[r][p] = load<N>(from + columns[p]);
    }
#pragma unroll
    for (int r = 0; r < count; ++r)
#pragma unroll
      for (int p = 0; p < packs; ++p)
#pragma unroll
        for (int i = 0; i < N; ++i) sums[p][i] += widen(values[r][p][i]);
  };
  std::int32_t row = piece.begin;
  const std::int32_t end = piece.begin + piece.count;
  for (; end - row >= 4; row += 4) add_rows(std::integral_constant<int, 4>{}, row);
  if (end - row >= 2) add_rows(std::integral_constant<int, 2>{}, row), row += 2;
  if (end - row >= 1) add_rows(std::integral_constant<int, 1>{}, row);
#pragma unroll
  for (int p = 0; p < packs; ++p)
    if (is_within[p]) store(target + columns[p], sums[p]);
}

/// One join a block (x) and 32 N columns (y): dtable row += its partial sums. Warp w of 8 adds the w-th eighth of them,
/// then the eighths are added in order.
template <int N>
__global__ void __launch_bounds__(256)
    embed_gradient_join_kernel(const token_piece* joins, const float* partials, matrix<float> dtable) {
  __shared__ pack<float, N> eighths[8][32];
  const token_piece join = joins[blockIdx.x];
  const std::int64_t width = dtable.size(1);
  const std::int64_t column = (std::int64_t{blockIdx.y} * 32 + threadIdx.x) * N;
  float* const to = dtable.data() + join.token * dtable.stride() + column;
  pack<float, N> total{};
  if (threadIdx.y == 0 && column < width) total = load<N>(to);  // on its way while the sums are
  pack<float, N> sum{};
  if (column < width) {
    const int end = join.count * (static_cast<int>(threadIdx.y) + 1) / 8;
    for (int k = join.count * static_cast<int>(threadIdx.y) / 8; k < end; k += 4) {
      pack<float, N> values[4];  // read at once; past the end the last one again, which is dropped
#pragma unroll
      for (int i = 0; i < 4; ++i)
        values[i] = load<N>(partials + (join.begin + min(k + i, end - 1)) * width + column);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int c = 0; c < N; ++c) sum[c] = k + i < end ? sum[c] + values[i][c] : sum[c];
    }
  }
  eighths[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (int w = 1; w < 8; ++w)
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += eighths[w][threadIdx.x][i];
#pragma unroll
  for (int i = 0; i < N; ++i) total[i] += sum[i];
  store(to, total);
}

}  // namespace detail

template <class T>
void embed_gradient(cudaStream_t lane, vector<const token_piece> pieces, std::int64_t joins, std::int64_t partials,
                    const std::int32_t* order, matrix<const T> dout, matrix<float> dtable, void* scratch) {
  const std::int64_t sums = pieces.size(0) - joins;
  if (sums == 0 || dout.size(1) == 0) return;
  auto* const partial = static_cast<float*>(scratch);
  // All columns at once unless their partial sums pass the scratch memory, which takes rows of 8,192 at least.
  constexpr auto room = static_cast<std::int64_t>(scratch_bytes / sizeof(float));
  static_assert(room / token_groups::most_partials >= 256);
  const std::int64_t range = partials == 0 ? dout.size(1) : room / partials / 256 * 256;
  for (std::int64_t begin = 0; begin < dout.size(1); begin += range) {
    const std::int64_t end = std::min(begin + range, dout.size(1));
    const auto rows = dout.columns(begin, end);
    const auto table = dtable.columns(begin, end);
    const auto launch = [&](auto packed) {
      constexpr int N = decltype(packed)::value;
      constexpr int packs = detail::embed_gradient_packs;
      const std::int64_t threads = std::clamp<std::int64_t>(((end - begin) / (N * packs) + 31) / 32 * 32, 32, 256);
      const std::int64_t across = (end - begin + threads * N * packs - 1) / (threads * N * packs);
      detail::embed_gradient_kernel<N, T>
          <<<dim3(static_cast<unsigned>(sums), static_cast<unsigned>(across)), static_cast<unsigned>(threads), 0,
             lane>>>(pieces.data(), order, rows, table, partial);
      if (joins > 0)
        detail::embed_gradient_join_kernel<N>
            <<<dim3(static_cast<unsigned>(joins), static_cast<unsigned>((end - begin + 32 * N - 1) / (32 * N))),
               dim3(32, 8), 0, lane>>>(pieces.data() + sums, partial, table);
    };
    // Packs of four floats: a warp then reads and writes whole lines of dtable, the larger part of the bytes.
    constexpr int N = pack_size<float>;
    if (packs_fit<N>(end - begin, rows, table))
      launch(std::integral_constant<int, N>{});
    else
      launch(std::integral_constant<int, 1>{});
  }
  check_launch("embed_gradient");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
#define LODESTONE_KERNELS_OF(T)                                                                                       \
  template void lodestone::on_cuda::embed_gradient(cudaStream_t, vector<const token_piece>, std::int64_t,             \
                                                   std::int64_t, const std::int32_t*, matrix<const T>, matrix<float>, \
                                                   void*);
namespace lodestone::on_cuda {
LODESTONE_KERNELS_OF(float)
LODESTONE_KERNELS_OF(bf16)
}  // namespace lodestone::on_cuda
#undef LODESTONE_KERNELS_OF
#endif
