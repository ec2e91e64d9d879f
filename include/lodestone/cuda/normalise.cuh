// RMSNorm over rows or over the heads of a row, forward and backward.
#pragma once

#include <type_traits>

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>
#include <lodestone/cuda/elementwise.cuh>

namespace lodestone::on_cuda {

namespace detail {

/// One team of `Threads` threads a group of `size` elements; teams of a warp share a block of 256 threads. A team reads
/// its group twice; the second time it comes from the caches.
template <int Threads, int N, class T>
__global__ void __launch_bounds__(256) rmsnorm_kernel(std::int64_t count, std::int64_t groups, std::int64_t size,
                                                      matrix<const T> x, const T* weight, float epsilon, matrix<T> y,
                                                      float* rstd) {
  const int lane = static_cast<int>(threadIdx.x) % Threads;
  const std::int64_t group = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / Threads;
  if (group >= count) return;  // whole teams leave: a team is a warp or the block
  const std::int64_t at = group % groups * size;
  const T* const from = x.data() + group / groups * x.stride() + at;
  T* const to = y.data() + group / groups * y.stride() + at;
  float squares = 0.0F;
  for (std::int64_t i = lane * N; i < size; i += Threads * N) {
    const auto values = load<N>(from + i);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += widen(values[k]) * widen(values[k]);
  }
  const float inverse = 1.0F / sqrtf(block_sum<Threads>(squares) / static_cast<float>(size) + epsilon);
  if (lane == 0) rstd[group] = inverse;
  for (std::int64_t i = lane * N; i < size; i += Threads * N) {
    const auto values = load<N>(from + i);
    const auto factors = load<N>(weight + i);
    pack<T, N> result;
#pragma unroll
    for (int k = 0; k < N; ++k) result[k] = narrow<T>(widen(values[k]) * inverse * widen(factors[k]));
    store(to + i, result);
  }
}

/// dx of one group a team: dx = rstd (dy w - n mean(dy w n)) + dx where `adds`.
template <int Threads, int N, class T>
__global__ void __launch_bounds__(256) rmsnorm_dx_kernel(std::int64_t count, std::int64_t groups, std::int64_t size,
                                                         matrix<const T> x, const T* weight, const float* rstd,
                                                         matrix<const T> dy, matrix<T> dx, bool adds) {
  const int lane = static_cast<int>(threadIdx.x) % Threads;
  const std::int64_t group = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / Threads;
  if (group >= count) return;
  const std::int64_t row = group / groups;
  const std::int64_t at = group % groups * size;
  const T* const from = x.data() + row * x.stride() + at;
  const T* const above = dy.data() + row * dy.stride() + at;
  T* const to = dx.data() + row * dx.stride() + at;
  float dot = 0.0F;
  for (std::int64_t i = lane * N; i < size; i += Threads * N) {
    const auto values = load<N>(from + i);
    const auto factors = load<N>(weight + i);
    const auto d = load<N>(above + i);
#pragma unroll
    for (int k = 0; k < N; ++k) dot += widen(d[k]) * widen(factors[k]) * widen(values[k]);
  }
  const float inverse = rstd[group];
  const float pull = block_sum<Threads>(dot) * inverse * inverse / static_cast<float>(size);
  for (std::int64_t i = lane * N; i < size; i += Threads * N) {
    const auto values = load<N>(from + i);
    const auto factors = load<N>(weight + i);
    const auto d = load<N>(above + i);
    pack<T, N> result;
    if (adds) result = load<N>(to + i);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float own = inverse * (widen(d[k]) * widen(factors[k]) - widen(values[k]) * pull);
      result[k] = narrow<T>(adds ? widen(result[k]) + own : own);
    }
    store(to + i, result);
  }
}

/// Both gradients of groups as wide as a row, of at most 256 N P elements: a block walks rows_per_block rows, reads
/// each once, and keeps the sums of dy n for its columns in registers until it writes partial[block][size].
template <int N, int P, class T>
__global__ void __launch_bounds__(256) rmsnorm_gradient_kernel(std::int64_t rows, std::int64_t rows_per_block,
                                                               std::int64_t size, matrix<const T> x, const T* weight,
                                                               const float* rstd, matrix<const T> dy, matrix<T> dx,
                                                               bool adds, float* partial) {
  const auto column = [&](int p) { return static_cast<std::int64_t>(p * 256 + static_cast<int>(threadIdx.x)) * N; };
  pack<T, N> factors[P];
  float sums[P][N] = {};
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (column(p) < size) factors[p] = load<N>(weight + column(p));
  const std::int64_t begin = blockIdx.x * rows_per_block;
  const std::int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  for (std::int64_t row = begin; row < end; ++row) {
    pack<T, N> values[P];
    pack<T, N> d[P];
    pack<T, N> before[P];
    float dot = 0.0F;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (column(p) >= size) continue;
      values[p] = load<N>(x.data() + row * x.stride() + column(p));
      d[p] = load<N>(dy.data() + row * dy.stride() + column(p));
      if (adds) before[p] = load<N>(dx.data() + row * dx.stride() + column(p));
#pragma unroll
      for (int k = 0; k < N; ++k) dot += widen(d[p][k]) * widen(factors[p][k]) * widen(values[p][k]);
    }
    const float inverse = rstd[row];
    const float pull = block_sum<256>(dot) * inverse * inverse / static_cast<float>(size);
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (column(p) >= size) continue;
      pack<T, N> result;
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float grad = widen(d[p][k]);
        const float own = inverse * (grad * widen(factors[p][k]) - widen(values[p][k]) * pull);
        result[k] = narrow<T>(adds ? widen(before[p][k]) + own : own);
        sums[p][k] += grad * widen(values[p][k]) * inverse;
      }
      store(dx.data() + row * dx.stride() + column(p), result);
    }
  }
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (column(p) < size)
#pragma unroll
      for (int k = 0; k < N; ++k) partial[blockIdx.x * size + column(p) + k] = sums[p][k];
}

