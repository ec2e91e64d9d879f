// Reading config.json of a Hugging Face folder into a model_config, refusing what the arithmetic here does not cover.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <lodestone/core/error.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone {

/// Reads the text of a config.json; `where` names it in messages.
///
/// Understands LlamaForCausalLM (Llama 1 to 3, Yi, SmolLM2), MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM,
/// GlmForCausalLM and ChatGLMModel (ChatGLM2, ChatGLM3, GLM-4-9B), in the spelling of transformers 4 and 5, with the
/// defaults of transformers for missing keys. Throws format_error for invalid JSON and config_error, naming the key,
/// for an unknown architecture, missing sizes, contradictions, and settings whose arithmetic is not supported.
[[nodiscard]] model_config parse_model_config(std::string_view text, const std::string& where = "config.json");

/// Reads config.json of a model folder (or a file of that form), and takes the end tokens from generation_config.json
/// where there is one, as transformers does when it generates. Throws as parse_model_config, and io_error.
[[nodiscard]] model_config read_model_config(const std::filesystem::path& folder);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/config_json.ipp>
#endif
