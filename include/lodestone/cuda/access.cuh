// How kernels touch memory: 16-byte packs with a scalar path, and loops over rows and flat ranges.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/mma.cuh>
#include <lodestone/cuda/operations.hpp>

namespace lodestone::on_cuda {

/// N neighbouring elements, loaded and stored at once.
template <class T, int N>
struct alignas(sizeof(T) * N <= 16 ? sizeof(T) * N : 16) pack {
  T values[N];

  [[nodiscard]] __device__ T& operator[](int i) { return values[i]; }
  [[nodiscard]] __device__ const T& operator[](int i) const { return values[i]; }
};

template <int N, class T>
[[nodiscard]] __device__ __forceinline__ pack<std::remove_const_t<T>, N> load(T* from) {
  return *reinterpret_cast<const pack<std::remove_const_t<T>, N>*>(from);
}
template <class T, int N>
__device__ __forceinline__ void store(T* to, const pack<T, N>& values) {
  *reinterpret_cast<pack<T, N>*>(to) = values;
}

[[nodiscard]] __device__ __forceinline__ float widen(float value) { return value; }
[[nodiscard]] __device__ __forceinline__ float widen(bf16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}
template <class T>
[[nodiscard]] __device__ __forceinline__ T narrow(float value) {
  if constexpr (std::is_same_v<T, bf16>) {
    std::uint16_t bits = 0;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bf16::from_bits(bits);
  } else {
    return value;
  }
}

/// Elements of a 16-byte access to the narrower of the types.
template <class... T>
inline constexpr int pack_size = 16 / static_cast<int>(std::max({sizeof(T)...}));

/// Whether rows of `width` elements at these addresses and strides can be read in packs of N.
template <int N, class... T>
[[nodiscard]] bool packs_fit(std::int64_t width, const matrix<T>&... views) {
  return width % N == 0 && ((views.stride() % N == 0 || views.size(0) <= 1) && ...) &&
         ((reinterpret_cast<std::uintptr_t>(views.data()) % (sizeof(T) * N) == 0) && ...);
}

/// Puts a kernel on a lane. Where the device can (compute capability 9.0), it may begin while the one before it ends,
/// and must await_previous() (mma.cuh) before it touches what others write. It pays for kernels of few rows, which take
/// microseconds; others are launched as usual.
template <class... Parameters, class... Arguments>
void launch_in_line(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t lane,
                    const char* name, const Arguments&... arguments) {
  static const bool overlaps = [] {
    int device = 0;
    int major = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 9;
  }();
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = lane;
  config.attrs = &attribute;
  config.numAttrs = overlaps ? 1 : 0;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (status == cudaSuccess) return;
  check_launch(name);
  check(status, name);
}

namespace detail {

/// body.template run<N>(row, column) for every N-th column of every row. threadIdx.x runs along columns.
template <int N, class Body>
__global__ void __launch_bounds__(256) rows_kernel(std::int64_t rows, std::int64_t width, Body body) {
  ptx::let_next_begin();
  ptx::await_previous();
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.y;
  for (std::int64_t row = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; row < rows; row += step)
    for (std::int64_t column = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * N; column < width;
         column += std::int64_t{gridDim.y} * blockDim.x * N)
      body.template run<N>(row, column);
}

}  // namespace detail

/// Runs body.run<N>(row, column) over rows x width in packs of N.
template <int N, class Body>
void launch_rows(cudaStream_t lane, std::int64_t rows, std::int64_t width, const Body& body, const char* name) {
  if (rows == 0 || width == 0) return;
  const std::int64_t packs = (width + N - 1) / N;
  unsigned across = 1;
  while (across < 256 && across < packs) across *= 2;
  const unsigned down = 256 / across;
  const dim3 grid(static_cast<unsigned>(std::min<std::int64_t>((rows + down - 1) / down, std::int64_t{1} << 20)),
                  static_cast<unsigned>(std::min<std::int64_t>((packs + across - 1) / across, 1024)));
  if (rows <= most_few_rows) {
    launch_in_line(detail::rows_kernel<N, Body>, grid, dim3(across, down), 0, lane, name, rows, width, body);
  } else {
    detail::rows_kernel<N><<<grid, dim3(across, down), 0, lane>>>(rows, width, body);
    check_launch(name);
  }
}

/// The same, in packs of `Wide` where the condition holds, else element by element.
template <int Wide, class Body>
void launch_rows(cudaStream_t lane, bool fits, std::int64_t rows, std::int64_t width, const Body& body,
                 const char* name) {
  if (fits)
    launch_rows<Wide>(lane, rows, width, body, name);
  else
    launch_rows<1>(lane, rows, width, body, name);
}

/// Sum over the threads of a warp, in every thread.
template <class T>
[[nodiscard]] __device__ __forceinline__ T warp_sum(T value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}
[[nodiscard]] __device__ __forceinline__ float warp_max(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, offset));
  return value;
}

/// Sum over a block of `Threads`, in every thread; the order of additions is fixed. All threads call it.
template <int Threads, class T>
[[nodiscard]] __device__ T block_sum(T value) {
  if constexpr (Threads == 32) {
    return warp_sum(value);
  } else {
    __shared__ T partial[Threads / 32];
    const T own = warp_sum(value);
    __syncthreads();  // the array may still be read from the call before
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = own;
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < Threads / 32; ++i) sum += partial[i];
    return sum;
  }
}

}  // namespace lodestone::on_cuda
