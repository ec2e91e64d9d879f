// The backward kernels of flash_mma: row sums of d_o * o, then dK and dV by key tiles, then dQ by query tiles.
//
// With P = exp(scale S - lse), S = q k^T, dP = d_o v^T and dS = P (dP - delta):
//   dV = P^T d_o    dK = scale dS^T q    dQ = scale dS k
// Computing S and dP in both kernels costs seven products instead of five and needs no atomics: each result has one
// owner, which adds in one order. The variant with atomics computes dQ in the kernel of dK and dV, in five products.
#pragma once

#include <lodestone/cuda/flash_tile.cuh>

namespace lodestone::on_cuda::detail {

/// delta[t * heads + h] = sum over the head of d_o * o; eight lanes a row of a head.
template <int D>
__global__ void __launch_bounds__(256) flash_delta_kernel(const __grid_constant__ flash_call call) {
  const flash_arguments& a = call.arguments;
  const std::int64_t index = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) / 8;
  const int lane = static_cast<int>(threadIdx.x) % 8;
  const bool is_row = index < a.queries * call.heads;
  float sum = 0.0F;
  if (is_row) {
    const std::int64_t row = index / call.heads;
    const std::int64_t at = index % call.heads * D;
#pragma unroll
    for (int i = 0; i < (D / 8 + 7) / 8; ++i) {
      const int column = lane + 8 * i;
      if (column >= D / 8) break;
      const auto left = *reinterpret_cast<const uint4*>(a.o + row * a.o_stride + at + column * 8);
      const auto right = *reinterpret_cast<const uint4*>(a.d_o + row * a.d_o_stride + at + column * 8);
      const unsigned x[4] = {left.x, left.y, left.z, left.w};
      const unsigned y[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        sum += __uint_as_float(x[j] << 16) * __uint_as_float(y[j] << 16);
        sum += __uint_as_float(x[j] & 0xffff'0000U) * __uint_as_float(y[j] & 0xffff'0000U);
      }
    }
  }
#pragma unroll
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffff'ffffU, sum, step);
  if (is_row && lane == 0) a.delta[index] = sum;
}

/// lse in powers of two; +infinity where a row has no keys, so that its P is 0.
[[nodiscard]] __device__ __forceinline__ float flash_exponent(float lse) {
  return lse == minus_infinity() ? -minus_infinity() : lse * flash_log2e;
}

// dQ. A warp owns 16 M query rows, whose dQ stays in registers (M D / 2 a thread, with 8 M N for S and dP); q and d_o
// of the tile stay in shared memory, blocks of k and v alternate between two places.
template <int D>
struct flash_query_plan {
  static constexpr int warps = 4;
  static constexpr int threads = warps * flash_warp;
  static constexpr int m = D > 128 ? 1 : 2;
  static constexpr int rows = warps * m * 16;
  static constexpr int columns = D == 64 ? 64 : 32;
  static constexpr int block_bytes = columns * D * 2;
  static constexpr int shared_bytes = 2 * rows * D * 2 + 4 * block_bytes;
  static_assert(rows == flash_query_rows(D));
};

