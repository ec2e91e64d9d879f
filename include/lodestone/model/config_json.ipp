// Definitions of config_json.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/config_keys.hpp>
#include <lodestone/position/rope.hpp>

namespace lodestone {

namespace detail {

/// An architecture that can be read. Defaults are those of the transformers configuration class.
struct known_architecture {
  std::string_view name;
  std::string_view model_type;
  model_family family;
  std::int64_t default_positions;
  std::int64_t default_head_dim;  ///< 0: hidden / heads
  std::int64_t default_kv_heads;  ///< when the key is missing; 0: as many as heads
  double default_epsilon;
};

inline constexpr std::array<known_architecture, 7> known_architectures{{
    {"LlamaForCausalLM", "llama", model_family::llama, 2048, 0, 0, 1e-6},
    {"MistralForCausalLM", "mistral", model_family::llama, 131'072, 0, 8, 1e-6},
    {"Qwen2ForCausalLM", "qwen2", model_family::llama, 32'768, 0, 32, 1e-6},
    {"Qwen3ForCausalLM", "qwen3", model_family::llama, 32'768, 128, 32, 1e-6},
    {"GlmForCausalLM", "glm", model_family::glm, 131'072, 128, 2, 1.5625e-7},
    {"ChatGLMModel", "chatglm", model_family::chatglm, 2048, 128, 0, 1e-5},
    {"ChatGLMForConditionalGeneration", "chatglm", model_family::chatglm, 2048, 128, 0, 1e-5},
}};

[[nodiscard]] inline std::pair<std::string, known_architecture> read_architecture(const config_keys& keys) {
  std::string name;
  if (const nlohmann::json* list = keys.find("architectures")) {
    if (!list->is_array() || list->empty() || !list->front().is_string())
      throw keys.fail("architectures", "expected a list of names, found " + list->dump());
    name = list->front().get<std::string>();
  }
  const std::string type = keys.text("model_type").value_or("");
  for (const known_architecture& known : known_architectures)
    if (name.empty() ? known.model_type == type : known.name == name) return {std::string(known.name), known};
  std::string supported;
  for (const known_architecture& known : known_architectures)
    supported += (supported.empty() ? "" : ", ") + std::string(known.name);
  if (name.empty() && type.empty()) throw keys.fail("architectures", "missing", "supported are " + supported);
  if (name == "Glm4ForCausalLM" || type == "glm4")
    throw keys.fail("architectures",
                    "Glm4ForCausalLM is not supported: it normalises after attention and after the "
                    "feed-forward block too, which this model does not have",
                    "supported are " + supported);
  throw keys.fail("architectures", "the architecture " + (name.empty() ? type : name) + " is not supported",
                  "supported are " + supported);
}

/// Settings that other models of the family's wide circle have and that change the arithmetic. Some do nothing in the
/// named architecture's own code; a folder that sets them was made for other code, and guessing would be silent.
inline void refuse_unsupported_settings(const config_keys& keys, bool has_own_qk_norm) {
  const auto refuse = [&](const char* key) {
    throw keys.fail(key,
                    "set to " + keys.find(key)->dump() +
                        ", which changes the model's arithmetic in a way that is "
                        "not supported",
                    "use a model without it");
  };
  for (const char* key :
       {"attn_logit_softcapping", "final_logit_softcapping", "logit_softcap", "clip_qkv", "query_pre_attn_scalar",
        "attention_chunk_size", "no_rope_layers", "pre_seq_len", "ngram_size", "quantization_config", "text_config"})
    if (keys.find(key) != nullptr) refuse(key);
  for (const char* key :
       {"num_experts", "num_local_experts", "n_routed_experts", "quantization_bit", "no_rope_layer_interval"})
    if (const auto value = keys.integer(key); value && *value != 0) refuse(key);
  for (const char* key : {"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling",
                          "logit_scale", "scale_emb", "scale_depth", "mup_base_width", "embedding_scale"})
    if (const auto value = keys.number(key); value && *value != 1.0) refuse(key);
  for (const char* key : {"alibi", "parallel_attn", "use_parallel_residual", "qk_layernorm", "use_qk_norm", "use_mup",
                          "use_attention_sinks"})
    if (keys.boolean(key, false) && !(has_own_qk_norm && std::string_view(key) == "use_qk_norm")) refuse(key);
  if (const auto type = keys.text("position_embedding_type"); type && *type != "rope" && *type != "rotary")
    refuse("position_embedding_type");
}

/// RoPE in the spelling of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
[[nodiscard]] inline rope_config read_rope(const config_keys& keys, std::int64_t head_dim, std::int64_t max_positions,
                                           double default_partial, bool may_be_partial) {
  rope_config rope;
  rope.max_positions = max_positions;
  const char* place = "rope_scaling";
  const nlohmann::json* settings = keys.find(place);
  if (settings == nullptr || settings->empty()) settings = keys.find(place = "rope_parameters");
  static const nlohmann::json none = nlohmann::json::object();
  if (settings == nullptr) settings = &none;
  if (!settings->is_object()) throw keys.fail(place, "expected an object, found " + settings->dump());
  const config_keys inner(*settings, keys.where(), std::string(place) + ".");
  constexpr std::array<std::string_view, 15> understood{"rope_type",        "type",
                                                        "rope_theta",       "partial_rotary_factor",
                                                        "factor",           "original_max_position_embeddings",
                                                        "attention_factor", "beta_fast",
                                                        "beta_slow",        "mscale",
                                                        "mscale_all_dim",   "truncate",
                                                        "low_freq_factor",  "high_freq_factor",
                                                        "finetuned"};
  const std::string type = inner.text("rope_type").value_or(inner.text("type").value_or("default"));
  if (type == "default")
    rope.scaling = rope_scaling_kind::none;
  else if (type == "linear")
    rope.scaling = rope_scaling_kind::linear;
  else if (type == "dynamic")
    rope.scaling = rope_scaling_kind::dynamic_ntk;
  else if (type == "yarn")
    rope.scaling = rope_scaling_kind::yarn;
  else if (type == "llama3")
    rope.scaling = rope_scaling_kind::llama3;
  else
    throw inner.fail("rope_type", "the RoPE scaling '" + type + "' is not supported",
                     "supported are default, linear, dynamic, yarn and llama3");
  for (const auto& [key, value] : settings->items()) {
    if (value.is_object())
      throw inner.fail(key, "RoPE settings of their own for some layers are not supported", "use another model");
    if (!value.is_null() && std::ranges::find(understood, key) == understood.end())
      throw inner.fail(key, "this RoPE setting is not supported", "remove it if the model does not depend on it");
  }

  const auto outer_base = keys.number("rope_theta");
  const auto inner_base = inner.number("rope_theta");
  if (outer_base && inner_base && *outer_base != *inner_base)
    throw inner.fail("rope_theta", "contradicts rope_theta outside", "keep one of the two");
  rope.base = inner_base.value_or(outer_base.value_or(10'000.0));

  const double partial =
      inner.number("partial_rotary_factor").value_or(keys.number("partial_rotary_factor").value_or(default_partial));
  if (!(partial > 0.0 && partial <= 1.0)) throw keys.fail("partial_rotary_factor", "must be in (0, 1]");
  if (partial != 1.0 && !may_be_partial)
    throw keys.fail("partial_rotary_factor", "this architecture rotates whole heads", "remove the key");
  rope.dimensions = static_cast<std::int64_t>(static_cast<double>(head_dim) * partial);
  if (rope.dimensions % 2 != 0)
    throw keys.fail("head_dim",
                    "RoPE needs an even number of rotated elements, not " + std::to_string(rope.dimensions));

  if (rope.scaling == rope_scaling_kind::none) return rope;
  const auto outer_original = keys.integer("original_max_position_embeddings");
  const auto inner_original = inner.integer("original_max_position_embeddings");
  rope.original_max_positions = outer_original.value_or(inner_original.value_or(max_positions));
  if (rope.scaling == rope_scaling_kind::linear) rope.original_max_positions = 0;  // linear and dynamic do not use it
  if (rope.scaling == rope_scaling_kind::dynamic_ntk) rope.original_max_positions = max_positions;
  if (const auto factor = inner.number("factor")) {
    rope.factor = *factor;
  } else if (rope.scaling == rope_scaling_kind::yarn && (outer_original || inner_original) &&
             rope.original_max_positions > 0) {
    rope.factor = static_cast<double>(max_positions) / static_cast<double>(rope.original_max_positions);
  } else {
    throw inner.fail("factor", "missing", "the scaling '" + type + "' needs it");
  }
  if (rope.scaling == rope_scaling_kind::llama3) {
    const auto low = inner.number("low_freq_factor");
    const auto high = inner.number("high_freq_factor");
    if (!low || !high)
      throw inner.fail(low ? "high_freq_factor" : "low_freq_factor", "missing", "llama3 scaling needs it");
    rope.low_frequency_factor = *low;
    rope.high_frequency_factor = *high;
  }
  if (rope.scaling == rope_scaling_kind::yarn) {
    const auto nonzero = [&](const char* key, double fallback) {  // transformers takes 0 for "not given"
      const double value = inner.number(key).value_or(0.0);
      return value != 0.0 ? value : fallback;
    };
    rope.beta_fast = nonzero("beta_fast", 32.0);
    rope.beta_slow = nonzero("beta_slow", 1.0);
    rope.attention_factor = inner.number("attention_factor");
    rope.mscale = inner.number("mscale");
    rope.mscale_all_dimensions = inner.number("mscale_all_dim");
    rope.truncate = inner.boolean("truncate", true);
  }
  return rope;
}

/// Per-layer sliding windows; empty when no layer has one.
[[nodiscard]] inline std::vector<std::int64_t> read_windows(const config_keys& keys, std::string_view architecture,
                                                            std::int64_t layers) {
  std::vector<std::string> types;
  if (const nlohmann::json* list = keys.find("layer_types")) {
    if (!list->is_array() || static_cast<std::int64_t>(list->size()) != layers)
      throw keys.fail("layer_types", "expected one entry for each of " + std::to_string(layers) + " layers");
    for (const nlohmann::json& type : *list) {
      if (!type.is_string() || (type != "full_attention" && type != "sliding_attention"))
        throw keys.fail("layer_types", "the attention " + type.dump() + " is not supported",
                        "supported are full_attention and sliding_attention");
      types.push_back(type.get<std::string>());
    }
  }
  const bool is_qwen = architecture == "Qwen2ForCausalLM" || architecture == "Qwen3ForCausalLM";
  const bool is_mistral = architecture == "MistralForCausalLM";
  bool is_active = false;
  if (is_qwen)
    is_active = keys.boolean("use_sliding_window", false);
  else if (is_mistral)
    is_active = keys.find("sliding_window") != nullptr || !keys.mentions("sliding_window");
  else if (keys.find("sliding_window") != nullptr && keys.boolean("use_sliding_window", true))
    throw keys.fail("sliding_window", std::string(architecture) + " has no sliding window", "set it to null");
  // A Mistral or Qwen folder without the key has transformers' default of 4096; an explicit null turns it off.
  if (keys.mentions("sliding_window") && keys.find("sliding_window") == nullptr) is_active = false;
  const std::int64_t window = is_active ? keys.size("sliding_window", 4096) : 0;

  std::vector<std::int64_t> windows(static_cast<std::size_t>(layers), 0);
  const std::int64_t first = is_qwen ? keys.integer("max_window_layers").value_or(28) : 0;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const auto i = static_cast<std::size_t>(layer);
    const bool slides = !types.empty() ? types[i] == "sliding_attention" : is_active && layer >= first;
    if (slides && !is_active)
      throw keys.fail("layer_types", "layer " + std::to_string(layer) + " slides, but sliding_window is off");
    if (is_mistral && !types.empty() && slides != is_active)
      throw keys.fail("layer_types", "Mistral has one window for all layers; layer " + std::to_string(layer) +
                                         " contradicts sliding_window");
    if (slides) windows[i] = window;
  }
  if (std::ranges::all_of(windows, [](std::int64_t w) { return w == 0; })) windows.clear();
  return windows;
}

inline void read_tokens(const config_keys& keys, model_config& config) {
  const auto token = [&](const char* key, const nlohmann::json& value) {
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
        value.get<std::int64_t>() > std::numeric_limits<std::int32_t>::max())
      throw keys.fail(key, "expected a token id, found " + value.dump());
    return value.get<std::int32_t>();
  };
  if (const nlohmann::json* bos = keys.find("bos_token_id")) config.bos_token = token("bos_token_id", *bos);
  if (const nlohmann::json* eos = keys.find("eos_token_id")) {
    config.eos_tokens.clear();
    if (!eos->is_array())
      config.eos_tokens.push_back(token("eos_token_id", *eos));
    else
      for (const nlohmann::json& one : *eos) config.eos_tokens.push_back(token("eos_token_id", one));
  }
}

inline void read_chatglm(const config_keys& keys, model_config& config) {
  if (keys.mentions("position_encoding_2d") || !keys.mentions("ffn_hidden_size"))
    throw keys.fail("architectures", "this is a ChatGLM of the first generation (or its keys are missing)",
                    "supported are ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B");
  config.layers = keys.size(keys.mentions("num_layers") ? "num_layers" : "num_hidden_layers");
  config.feed_forward = keys.size("ffn_hidden_size");
  config.head_dim = keys.size("kv_channels", 128);
  config.vocabulary = keys.size(keys.mentions("padded_vocab_size") ? "padded_vocab_size" : "vocab_size");
  if (!keys.boolean("multi_query_attention", false))  // rows would be q, k, v of head 0, then of head 1, ...
    throw keys.fail("multi_query_attention", "only true is supported");
  config.kv_heads = keys.size("multi_query_group_num", 1);
  config.norm_epsilon = keys.number("layernorm_epsilon").value_or(1e-5);
  const auto must_be = [&](const char* key, bool value) {
    if (keys.boolean(key, value) != value)
      throw keys.fail(key, std::string("only ") + (value ? "true" : "false") + " is supported");
  };
  must_be("rmsnorm", true);
  must_be("original_rope", true);
  must_be("post_layer_norm", true);
  must_be("apply_residual_connection_post_layernorm", false);
  const bool all_biased = keys.boolean("add_bias_linear", false);
  config.qkv_bias = all_biased || keys.boolean("add_qkv_bias", false);
  config.o_bias = config.mlp_bias = all_biased;
  config.tied_head = false;  // the model's code has an output layer of its own in any case
  config.max_positions = keys.size("seq_length", 2048);
  // Folders of 64k models exist whose code, not config, multiplies the base: reading 10,000 would be silently wrong.
  if (!keys.mentions("rope_ratio") && config.max_positions > 32'768)
    throw keys.fail("rope_ratio", "missing in a model of " + std::to_string(config.max_positions) + " positions",
                    "add it with the ratio that the model's own code applies to the RoPE base of 10,000 "
                    "(LongAlign-6B-64k: \"rope_ratio\": 200)");
  if (keys.find("rope_scaling") != nullptr || keys.find("rope_parameters") != nullptr)
    throw keys.fail("rope_scaling", "ChatGLM knows rope_ratio only", "remove the key");
  config.rope.base = 10'000.0 * keys.number("rope_ratio").value_or(1.0);
  config.rope.interleaved = true;
  config.rope.dimensions = config.head_dim / 2;
  config.rope.max_positions = config.max_positions;
  if (config.head_dim % 4 != 0) throw keys.fail("kv_channels", "half of a head must be an even number of elements");
}

}  // namespace detail

LODESTONE_INLINE model_config parse_model_config(std::string_view text, const std::string& where) {
  const nlohmann::json json = detail::parse_json(text, where);
  if (!json.is_object()) throw format_error("not a JSON object", where);
  const detail::config_keys keys(json, where);
  const auto [name, known] = detail::read_architecture(keys);
  detail::refuse_unsupported_settings(keys, name == "Qwen3ForCausalLM");

  model_config config;
  config.family = known.family;
  config.architecture = name;
  config.hidden = keys.size("hidden_size");
  config.heads = keys.size("num_attention_heads");
  const bool is_llama = name == "LlamaForCausalLM";
  if (known.family == model_family::chatglm) {
    detail::read_chatglm(keys, config);
  } else {
    config.layers = keys.size("num_hidden_layers");
    config.feed_forward = keys.size("intermediate_size");
    config.vocabulary = keys.size("vocab_size");
    const bool null_kv_heads = keys.mentions("num_key_value_heads") || known.default_kv_heads == 0;
    config.kv_heads = keys.size("num_key_value_heads", null_kv_heads ? config.heads : known.default_kv_heads);
    if (keys.find("head_dim") == nullptr && known.default_head_dim == 0 && config.hidden % config.heads != 0)
      throw keys.fail("hidden_size", std::to_string(config.hidden) + " is not a multiple of num_attention_heads " +
                                         std::to_string(config.heads));
    config.head_dim =
        keys.size("head_dim", known.default_head_dim != 0 ? known.default_head_dim : config.hidden / config.heads);
    config.norm_epsilon = keys.number("rms_norm_eps").value_or(known.default_epsilon);
    config.tied_head = keys.boolean("tie_word_embeddings", false);
    config.max_positions = keys.size("max_position_embeddings", known.default_positions);
    if (const auto activation = keys.text("hidden_act"); activation && *activation != "silu" && *activation != "swish")
      throw keys.fail("hidden_act", "the activation " + *activation + " is not supported", "only silu is");
    if (name == "Qwen2ForCausalLM") {
      config.qkv_bias = true;
    } else if (name == "MistralForCausalLM") {
      if (keys.boolean("attention_bias", false)) throw keys.fail("attention_bias", "Mistral has no biases");
    } else {
      config.qkv_bias = keys.boolean("attention_bias", known.family == model_family::glm);
      config.o_bias = config.qkv_bias && known.family != model_family::glm;
    }
    if (is_llama)
      config.mlp_bias = keys.boolean("mlp_bias", false);
    else if (keys.boolean("mlp_bias", false))
      throw keys.fail("mlp_bias", name + " has no such biases");
    config.qk_norm = name == "Qwen3ForCausalLM";
    const bool is_glm = known.family == model_family::glm;
    config.rope = detail::read_rope(keys, config.head_dim, config.max_positions, is_glm ? 0.5 : 1.0, is_glm);
    config.rope.interleaved = is_glm;
    config.windows = detail::read_windows(keys, name, config.layers);
  }
  if (config.heads % config.kv_heads != 0)
    throw keys.fail("num_key_value_heads", std::to_string(config.kv_heads) + " does not divide num_attention_heads " +
                                               std::to_string(config.heads));
  if (!(config.norm_epsilon > 0.0 && config.norm_epsilon < 1.0))
    throw keys.fail("rms_norm_eps", "must be between 0 and 1");
  position::check(config.rope);

  if (is_llama || name == "MistralForCausalLM") {
    if (!keys.mentions("bos_token_id")) config.bos_token = 1;
    if (!keys.mentions("eos_token_id")) config.eos_tokens = {2};
  }
  if (known.family == model_family::glm) config.eos_tokens = {151'329, 151'336, 151'338};
  detail::read_tokens(keys, config);
  return config;
}

LODESTONE_INLINE model_config read_model_config(const std::filesystem::path& folder) {
  const bool is_folder = std::filesystem::is_directory(folder);
  const std::filesystem::path file = is_folder ? folder / "config.json" : folder;
  model_config config = parse_model_config(read_text(file), file.string());
  const std::filesystem::path generation = folder / "generation_config.json";
  if (is_folder && std::filesystem::exists(generation)) {
    const nlohmann::json json = detail::parse_json(read_text(generation), generation.string());
    model_config tokens = config;
    if (json.is_object()) detail::read_tokens(detail::config_keys(json, generation.string()), tokens);
    config.eos_tokens = std::move(tokens.eos_tokens);
  }
  return config;
}

}  // namespace lodestone

