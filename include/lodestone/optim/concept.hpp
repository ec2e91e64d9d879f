// What an optimiser is: settings that yield the scalars of a step, and an update of one flat tensor.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lodestone {

/// A tensor as an optimiser sees it when it decides on weight decay: its Hugging Face name and its rank.
struct tensor_facts {
  std::string_view name;  ///< Hugging Face name; the caller's characters
  std::size_t rank = 0;   ///< number of axes
};

/// An optimiser with per-element state.
///
/// Requires
///  1. `moments` (static constexpr int): state tensors of the size of the weights, zero at the start, in the backend's
///     accumulation type.
///  2. `clip`: limit of the global gradient norm, 0 for none.
///  3. `step(number, total, facts, gradient_scale)`: the scalars of step `number` in [1, total] for one tensor, pure.
///  4. `update(backend, weights, state, gradient, scalars)`: a template over the backend; weights and gradient are flat
///     views, state a range of `moments` flat views. Elements are independent of each other, so that any sharding or
///     tiling of a tensor gives the same bits.
/// Not required: knowledge of models, ranks or schedules of other tensors.
template <class O>
concept optimiser = requires(const O& o, std::int64_t number, const tensor_facts& facts, double scale) {
  { O::moments } -> std::convertible_to<int>;
  { o.clip } -> std::convertible_to<double>;
  o.step(number, number, facts, scale);
};

}  // namespace lodestone
