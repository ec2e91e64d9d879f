// The tensor names of Hugging Face folders, as row blocks of the fused parameters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>

namespace lodestone {

/// One tensor of a folder: `rows` consecutive rows of a parameter.
struct row_block {
  std::string name;       ///< e.g. model.layers.0.self_attn.q_proj.weight
  std::int64_t rows = 0;  ///< of the tensor; a vector's elements

  friend bool operator==(const row_block&, const row_block&) = default;
};

/// A tensor that a folder must hold.
struct named_tensor {
  std::string name;                 ///< in the spelling of the model's family
  std::vector<std::int64_t> shape;  ///< [rows, columns] of a matrix, [rows] of a vector

  friend bool operator==(const named_tensor&, const named_tensor&) = default;
};

/// True for the parameters that every layer has of its own.
[[nodiscard]] constexpr bool is_of_layer(parameter kind) {
  return kind != parameter::embedding && kind != parameter::final_norm && kind != parameter::head_weight;
}

/// Columns of a parameter's matrix; 0 for vectors.
[[nodiscard]] std::int64_t columns_of(const model_config& config, parameter kind);

/// The tensors whose rows, one after the other, are the parameter: [q; k; v] of qkv, [gate; up] of gate_up, one block
/// of everything else. Empty when the model has no such parameter (a bias, q/k norms, the head when it is tied).
/// `layer` counts from 0 and matters for parameters of layers only; throws shape_error when out of range.
[[nodiscard]] std::vector<row_block> row_blocks(const model_config& config, parameter kind, std::int64_t layer = 0);

/// The same for any parameter of a unit with this layout, adapters included: those of the row block "MODULE.weight" are
/// "MODULE.lora_A.weight" [r, C] and "MODULE.lora_B.weight" [N, r].
[[nodiscard]] std::vector<row_block> row_blocks(const model_config& config, const unit_layout& layout, parameter kind,
                                                std::int64_t layer = 0);

/// The same model with a head of its own.
[[nodiscard]] inline model_config untied(model_config config) {
  config.tied_head = false;
  return config;
}

/// Every tensor that a folder of this model holds, in forward order.
[[nodiscard]] std::vector<named_tensor> tensor_names(const model_config& config);

/// True for tensors that some folders hold and no model needs: rotary tables of old exports, and the copy of a tied
/// embedding under the head's name.
[[nodiscard]] bool is_redundant_tensor(const model_config& config, std::string_view name);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/names.ipp>
#endif
