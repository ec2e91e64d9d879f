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
  qkv_a, qkv_b,                    ///< adapters: A [n r, E] of the n adapted blocks, B [their rows, r]
  o_a, o_b,                        ///< A [r, H D]; B [E, r]
  gate_up_a, gate_up_b,            ///< A [n r, E]; B [their rows, r]
  down_a, down_b,                  ///< A [r, F]; B [E, r]
};
/// Number of enumerators of parameter.
inline constexpr std::size_t parameter_kinds = 23;

/// The four linear layers of a decoder layer, in the order of forward.
inline constexpr std::array<parameter, 4> projection_weights{parameter::qkv_weight, parameter::o_weight,
                                                             parameter::gate_up_weight, parameter::down_weight};

/// True for the factors of low-rank adapters.
[[nodiscard]] constexpr bool is_adapter(parameter kind) { return kind >= parameter::qkv_a; }
/// True for A, the factor that meets the input.
[[nodiscard]] constexpr bool is_adapter_input(parameter kind) {
  return is_adapter(kind) && (static_cast<int>(kind) - static_cast<int>(parameter::qkv_a)) % 2 == 0;
}
/// Position in projection_weights of a projection's weight, or of the projection that an adapter belongs to.
[[nodiscard]] constexpr std::size_t projection_index(parameter kind) {
  if (is_adapter(kind)) return (static_cast<std::size_t>(kind) - static_cast<std::size_t>(parameter::qkv_a)) / 2;
  if (kind == parameter::qkv_weight) return 0;
  if (kind == parameter::o_weight) return 1;
  return kind == parameter::gate_up_weight ? 2 : 3;
}
/// The adapter factors A and B of the projection with weight `kind`.
///@{
[[nodiscard]] constexpr parameter adapter_a(parameter kind) {
  return static_cast<parameter>(static_cast<std::size_t>(parameter::qkv_a) + 2 * projection_index(kind));
}
[[nodiscard]] constexpr parameter adapter_b(parameter kind) {
  return static_cast<parameter>(static_cast<std::size_t>(parameter::qkv_a) + 2 * projection_index(kind) + 1);
}
///@}

/// Outputs of a fused projection that have adapters: ascending ranges, one for each adapted row block.
struct adapted_rows {
  /// Half-open range of outputs.
  struct range {
    std::int64_t begin = 0;  ///< first output
    std::int64_t end = 0;    ///< one past the last
  };
  std::array<range, 3> ranges{};  ///< the first `count` are meant
  std::size_t count = 0;          ///< adapted blocks, n

  /// Outputs of all ranges: the rows of B.
  [[nodiscard]] std::int64_t rows() const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += ranges[i].end - ranges[i].begin;
    return sum;
  }
};

/// The adapters of the four projections of a layer.
struct unit_adapters {
  std::int64_t rank = 0;                    ///< r; 0: none
  double scale = 0.0;                       ///< what multiplies (x A^T) B^T
  std::array<adapted_rows, 4> projections;  ///< in the order of projection_weights
};

/// Where a parameter lies in the buffers of its unit.
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
  unit_adapters adapters;           ///< whose factors are the places of the adapter kinds

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

/// Layout of unit `unit`. `is_trained(kind)` says which parameters have a gradient. Adapters come after the parameters
/// of config.json.
template <class IsTrained>
[[nodiscard]] unit_layout make_unit_layout(const model_config& config, std::int64_t unit, const IsTrained& is_trained,
                                           const unit_adapters& adapters = {}) {
  unit_layout layout;
  layout.adapters = adapters;
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
    for (const parameter weight : projection_weights) {
      const adapted_rows& adapted = adapters.projections[projection_index(weight)];
      if (adapted.count == 0) continue;
      matrix(adapter_a(weight), static_cast<std::int64_t>(adapted.count) * adapters.rank, layout[weight].columns);
      matrix(adapter_b(weight), adapted.rows(), adapters.rank);
    }
  } else {
    vector(parameter::final_norm, E);
    if (!config.tied_head) matrix(parameter::head_weight, config.vocabulary, E);
  }
  return layout;
}

}  // namespace lodestone
