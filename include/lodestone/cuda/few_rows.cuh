// Products of few rows, as in decoding: y [M, N] = x [M, C] w [N, C]^T + beta y for up to 16 rows, bound by reading w.
#pragma once

#include <cstdint>
#include <type_traits>

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>
#include <lodestone/cuda/mma.cuh>

namespace lodestone::on_cuda {

namespace detail {

// A block makes 16 outputs for all rows of x, in T tiles of eight. Its eight warps share the columns, 64 in turn: a
// warp reads rows of w straight into the left operand of mma, rows of x into the right one. The order of columns inside
// a product does not matter as long as both operands have the same, so a lane takes eight neighbouring columns, which
// is one access of 16 bytes, where the instruction would have it take pairs. Every sum is taken in an order that
// depends on C alone, and a row's bits are those it has alone, whatever M is. Rows of x are read by every block, but
// the blocks of a multiprocessor walk them together, so that they come from L1.
//
// Small blocks with few registers: those of the next product have room beside the last of this one, and have their
// weights brought to L2 while they wait for its results.
//
// `Normalises`: rows of x are normalised first, by every block for itself, into shared memory; the arithmetic is that
// of rmsnorm. `Gates`: the 16 outputs are eight of the gate's and the eight of the other half of w that they gate, and
// y gets what swiglu makes of them. Both leave the bits of the operations one by one.
template <int T, bool Normalises, bool Gates, class Y>
__global__ void __launch_bounds__(256, T == 1 && !Normalises ? 4 : 3)
    few_rows_kernel(matrix<const bf16> x, matrix<const bf16> w, matrix<Y> y, bool adds, const bf16* norm,
                    float epsilon) {
  constexpr int warps = 8;
  constexpr int at_once = 2;  // pieces of 64 columns: 4 KB of w under way for each warp
  __shared__ float sums[warps][T * 8][17];
  extern __shared__ uint4 few_rows_memory[];  // [M][C / 8 + 1] where rows are normalised
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int outputs = static_cast<int>(w.size(0));
  const int columns = static_cast<int>(w.size(1));
  const int rows = static_cast<int>(x.size(0));
  // Row of w of output i of this block, at most the last one.
  const auto row_of = [&](int i) {
    if constexpr (Gates)
      return min(static_cast<int>(blockIdx.x) * 8 + i % 8, outputs / 2 - 1) + i / 8 * (outputs / 2);
    else
      return min(static_cast<int>(blockIdx.x) * 16 + i, outputs - 1);
  };
  // The weights do not depend on the kernel before. Blocks beyond the first few of a multiprocessor begin when that one
  // is done.
  if (warp == 0 && lane < 16 && blockIdx.x < 528)
    ptx::prefetch(w.data() + row_of(lane) * w.stride(), static_cast<unsigned>(min(2 * columns, 4096)));
  ptx::await_previous();

  const int normed_stride = columns / 8 + 1;  // of 16 bytes: rows four banks apart
  if constexpr (Normalises) {
    for (int row = 0; row < rows; ++row) {
      const bf16* const from = x.data() + row * x.stride();
      float squares = 0.0F;
      for (int i = static_cast<int>(threadIdx.x) * 8; i < columns; i += 256 * 8) {
        const auto values = load<8>(from + i);
#pragma unroll
        for (int k = 0; k < 8; ++k) squares += widen(values[k]) * widen(values[k]);
      }
      const float inverse = 1.0F / sqrtf(block_sum<256>(squares) / static_cast<float>(columns) + epsilon);
      for (int i = static_cast<int>(threadIdx.x) * 8; i < columns; i += 256 * 8) {
        const auto values = load<8>(from + i);
        const auto factors = load<8>(norm + i);
        pack<bf16, 8> result;
#pragma unroll
        for (int k = 0; k < 8; ++k) result[k] = narrow<bf16>(widen(values[k]) * inverse * widen(factors[k]));
        few_rows_memory[row * normed_stride + i / 8] = *reinterpret_cast<const uint4*>(&result);
      }
    }
    __syncthreads();
  }

  const bf16* const from[2] = {w.data() + row_of(lane / 4) * w.stride(), w.data() + row_of(8 + lane / 4) * w.stride()};
  float c[T][4] = {};
  for (int begin = warp * 64 + lane % 4 * 8; begin - lane % 4 * 8 < columns; begin += warps * 64 * at_once) {
    uint4 a[at_once][2][2];
#pragma unroll
    for (int i = 0; i < at_once; ++i)
#pragma unroll
      for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int column = begin + i * warps * 64 + part * 32;
          a[i][part][half] = column < columns ? ptx::load_once(from[half] + column) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
    for (int i = 0; i < at_once; ++i)
#pragma unroll
      for (int part = 0; part < 2; ++part)
#pragma unroll
        for (int t = 0; t < T; ++t) {
          const int column = begin + i * warps * 64 + part * 32;
          const int row = t * 8 + lane / 4;
          uint4 right = make_uint4(0, 0, 0, 0);
          if (column < columns && row < rows)
            right = Normalises ? few_rows_memory[row * normed_stride + column / 8]
                               : *reinterpret_cast<const uint4*>(x.data() + row * x.stride() + column);
          const uint4& low = a[i][part][0];
          const uint4& high = a[i][part][1];
          ptx::mma(c[t], {low.x, high.x, low.y, high.y}, right.x, right.y);
          ptx::mma(c[t], {low.z, high.z, low.w, high.w}, right.z, right.w);
        }
  }
  ptx::let_next_begin();  // not before: what it has brought to L2 would be gone again once this one has read its share
#pragma unroll
  for (int t = 0; t < T; ++t)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[warp][t * 8 + lane % 4 * 2 + e % 2][e / 2 * 8 + lane / 4] = c[t][e];
  __syncthreads();
  constexpr int of_block = Gates ? 8 : 16;
  const int row = static_cast<int>(threadIdx.x) / of_block;
  const int output = static_cast<int>(threadIdx.x) % of_block;
  const int at = static_cast<int>(blockIdx.x) * of_block + output;
  if (row >= rows || at >= static_cast<int>(y.size(1))) return;
  const auto sum = [&](int i) {
    float result = 0.0F;
#pragma unroll
    for (int k = 0; k < warps; ++k) result += sums[k][row][i];
    return result;
  };
  Y* const to = y.data() + row * y.stride() + at;
  if constexpr (Gates) {
    const float gate = widen(narrow<bf16>(sum(output)));
    const float up = widen(narrow<bf16>(sum(output + 8)));
    *to = narrow<Y>(gate / (1.0F + expf(-gate)) * up);
  } else {
    *to = narrow<Y>(adds ? sum(output) + widen(*to) : sum(output));
  }
}

}  // namespace detail

template <class Y>
void few_rows(cudaStream_t lane, matrix<const bf16> x, matrix<const bf16> w, matrix<Y> y, bool adds) {
  if (x.size(0) == 0 || w.size(0) == 0) return;
  const dim3 grid(static_cast<unsigned>((w.size(0) + 15) / 16));
  const bf16* const no_norm = nullptr;
  const auto kernel =
      x.size(0) <= 8 ? detail::few_rows_kernel<1, false, false, Y> : detail::few_rows_kernel<2, false, false, Y>;
  launch_in_line(kernel, grid, dim3(256), 0, lane, "few_rows", x, w, y, adds, no_norm, 0.0F);
}

template <class T>
void few_rows_normed(cudaStream_t lane, matrix<const T> x, vector<const T> norm, float epsilon, matrix<const T> w,
                     matrix<T> y, bool gates) {
  if (x.size(0) == 0 || w.size(0) == 0) return;
  const auto kernel = gates ? detail::few_rows_kernel<1, true, true, T> : detail::few_rows_kernel<1, true, false, T>;
  const auto shared = static_cast<std::size_t>(x.size(0) * (w.size(1) + 8)) * sizeof(bf16);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        "few_rows_normed");
  const std::int64_t of_block = gates ? 8 : 16;
  launch_in_line(kernel, dim3(static_cast<unsigned>((y.size(1) + of_block - 1) / of_block)), dim3(256), shared, lane,
                 "few_rows_normed", x, w, y, false, norm.data(), epsilon);
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
namespace lodestone::on_cuda {
template void few_rows(cudaStream_t, matrix<const bf16>, matrix<const bf16>, matrix<bf16>, bool);
template void few_rows(cudaStream_t, matrix<const bf16>, matrix<const bf16>, matrix<float>, bool);
template void few_rows_normed(cudaStream_t, matrix<const bf16>, vector<const bf16>, float, matrix<const bf16>,
                              matrix<bf16>, bool);
}  // namespace lodestone::on_cuda
#endif
