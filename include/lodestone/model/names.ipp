// Definitions of names.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/model/names.hpp>

namespace lodestone {

LODESTONE_INLINE std::int64_t columns_of(const model_config& config, parameter kind) {
  switch (kind) {
    case parameter::embedding:
    case parameter::qkv_weight:
    case parameter::gate_up_weight:
    case parameter::head_weight: return config.hidden;
    case parameter::o_weight: return config.q_size();
    case parameter::down_weight: return config.feed_forward;
    default: return 0;
  }
}

LODESTONE_INLINE std::vector<row_block> row_blocks(const model_config& config, parameter kind, std::int64_t layer) {
  if (is_of_layer(kind) && (layer < 0 || layer >= config.layers))
    throw shape_error("layer " + std::to_string(layer) + " of a model with " + std::to_string(config.layers));
  const bool is_chatglm = config.family == model_family::chatglm;
  const std::string at = (is_chatglm ? "transformer.encoder.layers." : "model.layers.") + std::to_string(layer) + ".";
  const auto one = [&](const char* llama_name, const char* chatglm_name, std::int64_t rows) {
    return std::vector<row_block>{{at + (is_chatglm ? chatglm_name : llama_name), rows}};
  };
  const auto whole = [&](const char* llama_name, const char* chatglm_name, std::int64_t rows) {
    return std::vector<row_block>{{is_chatglm ? chatglm_name : llama_name, rows}};
  };
  const auto qkv = [&](const std::string& suffix) -> std::vector<row_block> {
    if (is_chatglm) return {{at + "self_attention.query_key_value." + suffix, config.qkv_size()}};
    return {{at + "self_attn.q_proj." + suffix, config.q_size()},
            {at + "self_attn.k_proj." + suffix, config.kv_size()},
            {at + "self_attn.v_proj." + suffix, config.kv_size()}};
  };
  const auto gate_up = [&](const std::string& suffix) -> std::vector<row_block> {
    if (is_chatglm) return {{at + "mlp.dense_h_to_4h." + suffix, 2 * config.feed_forward}};
    if (config.family == model_family::glm) return {{at + "mlp.gate_up_proj." + suffix, 2 * config.feed_forward}};
    return {{at + "mlp.gate_proj." + suffix, config.feed_forward}, {at + "mlp.up_proj." + suffix, config.feed_forward}};
  };
  const std::int64_t E = config.hidden;
  switch (kind) {
    case parameter::embedding:
      return whole("model.embed_tokens.weight", "transformer.embedding.word_embeddings.weight", config.vocabulary);
    case parameter::input_norm: return one("input_layernorm.weight", "input_layernorm.weight", E);
    case parameter::qkv_weight: return qkv("weight");
    case parameter::qkv_bias: return config.qkv_bias ? qkv("bias") : std::vector<row_block>{};
    case parameter::q_norm:
      if (!config.qk_norm) return {};
      return one("self_attn.q_norm.weight", "self_attention.q_norm.weight", config.head_dim);
    case parameter::k_norm:
      if (!config.qk_norm) return {};
      return one("self_attn.k_norm.weight", "self_attention.k_norm.weight", config.head_dim);
    case parameter::o_weight: return one("self_attn.o_proj.weight", "self_attention.dense.weight", E);
    case parameter::o_bias:
      if (!config.o_bias) return {};
      return one("self_attn.o_proj.bias", "self_attention.dense.bias", E);
    case parameter::post_norm: return one("post_attention_layernorm.weight", "post_attention_layernorm.weight", E);
    case parameter::gate_up_weight: return gate_up("weight");
    case parameter::gate_up_bias: return config.mlp_bias ? gate_up("bias") : std::vector<row_block>{};
    case parameter::down_weight: return one("mlp.down_proj.weight", "mlp.dense_4h_to_h.weight", E);
    case parameter::down_bias:
      if (!config.mlp_bias) return {};
      return one("mlp.down_proj.bias", "mlp.dense_4h_to_h.bias", E);
    case parameter::final_norm: return whole("model.norm.weight", "transformer.encoder.final_layernorm.weight", E);
    case parameter::head_weight:
      if (config.tied_head) return {};
      return whole("lm_head.weight", "transformer.output_layer.weight", config.vocabulary);
    case parameter::qkv_a: case parameter::qkv_b: case parameter::o_a: case parameter::o_b:
    case parameter::gate_up_a: case parameter::gate_up_b: case parameter::down_a: case parameter::down_b:
      return {};  // no folder of a model holds them
  }
  return {};
}

LODESTONE_INLINE std::vector<row_block> row_blocks(const model_config& config, const unit_layout& layout,
                                                   parameter kind, std::int64_t layer) {
  if (!is_adapter(kind)) return row_blocks(config, kind, layer);
  const parameter weight = projection_weights[projection_index(kind)];
  const adapted_rows& adapted = layout.adapters.projections[projection_index(kind)];
  std::vector<row_block> blocks;
  std::int64_t row = 0;
  std::size_t next = 0;
  for (const row_block& block : row_blocks(config, weight, layer)) {
    if (next < adapted.count && adapted.ranges[next].begin == row) {
      const std::string module = block.name.substr(0, block.name.size() - std::string_view(".weight").size());
      if (is_adapter_input(kind))
        blocks.push_back({module + ".lora_A.weight", layout.adapters.rank});
      else
        blocks.push_back({module + ".lora_B.weight", block.rows});
      ++next;
    }
    row += block.rows;
  }
  return blocks;
}

LODESTONE_INLINE std::vector<named_tensor> tensor_names(const model_config& config) {
  std::vector<named_tensor> names;
  const auto add = [&](parameter kind, std::int64_t layer) {
    const std::int64_t columns = columns_of(config, kind);
    for (row_block& block : row_blocks(config, kind, layer)) {
      std::vector<std::int64_t> shape{block.rows};
      if (columns != 0) shape.push_back(columns);
      names.push_back({std::move(block.name), std::move(shape)});
    }
  };
  add(parameter::embedding, 0);
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    for (std::size_t kind = 0; kind < parameter_kinds; ++kind)
      if (is_of_layer(static_cast<parameter>(kind))) add(static_cast<parameter>(kind), layer);
  add(parameter::final_norm, 0);
  add(parameter::head_weight, 0);
  return names;
}

LODESTONE_INLINE bool is_redundant_tensor(const model_config& config, std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_pos_emb.inv_freq") ||
         (config.tied_head && name == "lm_head.weight");
}

}  // namespace lodestone

