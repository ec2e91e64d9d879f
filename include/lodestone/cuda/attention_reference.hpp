// Attention over slices on the GPU by plain loops in float: any head dimension up to 512 and any list of slices. It
// serves small models and is what faster policies are compared with.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <cuda_runtime_api.h>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/list.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/operations.hpp>

namespace lodestone {

namespace on_cuda {

/// What the kernels of attention_reference read and write; shapes as in attention/concept.hpp.
template <class T>
struct attention_operands {
  attention_shape shape;          ///< heads, head dimension and scale
  const slice* slices = nullptr;  ///< on the device
  std::int64_t slice_count = 0;   ///< elements of `slices`
  /// q [Tq, H D]; k, v [Tk, K D]; backward only: o, d_o [Tq, H D].
  ///@{
  matrix<const T> q, k, v;
  matrix<const T> o, d_o;
  ///@}
  const float* lse = nullptr;  ///< backward only
  const float* delta = nullptr;  ///< [Tq H], backward only
};

/// attention_reference.cuh
template <class T>
void attention_forward(cudaStream_t lane, const attention_operands<T>& in, matrix<T> o, float* lse);
/// `delta` [Tq H] is scratch; dq, dk and dv are overwritten.
template <class T>
void attention_backward(cudaStream_t lane, const attention_operands<T>& in, float* delta, matrix<T> dq, matrix<T> dk,
                        matrix<T> dv);

}  // namespace on_cuda

/// An attention policy of the CUDA backends: one warp a row and head, sums in float, no tensor cores. Deterministic.
struct attention_reference {
  static constexpr std::int64_t largest_head = 512;  ///< D

  /// The memory of one call, beyond its operands: the slices and, backward, one number a query row and head.
  template <class Backend>
  [[nodiscard]] auto reserve(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                             std::int64_t queries, std::int64_t, bool backward) const {
    struct memory {
      backend_list<slice, typename Backend::space> slices;
      block<float, 1, typename Backend::space> delta;
    };
    return memory{backend.upload(slices),
                  backend.template allocate<float>(extents<1>{{backward ? queries * shape.heads : 0}})};
  }

  /// As attention_policy says, asynchronous on the backend's lane. Throws shape_error for heads above largest_head,
  /// heads that are no multiple of the key-value heads, and slices that check_slices refuses.
  template <class Backend, class Q, class K, class O>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Q q, K k, K v, O o,
               typename Backend::template vector<float> lse) const {
    check(shape, slices, q.size(0), k.size(0));
    const auto memory = reserve(backend, shape, slices, q.size(0), k.size(0), false);
    using T = typename Backend::value_type;
    const on_cuda::attention_operands<T> in{shape, memory.slices.data(), memory.slices.size(), q, k, v, {}, {}, nullptr,
                                            nullptr};
    on_cuda::attention_forward<T>(backend.lane(), in, o, lse.data());
  }

  /// As attention_policy says; otherwise as forward().
  template <class Backend, class Q, class K, class Dq>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Q q, K k, K v, Q o,
                typename Backend::template vector<const float> lse, Q d_o, Dq dq, Dq dk, Dq dv) const {
    check(shape, slices, q.size(0), k.size(0));
    const auto memory = reserve(backend, shape, slices, q.size(0), k.size(0), true);
    using T = typename Backend::value_type;
    const on_cuda::attention_operands<T> in{shape, memory.slices.data(), memory.slices.size(), q, k, v, o, d_o,
                                            lse.data(), memory.delta.view().data()};
    on_cuda::attention_backward<T>(backend.lane(), in, memory.delta.view().data(), dq, dk, dv);
  }

 private:
  static void check(const attention_shape& shape, std::span<const slice> slices, std::int64_t queries,
                    std::int64_t keys) {
    check_slices(slices, queries, keys);
    if (shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0)
      throw shape_error(std::to_string(shape.heads) + " heads are no multiple of " + std::to_string(shape.kv_heads) +
                            " key-value heads", "attention_reference");
    if (shape.head_dim > largest_head)
      throw shape_error("head dimension " + std::to_string(shape.head_dim) + " is larger than " +
                            std::to_string(largest_head), "attention_reference");
  }
};

}  // namespace lodestone
