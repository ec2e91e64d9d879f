#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/names.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::model_config;
using lodestone::model_family;
using lodestone::parameter;
using lodestone::row_block;

model_config small(model_family family) {
  model_config config;
  config.family = family;
  config.hidden = 12;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.feed_forward = 20;
  config.vocabulary = 50;
  return config;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_names)

BOOST_AUTO_TEST_CASE(llama_blocks_are_separate_projections) {
  model_config config = small(model_family::llama);
  config.qkv_bias = true;
  const std::vector<row_block> expected{{"model.layers.1.self_attn.q_proj.weight", 24},
                                        {"model.layers.1.self_attn.k_proj.weight", 12},
                                        {"model.layers.1.self_attn.v_proj.weight", 12}};
  BOOST_TEST((lodestone::row_blocks(config, parameter::qkv_weight, 1) == expected));
  const std::vector<row_block> biases{{"model.layers.0.self_attn.q_proj.bias", 24},
                                      {"model.layers.0.self_attn.k_proj.bias", 12},
                                      {"model.layers.0.self_attn.v_proj.bias", 12}};
  BOOST_TEST((lodestone::row_blocks(config, parameter::qkv_bias, 0) == biases));
  const std::vector<row_block> gate_up{{"model.layers.0.mlp.gate_proj.weight", 20},
                                       {"model.layers.0.mlp.up_proj.weight", 20}};
  BOOST_TEST((lodestone::row_blocks(config, parameter::gate_up_weight, 0) == gate_up));
  BOOST_TEST(lodestone::row_blocks(config, parameter::o_bias, 0).empty());
  BOOST_TEST(lodestone::row_blocks(config, parameter::q_norm, 0).empty());
  BOOST_CHECK_THROW((void)lodestone::row_blocks(config, parameter::o_weight, 2), lodestone::shape_error);
  BOOST_CHECK_THROW((void)lodestone::row_blocks(config, parameter::o_weight, -1), lodestone::shape_error);
}

BOOST_AUTO_TEST_CASE(glm_fuses_gate_and_up_only) {
  const model_config config = small(model_family::glm);
  BOOST_TEST(lodestone::row_blocks(config, parameter::qkv_weight, 0).size() == 3U);
  const std::vector<row_block> gate_up{{"model.layers.0.mlp.gate_up_proj.weight", 40}};
  BOOST_TEST((lodestone::row_blocks(config, parameter::gate_up_weight, 0) == gate_up));
}

BOOST_AUTO_TEST_CASE(chatglm_has_its_own_names) {
  model_config config = small(model_family::chatglm);
  config.qkv_bias = true;
  std::set<std::string> names;
  for (const auto& tensor : lodestone::tensor_names(config)) names.insert(tensor.name);
  const std::set<std::string> expected{"transformer.embedding.word_embeddings.weight",
                                       "transformer.encoder.layers.0.input_layernorm.weight",
                                       "transformer.encoder.layers.0.self_attention.query_key_value.weight",
                                       "transformer.encoder.layers.0.self_attention.query_key_value.bias",
                                       "transformer.encoder.layers.0.self_attention.dense.weight",
                                       "transformer.encoder.layers.0.post_attention_layernorm.weight",
                                       "transformer.encoder.layers.0.mlp.dense_h_to_4h.weight",
                                       "transformer.encoder.layers.0.mlp.dense_4h_to_h.weight",
                                       "transformer.encoder.layers.1.input_layernorm.weight",
                                       "transformer.encoder.layers.1.self_attention.query_key_value.weight",
                                       "transformer.encoder.layers.1.self_attention.query_key_value.bias",
                                       "transformer.encoder.layers.1.self_attention.dense.weight",
                                       "transformer.encoder.layers.1.post_attention_layernorm.weight",
                                       "transformer.encoder.layers.1.mlp.dense_h_to_4h.weight",
                                       "transformer.encoder.layers.1.mlp.dense_4h_to_h.weight",
                                       "transformer.encoder.final_layernorm.weight",
                                       "transformer.output_layer.weight"};
  BOOST_TEST(names == expected, boost::test_tools::per_element());
  BOOST_TEST(lodestone::is_redundant_tensor(config, "transformer.rotary_pos_emb.inv_freq"));
}

// Law: the blocks of a parameter, stacked, have the rows and columns of its place in the flat buffers.
BOOST_AUTO_TEST_CASE(blocks_cover_every_place_of_the_layout) {
  for (const auto family : {model_family::llama, model_family::glm, model_family::chatglm})
    for (int flags = 0; flags < 32; ++flags) {
      model_config config = small(family);
      config.qkv_bias = (flags & 1) != 0;
      config.o_bias = (flags & 2) != 0;
      config.mlp_bias = (flags & 4) != 0;
      config.qk_norm = (flags & 8) != 0;
      config.tied_head = (flags & 16) != 0;
      std::int64_t elements = 0;
      for (std::int64_t unit = 0; unit < lodestone::unit_count(config); ++unit) {
        const auto layout = lodestone::make_unit_layout(config, unit, [](parameter) { return true; });
        elements += layout.count;
        for (std::size_t i = 0; i < lodestone::parameter_kinds; ++i) {
          const auto kind = static_cast<parameter>(i);
          const auto& place = layout[kind];
          if (place.rows == 0) continue;
          std::int64_t rows = 0;
          for (const row_block& block : lodestone::row_blocks(config, kind, unit - 1)) rows += block.rows;
          BOOST_TEST(rows == place.rows);
          BOOST_TEST(lodestone::columns_of(config, kind) == (place.is_matrix ? place.columns : 0));
        }
      }
      std::int64_t named = 0;
      std::set<std::string> distinct;
      const auto names = lodestone::tensor_names(config);
      for (const auto& tensor : names) {
        named += *lodestone::safetensors::element_count(tensor.shape);
        distinct.insert(tensor.name);
      }
      BOOST_TEST(named == elements);
      BOOST_TEST(distinct.size() == names.size());
    }
}

BOOST_AUTO_TEST_CASE(rotary_tables_and_tied_heads_are_redundant) {
  model_config config = small(model_family::llama);
  BOOST_TEST(lodestone::is_redundant_tensor(config, "model.layers.0.self_attn.rotary_emb.inv_freq"));
  BOOST_TEST(!lodestone::is_redundant_tensor(config, "lm_head.weight"));
  config.tied_head = true;
  BOOST_TEST(lodestone::is_redundant_tensor(config, "lm_head.weight"));
  BOOST_TEST(!lodestone::is_redundant_tensor(config, "model.norm.weight"));
}

BOOST_AUTO_TEST_SUITE_END()
