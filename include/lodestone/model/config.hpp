// The shape of a Llama-family model. Reading it from config.json is model/config_json.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/position/rope_config.hpp>

namespace lodestone {

/// Which tensor names and config keys a folder uses; the arithmetic is one and the same.
enum class model_family : std::uint8_t {
  llama,    ///< LlamaForCausalLM (Llama, Yi, SmolLM2), MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM
  glm,      ///< GlmForCausalLM: Llama names, fused gate_up_proj, partial interleaved rotation
  chatglm,  ///< ChatGLMModel (ChatGLM3-6B, GLM-4-9B with remote code): transformer.encoder.layers...
};

/// Shape alphabet: E hidden, H query heads, K key-value heads, D head dimension, F feed-forward, V vocabulary, L
/// layers.
struct model_config {
  model_family family = model_family::llama;  ///< decides tensor names and keys
  std::string architecture;        ///< as in config.json, e.g. "LlamaForCausalLM"
  std::int64_t hidden = 0;         ///< E
  std::int64_t layers = 0;         ///< L
  std::int64_t heads = 0;          ///< H
  std::int64_t kv_heads = 0;       ///< K; divides H
  std::int64_t head_dim = 0;       ///< D, not always E / H
  std::int64_t feed_forward = 0;   ///< F
  std::int64_t vocabulary = 0;     ///< V, rows of the embedding (may exceed the tokenizer's: padded)
  double norm_epsilon = 1e-5;      ///< added to the mean square in every RMSNorm
  bool tied_head = false;          ///< the head's matrix is the embedding
  bool qkv_bias = false;           ///< on queries, keys and values
  bool o_bias = false;             ///< on the attention's output projection
  bool mlp_bias = false;           ///< on gate, up and down
  bool qk_norm = false;            ///< RMSNorm over D on queries and keys before RoPE (Qwen3)
  std::int64_t max_positions = 0;  ///< context window in tokens; the model itself does not enforce it
  std::vector<std::int64_t> windows;  ///< per layer: sliding window, 0 = none; empty = none anywhere
  rope_config rope;                ///< of queries and keys, after their norms
  std::int32_t bos_token = -1;     ///< -1: none
  std::vector<std::int32_t> eos_tokens;  ///< generation ends after any of them; empty: none

  [[nodiscard]] std::int64_t q_size() const { return heads * head_dim; }      ///< H D
  [[nodiscard]] std::int64_t kv_size() const { return kv_heads * head_dim; }  ///< K D
  [[nodiscard]] std::int64_t qkv_size() const { return q_size() + 2 * kv_size(); }  ///< (H + 2K) D
  /// Keys that a query of `layer` sees, itself included; 0: all up to itself.
  [[nodiscard]] std::int64_t window(std::int64_t layer) const {
    return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
  }

  friend bool operator==(const model_config&, const model_config&) = default;
};

}  // namespace lodestone
