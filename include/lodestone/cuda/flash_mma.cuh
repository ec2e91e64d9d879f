// Launchers of the attention policy flash_mma; a .cu file instantiates them for the head dimensions that it wants.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>

#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/flash_backward.cuh>
#include <lodestone/cuda/flash_decode.cuh>
#include <lodestone/cuda/flash_forward.cuh>
#include <lodestone/cuda/flash_mma.hpp>

namespace lodestone::on_cuda {
namespace detail {

struct flash_operand {
  const char* name;
  const void* data;
  std::int64_t stride;
};

inline void flash_check(const flash_arguments& a, std::int64_t head_dim,
                        std::initializer_list<flash_operand> operands) {
  const std::string where = "attention policy flash_mma";
  const attention_shape& s = a.shape;
  if (s.head_dim != head_dim)
    throw shape_error("heads of " + std::to_string(s.head_dim) + " given to the launcher for heads of " +
                          std::to_string(head_dim), where);
  if (s.heads < 1 || s.kv_heads < 1 || s.heads % s.kv_heads != 0)
    throw shape_error(std::to_string(s.heads) + " heads and " + std::to_string(s.kv_heads) + " kv heads", where,
                      "heads must be a multiple of kv heads");
  if (!(s.scale > 0) || !std::isfinite(s.scale)) throw shape_error("a scale that is not a positive number", where);
  for (const flash_operand& x : operands)
    if (reinterpret_cast<std::uintptr_t>(x.data) % 16 != 0 || x.stride % 8 != 0)
      throw shape_error(std::string(x.name) + " does not lie on 16 bytes in every row", where,
                        "begin it at a multiple of 8 elements and make its row stride one");
}

[[nodiscard]] inline flash_call flash_prepare(const flash_arguments& a, const flash_walk_view& walk) {
  return {a, walk, static_cast<std::int32_t>(a.shape.heads), static_cast<std::int32_t>(a.shape.group()),
          static_cast<float>(a.shape.scale), static_cast<float>(a.shape.scale * 1.4426950408889634)};
}

inline void flash_launch(void (*kernel)(flash_call), const char* name, const flash_call& call, std::int64_t blocks,
                         int threads, int shared_bytes, cudaStream_t stream) {
  if (blocks == 0) return;
  if (blocks > std::int64_t{2147483647})
    throw shape_error(std::to_string(blocks) + " tiles", std::string("attention policy flash_mma, ") + name,
                      "split the batch");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), name);
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), static_cast<std::size_t>(shared_bytes),
           stream>>>(call);
  check_launch(name);
}

}  // namespace detail

template <int HeadDim>
void flash_forward(const flash_arguments& a, const flash_schedule_view& schedule, cudaStream_t stream) {
  using plan = detail::flash_forward_plan<HeadDim>;
  detail::flash_check(a, HeadDim, {{"q", a.q, a.q_stride}, {"k", a.k, a.k_stride}, {"v", a.v, a.v_stride},
                                   {"o", a.o, a.o_stride}});
  detail::flash_launch(detail::flash_forward_kernel<HeadDim>, "attention forward",
                       detail::flash_prepare(a, schedule.queries), schedule.queries.tile_count * a.shape.heads,
                       plan::threads, plan::shared_bytes, stream);
}

template <int HeadDim>
void flash_decode(const flash_arguments& a, const flash_decode_view& schedule, float* scratch, cudaStream_t stream) {
  using plan = detail::flash_decode_plan<HeadDim>;
  detail::flash_check(a, HeadDim, {{"q", a.q, a.q_stride}, {"k", a.k, a.k_stride}, {"v", a.v, a.v_stride},
                                   {"o", a.o, a.o_stride}});
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  const std::int64_t head_tiles = (a.shape.group() + 15) / 16;
  const std::int64_t blocks = schedule.piece_count * a.shape.kv_heads * head_tiles;
  if (blocks > std::int64_t{2147483647} || a.queries * a.shape.heads > std::int64_t{2147483647})
    throw shape_error(std::to_string(blocks) + " pieces", "attention policy flash_mma, decoding", "split the batch");
  const detail::flash_decode_call call{
      a, schedule, narrow(a.shape.heads), narrow(a.shape.kv_heads), narrow(a.shape.group()), narrow(head_tiles),
      static_cast<float>(a.shape.scale * 1.4426950408889634), scratch,
      reinterpret_cast<float2*>(scratch + schedule.partials * a.shape.heads * HeadDim)};
  if (blocks > 0) {
    check(cudaFuncSetAttribute(detail::flash_decode_kernel<HeadDim>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               plan::shared_bytes), "attention, decoding");
    launch_in_line(detail::flash_decode_kernel<HeadDim>, dim3(static_cast<unsigned>(blocks)), dim3(plan::threads),
                   plan::shared_bytes, stream, "attention, decoding", call);
  }
  if (a.queries > 0)
    launch_in_line(detail::flash_merge_kernel<HeadDim>, dim3(static_cast<unsigned>(a.queries * a.shape.heads)),
                   dim3(detail::flash_merge_threads<HeadDim>), 0, stream, "attention, merging", call);
}