template <int D>
__global__ void __launch_bounds__(flash_query_plan<D>::threads, 2)
    flash_query_gradient_kernel(const __grid_constant__ flash_call call) {
  using plan = flash_query_plan<D>;
  constexpr int M = plan::m;
  constexpr int N = plan::columns / 8;
  extern __shared__ __align__(1024) unsigned char flash_memory[];
  const flash_arguments& a = call.arguments;
  const flash_item item(call.walk);
  const flash_tile tile = item.tile;
  const flash_segment* const segments = call.walk.segments;
  const int lane = static_cast<int>(threadIdx.x) % flash_warp;
  const int warp_row = static_cast<int>(threadIdx.x) / flash_warp * M * 16;
  const int tile_rows = tile.row_end - tile.row_begin;
  const int kv_head = item.head / call.group;
  const unsigned q_tile = ptx::shared_address(flash_memory);
  const unsigned d_o_tile = q_tile + plan::rows * D * 2;
  const unsigned ring = d_o_tile + plan::rows * D * 2;  // k, v, k, v

  const auto load = [&](const flash_place<plan::columns>& at, unsigned slot) {
    const int valid = at.column_end - at.column;
    flash_load<D, plan::columns, plan::threads>(ring + slot, a.k + at.column * a.k_stride + kv_head * D, a.k_stride,
                                                valid);
    flash_load<D, plan::columns, plan::threads>(ring + slot + plan::block_bytes,
                                                a.v + at.column * a.v_stride + kv_head * D, a.v_stride, valid);
  };

  flash_place<plan::columns> here(segments, tile);
  flash_load<D, plan::rows, plan::threads>(q_tile, a.q + tile.row_begin * a.q_stride + item.head * D, a.q_stride,
                                           tile_rows);
  flash_load<D, plan::rows, plan::threads>(d_o_tile, a.d_o + tile.row_begin * a.d_o_stride + item.head * D,
                                           a.d_o_stride, tile_rows);
  if (!here.is_done(tile)) load(here, 0);
  ptx::commit_copies();

  float exponent[M][2];  // of lse; +infinity for rows past the tile
  float delta[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + m * 16 + half * 8 + lane / 4;
      const std::int64_t at = (std::int64_t{tile.row_begin} + row) * call.heads + item.head;
      exponent[m][half] = row < tile_rows ? flash_exponent(a.lse[at]) : -minus_infinity();
      delta[m][half] = exponent[m][half] < -minus_infinity() ? a.delta[at] : 0.0F;  // without keys it may be NaN
    }

  float dq[M][D / 8][4];
  flash_clear(dq);
  const auto q_lane = flash_lane<D>::of_rows(q_tile, warp_row, 0);
  const auto d_o_lane = flash_lane<D>::of_rows(d_o_tile, warp_row, 0);
  const auto column_lane = flash_lane<D>::of_columns(ring, 0, 0);
  const auto row_lane = flash_lane<D>::of_rows(ring, 0, 0);
  unsigned slot = 0;

  while (!here.is_done(tile)) {
    flash_place<plan::columns> next = here;
    const bool is_cut = here.is_cut(segments[here.segment]);
    next.advance(segments, tile);
    const unsigned next_slot = slot ^ static_cast<unsigned>(2 * plan::block_bytes);
    ptx::wait_for_copies<0>();
    __syncthreads();  // k and v have arrived; every warp is done with the previous ones
    if (!next.is_done(tile)) load(next, next_slot);
    ptx::commit_copies();

    float s[M][N][4];
    flash_scores<D>(s, q_lane, column_lane.moved(slot));
    float dp[M][N][4];
    flash_scores<D>(dp, d_o_lane, column_lane.moved(slot + plan::block_bytes));
    if (is_cut)
      flash_for_each_hidden<M, N>(segments[here.segment], tile.row_begin + warp_row, here.column,
                                  [&](int m, int n, int e) {
                                    s[m][n][e] = minus_infinity();
                                    dp[m][n][e] = 0.0F;  // may be NaN where a row sees nothing
                                  });
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          s[m][n][e] =
              ptx::exp2(fmaf(s[m][n][e], call.scale_log2, -exponent[m][e / 2])) * (dp[m][n][e] - delta[m][e / 2]);
    unsigned ds[M][N / 2][4];
    flash_round(ds, s);
    flash_accumulate<D>(dq, ds, row_lane.moved(slot));
    slot = next_slot;
    here = next;
  }

  ptx::wait_for_copies<0>();
  __syncthreads();
  flash_put<D>(q_tile, dq, warp_row, 0, call.scale);
  __syncthreads();
  flash_store<D, plan::rows, plan::threads>(a.dq + tile.row_begin * a.dq_stride + item.head * D, a.dq_stride, q_tile,
                                            tile_rows);
}

// dK and dV. Two warps share 16 M keys. Of a block of query rows each of the two computes S^T and dP^T for one half;
// of dK and dV each owns one half of the head dimension (M D / 2 registers a thread for both). They hand each other
// P^T and dS^T through shared memory: the fragments of the next product are, lane by lane, what the other warp has in
// its registers. That halves the reads of q and d_o from shared memory, which is what bounds this kernel.
//
// With dQ in the same kernel, dS^T goes to shared memory as a tile [keys x query rows] instead, and all warps together
// add its product with k to the sums in global memory: a warp 32 query rows of a part of the head dimension.
enum class flash_gradients { of_keys, of_keys_and_queries };

