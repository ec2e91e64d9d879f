// The language-model head after its product: label log-probabilities of logits rows and their gradient.
#pragma once

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>

namespace lodestone::on_cuda {

namespace detail {

/// A running maximum and the sum of exp(x - maximum).
struct exponent_sum {
  float maximum = -INFINITY;
  float sum = 0.0F;

  __device__ void add(float value) {
    if (value > maximum) {
      sum = sum * expf(maximum - value) + 1.0F;
      maximum = value;
    } else {
      sum += expf(value - maximum);
    }
  }
  __device__ void add(const exponent_sum& other) {
    const float larger = fmaxf(maximum, other.maximum);
    if (larger == -INFINITY) return;
    sum = sum * expf(maximum - larger) + other.sum * expf(other.maximum - larger);
    maximum = larger;
  }
};

/// One block of 512 threads a row.
template <class A>
__global__ void __launch_bounds__(512) label_log_probs_kernel(matrix<const A> logits, const std::int64_t* offsets,
                                                              const std::int32_t* labels, std::int64_t first, A* lse,
                                                              double* log_probs) {
  const std::int64_t row = blockIdx.x;
  const A* const values = logits.data() + row * logits.stride();
  exponent_sum own;
  for (std::int64_t i = threadIdx.x; i < logits.size(1); i += 512) own.add(values[i]);
  for (int offset = 16; offset > 0; offset /= 2)
    own.add(
        exponent_sum{__shfl_xor_sync(0xffffffffU, own.maximum, offset), __shfl_xor_sync(0xffffffffU, own.sum, offset)});
  __shared__ float maxima[16];
  __shared__ float sums[16];
  if (threadIdx.x % 32 == 0) {
    maxima[threadIdx.x / 32] = own.maximum;
    sums[threadIdx.x / 32] = own.sum;
  }
  __syncthreads();
  exponent_sum all;
  for (int i = 0; i < 16; ++i) all.add(exponent_sum{maxima[i], sums[i]});
  const double total = static_cast<double>(all.maximum) + log(static_cast<double>(all.sum));
  if (threadIdx.x == 0) lse[row] = static_cast<A>(total);
  for (std::int64_t k = offsets[row] + threadIdx.x; k < offsets[row + 1]; k += 512)
    log_probs[k - first] = static_cast<double>(values[labels[k]]) - total;
}

/// One block of 512 threads a row: -c softmax everywhere in packs of N, then the labels.
template <int N, class A, class T>
__global__ void __launch_bounds__(512) label_gradient_kernel(matrix<const A> logits, const A* lse,
                                                             const std::int64_t* offsets, const std::int32_t* labels,
                                                             std::int64_t first, const double* coefficients,
                                                             matrix<T> d_logits) {
  const std::int64_t row = blockIdx.x;
  const A* const values = logits.data() + row * logits.stride();
  T* const to = d_logits.data() + row * d_logits.stride();
  const std::int64_t begin = offsets[row];
  const std::int64_t end = offsets[row + 1];
  double sum = 0.0;
  for (std::int64_t k = begin; k < end; ++k) sum += coefficients[k - first];
  const auto factor = static_cast<float>(-sum);
  const float total = lse[row];
  // The gradient at a label is formed before it is rounded to T, and before values are overwritten where they share
  // memory: thread t takes label begin + t, and of equal labels the first takes all coefficients.
  for (std::int64_t from = begin; from < end; from += 512) {
    const std::int64_t k = from + threadIdx.x;
    float at_label = 0.0F;
    bool is_first = k < end;
    if (k < end) {
      double own = 0.0;
      for (std::int64_t other = begin; other < end; ++other)
        if (labels[other] == labels[k]) {
          own += coefficients[other - first];
          is_first = is_first && other >= k;
        }
      at_label = factor * expf(values[labels[k]] - total) + static_cast<float>(own);
    }
    __syncthreads();
    if (from == begin)
      for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * N; i < logits.size(1); i += 512 * N) {
        const auto scores = load<N>(values + i);
        pack<T, N> result;
#pragma unroll
        for (int k = 0; k < N; ++k) result[k] = narrow<T>(factor * expf(scores[k] - total));
        store(to + i, result);
      }
    __syncthreads();
    if (is_first) to[labels[k]] = narrow<T>(at_label);
  }
  if (begin == end)
    for (std::int64_t i = threadIdx.x; i < logits.size(1); i += 512) to[i] = narrow<T>(0.0F);
}

/// One block of 1024 threads a row; the order of comparisons does not matter.
template <class A>
__global__ void __launch_bounds__(1024) largest_kernel(matrix<const A> logits, std::int32_t* ids) {
  __shared__ A values[32];
  __shared__ std::int32_t places[32];
  ptx::let_next_begin();
  ptx::await_previous();
  const A* const from = logits.data() + blockIdx.x * logits.stride();
  const auto width = static_cast<std::int32_t>(logits.size(1));
  A best = -INFINITY;
  std::int32_t place = 0x7fff'ffff;
  const auto take = [&](A value, std::int32_t at) {  // what is no number wins for good
    if (value > best || (value == best && at < place) || (value != value && best == best)) {
      best = value;
      place = at;
    }
  };
#pragma unroll 8
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < width; i += 1024) take(from[i], i);
  const auto join = [&] {
    for (int offset = 16; offset > 0; offset /= 2) {
      const A value = __shfl_xor_sync(0xffffffffU, best, offset);
      const std::int32_t at = __shfl_xor_sync(0xffffffffU, place, offset);
      take(value, at);
    }
  };
  join();
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = best;
    places[threadIdx.x / 32] = place;
  }
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = values[threadIdx.x];
  place = places[threadIdx.x];
  join();
  if (threadIdx.x == 0) ids[blockIdx.x] = fabsf(best) < INFINITY ? place : -1;
}

}  // namespace detail