namespace detail {

template <int HeadDim>
void flash_check_backward(const flash_arguments& a) {
  flash_check(a, HeadDim, {{"q", a.q, a.q_stride}, {"k", a.k, a.k_stride}, {"v", a.v, a.v_stride},
                           {"o", a.o, a.o_stride}, {"d_o", a.d_o, a.d_o_stride}, {"dq", a.dq, a.dq_stride},
                           {"dk", a.dk, a.dk_stride}, {"dv", a.dv, a.dv_stride}});
}

template <int HeadDim>
void flash_launch_row_sums(const flash_call& call, cudaStream_t stream) {
  flash_launch(flash_delta_kernel<HeadDim>, "attention backward, row sums", call,
               (call.arguments.queries * call.heads + 31) / 32, 256, 0, stream);
}

template <int HeadDim, flash_gradients Gradients>
void flash_launch_key_gradient(const flash_call& call, cudaStream_t stream) {
  using plan = flash_key_plan<HeadDim>;
  flash_launch(flash_key_gradient_kernel<HeadDim, Gradients>, "attention backward, dK and dV", call,
               call.walk.tile_count * call.arguments.shape.kv_heads, plan::threads, plan::shared_bytes, stream);
}

template <int HeadDim>
void flash_launch_query_gradient(const flash_call& call, cudaStream_t stream) {
  using plan = flash_query_plan<HeadDim>;
  flash_launch(flash_query_gradient_kernel<HeadDim>, "attention backward, dQ", call,
               call.walk.tile_count * call.arguments.shape.heads, plan::threads, plan::shared_bytes, stream);
}

}  // namespace detail

template <int HeadDim>
void flash_backward(const flash_arguments& a, const flash_schedule_view& schedule, cudaStream_t stream) {
  detail::flash_check_backward<HeadDim>(a);
  const detail::flash_call by_query = detail::flash_prepare(a, schedule.queries);
  detail::flash_launch_row_sums<HeadDim>(by_query, stream);
  detail::flash_launch_key_gradient<HeadDim, detail::flash_gradients::of_keys>(detail::flash_prepare(a, schedule.keys),
                                                                               stream);
  detail::flash_launch_query_gradient<HeadDim>(by_query, stream);
}

template <int HeadDim>
void flash_backward_atomic(const flash_arguments& a, const flash_schedule_view& schedule, cudaStream_t stream) {
  detail::flash_check_backward<HeadDim>(a);
  const std::int64_t elements = a.queries * a.shape.heads * HeadDim;
  if (a.dq_sums == nullptr && elements > 0)
    throw shape_error("no room for the sums of dQ", "attention policy flash_mma",
                      "give dq_sums, [queries * heads * head_dim] floats");
  const detail::flash_call by_query = detail::flash_prepare(a, schedule.queries);
  check(cudaMemsetAsync(a.dq_sums, 0, static_cast<std::size_t>(elements) * sizeof(float), stream), "cudaMemsetAsync");
  detail::flash_launch_row_sums<HeadDim>(by_query, stream);
  detail::flash_launch_key_gradient<HeadDim, detail::flash_gradients::of_keys_and_queries>(
      detail::flash_prepare(a, schedule.keys), stream);
  detail::flash_launch(detail::flash_query_sums_kernel<HeadDim>, "attention backward, rounding of dQ", by_query,
                       (elements / 8 + 255) / 256, 256, 0, stream);
}

}  // namespace lodestone::on_cuda