template <int D>
struct flash_key_plan {
  static constexpr int warps = D > 80 ? 8 : 4;
  static constexpr int threads = warps * flash_warp;
  static constexpr int m = D > 128 ? 1 : 2;
  static constexpr int rows = warps / 2 * m * 16;
  static constexpr int columns = D > 128 ? 32 : 64;  // query rows of a block
  static constexpr int k_steps = columns / 2 / 16;   // of a half in the products that run over query rows
  static constexpr int tile_bytes = rows * D * 2;
  static constexpr int block_bytes = columns * D * 2;
  static constexpr int fragment_bytes = m * k_steps * 16 * flash_warp;  // of P^T or dS^T of one warp
  static constexpr int statistics_bytes = 2 * columns * 4;              // lse and delta of a block
  static constexpr int query_parts = columns / 32;                      // of dQ over the warps
  static constexpr int head_parts = warps / query_parts;
  static constexpr int part_columns = D / head_parts / 8;  // 16-byte columns
  static_assert(part_columns * head_parts * 8 == D && rows * columns * 2 == warps * fragment_bytes);
  static constexpr int shared_bytes =
      2 * tile_bytes + 4 * block_bytes + warps * 2 * fragment_bytes + 2 * statistics_bytes;
  static_assert(rows == flash_key_rows(D));
};

