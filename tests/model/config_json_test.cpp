#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/model/config.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/config_keys.hpp>
#include <lodestone/model/names.hpp>
#include <lodestone/position/rope.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::model_config;
using lodestone::model_family;
using lodestone::parse_model_config;
using lodestone::rope_scaling_kind;
using nlohmann::json;

const json& oracle() {
  static const json cases = json::parse(lodestone_test::read_file(lodestone_test::data("checkpoint/configs.json")));
  return cases;
}

json llama() {
  return json{{"architectures", {"LlamaForCausalLM"}},
              {"hidden_size", 32},
              {"intermediate_size", 48},
              {"num_hidden_layers", 2},
              {"num_attention_heads", 4},
              {"vocab_size", 40}};
}

json chatglm() {  // the keys of ChatGLM3-6B-32k, smaller
  return json{{"architectures", {"ChatGLMModel"}},
              {"model_type", "chatglm"},
              {"add_bias_linear", false},
              {"add_qkv_bias", true},
              {"apply_query_key_layer_scaling", true},
              {"apply_residual_connection_post_layernorm", false},
              {"attention_softmax_in_fp32", true},
              {"bias_dropout_fusion", true},
              {"ffn_hidden_size", 96},
              {"fp32_residual_connection", false},
              {"hidden_size", 64},
              {"kv_channels", 16},
              {"layernorm_epsilon", 1e-5},
              {"multi_query_attention", true},
              {"multi_query_group_num", 2},
              {"num_attention_heads", 4},
              {"num_layers", 3},
              {"original_rope", true},
              {"padded_vocab_size", 80},
              {"post_layer_norm", true},
              {"rmsnorm", true},
              {"rope_ratio", 50},
              {"seq_length", 32768},
              {"tie_word_embeddings", false},
              {"eos_token_id", 2},
              {"pad_token_id", 0},
              {"quantization_bit", 0},
              {"pre_seq_len", nullptr}};
}

model_config parse(const json& config) { return parse_model_config(config.dump()); }

