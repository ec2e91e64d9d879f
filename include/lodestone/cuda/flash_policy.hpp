// flash_mma as an attention policy of cuda<bf16>, and the choice between it and attention_reference.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/arena.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/list.hpp>
#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/flash_decode.hpp>
#include <lodestone/cuda/flash_mma.hpp>

namespace lodestone {

/// Attention on tensor cores (mma.sync, compute capability 8.0 and up) for bf16 and head dimensions of 64, 80, 96, 128
/// and 256, in tiles that are scheduled from the slices on the host. Where every slice has 16 query rows or fewer, as
/// in decoding, the forward pass cuts the keys into pieces that blocks walk at the same time (flash_decode.hpp).
/// Deterministic. Pointers must be multiples of 16 bytes and strides multiples of 8 elements.
struct flash_mma {
  /// The schedule of one list of slices, in the backend's memory.
  template <class Backend>
  struct scheduled {
    /// What it was made for.
    ///@{
    std::vector<slice> slices;
    attention_shape shape;
    std::int64_t queries = 0;
    std::int64_t keys = 0;
    bool is_decoding = false;                                 ///< which of the two was made
    ///@}
    /// On the host; one of them is empty.
    ///@{
    on_cuda::flash_schedule schedule;
    on_cuda::flash_decode_schedule decoding;
    ///@}
    backend_list<std::byte, typename Backend::space> tables;  ///< its arrays on the device
  };

  template <class Backend>
  class per_batch;

  /// The policy for one call: as per_batch, whose schedule goes with the call.
  ///@{
  template <class Backend, class... Operands>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
               const Operands&... operands) const {
    per_batch<Backend>{}.forward(backend, shape, slices, operands...);
  }
  template <class Backend, class... Operands>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                const Operands&... operands) const {
    per_batch<Backend>{}.backward(backend, shape, slices, operands...);
  }
  ///@}
};

/// flash_mma for the calls of one micro-batch: schedules, which serve all layers and both directions, are built and
/// uploaded once for each list of slices and stay in the backend's arena until the object goes.
template <class Backend>
class flash_mma::per_batch {
 public:
  /// Makes the schedule of such calls, unless it is there: where slices have few rows, that of the forward pass, and
  /// the backward pass makes its own. Throws shape_error as make_flash_schedule.
  void prepare(Backend& backend, const attention_shape& shape, std::span<const slice> slices, std::int64_t queries,
               std::int64_t keys) const {
    (void)find(backend, shape, slices, queries, keys, false);
  }

  /// The memory of one call, beyond its operands and the schedule.
  struct memory {
    const scheduled<Backend>* plan = nullptr;        ///< valid as long as the policy
    /// Scratch: backward [Tq H]; forward empty or, with few rows, what the pieces leave.
    block<float, 1, typename Backend::space> scratch;
  };
  /// Makes the schedule as prepare() and takes the memory: backward, one number a query row and head; forward with few
  /// rows, D + 2 numbers for each of them, head and piece of keys.
  [[nodiscard]] memory reserve(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                               std::int64_t queries, std::int64_t keys, bool backward) const {
    const scheduled<Backend>& plan = find(backend, shape, slices, queries, keys, backward);
    const std::int64_t forward = plan.is_decoding ? on_cuda::flash_decode_scratch(plan.decoding, shape) : 0;
    return {&plan, backend.template allocate<float>(extents<1>{{backward ? queries * shape.heads : forward}})};
  }

