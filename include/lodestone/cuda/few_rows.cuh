// Products of few rows, as in decoding: y [M, N] = x [M, C] w [N, C]^T + beta y for up to 16 rows, bound by reading w.
#pragma once

#include <cstdint>
#include <type_traits>

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>
#include <lodestone/cuda/mma.cuh>

namespace lodestone::on_cuda {

namespace detail {

// A block makes 16 outputs for all rows of x, in T tiles of eight. Its eight warps share the columns, 64 in turn: a warp
// reads rows of w straight into the left operand of mma, rows of x into the right one. The order of columns inside a
// product does not matter as long as both operands have the same, so a lane takes eight neighbouring columns, which is
// one access of 16 bytes, where the instruction would have it take pairs. Every sum is taken in an order that depends on
// C alone, and a row's bits are those it has alone, whatever M is. Rows of x are read by every block, but the blocks of
// a multiprocessor walk them together, so that they come from L1.
template <int T, class Y>
__global__ void __launch_bounds__(256, 2)
    few_rows_kernel(matrix<const bf16> x, matrix<const bf16> w, matrix<Y> y, bool adds) {
  constexpr int warps = 8;
  constexpr int at_once = T == 1 ? 4 : 3;  // pieces of 64 columns, 2 KB of w each: what registers hold beside x
  __shared__ float sums[warps][T * 8][17];
  ptx::let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int outputs = static_cast<int>(w.size(0));
  const int columns = static_cast<int>(w.size(1));
  const int rows = static_cast<int>(x.size(0));
  const int first = static_cast<int>(blockIdx.x) * 16;
  // The weights do not depend on the kernel before: the blocks that start with this one have theirs on the way to L2.
  if (warp == 0 && lane < min(16, outputs - first))
    ptx::prefetch(w.data() + (first + lane) * w.stride(), static_cast<unsigned>(min(2 * columns, 4096)));
  ptx::await_previous();

  const bf16* from[2];
#pragma unroll
  for (int half = 0; half < 2; ++half)
    from[half] = w.data() + min(first + half * 8 + lane / 4, outputs - 1) * w.stride();
  float c[T][4] = {};
  for (int begin = warp * 64; begin < columns; begin += warps * 64 * at_once) {
    uint4 a[at_once][2][2];
#pragma unroll
    for (int i = 0; i < at_once; ++i)
#pragma unroll
      for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int column = begin + i * warps * 64 + part * 32 + lane % 4 * 8;
          a[i][part][half] = column < columns ? ptx::load_once(from[half] + column) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
    for (int i = 0; i < at_once; ++i)
#pragma unroll
      for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int t = 0; t < T; ++t) {
          const int column = begin + i * warps * 64 + part * 32 + lane % 4 * 8;
          const int row = t * 8 + lane / 4;
          const uint4 right = column < columns && row < rows
                                  ? *reinterpret_cast<const uint4*>(x.data() + row * x.stride() + column)
                                  : make_uint4(0, 0, 0, 0);
          const uint4& low = a[i][part][0];
          const uint4& high = a[i][part][1];
          ptx::mma(c[t], {low.x, high.x, low.y, high.y}, right.x, right.y);
          ptx::mma(c[t], {low.z, high.z, low.w, high.w}, right.z, right.w);
        }
  }
#pragma unroll
  for (int t = 0; t < T; ++t)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[warp][t * 8 + lane % 4 * 2 + e % 2][e / 2 * 8 + lane / 4] = c[t][e];
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x) / 16;
  const int output = static_cast<int>(threadIdx.x) % 16;
  if (row >= rows || first + output >= outputs) return;
  float sum = 0.0F;
#pragma unroll
  for (int k = 0; k < warps; ++k) sum += sums[k][row][output];
  Y* const to = y.data() + row * y.stride() + first + output;
  *to = narrow<Y>(adds ? sum + widen(*to) : sum);
}

}  // namespace detail

template <class Y>
void few_rows(cudaStream_t lane, matrix<const bf16> x, matrix<const bf16> w, matrix<Y> y, bool adds) {
  if (x.size(0) == 0 || w.size(0) == 0) return;
  const dim3 grid(static_cast<unsigned>((w.size(0) + 15) / 16));
  if (x.size(0) <= 8)
    launch_in_line(detail::few_rows_kernel<1, Y>, grid, dim3(256), 0, lane, "few_rows", x, w, y, adds);
  else
    launch_in_line(detail::few_rows_kernel<2, Y>, grid, dim3(256), 0, lane, "few_rows", x, w, y, adds);
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
namespace lodestone::on_cuda {
template void few_rows(cudaStream_t, matrix<const bf16>, matrix<const bf16>, matrix<bf16>, bool);
template void few_rows(cudaStream_t, matrix<const bf16>, matrix<const bf16>, matrix<float>, bool);
}  // namespace lodestone::on_cuda
#endif
