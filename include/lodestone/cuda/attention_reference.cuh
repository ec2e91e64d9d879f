// Kernels of attention_reference: one warp a query row and head (or key row and key-value head), keys in groups of 32.
#pragma once

#include <lodestone/cuda/attention_reference.hpp>

#include <lodestone/cuda/access.cuh>

namespace lodestone::on_cuda {

namespace detail {

inline constexpr int attention_warps = 8;

/// a . b over D elements, b widened.
template <class T>
[[nodiscard]] __device__ float dot(const float* a, const T* b, int size) {
  float sum = 0.0F;
#pragma unroll 4
  for (int d = 0; d < size; ++d) sum += a[d] * widen(b[d]);
  return sum;
}

/// The query row and head that a warp works on.
struct warp_query {
  std::int64_t index;  ///< row H + head; -1 for a warp past the last
  std::int64_t row;
  std::int64_t head;
  std::int64_t kv_at;  ///< first column of the head's keys and values
  float* query;        ///< [D] widened, in shared memory
};

/// Finds it and begins to copy the query to the first of the `rows` rows of D floats that each warp has in `shared`;
/// __syncwarp() comes before it is read.
template <class T>
[[nodiscard]] __device__ __forceinline__ warp_query query_of_warp(const attention_operands<T>& in, float* shared,
                                                                  int rows) {
  const int size = static_cast<int>(in.shape.head_dim);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const std::int64_t index = std::int64_t{blockIdx.x} * attention_warps + warp;
  if (index >= in.q.size(0) * in.shape.heads) return {-1, 0, 0, 0, nullptr};
  const std::int64_t row = index / in.shape.heads;
  const std::int64_t head = index % in.shape.heads;
  float* const query = shared + warp * rows * size;
  for (int d = static_cast<int>(threadIdx.x % 32); d < size; d += 32)
    query[d] = widen(in.q.data()[row * in.q.stride() + head * size + d]);
  return {index, row, head, head / in.shape.group() * size, query};
}

/// R = ceil(D / 32) elements of the output a lane.
template <class T, int R>
__global__ void __launch_bounds__(32 * attention_warps) attention_forward_kernel(attention_operands<T> in, matrix<T> o,
                                                                                float* lse) {
  extern __shared__ float shared[];
  const int size = static_cast<int>(in.shape.head_dim);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto [index, row, head, kv_at, query] = query_of_warp(in, shared, 1);
  if (index < 0) return;
  __syncwarp();

  float maximum = -INFINITY;
  float sum = 0.0F;
  float out[R] = {};
  for (std::int64_t s = 0; s < in.slice_count; ++s) {
    const slice part = in.slices[s];
    if (row < part.q_begin || row >= part.q_end) continue;
    const std::int64_t end = part.last_key(row);
    for (std::int64_t first = part.first_key(row); first < end; first += 32) {
      const std::int64_t key = first + lane;
      const float score = key < end ? static_cast<float>(in.shape.scale) *
                                          dot(query, in.k.data() + key * in.k.stride() + kv_at, size)
                                    : -INFINITY;
      const float larger = fmaxf(maximum, warp_max(score));
      const float shrink = expf(maximum - larger);  // 0 in the first group
      const float p = expf(score - larger);
      maximum = larger;
      sum = sum * shrink + warp_sum(p);
#pragma unroll
      for (int r = 0; r < R; ++r) out[r] *= shrink;
      const int keys = static_cast<int>(end - first < 32 ? end - first : 32);
      for (int j = 0; j < keys; ++j) {
        const float weight = __shfl_sync(0xffffffffU, p, j);
        const T* const value = in.v.data() + (first + j) * in.v.stride() + kv_at;
#pragma unroll
        for (int r = 0; r < R; ++r)
          if (lane + 32 * r < size) out[r] += weight * widen(value[lane + 32 * r]);
      }
    }
  }
  const float scale = sum > 0.0F ? 1.0F / sum : 0.0F;
#pragma unroll
  for (int r = 0; r < R; ++r)
    if (lane + 32 * r < size) o.data()[row * o.stride() + head * size + lane + 32 * r] = narrow<T>(out[r] * scale);
  if (lane == 0) lse[index] = sum > 0.0F ? maximum + logf(sum) : -INFINITY;
}

/// delta [Tq H] = rowsum(dO * O), one warp a row and head.
template <class T>
__global__ void __launch_bounds__(32 * attention_warps) attention_delta_kernel(attention_operands<T> in, float* delta) {
  const int size = static_cast<int>(in.shape.head_dim);
  const std::int64_t index = std::int64_t{blockIdx.x} * attention_warps + threadIdx.x / 32;
  if (index >= in.q.size(0) * in.shape.heads) return;
  const std::int64_t row = index / in.shape.heads;
  const std::int64_t at = index % in.shape.heads * size;
  float sum = 0.0F;
  for (int d = static_cast<int>(threadIdx.x % 32); d < size; d += 32)
    sum += widen(in.o.data()[row * in.o.stride() + at + d]) * widen(in.d_o.data()[row * in.d_o.stride() + at + d]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) delta[index] = sum;
}

template <class T, int R>
__global__ void __launch_bounds__(32 * attention_warps) attention_dq_kernel(attention_operands<T> in, matrix<T> dq) {
  extern __shared__ float shared[];
  const int size = static_cast<int>(in.shape.head_dim);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto [index, row, head, kv_at, query] = query_of_warp(in, shared, 2);
  if (index < 0) return;
  float* const above = query + size;
  for (int d = lane; d < size; d += 32) above[d] = widen(in.d_o.data()[row * in.d_o.stride() + head * size + d]);
  __syncwarp();
  const float total = in.lse[index];
  const float centre = in.delta[index];
  const auto scale = static_cast<float>(in.shape.scale);
  float out[R] = {};
  for (std::int64_t s = 0; s < in.slice_count; ++s) {
    const slice part = in.slices[s];
    if (row < part.q_begin || row >= part.q_end) continue;
    const std::int64_t end = part.last_key(row);
    for (std::int64_t first = part.first_key(row); first < end; first += 32) {
      const std::int64_t key = first + lane;
      float ds = 0.0F;
      if (key < end) {
        const float p = expf(scale * dot(query, in.k.data() + key * in.k.stride() + kv_at, size) - total);
        ds = p * (dot(above, in.v.data() + key * in.v.stride() + kv_at, size) - centre) * scale;
      }
      const int keys = static_cast<int>(end - first < 32 ? end - first : 32);
      for (int j = 0; j < keys; ++j) {
        const float weight = __shfl_sync(0xffffffffU, ds, j);
        const T* const from = in.k.data() + (first + j) * in.k.stride() + kv_at;
#pragma unroll
        for (int r = 0; r < R; ++r)
          if (lane + 32 * r < size) out[r] += weight * widen(from[lane + 32 * r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
    if (lane + 32 * r < size) dq.data()[row * dq.stride() + head * size + lane + 32 * r] = narrow<T>(out[r]);
}

/// One warp a key row and key-value head: its query heads in order, their rows in groups of 32.
template <class T, int R>
__global__ void __launch_bounds__(32 * attention_warps) attention_dkv_kernel(attention_operands<T> in, matrix<T> dk,
                                                                            matrix<T> dv) {
  extern __shared__ float shared[];
  const int size = static_cast<int>(in.shape.head_dim);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t index = std::int64_t{blockIdx.x} * attention_warps + threadIdx.x / 32;
  if (index >= in.k.size(0) * in.shape.kv_heads) return;
  const std::int64_t key = index / in.shape.kv_heads;
  const std::int64_t kv_head = index % in.shape.kv_heads;
  float* const key_row = shared + threadIdx.x / 32 * 2 * size;
  float* const value_row = key_row + size;
  for (int d = lane; d < size; d += 32) {
    key_row[d] = widen(in.k.data()[key * in.k.stride() + kv_head * size + d]);
    value_row[d] = widen(in.v.data()[key * in.v.stride() + kv_head * size + d]);
  }
  __syncwarp();
  const auto scale = static_cast<float>(in.shape.scale);
  float key_sum[R] = {};
  float value_sum[R] = {};
  for (std::int64_t s = 0; s < in.slice_count; ++s) {
    const slice part = in.slices[s];
    if (key < part.k_begin || key >= part.k_end) continue;
    std::int64_t begin = part.q_begin;
    std::int64_t end = part.q_end;
    if (part.kind == slice_kind::causal) {  // row q sees keys below k_end - (q_end - 1 - q), the last `window` of them
      const std::int64_t first_row = key - part.k_end + part.q_end;
      begin = first_row > begin ? first_row : begin;
      if (part.window > 0 && first_row + part.window < end) end = first_row + part.window;
    }
    for (std::int64_t head = kv_head * in.shape.group(); head < (kv_head + 1) * in.shape.group(); ++head)
      for (std::int64_t first = begin; first < end; first += 32) {
        const std::int64_t row = first + lane;
        float p = 0.0F;
        float ds = 0.0F;
        if (row < end) {
          p = expf(scale * dot(key_row, in.q.data() + row * in.q.stride() + head * size, size) -
                   in.lse[row * in.shape.heads + head]);
          ds = p *
               (dot(value_row, in.d_o.data() + row * in.d_o.stride() + head * size, size) -
                in.delta[row * in.shape.heads + head]) *
               scale;
        }
        const int rows = static_cast<int>(end - first < 32 ? end - first : 32);
        for (int j = 0; j < rows; ++j) {
          const float weight = __shfl_sync(0xffffffffU, p, j);
          const float slope = __shfl_sync(0xffffffffU, ds, j);
          const T* const query = in.q.data() + (first + j) * in.q.stride() + head * size;
          const T* const above = in.d_o.data() + (first + j) * in.d_o.stride() + head * size;
#pragma unroll
          for (int r = 0; r < R; ++r)
            if (lane + 32 * r < size) {
              key_sum[r] += slope * widen(query[lane + 32 * r]);
              value_sum[r] += weight * widen(above[lane + 32 * r]);
            }
        }
      }
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
    if (lane + 32 * r < size) {
      dk.data()[key * dk.stride() + kv_head * size + lane + 32 * r] = narrow<T>(key_sum[r]);
      dv.data()[key * dv.stride() + kv_head * size + lane + 32 * r] = narrow<T>(value_sum[r]);
    }
}

/// Calls go with the least R of 1, 2, 4, 8, 16 whose 32 R covers `size`.
template <class Go>
void with_registers(std::int64_t size, const Go& go) {
  using std::integral_constant;
  if (size <= 32) return go(integral_constant<int, 1>{});
  if (size <= 64) return go(integral_constant<int, 2>{});
  if (size <= 128) return go(integral_constant<int, 4>{});
  if (size <= 256) return go(integral_constant<int, 8>{});
  go(integral_constant<int, 16>{});
}

[[nodiscard]] inline unsigned attention_blocks(std::int64_t warps) {
  return static_cast<unsigned>((warps + attention_warps - 1) / attention_warps);
}

}  // namespace detail

template <class T>
void attention_forward(cudaStream_t lane, const attention_operands<T>& in, matrix<T> o, float* lse) {
  const std::int64_t warps = in.q.size(0) * in.shape.heads;
  if (warps == 0) return;
  const std::size_t shared = detail::attention_warps * static_cast<std::size_t>(in.shape.head_dim) * sizeof(float);
  detail::with_registers(in.shape.head_dim, [&](auto registers) {
    detail::attention_forward_kernel<T, decltype(registers)::value>
        <<<detail::attention_blocks(warps), 32 * detail::attention_warps, shared, lane>>>(in, o, lse);
  });
  check_launch("attention_forward");
}

template <class T>
void attention_backward(cudaStream_t lane, const attention_operands<T>& in, float* delta, matrix<T> dq, matrix<T> dk,
                        matrix<T> dv) {
  const std::int64_t query_warps = in.q.size(0) * in.shape.heads;
  const std::int64_t key_warps = in.k.size(0) * in.shape.kv_heads;
  const std::size_t shared = 2 * detail::attention_warps * static_cast<std::size_t>(in.shape.head_dim) * sizeof(float);
  constexpr int threads = 32 * detail::attention_warps;
  if (query_warps > 0)
    detail::attention_delta_kernel<T><<<detail::attention_blocks(query_warps), threads, 0, lane>>>(in, delta);
  detail::with_registers(in.shape.head_dim, [&](auto registers) {
    constexpr int R = decltype(registers)::value;
    if (query_warps > 0)
      detail::attention_dq_kernel<T, R><<<detail::attention_blocks(query_warps), threads, shared, lane>>>(in, dq);
    if (key_warps > 0)
      detail::attention_dkv_kernel<T, R><<<detail::attention_blocks(key_warps), threads, shared, lane>>>(in, dk, dv);
  });
  check_launch("attention_backward");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
#define LODESTONE_KERNELS_OF(T)                                                                      \
  template void attention_forward(cudaStream_t, const attention_operands<T>&, matrix<T>, float*);    \
  template void attention_backward(cudaStream_t, const attention_operands<T>&, float*, matrix<T>,    \
                                   matrix<T>, matrix<T>);
namespace lodestone::on_cuda {
LODESTONE_KERNELS_OF(float)
LODESTONE_KERNELS_OF(bf16)
}  // namespace lodestone::on_cuda
#undef LODESTONE_KERNELS_OF
#endif