/// dy n of one element; `row` counts groups.
template <class T>
struct weight_gradient_of {
  matrix<const T> x;
  const float* rstd;
  matrix<const T> dy;
  std::int64_t groups;
  std::int64_t size;
  template <int N>
  __device__ void add(std::int64_t row, std::int64_t column, float* sums) const {
    const std::int64_t at = row % groups * size + column;
    const auto d = load<N>(dy.data() + row / groups * dy.stride() + at);
    const auto values = load<N>(x.data() + row / groups * x.stride() + at);
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += widen(d[i]) * widen(values[i]) * rstd[row];
  }
};

/// Calls go(threads, pack) with compile-time constants that suit groups of `size` elements.
template <int Wide, class Go>
void with_team(std::int64_t size, bool fits, const Go& go) {
  using std::integral_constant;
  if (size <= 512) {
    if (fits)
      go(integral_constant<int, 32>{}, integral_constant<int, Wide>{});
    else
      go(integral_constant<int, 32>{}, integral_constant<int, 1>{});
  } else {
    if (fits)
      go(integral_constant<int, 256>{}, integral_constant<int, Wide>{});
    else
      go(integral_constant<int, 256>{}, integral_constant<int, 1>{});
  }
}

}  // namespace detail

template <class T>
void rmsnorm(cudaStream_t lane, matrix<const T> x, vector<const T> weight, float epsilon, matrix<T> y,
             vector<float> rstd) {
  const std::int64_t size = weight.size(0);
  const std::int64_t count = rstd.size(0);
  if (count == 0) return;
  constexpr int wide = pack_size<T>;
  const bool fits = packs_fit<wide>(size, x, y) && reinterpret_cast<std::uintptr_t>(weight.data()) % 16 == 0;
  detail::with_team<wide>(size, fits, [&](auto threads, auto packed) {
    constexpr int team = decltype(threads)::value;
    const auto blocks = static_cast<unsigned>((count * team + 255) / 256);
    detail::rmsnorm_kernel<team, decltype(packed)::value, T>
        <<<blocks, 256, 0, lane>>>(count, x.size(1) / size, size, x, weight.data(), epsilon, y, rstd.data());
  });
  check_launch("rmsnorm");
}