/// The message of the config_error that `config` raises; empty when it raises none.
std::string refusal(const json& config) {
  try {
    (void)parse(config);
  } catch (const lodestone::config_error& failure) {
    return failure.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

json with(json config, const char* key, json value) {
  config[key] = std::move(value);
  return config;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_config_json)

BOOST_AUTO_TEST_CASE(agrees_with_transformers) {
  for (const json& item : oracle()) {
    BOOST_TEST_CONTEXT(item["name"].get<std::string>()) {
      const model_config config = parse(item["config"]);
      BOOST_TEST(config.head_dim == item["head_dim"].get<std::int64_t>());
      BOOST_TEST(config.kv_heads == item["kv_heads"].get<std::int64_t>());
      BOOST_TEST(config.norm_epsilon == item["epsilon"].get<double>());
      BOOST_TEST(config.max_positions == item["max_positions"].get<std::int64_t>());
      BOOST_TEST(config.tied_head == item["tied"].get<bool>());
      BOOST_TEST(config.bos_token == item["bos"].get<std::int32_t>());
      BOOST_TEST(config.eos_tokens == item["eos"].get<std::vector<std::int32_t>>(), boost::test_tools::per_element());
      for (std::int64_t layer = 0; layer < config.layers; ++layer)
        BOOST_TEST(config.window(layer) == item["windows"][static_cast<std::size_t>(layer)].get<std::int64_t>());
      // transformers computes frequencies in float
      const auto expected = item["frequencies"].get<std::vector<double>>();
      const auto frequencies = lodestone::position::inverse_frequencies(config.rope);
      BOOST_REQUIRE(frequencies.size() == expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        BOOST_TEST(frequencies[i] == expected[i], boost::test_tools::tolerance(2e-6));
      BOOST_TEST(lodestone::position::attention_scaling(config.rope) == item["attention_scaling"].get<double>(),
                 boost::test_tools::tolerance(1e-12));
      std::map<std::string, std::vector<std::int64_t>> names;
      for (const auto& tensor : lodestone::tensor_names(config)) names.emplace(tensor.name, tensor.shape);
      const auto tensors = item["tensors"].get<std::map<std::string, std::vector<std::int64_t>>>();
      BOOST_TEST((names == tensors));
    }
  }
}

BOOST_AUTO_TEST_CASE(chatglm_keys) {
  const model_config config = parse(chatglm());
  BOOST_TEST((config.family == model_family::chatglm));
  BOOST_TEST(config.layers == 3);
  BOOST_TEST(config.hidden == 64);
  BOOST_TEST(config.heads == 4);
  BOOST_TEST(config.kv_heads == 2);
  BOOST_TEST(config.head_dim == 16);
  BOOST_TEST(config.feed_forward == 96);
  BOOST_TEST(config.vocabulary == 80);
  BOOST_TEST(config.qkv_bias);
  BOOST_TEST(!config.o_bias);
  BOOST_TEST(!config.mlp_bias);
  BOOST_TEST(!config.tied_head);
  BOOST_TEST(config.max_positions == 32768);
  BOOST_TEST(config.rope.base == 500'000.0);
  BOOST_TEST(config.rope.dimensions == 8);
  BOOST_TEST(config.rope.interleaved);
  BOOST_TEST(config.eos_tokens == std::vector<std::int32_t>{2}, boost::test_tools::per_element());
  BOOST_TEST(config.bos_token == -1);

  json no_ratio = chatglm();
  no_ratio.erase("rope_ratio");
  BOOST_TEST(parse(no_ratio).rope.base == 10'000.0);
  no_ratio["seq_length"] = 65536;  // its own code must know a ratio that the file does not say
  BOOST_TEST(contains(refusal(no_ratio), "\"rope_ratio\": 200"));
}

BOOST_AUTO_TEST_CASE(chatglm_refusals_name_the_key) {
  BOOST_TEST(contains(refusal(with(chatglm(), "multi_query_attention", false)), "multi_query_attention"));
  BOOST_TEST(contains(refusal(with(chatglm(), "rmsnorm", false)), "rmsnorm"));
  BOOST_TEST(contains(refusal(with(chatglm(), "original_rope", false)), "original_rope"));
  BOOST_TEST(contains(refusal(with(chatglm(), "apply_residual_connection_post_layernorm", true)), "apply_residual"));
  BOOST_TEST(contains(refusal(with(chatglm(), "pre_seq_len", 128)), "pre_seq_len"));
  BOOST_TEST(contains(refusal(with(chatglm(), "quantization_bit", 4)), "quantization_bit"));
  BOOST_TEST(contains(refusal(with(chatglm(), "position_encoding_2d", true)), "first generation"));
  BOOST_TEST(contains(refusal(with(chatglm(), "kv_channels", 18)), "kv_channels"));
  BOOST_TEST(contains(refusal(with(chatglm(), "multi_query_group_num", 3)), "does not divide"));
}

BOOST_AUTO_TEST_CASE(unknown_architectures_list_those_supported) {
  const std::string message = refusal(with(llama(), "architectures", {"MixtralForCausalLM"}));
  for (const char* name : {"MixtralForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM",
                           "Qwen3ForCausalLM", "GlmForCausalLM", "ChatGLMModel", "config.json: architectures"})
    BOOST_TEST(contains(message, name), name << " in: " << message);
  BOOST_TEST(contains(refusal(with(llama(), "architectures", {"Glm4ForCausalLM"})), "normalises after attention"));
  json nameless = llama();
  nameless.erase("architectures");
  BOOST_TEST(contains(refusal(nameless), "missing"));
  nameless["model_type"] = "llama";
  BOOST_TEST(refusal(nameless).empty());
  BOOST_TEST(parse(nameless).architecture == "LlamaForCausalLM");
}

BOOST_AUTO_TEST_CASE(settings_that_change_the_arithmetic_are_refused_by_name) {
  const std::vector<std::pair<const char*, json>> settings{{"hidden_act", "gelu"},
                                                           {"final_logit_softcapping", 30.0},
                                                           {"attn_logit_softcapping", 50.0},
                                                           {"residual_multiplier", 0.22},
                                                           {"embedding_multiplier", 12.0},
                                                           {"num_local_experts", 8},
                                                           {"clip_qkv", 6.0},
                                                           {"quantization_config", {{"bits", 4}}},
                                                           {"sliding_window", 4096},
                                                           {"partial_rotary_factor", 0.5},
                                                           {"position_embedding_type", "alibi"},
                                                           {"use_qk_norm", true},
                                                           {"layer_types", {"full_attention", "linear_attention"}}};
  for (const auto& [key, value] : settings)
    BOOST_TEST(contains(refusal(with(llama(), key, value)), key), key << ": " << refusal(with(llama(), key, value)));
  for (const auto& [key, value] : std::vector<std::pair<const char*, json>>{{"attention_dropout", 0.1},
                                                                            {"pretraining_tp", 4},
                                                                            {"sliding_window", nullptr},
                                                                            {"residual_multiplier", 1.0},
                                                                            {"rope_scaling", nullptr},
                                                                            {"use_cache", false}})
    BOOST_TEST(refusal(with(llama(), key, value)).empty(), key << ": " << refusal(with(llama(), key, value)));
}

BOOST_AUTO_TEST_CASE(rope_scalings_outside_the_supported_ones_are_refused_by_name) {
  for (const char* type : {"longrope", "su", "mrope", "proportional", "ntk"})
    BOOST_TEST(contains(refusal(with(llama(), "rope_scaling", {{"type", type}, {"factor", 2.0}})), type));
  BOOST_TEST(contains(refusal(with(llama(), "rope_scaling", {{"type", "linear"}})), "rope_scaling.factor"));
  BOOST_TEST(contains(refusal(with(llama(), "rope_scaling", {{"type", "linear"}, {"factor", "2"}})), "number"));
  BOOST_TEST(contains(refusal(with(llama(), "rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}, {"alpha", 1000}})),
                      "rope_scaling.alpha"));
  BOOST_TEST(contains(refusal(with(llama(), "rope_parameters", {{"full_attention", {{"rope_theta", 1.0}}}})),
                      "full_attention"));
  BOOST_TEST(contains(refusal(with(llama(), "rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}})), "low_freq"));
  BOOST_TEST(contains(refusal(with(with(llama(), "rope_theta", 1e4), "rope_parameters", {{"rope_theta", 1e6}})),
                      "contradicts"));
  BOOST_TEST(contains(refusal(with(llama(), "rope_theta", -1.0)), "rope_theta"));
}

BOOST_AUTO_TEST_CASE(contradictions_and_broken_values_are_refused) {
  BOOST_TEST(contains(refusal(with(llama(), "num_key_value_heads", 3)), "does not divide"));
  BOOST_TEST(contains(refusal(with(llama(), "head_dim", 7)), "head_dim"));
  BOOST_TEST(contains(refusal(with(llama(), "num_attention_heads", 5)), "multiple of num_attention_heads"));
  BOOST_TEST(contains(refusal(with(llama(), "hidden_size", 0)), "hidden_size"));
  BOOST_TEST(contains(refusal(with(llama(), "hidden_size", -32)), "hidden_size"));
  BOOST_TEST(contains(refusal(with(llama(), "hidden_size", 32.5)), "integer"));
  BOOST_TEST(contains(refusal(with(llama(), "hidden_size", "32")), "hidden_size"));
  BOOST_TEST(contains(refusal(with(llama(), "vocab_size", std::uint64_t{1} << 63)), "vocab_size"));
  BOOST_TEST(contains(refusal(with(llama(), "rms_norm_eps", 0.0)), "rms_norm_eps"));
  BOOST_TEST(contains(refusal(with(llama(), "tie_word_embeddings", 1)), "tie_word_embeddings"));
  BOOST_TEST(contains(refusal(with(llama(), "eos_token_id", "</s>")), "eos_token_id"));
  json missing = llama();
  missing.erase("intermediate_size");
  BOOST_TEST(contains(refusal(missing), "intermediate_size"));

  json qwen = with(llama(), "architectures", {"Qwen2ForCausalLM"});
  qwen["num_key_value_heads"] = 2;
  qwen["layer_types"] = {"full_attention", "sliding_attention"};
  BOOST_TEST(contains(refusal(qwen), "sliding_window is off"));
  json mistral = with(llama(), "architectures", {"MistralForCausalLM"});
  mistral["num_key_value_heads"] = 2;
  mistral["layer_types"] = {"full_attention", "sliding_attention"};
  BOOST_TEST(contains(refusal(mistral), "Mistral has one window"));

  BOOST_CHECK_THROW((void)parse_model_config("{"), lodestone::format_error);
  BOOST_CHECK_THROW((void)parse_model_config("[]"), lodestone::format_error);
  BOOST_CHECK_THROW((void)parse_model_config(R"({"hidden_size": 1, "hidden_size": 2})"), lodestone::format_error);
  BOOST_CHECK_THROW((void)parse_model_config(std::string(100'000, '[')), lodestone::format_error);
}

BOOST_AUTO_TEST_CASE(folders_take_end_tokens_from_generation_config) {
  const lodestone_test::temporary_folder folder;
  BOOST_CHECK_THROW((void)lodestone::read_model_config(folder.path()), lodestone::io_error);
  lodestone_test::write_file(folder / "config.json", with(llama(), "eos_token_id", 9).dump());
  BOOST_TEST(lodestone::read_model_config(folder.path()).eos_tokens.front() == 9);
  lodestone_test::write_file(folder / "generation_config.json", R"({"eos_token_id": [11, 12]})");
  const std::vector<std::int32_t> expected{11, 12};
  BOOST_TEST(lodestone::read_model_config(folder.path()).eos_tokens == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(model_config_edit)

BOOST_AUTO_TEST_CASE(an_unchanged_model_keeps_every_byte) {
  const std::string text =
      "{\"architectures\":[\"LlamaForCausalLM\"],  \"hidden_size\":32,\"intermediate_size\":48,\n"
      "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":40, \"torch_dtype\":\"float32\"}";
  BOOST_TEST(lodestone::edited_model_config(text, parse_model_config(text)) == text);
  BOOST_TEST(lodestone::edited_model_config(text, parse_model_config(text), lodestone::dtype::f32) == text);
}

BOOST_AUTO_TEST_CASE(a_new_base_is_written_in_the_folders_spelling) {
  lodestone::rope_override change;
  change.base = 2e6;
  change.max_positions = 65536;

  const auto edit = [&](const json& original) {
    const std::string text = original.dump();
    const model_config now = lodestone::with_rope_override(parse_model_config(text), change);
    const std::string edited = lodestone::edited_model_config(text, now);
    BOOST_TEST((parse_model_config(edited) == now));
    return json::parse(edited);
  };
  const json old_form = edit(with(with(llama(), "rope_theta", 1e4), "_note", "kept"));
  BOOST_TEST(old_form["rope_theta"] == 2e6);
  BOOST_TEST(old_form["max_position_embeddings"] == 65536);
  BOOST_TEST(old_form["_note"] == "kept");
  BOOST_TEST(!old_form.contains("rope_parameters"));
  BOOST_TEST(!old_form.contains("rope_scaling"));

  const json new_form = edit(with(llama(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e4}}));
  BOOST_TEST(new_form["rope_parameters"]["rope_theta"] == 2e6);
  BOOST_TEST(!new_form.contains("rope_theta"));

  const json ratio = edit(chatglm());
  BOOST_TEST(ratio["rope_ratio"] == 200);
  for (double base = 10'000.0; base < 40'000.0; base += 7.0) {  // ratios that are no round numbers
    const model_config plain = parse(chatglm());
    const model_config now = lodestone::with_rope_override(plain, {.base = base});
    BOOST_TEST(now.rope.base == base, boost::test_tools::tolerance(1e-15));
    BOOST_TEST((parse_model_config(lodestone::edited_model_config(chatglm().dump(), now)) == now));
  }
  BOOST_TEST(ratio["seq_length"] == 65536);
  BOOST_TEST(!ratio.contains("rope_theta"));
}

// Law: reading what was written gives the model that was written, whatever the folder's form and the new scaling.
BOOST_AUTO_TEST_CASE(every_scaling_survives_every_form) {
  const std::vector<rope_scaling_kind> kinds{rope_scaling_kind::none, rope_scaling_kind::linear,
                                             rope_scaling_kind::dynamic_ntk, rope_scaling_kind::yarn,
                                             rope_scaling_kind::llama3};
  for (const json& item : oracle())
    for (const rope_scaling_kind kind : kinds)
      for (const bool widen : {false, true}) {
        BOOST_TEST_CONTEXT(item["name"].get<std::string>() << " to scaling " << static_cast<int>(kind)) {
          const std::string text = item["config"].dump();
          lodestone::rope_override change;
          change.base = 123456.0;
          change.scaling = kind;
          if (kind != rope_scaling_kind::none) change.factor = 3.0;
          if (widen) change.max_positions = 99'999;
          const model_config now = lodestone::with_rope_override(parse_model_config(text), change);
          const std::string edited = lodestone::edited_model_config(text, now);
          BOOST_TEST((parse_model_config(edited) == now));
          BOOST_TEST(lodestone::edited_model_config(edited, now) == edited);
        }
      }
}

// Where the file leaves the original length to max_position_embeddings, a wider window must not stretch it too.
BOOST_AUTO_TEST_CASE(an_implied_original_length_is_written_down) {
  const std::string text = with(llama(), "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}).dump();
  const model_config now = lodestone::with_rope_override(parse_model_config(text), {.max_positions = 65536});
  BOOST_TEST(now.rope.original_max_positions == 2048);
  const std::string edited = lodestone::edited_model_config(text, now);
  BOOST_TEST((parse_model_config(edited) == now));
  BOOST_TEST(json::parse(edited)["rope_scaling"]["original_max_position_embeddings"] == 2048);
}

BOOST_AUTO_TEST_CASE(overrides_that_cannot_be_are_refused) {
  const model_config plain = parse(llama());
  lodestone::rope_override change;
  change.factor = 4.0;
  BOOST_CHECK_THROW((void)lodestone::with_rope_override(plain, change), lodestone::config_error);
  change.scaling = rope_scaling_kind::linear;
  BOOST_TEST(lodestone::with_rope_override(plain, change).rope.factor == 4.0);
  BOOST_CHECK_THROW((void)lodestone::with_rope_override(parse(chatglm()), change), lodestone::config_error);
  change.factor.reset();
  BOOST_CHECK_THROW((void)lodestone::with_rope_override(plain, change), lodestone::config_error);
  lodestone::rope_override negative;
  negative.base = -5.0;
  BOOST_CHECK_THROW((void)lodestone::with_rope_override(plain, negative), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(other_differences_are_refused_and_the_element_type_is_written) {
  const std::string text = with(llama(), "dtype", "float32").dump();
  model_config now = parse_model_config(text);
  const json edited = json::parse(lodestone::edited_model_config(text, now, lodestone::dtype::bf16));
  BOOST_TEST(edited["dtype"] == "bfloat16");
  BOOST_TEST(!edited.contains("torch_dtype"));
  now.vocabulary = 64;
  BOOST_TEST(json::parse(lodestone::edited_model_config(text, now))["vocab_size"] == 64);
  now.layers = 3;
  BOOST_CHECK_THROW((void)lodestone::edited_model_config(text, now), lodestone::config_error);
}

BOOST_AUTO_TEST_SUITE_END()
