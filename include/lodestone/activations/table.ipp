// Definitions of table.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>

#include <lodestone/activations/table.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

LODESTONE_INLINE void activation_table::check(std::int64_t count) const {
  if (static_cast<std::int64_t>(layers.size()) != count)
    throw config_error(
        "the activation table has " + std::to_string(layers.size()) + " rows for " + std::to_string(count) + " layers",
        "activations");
  if (mlp_rows < 0) throw config_error("a tile of negative rows", "activations.mlp_rows", "0 takes the default");
  for (const row& r : layers)
    if (r[static_cast<std::size_t>(activation::input)] == residence::recompute)
      throw config_error("a layer's input cannot be recomputed", "activations", "keep activation::input in every row");
}

namespace activations {

LODESTONE_INLINE activation_table keep_all::table(std::int64_t layers) const {
  activation_table::row row{};
  row.fill(residence::device);
  return {std::vector(static_cast<std::size_t>(layers), row)};
}

LODESTONE_INLINE activation_table checkpoint::table(std::int64_t layers) const {
  activation_table::row row{};
  row.fill(residence::recompute);
  row[static_cast<std::size_t>(activation::input)] = residence::device;
  return {std::vector(static_cast<std::size_t>(layers), row)};
}

LODESTONE_INLINE activation_table keep_attention::table(std::int64_t layers) const {
  activation_table result = checkpoint{}.table(layers);
  for (activation_table::row& row : result.layers)
    row[static_cast<std::size_t>(activation::attention)] = residence::device;
  return result;
}

LODESTONE_INLINE activation_table offload_inputs::table(std::int64_t layers) const {
  activation_table result = checkpoint{}.table(layers);
  for (activation_table::row& row : result.layers) row[static_cast<std::size_t>(activation::input)] = residence::host;
  return result;
}

LODESTONE_INLINE activation_table offload::table(std::int64_t layers) const {
  activation_table result = offload_inputs{}.table(layers);
  for (activation_table::row& row : result.layers)
    row[static_cast<std::size_t>(activation::attention)] = residence::host;
  return result;
}

}  // namespace activations

}  // namespace lodestone
