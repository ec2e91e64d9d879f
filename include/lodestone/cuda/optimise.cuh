// AdamW on flat buffers, and the sums that clipping and the check for non-finite gradients need.
#pragma once

#include <type_traits>

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>

namespace lodestone::on_cuda {

namespace detail {

/// One pack of N a thread; `count` is a multiple of N.
template <int N, class A>
__global__ void __launch_bounds__(256) adamw_kernel(std::int64_t count, A* weights, A* first, A* second,
                                                    const A* gradient, adamw_scalars s) {
  const std::int64_t at = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * N;
  if (at >= count) return;
  const auto gradients = load<N>(gradient + at);
  auto w = load<N>(weights + at);
  auto m = load<N>(first + at);
  auto v = load<N>(second + at);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const A g = gradients[i] * s.gradient_scale;
    m[i] = s.beta1 * m[i] + s.rest1 * g;
    v[i] = s.beta2 * v[i] + s.rest2 * g * g;
    w[i] = w[i] * s.decay - s.rate * m[i] / (sqrtf(v[i]) * s.root_correction + s.epsilon);
  }
  store(first + at, m);
  store(second + at, v);
  store(weights + at, w);
}

inline constexpr int sum_blocks = 512;

template <class A>
__global__ void __launch_bounds__(256) squares_kernel(std::int64_t count, const A* values, double* partial) {
  double sum = 0.0;
  const std::int64_t step = std::int64_t{gridDim.x} * 256;
  for (std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x; i < count; i += step) {
    const auto value = static_cast<double>(values[i]);
    sum += value * value;
  }
  const double all = block_sum<256>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = all;
}

template <class A>
__global__ void __launch_bounds__(256) add_up_kernel(int count, const A* partial, A* result) {
  A sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += 256) sum += partial[i];
  const A all = block_sum<256>(sum);
  if (threadIdx.x == 0) *result = all;
}

template <class A>
__global__ void __launch_bounds__(256) finite_kernel(std::int64_t count, const A* values, double* result) {
  bool fine = true;
  const std::int64_t step = std::int64_t{gridDim.x} * 256;
  for (std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x; i < count; i += step)
    fine = fine && isfinite(values[i]);
  if (!fine) *result = 0.0;  // every writer writes the same
}

/// Blocks of a grid-stride loop: enough to fill the device, never more than the work.
[[nodiscard]] inline unsigned flat_blocks(std::int64_t count) {
  return static_cast<unsigned>(std::clamp<std::int64_t>((count + 1023) / 1024, 1, 132 * 16));
}

}  // namespace detail

template <class A>
void adamw(cudaStream_t lane, vector<A> weights, vector<A> first, vector<A> second, vector<const A> gradient,
           const adamw_scalars& scalars) {
  const std::int64_t count = weights.size(0);
  if (count == 0) return;
  const auto is_aligned = [](const A* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; };
  constexpr int N = pack_size<A>;
  const auto launch = [&](auto packed) {
    constexpr int n = decltype(packed)::value;
    detail::adamw_kernel<n, A><<<static_cast<unsigned>((count + 256 * n - 1) / (256 * n)), 256, 0, lane>>>(
        count, weights.data(), first.data(), second.data(), gradient.data(), scalars);
  };
  if (count % N == 0 && is_aligned(weights.data()) && is_aligned(first.data()) && is_aligned(second.data()) &&
      is_aligned(gradient.data()))
    launch(std::integral_constant<int, N>{});
  else
    launch(std::integral_constant<int, 1>{});
  check_launch("adamw");
}

template <class A>
void sum_of_squares(cudaStream_t lane, vector<const A> values, double* result, void* scratch) {
  auto* const partial = static_cast<double*>(scratch);
  const auto blocks = static_cast<int>(std::clamp<std::int64_t>((values.size(0) + 4095) / 4096, 1, detail::sum_blocks));
  detail::squares_kernel<A><<<static_cast<unsigned>(blocks), 256, 0, lane>>>(values.size(0), values.data(), partial);
  detail::add_up_kernel<double><<<1, 256, 0, lane>>>(blocks, partial, result);
  check_launch("sum_of_squares");
}

template <class A>
void all_finite(cudaStream_t lane, vector<const A> values, double* result) {
  const double yes = 1.0;
  check(cudaMemcpyAsync(result, &yes, sizeof yes, cudaMemcpyHostToDevice, lane), "cudaMemcpyAsync");
  detail::finite_kernel<A>
      <<<detail::flat_blocks(values.size(0)), 256, 0, lane>>>(values.size(0), values.data(), result);
  check_launch("all_finite");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
namespace lodestone::on_cuda {
template void adamw(cudaStream_t, vector<float>, vector<float>, vector<float>, vector<const float>,
                    const adamw_scalars&);
template void sum_of_squares(cudaStream_t, vector<const float>, double*, void*);
template void all_finite(cudaStream_t, vector<const float>, double*);
}  // namespace lodestone::on_cuda
#endif
