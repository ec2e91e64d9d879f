// RMSNorm over rows or over the heads of a row, forward and backward.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>
#include <lodestone/cuda/elementwise.cuh>
#include <lodestone/cuda/mma.cuh>

namespace lodestone::on_cuda {

namespace detail {

/// One team of `Threads` threads a group of `size` elements; teams of a warp share a block of 256 threads. A team reads
/// its group twice; the second time it comes from the caches.
template <int Threads, int N, class T>
__global__ void __launch_bounds__(256) rmsnorm_kernel(std::int64_t count, std::int64_t groups, std::int64_t size,
                                                      matrix<const T> x, const T* weight, float epsilon, matrix<T> y,
                                                      float* rstd) {
  ptx::let_next_begin();
  ptx::await_previous();
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

/// Shared memory of the kernel below: two rows of x, dy and, where it adds, dx.
template <class T>
[[nodiscard]] constexpr std::size_t rmsnorm_gradient_shared(std::int64_t size, bool adds) {
  return 2 * (adds ? 3 : 2) * sizeof(T) * static_cast<std::size_t>(size);
}

/// Both gradients of groups as wide as a row, of at most 256 N P elements in packs of 16 bytes: a block walks
/// rows_per_block rows, reads each once, and keeps the sums of dy n for its columns in registers until it writes
/// partial[block][size]. The next row is on its way to shared memory while this one is worked on; every thread copies
/// what it reads itself, so it waits for its own copies alone. 4 / P blocks of a multiprocessor then have 48 KiB under
/// way, which covers the latency of the memory.
template <int N, int P, bool Adds, class T>
__global__ void __launch_bounds__(256, 4 / P)
    rmsnorm_gradient_kernel(std::int64_t rows, std::int64_t rows_per_block, int size, matrix<const T> x,
                            const T* weight, const float* rstd, matrix<const T> dy, matrix<T> dx, float* partial) {
  extern __shared__ uint4 rmsnorm_gradient_rows[];  // [2][x, dy, dx][size / N]
  __shared__ float dots[2][8];                      // in turn: a warp may be a row ahead of another that still reads
  constexpr int tensors = Adds ? 3 : 2;
  const int packs = size / N;
  const int own = static_cast<int>(threadIdx.x);  // packs own + 256 p
  const std::int64_t begin = blockIdx.x * rows_per_block;
  const int count = static_cast<int>(begin + rows_per_block < rows ? rows_per_block : rows - begin);
  const auto at = [&](int row, int tensor, int p) {
    return rmsnorm_gradient_rows + ((row & 1) * tensors + tensor) * packs + own + 256 * p;
  };
  const auto fetch = [&](int row) {
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (own + 256 * p >= packs) continue;
      const int column = (own + 256 * p) * N;
      const auto copy = [&](int tensor, const T* from) {
        ptx::copy_async_16(ptx::shared_address(at(row, tensor, p)), from + column, true);
      };
      copy(0, x.data() + (begin + row) * x.stride());
      copy(1, dy.data() + (begin + row) * dy.stride());
      if constexpr (Adds) copy(2, dx.data() + (begin + row) * dx.stride());
    }
  };
  const auto read = [&](int row, int tensor, int p) { return load<N>(reinterpret_cast<const T*>(at(row, tensor, p))); };

  pack<T, N> factors[P];
  float sums[P][N] = {};
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (own + 256 * p < packs) factors[p] = load<N>(weight + (own + 256 * p) * N);
  fetch(0);
  ptx::commit_copies();
  for (int row = 0; row < count; ++row) {
    if (row + 1 < count) fetch(row + 1);  // dx may be dy: every row is read before it is written
    ptx::commit_copies();
    const float inverse = rstd[begin + row];
    ptx::wait_for_copies<1>();
    float dot = 0.0F;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (own + 256 * p >= packs) continue;
      const auto values = read(row, 0, p);
      const auto d = read(row, 1, p);
#pragma unroll
      for (int k = 0; k < N; ++k) dot += widen(d[k]) * widen(factors[p][k]) * widen(values[k]);
    }
    dot = warp_sum(dot);
    if (own % 32 == 0) dots[row & 1][own / 32] = dot;
    __syncthreads();
    dot = 0.0F;
#pragma unroll
    for (int i = 0; i < 8; ++i) dot += dots[row & 1][i];
    const float pull = dot * inverse * inverse / static_cast<float>(size);
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (own + 256 * p >= packs) continue;
      const auto values = read(row, 0, p);
      const auto d = read(row, 1, p);
      pack<T, N> result;
      if constexpr (Adds) result = read(row, 2, p);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float grad = widen(d[k]);
        const float pulled = inverse * (grad * widen(factors[p][k]) - widen(values[k]) * pull);
        result[k] = narrow<T>(Adds ? widen(result[k]) + pulled : pulled);
        sums[p][k] += grad * widen(values[k]) * inverse;
      }
      store(dx.data() + (begin + row) * dx.stride() + (own + 256 * p) * N, result);
    }
  }
#pragma unroll
  for (int p = 0; p < P; ++p)
    if (own + 256 * p < packs)
#pragma unroll
      for (int k = 0; k < N; ++k) partial[blockIdx.x * std::int64_t{size} + (own + 256 * p) * N + k] = sums[p][k];
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
    const auto kernel = detail::rmsnorm_kernel<team, decltype(packed)::value, T>;
    const std::int64_t groups = x.size(1) / size;
    if (x.size(0) <= most_few_rows) {
      launch_in_line(kernel, dim3(blocks), dim3(256), 0, lane, "rmsnorm", count, groups, size, x, weight.data(),
                     epsilon, y, rstd.data());
    } else {
      kernel<<<blocks, 256, 0, lane>>>(count, groups, size, x, weight.data(), epsilon, y, rstd.data());
      check_launch("rmsnorm");
    }
  });
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
    const auto launch_adding = [&](auto packs, auto adding) {
      const auto kernel = detail::rmsnorm_gradient_kernel<wide, decltype(packs)::value, decltype(adding)::value, T>;
      const std::size_t shared = detail::rmsnorm_gradient_shared<T>(size, adds);
      if (shared > (std::size_t{32} << 10))  // with the static part, 48 KiB is all that goes unasked
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
              "rmsnorm_gradient");
      kernel<<<blocks, 256, shared, lane>>>(count, rows_per_block, static_cast<int>(size), x, weight.data(),
                                            rstd.data(), dy, dx, partial);
    };
    const auto launch = [&](auto packs) {
      if (adds)
        launch_adding(packs, std::true_type{});
      else
        launch_adding(packs, std::false_type{});
    };
    if (size <= 256 * wide)
      launch(std::integral_constant<int, 1>{});
    else if (size <= 256 * wide * 2)
      launch(std::integral_constant<int, 2>{});
    else
      launch(std::integral_constant<int, 4>{});
    detail::join_partials<float>(lane, blocks, size, partial, dweight.data());
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