template <class T>
void rmsnorm_gradient(cudaStream_t lane, matrix<const T> x, vector<const T> weight, vector<const float> rstd,
                      matrix<const T> dy, matrix<T> dx, vector<float> dweight, bool adds, void* scratch) {
  const std::int64_t size = weight.size(0);
  const std::int64_t count = rstd.size(0);
  if (count == 0) return;
  const std::int64_t groups = x.size(1) / size;
  constexpr int wide = pack_size<T>;
  const bool is_aligned = packs_fit<wide>(size, x, dy, dx) && reinterpret_cast<std::uintptr_t>(weight.data()) % 16 == 0;
  if (dweight.size(0) != 0 && groups == 1 && is_aligned && size > 512 && size <= 256 * wide * 4) {
    // About four blocks a multiprocessor of an H100, whatever the device: the bits follow from the sizes alone.
    const std::int64_t room = static_cast<std::int64_t>(scratch_bytes / sizeof(float)) / size;
    const std::int64_t most = std::min<std::int64_t>(room, 528);
    const std::int64_t rows_per_block = (count + most - 1) / most;
    const auto blocks = static_cast<unsigned>((count + rows_per_block - 1) / rows_per_block);
    auto* const partial = static_cast<float*>(scratch);
    const auto launch = [&](auto packs) {
      detail::rmsnorm_gradient_kernel<wide, decltype(packs)::value, T><<<blocks, 256, 0, lane>>>(
          count, rows_per_block, size, x, weight.data(), rstd.data(), dy, dx, adds, partial);
    };
    if (size <= 256 * wide)
      launch(std::integral_constant<int, 1>{});
    else if (size <= 256 * wide * 2)
      launch(std::integral_constant<int, 2>{});
    else
      launch(std::integral_constant<int, 4>{});
    detail::add_partials<float>
        <<<static_cast<unsigned>((size + 127) / 128), 128, 0, lane>>>(blocks, size, partial, dweight.data());
    check_launch("rmsnorm_gradient");
    return;
  }
  if (dweight.size(0) != 0)  // first: dx may be dy itself
    add_column_sums<wide>(lane, packs_fit<wide>(size, x, dy), count, size,
                          detail::weight_gradient_of<T>{x, rstd.data(), dy, groups, size}, dweight.data(), scratch,
                          "rmsnorm_gradient");
  detail::with_team<wide>(size, is_aligned, [&](auto threads, auto packed) {
    constexpr int team = decltype(threads)::value;
    const auto blocks = static_cast<unsigned>((count * team + 255) / 256);
    detail::rmsnorm_dx_kernel<team, decltype(packed)::value, T>
        <<<blocks, 256, 0, lane>>>(count, groups, size, x, weight.data(), rstd.data(), dy, dx, adds);
  });
  check_launch("rmsnorm_gradient");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
#define LODESTONE_KERNELS_OF(T)                                                                                     \
  template void lodestone::on_cuda::rmsnorm(cudaStream_t, matrix<const T>, vector<const T>, float, matrix<T>,       \
                                            vector<float>);                                                         \
  template void lodestone::on_cuda::rmsnorm_gradient(cudaStream_t, matrix<const T>, vector<const T>,                \
                                                     vector<const float>, matrix<const T>, matrix<T>,               \
                                                     vector<float>, bool, void*);
namespace lodestone::on_cuda {
LODESTONE_KERNELS_OF(float)
LODESTONE_KERNELS_OF(bf16)
}  // namespace lodestone::on_cuda
#undef LODESTONE_KERNELS_OF
#endif