template <class A>
void largest(cudaStream_t lane, matrix<const A> logits, std::int32_t* ids) {
  if (logits.size(0) == 0) return;
  launch_in_line(detail::largest_kernel<A>, dim3(static_cast<unsigned>(logits.size(0))), dim3(1024), 0, lane, "largest",
                 logits, ids);
}

template <class A>
void label_log_probs(cudaStream_t lane, matrix<const A> logits, const std::int64_t* offsets, const std::int32_t* labels,
                     std::int64_t first, vector<A> lse, double* log_probs) {
  if (logits.size(0) == 0) return;
  detail::label_log_probs_kernel<A>
      <<<static_cast<unsigned>(logits.size(0)), 512, 0, lane>>>(logits, offsets, labels, first, lse.data(), log_probs);
  check_launch("label_log_probs");
}

template <class T>
void label_gradient(cudaStream_t lane, matrix<const float> logits, vector<const float> lse, const std::int64_t* offsets,
                    const std::int32_t* labels, std::int64_t first, const double* coefficients, matrix<T> d_logits) {
  if (logits.size(0) == 0) return;
  const auto blocks = static_cast<unsigned>(logits.size(0));
  constexpr int N = pack_size<float>;
  if (packs_fit<N>(logits.size(1), logits, d_logits))
    detail::label_gradient_kernel<N, float, T>
        <<<blocks, 512, 0, lane>>>(logits, lse.data(), offsets, labels, first, coefficients, d_logits);
  else
    detail::label_gradient_kernel<1, float, T>
        <<<blocks, 512, 0, lane>>>(logits, lse.data(), offsets, labels, first, coefficients, d_logits);
  check_launch("label_gradient");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
namespace lodestone::on_cuda {
template void largest(cudaStream_t, matrix<const float>, std::int32_t*);
template void label_log_probs(cudaStream_t, matrix<const float>, const std::int64_t*, const std::int32_t*, std::int64_t,
                              vector<float>, double*);
template void label_gradient(cudaStream_t, matrix<const float>, vector<const float>, const std::int64_t*,
                             const std::int32_t*, std::int64_t, const double*, matrix<float>);
template void label_gradient(cudaStream_t, matrix<const float>, vector<const float>, const std::int64_t*,
                             const std::int32_t*, std::int64_t, const double*, matrix<bf16>);
}  // namespace lodestone::on_cuda
#endif
