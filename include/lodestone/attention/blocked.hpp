// The attention policy of the host: tiles of scores with an online softmax, linear memory, any head dimension.
#pragma once

#include <span>

#include <lodestone/attention/concept.hpp>
#include <lodestone/host/attention.hpp>
#include <lodestone/host/backend.hpp>

namespace lodestone {

/// Evaluates attention in tiles of 64 keys, never a whole row of scores; tiles that no row sees cost nothing, and heads
/// that share keys share their tiles. The bits are independent of the number of threads.
struct blocked_attention {
  /// Throws shape_error for operands that do not fit the shape, and as check_slices does.
  template <class Backend>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
               attention_input<Backend> q, attention_input<Backend> k, attention_input<Backend> v,
               attention_output<Backend> o, attention_statistics<Backend> lse) const {
    on_host::attention_forward<typename Backend::value_type>(backend.pool(), shape, slices, q, k, v, o, lse);
  }

  /// Throws shape_error as forward() does, before anything is written.
  template <class Backend>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                attention_input<Backend> q, attention_input<Backend> k, attention_input<Backend> v,
                attention_input<Backend> o, attention_statistics_input<Backend> lse, attention_input<Backend> d_o,
                attention_output<Backend> dq, attention_output<Backend> dk, attention_output<Backend> dv) const {
    on_host::attention_backward<typename Backend::value_type>(backend.pool(), shape, slices, q, k, v, o, lse, d_o, dq,
                                                              dk, dv);
  }
};

static_assert(attention_policy<blocked_attention, host<float>> && attention_policy<blocked_attention, host<double>>);

}  // namespace lodestone

#ifdef LODESTONE_COMPILED
#include <lodestone/host/compiled_llama.hpp>
#endif