template <int D, flash_gradients Gradients>
__global__ void __launch_bounds__(flash_key_plan<D>::threads, flash_key_plan<D>::warps == 8 ? 1 : 2)
    flash_key_gradient_kernel(const __grid_constant__ flash_call call) {
  using plan = flash_key_plan<D>;
  constexpr bool has_queries = Gradients == flash_gradients::of_keys_and_queries;
  constexpr int M = plan::m;
  constexpr int N = plan::columns / 2 / 8;  // 8-column blocks of a half of S^T
  constexpr int K = plan::k_steps;
  constexpr int half_columns = D / 2 / 8;  // 16-byte columns of a half of the head dimension
  extern __shared__ __align__(1024) unsigned char flash_memory[];
  const flash_arguments& a = call.arguments;
  const flash_item item(call.walk);
  const flash_tile tile = item.tile;
  const flash_segment* const segments = call.walk.segments;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % flash_warp;
  const int warp = thread / flash_warp;
  const int half = warp % 2;
  const int pair_row = warp / 2 * M * 16;
  const int tile_rows = tile.row_end - tile.row_begin;
  const unsigned k_tile = ptx::shared_address(flash_memory);
  const unsigned v_tile = k_tile + plan::tile_bytes;
  const unsigned ring = v_tile + plan::tile_bytes;  // q, d_o, q, d_o
  const unsigned exchange = ring + 4 * plan::block_bytes;                     // P^T of each warp
  const unsigned ds_exchange = exchange + plan::warps * plan::fragment_bytes;  // dS^T, of each warp or as a tile
  const unsigned statistics = ds_exchange + plan::warps * plan::fragment_bytes;
  const unsigned of_own = static_cast<unsigned>(warp * plan::fragment_bytes + lane * 16);
  const unsigned of_other = static_cast<unsigned>((warp ^ 1) * plan::fragment_bytes + lane * 16);

  const auto load = [&](const flash_place<plan::columns>& at, int head, unsigned stage) {
    const int valid = at.column_end - at.column;
    const unsigned to = ring + stage * 2 * plan::block_bytes;
    flash_load<D, plan::columns, plan::threads>(to, a.q + at.column * a.q_stride + head * D, a.q_stride, valid);
    flash_load<D, plan::columns, plan::threads>(to + plan::block_bytes, a.d_o + at.column * a.d_o_stride + head * D,
                                                a.d_o_stride, valid);
    if (thread < 2 * plan::columns) {
      const int row = thread % plan::columns;
      const float* from = thread < plan::columns ? a.lse : a.delta;
      const bool is_read = row < valid;  // rows past the segment are masked, whatever these values are
      ptx::copy_async_4(statistics + stage * plan::statistics_bytes + static_cast<unsigned>(thread * 4),
                        is_read ? from + (std::int64_t{at.column} + row) * call.heads + head : from, is_read);
    }
  };

  flash_place<plan::columns> here(segments, tile);
  int head = item.head * call.group;
  const int head_end = head + call.group;
  flash_load<D, plan::rows, plan::threads>(k_tile, a.k + tile.row_begin * a.k_stride + item.head * D, a.k_stride,
                                           tile_rows);
  flash_load<D, plan::rows, plan::threads>(v_tile, a.v + tile.row_begin * a.v_stride + item.head * D, a.v_stride,
                                           tile_rows);
  if (here.is_done(tile))
    head = head_end;
  else
    load(here, head, 0);
  ptx::commit_copies();

  float dk[M][half_columns][4];
  float dv[M][half_columns][4];
  flash_clear(dk);
  flash_clear(dv);
  const auto k_lane = flash_lane<D>::of_rows(k_tile, pair_row, 0);
  const auto v_lane = flash_lane<D>::of_rows(v_tile, pair_row, 0);
  const auto column_lane = flash_lane<D>::of_columns(ring, half * plan::columns / 2, 0);
  const auto row_lane = flash_lane<D>::of_rows(ring, half * plan::columns / 2, half * half_columns);
  const unsigned to_other_half = static_cast<unsigned>((half == 0 ? 1 : -1) * plan::block_bytes / 2);
  unsigned stage = 0;

  while (head < head_end) {
    flash_place<plan::columns> next = here;
    int next_head = head;
    // Keys past the tile have gradients that are not written, but dQ would add them up.
    const bool is_cut = here.is_cut(segments[here.segment]) || (has_queries && tile_rows < plan::rows);
    next.advance(segments, tile);
    if (next.is_done(tile)) {
      next = flash_place<plan::columns>(segments, tile);
      ++next_head;
    }
    ptx::wait_for_copies<0>();
    __syncthreads();  // q and d_o have arrived; every warp is done with the previous ones and with the exchange
    if (next_head < head_end) load(next, next_head, stage ^ 1U);
    ptx::commit_copies();

    const unsigned q_at = stage * 2 * plan::block_bytes;
    const unsigned d_o_at = q_at + plan::block_bytes;
    unsigned p[M][K][4];
    unsigned ds[M][K][4];
    {
      float s[M][N][4];
      flash_scores<D>(s, k_lane, column_lane.moved(q_at));
      float dp[M][N][4];
      flash_scores<D>(dp, v_lane, column_lane.moved(d_o_at));
      if (is_cut)
        flash_for_each_hidden<M, N>(segments[here.segment], tile.row_begin + pair_row,
                                    here.column + half * plan::columns / 2, [&](int m, int n, int e) {
                                      s[m][n][e] = minus_infinity();
                                      dp[m][n][e] = 0.0F;
                                    });
      const unsigned of_lane = statistics + stage * plan::statistics_bytes +
                               static_cast<unsigned>((half * plan::columns / 2 + lane % 4 * 2) * 4);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float2 lse = ptx::load_shared_pair(of_lane + static_cast<unsigned>(n * 32));
        const float2 delta = ptx::load_shared_pair(of_lane + static_cast<unsigned>(plan::columns * 4 + n * 32));
        const float exponent[2] = {flash_exponent(lse.x), flash_exponent(lse.y)};
        const float centre[2] = {delta.x, delta.y};
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            s[m][n][e] = ptx::exp2(fmaf(s[m][n][e], call.scale_log2, -exponent[e % 2]));
            dp[m][n][e] = s[m][n][e] * (dp[m][n][e] - centre[e % 2]);
          }
      }
      flash_round(p, s);
      flash_round(ds, dp);
      if constexpr (has_queries)
        flash_put<plan::columns>(ds_exchange, dp, pair_row, half * N, 1.0F, ptx::thread_index());
    }
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int i = 0; i < K; ++i) {
        const auto at = static_cast<unsigned>((m * K + i) * 16 * flash_warp);
        ptx::store_shared(exchange + of_own + at, p[m][i]);
        if constexpr (!has_queries) ptx::store_shared(ds_exchange + of_own + at, ds[m][i]);
      }
    flash_accumulate<D>(dv, p, row_lane.moved(d_o_at));
    flash_accumulate<D>(dk, ds, row_lane.moved(q_at));
    if constexpr (has_queries)
      __syncthreads();  // the tile of dS^T is whole
    else
      ptx::barrier(1 + warp / 2, 2 * flash_warp);  // both halves are in the exchange
    const int again = ptx::thread_index();
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int i = 0; i < K; ++i) {
        const auto at = static_cast<unsigned>((m * K + i) * 16 * flash_warp);
        ptx::load_shared(p[m][i], exchange + of_other + at);
        if constexpr (has_queries)
          ptx::ldmatrix(ds[m][i],
                        flash_lane<plan::columns>::of_rows(ds_exchange, pair_row, (1 - half) * N, again).at(m, i));
        else
          ptx::load_shared(ds[m][i], ds_exchange + of_other + at);
      }
    flash_accumulate<D>(dv, p, row_lane.moved(d_o_at + to_other_half));
    flash_accumulate<D>(dk, ds, row_lane.moved(q_at + to_other_half));
    if constexpr (has_queries) {
      const int query_row = again / flash_warp % plan::query_parts * 32;
      const int first_column = again / flash_warp / plan::query_parts * plan::part_columns;
      float dq[2][plan::part_columns][4];
      flash_clear(dq);
      flash_accumulate_rows<plan::rows>(dq, flash_lane<plan::columns>::of_columns(ds_exchange, 0, query_row / 8, again),
                                        flash_lane<D>::of_rows(k_tile, 0, first_column, again));
      const int row_of_lane = again % flash_warp / 4;
      float* const sums =
          a.dq_sums + ((std::int64_t{here.column} + query_row + row_of_lane) * call.heads + head) * D +
          first_column * 8 + again % 4 * 2;
#pragma unroll
      for (int i = 0; i < 4; ++i)  // rows 8 apart
        if (here.column + query_row + i * 8 + row_of_lane < here.column_end)
#pragma unroll
          for (int n = 0; n < plan::part_columns; ++n)
            ptx::add_global(sums + std::int64_t{i * 8} * call.heads * D + n * 8, dq[i / 2][n][i % 2 * 2],
                            dq[i / 2][n][i % 2 * 2 + 1]);
    }
    stage ^= 1U;
    here = next;
    head = next_head;
  }

  // Read again rather than kept in registers through the loop.
  const flash_item result(call.walk);
  const int result_rows = result.tile.row_end - result.tile.row_begin;
  ptx::wait_for_copies<0>();
  __syncthreads();
  flash_put<D>(k_tile, dk, pair_row, half * half_columns, call.scale);
  flash_put<D>(v_tile, dv, pair_row, half * half_columns, 1.0F);
  __syncthreads();
  flash_store<D, plan::rows, plan::threads>(a.dk + result.tile.row_begin * a.dk_stride + result.head * D, a.dk_stride,
                                            k_tile, result_rows);
  flash_store<D, plan::rows, plan::threads>(a.dv + result.tile.row_begin * a.dv_stride + result.head * D, a.dv_stride,
                                            v_tile, result_rows);
}

/// dq = scale times the sums, eight elements a thread.
template <int D>
__global__ void __launch_bounds__(256) flash_query_sums_kernel(const __grid_constant__ flash_call call) {
  const flash_arguments& a = call.arguments;
  const std::int64_t width = std::int64_t{call.heads} * D;
  const std::int64_t at = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * 8;
  if (at >= a.queries * width) return;
  const auto* from = reinterpret_cast<const float4*>(a.dq_sums + at);
  const float4 x = from[0];
  const float4 y = from[1];
  const float f = call.scale;
  *reinterpret_cast<uint4*>(a.dq + at / width * a.dq_stride + at % width) =
      make_uint4(ptx::pack_bf16(f * x.x, f * x.y), ptx::pack_bf16(f * x.z, f * x.w), ptx::pack_bf16(f * y.x, f * y.y),
                 ptx::pack_bf16(f * y.z, f * y.w));
}

}  // namespace lodestone::on_cuda::detail
