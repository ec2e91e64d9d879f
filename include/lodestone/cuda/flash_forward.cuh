// The forward kernel of flash_mma: a tile of query rows of one head walks its keys with an online softmax.
#pragma once

#include <lodestone/cuda/flash_tile.cuh>

namespace lodestone::on_cuda::detail {

// A warp owns 16 M query rows: its scores and its output stay in registers, and every fragment of k or v that it reads
// from shared memory serves M products. k and v blocks alternate through a ring of three, so that the copy of a block
// is under way for two products. Registers a thread: o takes M D / 2, scores M N 2 (192 at D = 64 and 128).
template <int D>
struct flash_forward_plan {
  static constexpr int warps = 4;
  static constexpr int threads = warps * flash_warp;
  static constexpr int m = D > 128 ? 1 : 2;
  static constexpr int rows = warps * m * 16;
  static constexpr int columns = D == 64 ? 128 : D > 128 ? 32 : 64;
  static constexpr int block_bytes = columns * D * 2;
  static constexpr int shared_bytes = rows * D * 2 + 3 * block_bytes;
  static_assert(rows == flash_query_rows(D));
};

template <int D>
__global__ void __launch_bounds__(flash_forward_plan<D>::threads, 2)
    flash_forward_kernel(const __grid_constant__ flash_call call) {
  using plan = flash_forward_plan<D>;
  constexpr int M = plan::m;
  constexpr int N = plan::columns / 8;  // 8-column blocks of scores
  extern __shared__ __align__(1024) unsigned char flash_memory[];
  const flash_arguments& a = call.arguments;
  const flash_item item(call.walk);
  const flash_tile tile = item.tile;
  const flash_segment* const segments = call.walk.segments;
  const int lane = static_cast<int>(threadIdx.x) % flash_warp;
  const int warp_row = static_cast<int>(threadIdx.x) / flash_warp * M * 16;
  const int tile_rows = tile.row_end - tile.row_begin;
  const int kv_head = item.head / call.group;
  const bf16* const k = a.k + kv_head * D;
  const bf16* const v = a.v + kv_head * D;
  const unsigned q_tile = ptx::shared_address(flash_memory);
  const unsigned ring = q_tile + plan::rows * D * 2;

  const auto load = [&](const bf16* from, std::int64_t stride, const flash_place<plan::columns>& at, unsigned slot) {
    flash_load<D, plan::columns, plan::threads>(ring + slot, from + at.column * stride, stride,
                                                at.column_end - at.column);
  };

  float o[M][D / 8][4];
  flash_clear(o);
  float largest[M][2];  // of the row's scores when its sums were scaled last
  float sum[M][2];      // of this lane's columns
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[m][half] = minus_infinity();
      sum[m][half] = 0.0F;
    }

  flash_place<plan::columns> here(segments, tile);
  flash_load<D, plan::rows, plan::threads>(q_tile, a.q + tile.row_begin * a.q_stride + item.head * D, a.q_stride,
                                           tile_rows);
  if (!here.is_done(tile)) load(k, a.k_stride, here, 0);
  ptx::commit_copies();
  if (!here.is_done(tile)) load(v, a.v_stride, here, plan::block_bytes);
  ptx::commit_copies();

  const auto q_lane = flash_lane<D>::of_rows(q_tile, warp_row, 0);
  const auto k_lane = flash_lane<D>::of_columns(ring, 0, 0);
  const auto v_lane = flash_lane<D>::of_rows(ring, 0, 0);
  const auto next_slot = [](unsigned slot) {
    return slot == 2 * plan::block_bytes ? 0U : slot + static_cast<unsigned>(plan::block_bytes);
  };
  unsigned slot = 0;  // of the block of k; v follows it in the ring

