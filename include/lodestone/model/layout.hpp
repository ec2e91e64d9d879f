// Where each parameter of a unit lies in that unit's flat buffers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lodestone/core/extents.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone {

/// Every kind of parameter that a Llama-family model can have.
enum class parameter : std::uint8_t {
  embedding,                       ///< [V, E]
  input_norm,                      ///< [E]
  qkv_weight, qkv_bias,            ///< [(H + 2K) D, E], rows q then k then v; [(H + 2K) D]
  q_norm, k_norm,                  ///< [D]
  o_weight, o_bias,                ///< [E, H D]; [E]
  post_norm,                       ///< [E]
  gate_up_weight, gate_up_bias,    ///< [2F, E], rows gate then up; [2F]
  down_weight, down_bias,          ///< [E, F]; [E]
  final_norm,                      ///< [E]
  head_weight,                     ///< [V, E]; absent when tied to the embedding
};
/// Number of enumerators of parameter.
inline constexpr std::size_t parameter_kinds = 15;

/// A projection's own additions to its weight (LoRA's A and B) come after the parameters of config.json.
struct parameter_place {
  std::int64_t rows = 0;             ///< 0: this unit has no such parameter
  std::int64_t columns = 0;          ///< 1 for vectors
  bool is_matrix = false;            ///< false: a vector
  bool is_trained = true;            ///< has a gradient and optimiser state
  std::int64_t offset = 0;           ///< in the weight buffer, elements
  std::int64_t gradient_offset = 0;  ///< in the gradient, master and optimiser buffers, elements
  [[nodiscard]] std::int64_t count() const { return rows * columns; }  ///< elements
};

/// The parts that a model acquires and releases as a whole, in forward order: unit 0 is the embedding, units 1 to L are
/// the layers, unit L + 1 is the final norm and the head.
struct unit_layout {
  std::array<parameter_place, parameter_kinds> places{};  ///< by kind
  std::int64_t count = 0;           ///< elements of the weight buffer
  std::int64_t gradient_count = 0;  ///< elements of the gradient buffer

  /// The place of `kind`; rows == 0 when the unit has no such parameter.
  [[nodiscard]] const parameter_place& operator[](parameter kind) const {
    return places[static_cast<std::size_t>(kind)];
  }

  /// The parameter as a matrix [rows, columns] of a flat weight buffer; empty when absent.
  template <class T, class Space>
  [[nodiscard]] tensor_view<T, 2, Space> matrix(tensor_view<T, 1, Space> flat, parameter kind) const {
    const parameter_place& place = (*this)[kind];
    if (place.rows == 0) return {};
    return {flat.data() + place.offset, extents<2>{{place.rows, place.columns}}};
  }
  /// The parameter as a vector of a flat weight buffer; empty when absent.
  template <class T, class Space>
  [[nodiscard]] tensor_view<T, 1, Space> vector(tensor_view<T, 1, Space> flat, parameter kind) const {
    const parameter_place& place = (*this)[kind];
    if (place.rows == 0) return {};
    return {flat.data() + place.offset, extents<1>{{place.count()}}};
  }
  /// The same two for a flat gradient buffer; empty when absent or frozen.
  ///@{
  template <class T, class Space>
  [[nodiscard]] tensor_view<T, 2, Space> gradient_matrix(tensor_view<T, 1, Space> flat, parameter kind) const {
    const parameter_place& place = (*this)[kind];
    if (place.rows == 0 || !place.is_trained) return {};
    return {flat.data() + place.gradient_offset, extents<2>{{place.rows, place.columns}}};
  }
  template <class T, class Space>
  [[nodiscard]] tensor_view<T, 1, Space> gradient_vector(tensor_view<T, 1, Space> flat, parameter kind) const {
    const parameter_place& place = (*this)[kind];
    if (place.rows == 0 || !place.is_trained) return {};
    return {flat.data() + place.gradient_offset, extents<1>{{place.count()}}};
  }
  ///@}
};

/// Number of units of a model: embedding, layers, head.
[[nodiscard]] inline std::int64_t unit_count(const model_config& config) { return config.layers + 2; }

/// Layout of unit `unit`. `is_trained(kind)` says which parameters have a gradient.
template <class IsTrained>
[[nodiscard]] unit_layout make_unit_layout(const model_config& config, std::int64_t unit, const IsTrained& is_trained) {
  unit_layout layout;
  const auto add = [&](parameter kind, std::int64_t rows, std::int64_t columns, bool is_matrix) {
    parameter_place& place = layout.places[static_cast<std::size_t>(kind)];
    place = {rows, columns, is_matrix, is_trained(kind), layout.count, layout.gradient_count};
    layout.count += place.count();
    if (place.is_trained) layout.gradient_count += place.count();
  };
  const auto matrix = [&](parameter kind, std::int64_t rows, std::int64_t columns) { add(kind, rows, columns, true); };
  const auto vector = [&](parameter kind, std::int64_t size, bool present = true) {
    if (present) add(kind, size, 1, false);
  };
  const std::int64_t E = config.hidden;
  if (unit == 0) {
    matrix(parameter::embedding, config.vocabulary, E);
  } else if (unit <= config.layers) {
    vector(parameter::input_norm, E);
    matrix(parameter::qkv_weight, config.qkv_size(), E);
    vector(parameter::qkv_bias, config.qkv_size(), config.qkv_bias);
    vector(parameter::q_norm, config.head_dim, config.qk_norm);
    vector(parameter::k_norm, config.head_dim, config.qk_norm);
    matrix(parameter::o_weight, E, config.q_size());
    vector(parameter::o_bias, E, config.o_bias);
    vector(parameter::post_norm, E);
    matrix(parameter::gate_up_weight, 2 * config.feed_forward, E);
    vector(parameter::gate_up_bias, 2 * config.feed_forward, config.mlp_bias);
    matrix(parameter::down_weight, E, config.feed_forward);
    vector(parameter::down_bias, E, config.mlp_bias);
  } else {
    vector(parameter::final_norm, E);
    if (!config.tied_head) matrix(parameter::head_weight, config.vocabulary, E);
  }
  return layout;
}

}  // namespace lodestone
