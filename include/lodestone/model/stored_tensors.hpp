// The tensors of a model folder and where they lie in a parameter store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/model/layout.hpp>
#include <lodestone/model/names.hpp>

namespace lodestone {

/// One named tensor as a range of a unit's flat buffers.
struct stored_tensor {
  std::string name;                  ///< as in the folder
  std::vector<std::int64_t> shape;   ///< [rows, columns] or [rows]
  parameter kind = parameter::embedding;  ///< that it is a row block of
  std::int64_t unit = 0;             ///< whose buffers hold it
  std::int64_t offset = 0;           ///< first element in the unit's weight buffer
  std::int64_t gradient_offset = 0;  ///< first element in its gradient buffer; meaningless when not trained
  std::int64_t count = 0;            ///< elements
  bool is_trained = true;            ///< has a gradient and optimiser state
};

/// All tensors of a store, in forward order, a layer's adapters (is_adapter(kind)) after its own: what loading,
/// exporting, saving and inspecting go through.
template <class Store>
[[nodiscard]] std::vector<stored_tensor> stored_tensors(const Store& store) {
  std::vector<stored_tensor> tensors;
  for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit) {
    const unit_layout& layout = store.layout(unit);
    for (std::size_t k = 0; k < parameter_kinds; ++k) {
      const parameter_place& place = layout.places[k];
      const auto kind = static_cast<parameter>(k);
      if (place.rows == 0) continue;
      std::int64_t done = 0;  // elements of the blocks before
      for (row_block& block : row_blocks(store.config(), layout, kind, is_of_layer(kind) ? unit - 1 : 0)) {
        stored_tensor tensor;
        tensor.kind = kind;
        tensor.name = std::move(block.name);
        tensor.shape = {block.rows};
        if (place.is_matrix) tensor.shape.push_back(place.columns);
        tensor.unit = unit;
        tensor.offset = place.offset + done;
        tensor.gradient_offset = place.gradient_offset + done;
        tensor.count = block.rows * place.columns;
        tensor.is_trained = place.is_trained;
        done += tensor.count;
        tensors.push_back(std::move(tensor));
      }
    }
  }
  return tensors;
}

}  // namespace lodestone
