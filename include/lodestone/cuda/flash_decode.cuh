// The kernels of flash_decode: pieces of keys with an online softmax of their own, and their merge.
#pragma once

#include <cstdint>

#include <lodestone/cuda/flash_decode.hpp>
#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>
#include <lodestone/cuda/flash_tile.cuh>

namespace lodestone::on_cuda::detail {

/// What the kernels get.
struct flash_decode_call {
  flash_arguments arguments;
  flash_decode_view schedule;
  std::int32_t heads;       ///< query heads
  std::int32_t kv_heads;    ///< key-value heads
  std::int32_t group;       ///< query heads of one key-value head
  std::int32_t head_tiles;  ///< tiles of 16 heads in a group
  float scale_log2;         ///< of q . k, times log2 e
  float* sums;              ///< [partials, heads, D]: weighted sums of v
  float2* scales;           ///< [partials, heads]: the power of two by which they are too small, and the sum of weights
};

// A warp takes 16 keys at a time through a ring of its own, so that no warp waits for another before the end; all warps
// have the same rows, up to 16 pairs of a query row and a head. Two blocks of a multiprocessor have 128 KB under way.
template <int D>
struct flash_decode_plan {
  static constexpr int warps = D > 128 ? 2 : 4;
  static constexpr int threads = warps * flash_warp;
  static constexpr int keys = 16;
  static constexpr int stages = D > 80 ? 3 : 4;
  static constexpr int tile_bytes = 16 * D * 2;  // of q, or of a warp's keys or values
  static constexpr int ring_bytes = stages * 2 * tile_bytes;
  static constexpr int shared_bytes = tile_bytes + warps * ring_bytes;
  static constexpr int sums_stride = D + 8;  // floats: rows eight banks apart
  static_assert(warps * 16 * sums_stride * 4 <= shared_bytes);
};

/// Starts copying 16 rows of D elements by one warp; rows from `valid` on become zeros.
template <int D>
__device__ __forceinline__ void flash_load_by_warp(unsigned to, const bf16* from, std::int64_t stride, int valid,
                                                   int lane) {
  using layout = flash_layout<D>;
  constexpr int at_once = D > 128 ? 4 : 16;
#pragma unroll at_once
  for (int i = 0; i < 16 * layout::columns / flash_warp; ++i) {
    const int index = lane + i * flash_warp;
    const int row = index / layout::columns;
    const int column = index % layout::columns;
    const bool is_read = row < valid;
    ptx::copy_async_16(to + layout::offset(row, column), is_read ? from + row * stride + column * 8 : from, is_read);
  }
}

template <int D>
__global__ void __launch_bounds__(flash_decode_plan<D>::threads, 2)
    flash_decode_kernel(const __grid_constant__ flash_decode_call call) {
  using plan = flash_decode_plan<D>;
  extern __shared__ __align__(1024) unsigned char flash_memory[];
  __shared__ float largest_of[plan::warps][16];
  __shared__ float sum_of[plan::warps][16];
  const flash_arguments& a = call.arguments;
  const int lane = static_cast<int>(threadIdx.x) % flash_warp;
  const int warp = static_cast<int>(threadIdx.x) / flash_warp;
  const int kv_head = static_cast<int>(blockIdx.x) % call.kv_heads;
  const int rest = static_cast<int>(blockIdx.x) / call.kv_heads;
  const flash_piece piece = call.schedule.pieces[rest / call.head_tiles];
  const int first_head = rest % call.head_tiles * 16;           // of the group
  const int heads = min(call.group - first_head, 16);           // of each row in this tile
  const int pairs = heads * (piece.row_end - piece.row_begin);  // at most 16
  const int head = kv_head * call.group + first_head;
  const bf16* const k = a.k + kv_head * D;
  const bf16* const v = a.v + kv_head * D;
  const unsigned q_tile = ptx::shared_address(flash_memory);
  const unsigned ring = q_tile + plan::tile_bytes + static_cast<unsigned>(warp * plan::ring_bytes);
  constexpr int together = plan::warps * plan::keys;
  const int first = piece.column_begin + warp * plan::keys;
  const int steps = (piece.column_end - first + together - 1) / together;  // at most 0 where this warp has nothing

  // Most keys and values were there before the kernel that runs now: the first of them are on the way to L2.
  for (int i = lane; i < plan::stages * plan::keys; i += flash_warp)
    if (const int row = first + i / plan::keys * together + i % plan::keys; row < piece.column_end) {
      ptx::prefetch(k + row * a.k_stride, D * 2);
      ptx::prefetch(v + row * a.v_stride, D * 2);
    }
  ptx::await_previous();

  for (int index = static_cast<int>(threadIdx.x); index < 16 * (D / 8); index += plan::threads) {
    const int pair = index / (D / 8);
    const int column = index % (D / 8);
    const bool is_read = pair < pairs;
    const bf16* const row = a.q + (piece.row_begin + pair / heads) * a.q_stride + (head + pair % heads) * D;
    ptx::copy_async_16(q_tile + flash_layout<D>::offset(pair, column), is_read ? row + column * 8 : a.q, is_read);
  }
  ptx::commit_copies();
  const auto load = [&](int step) {
    if (step < steps) {
      const int column = first + step * together;
      const unsigned to = ring + static_cast<unsigned>(step % plan::stages * 2 * plan::tile_bytes);
      flash_load_by_warp<D>(to, k + column * a.k_stride, a.k_stride, piece.column_end - column, lane);
      flash_load_by_warp<D>(to + plan::tile_bytes, v + column * a.v_stride, a.v_stride, piece.column_end - column,
                            lane);
    }
    ptx::commit_copies();
  };
#pragma unroll
  for (int step = 0; step < plan::stages - 1; ++step) load(step);
  ptx::wait_for_copies<plan::stages - 1>();
  __syncthreads();  // q has arrived

  // What this lane's two pairs see, relative to its first column of a step.
  int begin[2];
  int end[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int pair = half * 8 + lane / 4;
    const int row = piece.row_begin + pair / heads;
    begin[half] = max(piece.column_begin, row + piece.low) - lane % 4 * 2;
    end[half] = pair < pairs ? min(piece.column_end, row + piece.up + 1) - lane % 4 * 2 : begin[half];
  }

  float o[1][D / 8][4];
  flash_clear(o);
  float largest[2] = {minus_infinity(), minus_infinity()};
  float sum[2] = {0.0F, 0.0F};
  const auto q_lane = flash_lane<D>::of_rows(q_tile, 0, 0);
  const auto k_lane = flash_lane<D>::of_columns(ring, 0, 0);
  const auto v_lane = flash_lane<D>::of_rows(ring + plan::tile_bytes, 0, 0);
  for (int step = 0; step < steps; ++step) {
    ptx::wait_for_copies<plan::stages - 2>();
    __syncwarp();  // this step's keys and values have arrived; every lane is done with the step before
    load(step + plan::stages - 1);
    const auto slot = static_cast<unsigned>(step % plan::stages * 2 * plan::tile_bytes);
    float s[1][2][4];
    flash_scores<D>(s, q_lane, k_lane.moved(slot));
    const int column = first + step * together;
    float block_largest[2];
    bool is_outgrown = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (column + n * 8 + e < begin[half] || column + n * 8 + e >= end[half])
            s[0][n][2 * half + e] = minus_infinity();
      float value =
          fmaxf(fmaxf(s[0][0][2 * half], s[0][0][2 * half + 1]), fmaxf(s[0][1][2 * half], s[0][1][2 * half + 1]));
      value = fmaxf(value, __shfl_xor_sync(0xffff'ffffU, value, 1));
      value = fmaxf(value, __shfl_xor_sync(0xffff'ffffU, value, 2));
      block_largest[half] = value;
      is_outgrown |= (value - largest[half]) * call.scale_log2 > 8.0F;
    }
    if (__any_sync(0xffff'ffffU, is_outgrown)) {  // as in flash_forward_kernel
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float now = fmaxf(largest[half], block_largest[half]);
        const float factor = now == minus_infinity() ? 1.0F : ptx::exp2((largest[half] - now) * call.scale_log2);
        largest[half] = now;
        sum[half] *= factor;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          o[0][n][2 * half] *= factor;
          o[0][n][2 * half + 1] *= factor;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float top = largest[half] == minus_infinity() ? 0.0F : largest[half] * call.scale_log2;
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& value = s[0][n][2 * half + e];
          value = ptx::exp2(fmaf(value, call.scale_log2, -top));
          sum[half] += value;
        }
    }
    unsigned p[1][1][4];
    flash_round(p, s);
    flash_accumulate<D>(o, p, v_lane.moved(slot));
  }

  ptx::let_next_begin();  // not before, as in few_rows_kernel
  // The warps' sums in shared memory, then one sum of them in the order of the warps.
  ptx::wait_for_copies<0>();
  __syncthreads();  // every warp is done with its ring and with q
  auto* const all = reinterpret_cast<float*>(flash_memory);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = sum[half];
    total += __shfl_xor_sync(0xffff'ffffU, total, 1);
    total += __shfl_xor_sync(0xffff'ffffU, total, 2);
    const int pair = half * 8 + lane / 4;
    if (lane % 4 == 0) {
      largest_of[warp][pair] = largest[half] == minus_infinity() ? minus_infinity() : largest[half] * call.scale_log2;
      sum_of[warp][pair] = total;
    }
    float* const to = all + (warp * 16 + pair) * plan::sums_stride + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      *reinterpret_cast<float2*>(to + n * 8) = make_float2(o[0][n][2 * half], o[0][n][2 * half + 1]);
  }
  __syncthreads();
  for (int index = static_cast<int>(threadIdx.x); index < pairs * (D / 4); index += plan::threads) {
    const int pair = index / (D / 4);
    const int column = index % (D / 4) * 4;
    float top = largest_of[0][pair];
#pragma unroll
    for (int w = 1; w < plan::warps; ++w) top = fmaxf(top, largest_of[w][pair]);
    float4 result = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    float weight = 0.0F;
#pragma unroll
    for (int w = 0; w < plan::warps; ++w) {
      const float factor = top == minus_infinity() ? 0.0F : ptx::exp2(largest_of[w][pair] - top);
      const float4 own = *reinterpret_cast<const float4*>(all + (w * 16 + pair) * plan::sums_stride + column);
      result.x = fmaf(factor, own.x, result.x);
      result.y = fmaf(factor, own.y, result.y);
      result.z = fmaf(factor, own.z, result.z);
      result.w = fmaf(factor, own.w, result.w);
      weight = fmaf(factor, sum_of[w][pair], weight);
    }
    const std::int64_t at = std::int64_t{piece.partial + pair / heads} * call.heads + head + pair % heads;
    *reinterpret_cast<float4*>(call.sums + at * D + column) = result;
    if (column == 0) call.scales[at] = make_float2(top, weight);
  }
}

// Threads that merge the partials of a row and head: eight groups, each with a float4 of D a thread, take every eighth
// partial, eight of them under way at once.
template <int D>
inline constexpr int flash_merge_threads = 8 * (D / 4);

/// o and lse of one query row and head from its partials: each group's in the order of the list, then the groups'.
template <int D>
__global__ void __launch_bounds__(flash_merge_threads<D>)
    flash_merge_kernel(const __grid_constant__ flash_decode_call call) {
  __shared__ float4 sums_of[8][D / 4];
  __shared__ float2 scale_of[8];
  ptx::let_next_begin();
  const std::int64_t row = blockIdx.x / static_cast<unsigned>(call.heads);
  const int head = static_cast<int>(blockIdx.x % static_cast<unsigned>(call.heads));
  const int group = static_cast<int>(threadIdx.x) / (D / 4);
  const int column = static_cast<int>(threadIdx.x) % (D / 4);
  const int begin = call.schedule.first[row] + group;
  const int end = call.schedule.first[row + 1];
  float top = minus_infinity();
  float weight = 0.0F;
  float4 sum = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
  const auto add = [&](float factor, const float4& own) {
    sum.x = fmaf(factor, own.x, sum.x);
    sum.y = fmaf(factor, own.y, sum.y);
    sum.z = fmaf(factor, own.z, sum.z);
    sum.w = fmaf(factor, own.w, sum.w);
  };
  const auto rescale = [&](float now) {
    const float factor = now == minus_infinity() ? 1.0F : ptx::exp2(top - now);
    top = now;
    weight *= factor;
    sum.x *= factor;
    sum.y *= factor;
    sum.z *= factor;
    sum.w *= factor;
  };
  for (int first = begin; first < end; first += 64) {
    std::int64_t at[8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
      at[i] = first + 8 * i < end ? std::int64_t{call.schedule.list[first + 8 * i]} * call.heads + head : -1;
    if (first == begin) ptx::await_previous();
    float2 scale[8];
    float4 own[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      scale[i] = at[i] >= 0 ? call.scales[at[i]] : make_float2(minus_infinity(), 0.0F);
      own[i] = at[i] >= 0 ? *reinterpret_cast<const float4*>(call.sums + at[i] * D + column * 4)
                          : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    }
    float now = top;
#pragma unroll
    for (int i = 0; i < 8; ++i) now = fmaxf(now, scale[i].x);
    rescale(now);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float factor = now == minus_infinity() ? 0.0F : ptx::exp2(scale[i].x - now);
      weight = fmaf(factor, scale[i].y, weight);
      add(factor, own[i]);
    }
  }
  sums_of[group][column] = sum;
  if (column == 0) scale_of[group] = make_float2(top, weight);
  __syncthreads();
  if (group != 0) return;
  ptx::await_previous();  // also where this row has no partials: o may still be read
#pragma unroll
  for (int g = 1; g < 8; ++g) {
    const float2 scale = scale_of[g];
    rescale(fmaxf(top, scale.x));
    const float factor = top == minus_infinity() ? 0.0F : ptx::exp2(scale.x - top);
    weight = fmaf(factor, scale.y, weight);
    add(factor, sums_of[g][column]);
  }
  const float inverse = weight > 0.0F ? 1.0F / weight : weight;  // a row without keys stays 0; NaN stays NaN
  bf16* const to = call.arguments.o + row * call.arguments.o_stride + head * D + column * 4;
  *reinterpret_cast<uint2*>(to) =
      make_uint2(ptx::pack_bf16(sum.x * inverse, sum.y * inverse), ptx::pack_bf16(sum.z * inverse, sum.w * inverse));
  if (column == 0)
    call.arguments.lse[row * call.heads + head] =
        weight == 0.0F ? minus_infinity() : (top + log2f(weight)) * 0.6931471805599453F;
}

}  // namespace lodestone::on_cuda::detail
