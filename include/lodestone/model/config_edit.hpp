// Changing a model's rotary settings, and writing changes back into the folder's own config.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone {

/// The rotary settings that a user can set apart from the folder's; what is empty stays as it is.
struct rope_override {
  std::optional<double> base{};                          ///< rope_theta; for ChatGLM 10,000 times rope_ratio
  std::optional<rope_scaling_kind> scaling{};            ///< replaces the folder's scaling with all its settings
  std::optional<double> factor{};                        ///< of the context length
  std::optional<std::int64_t> original_max_positions{};  ///< yarn, llama3: default the folder's max_positions
  std::optional<std::int64_t> max_positions{};           ///< the context window that the model is trained for
};

/// `config` with the settings of `change`. Throws config_error, naming the key, when they do not fit together or the
/// architecture cannot express them.
[[nodiscard]] model_config with_rope_override(model_config config, const rope_override& change);

/// The text of a config.json that describes `now`: `original` with only the changed keys edited, in its own spelling
/// (rope_theta and rope_scaling, rope_parameters, or rope_ratio) and order; byte for byte `original` when nothing
/// changed. `now` may differ from `original` in rotary settings, context window, vocabulary size, whether the head is
/// tied, and special tokens (tokens are not written); `stored` is the element type of the weights (torch_dtype or
/// dtype). Throws config_error when the change cannot be expressed.
[[nodiscard]] std::string edited_model_config(
                                            std::string_view original, const model_config& now,
                                            std::optional<dtype> stored = std::nullopt,
                                            const std::string& where = "config.json");

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/config_edit.ipp>
#endif
