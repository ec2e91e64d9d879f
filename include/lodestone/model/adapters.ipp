// Definitions of adapters.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <lodestone/core/inline.hpp>
#include <lodestone/model/adapters.hpp>

namespace lodestone {

namespace detail {

/// Whether `pattern`, in which '*' stands for any characters, fits the whole of `text`.
[[nodiscard]] inline bool fits(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;  // the last one, and where its text ends so far
  std::size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

/// Whether one pattern fits a module's name.
[[nodiscard]] inline bool is_target(std::string_view pattern, std::string_view name) {
  if (pattern == "all-linear") return true;
  if (pattern.find('*') != std::string_view::npos) return fits(pattern, name);
  if (!name.ends_with(pattern) || pattern.empty()) return false;
  return name.size() == pattern.size() || name[name.size() - pattern.size() - 1] == '.';
}

}  // namespace detail

LODESTONE_INLINE bool trained_parts::trains(parameter kind) const {
  switch (kind) {
    case parameter::embedding:
    case parameter::head_weight: return embeddings;
    case parameter::input_norm:
    case parameter::post_norm:
    case parameter::q_norm:
    case parameter::k_norm:
    case parameter::final_norm: return norms;
    default: return is_adapter(kind) || projections;
  }
}

LODESTONE_INLINE std::string_view module_of(std::string_view tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

LODESTONE_INLINE bool is_adapted(const adapter_config& adapters, parameter kind, std::string_view name) {
  if (adapters.rank == 0) return false;
  if (adapters.targets.empty()) return kind == parameter::qkv_weight || kind == parameter::o_weight;
  for (const std::string& pattern : adapters.targets)
    if (detail::is_target(pattern, name)) return true;
  return false;
}

LODESTONE_INLINE unit_adapters adapters_of(const model_config& config, const adapter_config& adapters,
                                           std::int64_t unit) {
  if (adapters.rank < 0) throw config_error("must not be negative", "adapter rank");
  if (!std::isfinite(adapters.alpha)) throw config_error("must be a number", "adapter alpha");
  unit_adapters result;
  if (adapters.rank == 0 || unit < 1 || unit > config.layers) return result;
  result.rank = adapters.rank;
  result.scale = adapters.scale();
  for (const parameter weight : projection_weights) {
    adapted_rows& adapted = result.projections[projection_index(weight)];
    std::int64_t row = 0;
    for (const row_block& block : row_blocks(config, weight, unit - 1)) {
      if (is_adapted(adapters, weight, module_of(block.name)))
        adapted.ranges[adapted.count++] = {row, row + block.rows};
      row += block.rows;
    }
  }
  return result;
}

LODESTONE_INLINE void check_targets(const model_config& config, const adapter_config& adapters) {
  if (adapters.rank == 0) return;
  for (const std::string& pattern : adapters.targets) {
    bool is_used = false;
    std::string some;
    for (std::int64_t layer = 0; layer < config.layers && !is_used; ++layer)
      for (const parameter weight : projection_weights)
        for (const row_block& block : row_blocks(config, weight, layer)) {
          is_used = is_used || detail::is_target(pattern, module_of(block.name));
          if (layer == 0) some.append(some.empty() ? "" : ", ").append(module_of(block.name));
        }
    if (!is_used)
      throw config_error("the target '" + pattern + "' fits no linear layer of the model", "adapter targets",
                         "the first layer has " + some);
  }
}

LODESTONE_INLINE unit_layout make_unit_layout(const model_config& config, std::int64_t unit,
                                              const trained_parts& trained, bool is_training) {
  return make_unit_layout(
      config, unit, [&](parameter kind) { return is_training && trained.trains(kind); },
      adapters_of(config, trained.adapters, unit));
}

}  // namespace lodestone