  while (!here.is_done(tile)) {
    flash_place<plan::columns> next = here;
    next.advance(segments, tile);
    const unsigned v_slot = next_slot(slot);
    const unsigned free_slot = next_slot(v_slot);

    ptx::wait_for_copies<1>();
    __syncthreads();  // k has arrived; every warp is done with the previous v
    if (!next.is_done(tile)) load(k, a.k_stride, next, free_slot);
    ptx::commit_copies();
    const bool is_cut = here.is_cut(segments[here.segment]);
    float s[M][N][4];
    flash_scores<D>(s, q_lane, k_lane.moved(slot));
    if (is_cut)
      flash_for_each_hidden<M, N>(segments[here.segment], tile.row_begin + warp_row, here.column,
                                  [&](int m, int n, int e) { s[m][n][e] = minus_infinity(); });

    // The scale of the sums follows the largest score only when it has grown by more than 2^8: the quotient o / sum is
    // the same, powers stay below 2^8, and most blocks rescale nothing.
    float block_largest[M][2];
    bool is_outgrown = false;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float value = fmaxf(s[m][0][2 * half], s[m][0][2 * half + 1]);
#pragma unroll
        for (int n = 1; n < N; ++n) value = fmaxf(value, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
        value = fmaxf(value, __shfl_xor_sync(0xffff'ffffU, value, 1));
        value = fmaxf(value, __shfl_xor_sync(0xffff'ffffU, value, 2));
        block_largest[m][half] = value;
        is_outgrown |= (value - largest[m][half]) * call.scale_log2 > 8.0F;
      }
    if (__any_sync(0xffff'ffffU, is_outgrown)) {
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float now = fmaxf(largest[m][half], block_largest[m][half]);
          const float factor =
              now == minus_infinity() ? 1.0F : ptx::exp2((largest[m][half] - now) * call.scale_log2);
          largest[m][half] = now;
          sum[m][half] *= factor;
#pragma unroll
          for (int n = 0; n < D / 8; ++n) {
            o[m][n][2 * half] *= factor;
            o[m][n][2 * half + 1] *= factor;
          }
        }
    }
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float top = largest[m][half] == minus_infinity() ? 0.0F : largest[m][half] * call.scale_log2;
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& value = s[m][n][2 * half + e];
            value = ptx::exp2(fmaf(value, call.scale_log2, -top));
            sum[m][half] += value;
          }
      }
    unsigned p[M][N / 2][4];
    flash_round(p, s);

    ptx::wait_for_copies<1>();
    __syncthreads();  // v has arrived; every warp is done with k
    if (!next.is_done(tile)) load(v, a.v_stride, next, slot);
    ptx::commit_copies();
    flash_accumulate<D>(o, p, v_lane.moved(v_slot));
    slot = free_slot;
    here = next;
  }

  // Read again rather than kept in registers through the loop.
  const flash_item result(call.walk);
  const int result_rows = result.tile.row_end - result.tile.row_begin;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[m][half];
      total += __shfl_xor_sync(0xffff'ffffU, total, 1);
      total += __shfl_xor_sync(0xffff'ffffU, total, 2);
      const float inverse = total > 0.0F ? 1.0F / total : total;  // a row without keys stays 0; NaN stays NaN
      const int row = warp_row + m * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0 && row < result_rows)
        a.lse[(std::int64_t{result.tile.row_begin} + row) * call.heads + result.head] =
            total == 0.0F ? minus_infinity() : fmaf(largest[m][half], call.scale, logf(total));
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        o[m][n][2 * half] *= inverse;
        o[m][n][2 * half + 1] *= inverse;
      }
    }
  ptx::wait_for_copies<0>();
  __syncthreads();  // a tile without keys still has copies of q under way
  flash_put<D>(q_tile, o, warp_row, 0, 1.0F);
  __syncthreads();
  flash_store<D, plan::rows, plan::threads>(a.o + result.tile.row_begin * a.o_stride + result.head * D, a.o_stride,
                                            q_tile, result_rows);
}

}  // namespace lodestone::on_cuda::detail
