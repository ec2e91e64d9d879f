// What an attention policy is: a way to evaluate attention over slices on a backend.
#pragma once

#include <cstdint>
#include <span>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/tensor.hpp>

namespace lodestone {

/// A matrix that attention reads or writes on a backend, and its row statistics.
template <class Backend>
using attention_input = tensor_view<const typename Backend::value_type, 2, typename Backend::space>;
/// A matrix that a policy writes.
template <class Backend>
using attention_output = tensor_view<typename Backend::value_type, 2, typename Backend::space>;
/// Log-sum-exp of rows, read.
template <class Backend>
using attention_statistics_input = tensor_view<const typename Backend::accumulate_type, 1, typename Backend::space>;
/// Log-sum-exp of rows, written.
template <class Backend>
using attention_statistics = tensor_view<typename Backend::accumulate_type, 1, typename Backend::space>;

/// The policy has a forward pass.
template <class Policy, class Backend>
concept has_attention_forward =
    requires(const Policy& policy, Backend& backend, const attention_shape& shape, std::span<const slice> slices,
             attention_input<Backend> input, attention_output<Backend> output, attention_statistics<Backend> lse) {
      policy.forward(backend, shape, slices, input, input, input, output, lse);
    };

/// The policy has a backward pass.
template <class Policy, class Backend>
concept has_attention_backward =
    requires(const Policy& policy, Backend& backend, const attention_shape& shape, std::span<const slice> slices,
             attention_input<Backend> input, attention_output<Backend> output,
             attention_statistics_input<Backend> lse) {
      policy.backward(backend, shape, slices, input, input, input, input, lse, input, output, output, output);
    };

/// A way to evaluate softmax(scale q k^T) v over the keys that a list of slices shows to each query row.
///
/// Requires, with q, o, d_o, dq [Tq, H*D], k, v, dk, dv [Tk, K*D] and lse [Tq*H] (head h of row t at t*H + h)
///  1. `forward(backend, shape, slices, q, k, v, o, lse)`: o and lse, the log of the sum of exp(scale q.k).
///  2. `backward(backend, shape, slices, q, k, v, o, lse, d_o, dq, dk, dv)`: overwrites dq, dk and dv. Slices, q, k, v
///     are those of the forward pass; o and lse may be those of rows whose softmax runs over more keys than this call.
/// Laws
///  1. The softmax of a row runs over the union of its slices; the order of the slices changes only rounding.
///  2. A row without keys has o = 0 and lse = -infinity, and its gradients are 0.
///  3. Merging: when the keys are split over two calls, o = sum_i exp(lse_i - lse) o_i with lse = log sum_i exp(lse_i),
///     and the backward passes of the two calls with the merged o and lse add up to one call over all keys.
///  4. backward is the gradient of forward.
///  5. Query head h reads key-value head h / (H / K).
///  6. Memory is linear in Tq + Tk, whatever the slices.
/// Optional
///  1. `reserve(backend, shape, slices, Tq, Tk, backward)`: an object that holds the memory of one call. The counting
///     backend calls it in place of the call.
///  2. `per_batch<Backend>`: a class, made anew for each micro-batch by default, that is the policy for its calls and
///     keeps what they share. Its `prepare(backend, shape, slices, Tq, Tk)` is called before the first layer for every
///     kind of call that follows, so that what it takes from the arena lies below the tensors of the layers.
/// Not required: any order of the slices, any head dimension beyond those the policy documents, thread safety.
template <class Policy, class Backend>
concept attention_policy = has_attention_forward<Policy, Backend> && has_attention_backward<Policy, Backend>;

}  // namespace lodestone