  /// As attention_policy says, asynchronous on the backend's lane. Throws shape_error as reserve() and flash_forward.
  template <class Q, class K, class O>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Q q, K k, K v, O o,
               typename Backend::template vector<float> lse) const {
    static_assert(std::is_same_v<typename Backend::value_type, bf16>, "flash_mma computes in bf16");
    const auto held = reserve(backend, shape, slices, q.size(0), k.size(0), false);
    const on_cuda::flash_arguments arguments = operands(shape, q, k, v, o.data(), o.stride(), lse.data());
    with_head_dim(shape.head_dim, [&](auto d) {
      if (held.plan->is_decoding)
        on_cuda::flash_decode<decltype(d)::value>(arguments, held.plan->decoding.view(held.plan->tables.data()),
                                                  held.scratch.view().data(), backend.lane());
      else
        on_cuda::flash_forward<decltype(d)::value>(arguments, view(*held.plan), backend.lane());
    });
  }

  /// As attention_policy says; otherwise as forward().
  template <class Q, class K, class Dq>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Q q, K k, K v, Q o,
                typename Backend::template vector<const float> lse, Q d_o, Dq dq, Dq dk, Dq dv) const {
    static_assert(std::is_same_v<typename Backend::value_type, bf16>, "flash_mma computes in bf16");
    const auto held = reserve(backend, shape, slices, q.size(0), k.size(0), true);
    // flash_arguments serves both directions: the backward pass only reads o and lse.
    on_cuda::flash_arguments arguments =
        operands(shape, q, k, v, const_cast<bf16*>(o.data()), o.stride(), const_cast<float*>(lse.data()));
    arguments.d_o = d_o.data();
    arguments.d_o_stride = d_o.stride();
    arguments.dq = dq.data();
    arguments.dq_stride = dq.stride();
    arguments.dk = dk.data();
    arguments.dk_stride = dk.stride();
    arguments.dv = dv.data();
    arguments.dv_stride = dv.stride();
    arguments.delta = held.scratch.view().data();
    with_head_dim(shape.head_dim, [&](auto d) {
      on_cuda::flash_backward<decltype(d)::value>(arguments, view(*held.plan), backend.lane());
    });
  }

 private:
  [[nodiscard]] const scheduled<Backend>& find(Backend& backend, const attention_shape& shape,
                                               std::span<const slice> slices, std::int64_t queries,
                                               std::int64_t keys, bool backward) const {
    const bool is_decoding = !backward && on_cuda::flash_decode_serves(slices, queries);
    for (const auto& made : made_)
      if (made->queries == queries && made->keys == keys && made->is_decoding == is_decoding &&
          made->shape == shape && std::ranges::equal(made->slices, slices))
        return *made;
    auto plan = std::make_unique<scheduled<Backend>>();
    plan->slices.assign(slices.begin(), slices.end());
    plan->shape = shape;
    plan->queries = queries;
    plan->keys = keys;
    plan->is_decoding = is_decoding;
    std::vector<std::byte> bytes;
    const auto put = [&](const auto& schedule) {
      bytes.resize(schedule.bytes());
      schedule.copy_to(bytes.data());
    };
    if (is_decoding)
      put(plan->decoding = on_cuda::make_flash_decode_schedule(slices, queries, keys, shape));
    else
      put(plan->schedule = on_cuda::make_flash_schedule(slices, queries, keys, shape));
    plan->tables = backend.upload(std::span<const std::byte>{bytes});
    made_.push_back(std::move(plan));
    return *made_.back();
  }
  [[nodiscard]] static on_cuda::flash_schedule_view view(const scheduled<Backend>& plan) {
    return plan.schedule.view(plan.tables.data());
  }

  template <class Q, class K>
  [[nodiscard]] static on_cuda::flash_arguments operands(const attention_shape& shape, const Q& q, const K& k,
                                                         const K& v, bf16* o, std::int64_t o_stride, float* lse) {
    on_cuda::flash_arguments a;
    a.shape = shape;
    a.queries = q.size(0);
    a.keys = k.size(0);
    a.q = q.data();
    a.k = k.data();
    a.v = v.data();
    a.q_stride = q.stride();
    a.k_stride = k.stride();
    a.v_stride = v.stride();
    a.o = o;
    a.o_stride = o_stride;
    a.lse = lse;
    return a;
  }

  /// Calls go with the head dimension as a constant; make_flash_schedule has refused every other.
  template <class Go>
  static void with_head_dim(std::int64_t head_dim, const Go& go) {
    switch (head_dim) {
      case 64: go(std::integral_constant<int, 64>{}); break;
      case 80: go(std::integral_constant<int, 80>{}); break;
      case 96: go(std::integral_constant<int, 96>{}); break;
      case 128: go(std::integral_constant<int, 128>{}); break;
      case 256: go(std::integral_constant<int, 256>{}); break;
      default: throw shape_error("a head dimension of " + std::to_string(head_dim), "flash_mma");
    }
  }

  // A cache: what a call gives does not depend on it. Pointers to its elements stay when it grows.
  mutable std::vector<std::unique_ptr<scheduled<Backend>>> made_;
};

/// flash_mma where it serves the model's head dimension and the element type is bf16, else attention_reference: for
/// programs that learn the model at run time.
struct flash_or_reference {
  template <class Backend>
  class per_batch;

  /// The chosen policy for one call: as per_batch, whose schedule goes with the call.
  ///@{
  template <class Backend, class... Operands>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
               const Operands&... operands) const {
    per_batch<Backend>{}.forward(backend, shape, slices, operands...);
  }
  template <class Backend, class... Operands>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                const Operands&... operands) const {
    per_batch<Backend>{}.backward(backend, shape, slices, operands...);
  }
  ///@}
};

/// flash_or_reference for the calls of one micro-batch, with what flash_mma shares among them.
template <class Backend>
class flash_or_reference::per_batch {
 public:
  /// As flash_mma::per_batch::prepare; attention_reference shares nothing.
  void prepare(Backend& backend, const attention_shape& shape, std::span<const slice> slices, std::int64_t queries,
               std::int64_t keys) const {
    if (is_fast(shape)) fast_.prepare(backend, shape, slices, queries, keys);
  }

  /// What the chosen policy reserves; the other's part stays empty.
  [[nodiscard]] auto reserve(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                             std::int64_t queries, std::int64_t keys, bool backward) const {
    using fast = typename flash_mma::per_batch<Backend>::memory;
    using slow = decltype(attention_reference{}.reserve(backend, shape, slices, queries, keys, backward));
    std::pair<fast, slow> held;
    if (is_fast(shape))
      held.first = fast_.reserve(backend, shape, slices, queries, keys, backward);
    else
      held.second = attention_reference{}.reserve(backend, shape, slices, queries, keys, backward);
    return held;
  }

  /// The chosen policy's pass, with its errors.
  ///@{
  template <class... Operands>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
               const Operands&... operands) const {
    if constexpr (std::is_same_v<typename Backend::value_type, bf16>)
      if (is_fast(shape)) return fast_.forward(backend, shape, slices, operands...);
    attention_reference{}.forward(backend, shape, slices, operands...);
  }
  template <class... Operands>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                const Operands&... operands) const {
    if constexpr (std::is_same_v<typename Backend::value_type, bf16>)
      if (is_fast(shape)) return fast_.backward(backend, shape, slices, operands...);
    attention_reference{}.backward(backend, shape, slices, operands...);
  }
  ///@}

 private:
  [[nodiscard]] static bool is_fast(const attention_shape& shape) {
    return std::is_same_v<typename Backend::value_type, bf16> && on_cuda::flash_supports(shape.head_dim);
  }

  flash_mma::per_batch<Backend> fast_;
};

}  // namespace lodestone
