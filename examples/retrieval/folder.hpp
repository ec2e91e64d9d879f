// The files of a new model folder beside its weights: config.json, and a byte-level tokenizer without merges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/text/byte_alphabet.hpp>

#include "task.hpp"

namespace retrieval {

/// The shape of the model; every head has 64 elements, which the flash kernels serve.
struct model_shape {
  std::int64_t hidden = 128;
  std::int64_t layers = 2;
  std::int64_t heads = 4;
  std::int64_t feed_forward = 384;
  std::int64_t context = 512;
  double rope_base = 10'000.0;
};

/// 256 bytes, the control tokens, and rows to a multiple of 8, which tensor cores like.
inline constexpr std::int64_t vocabulary = (256 + static_cast<std::int64_t>(control_tokens.size()) + 7) / 8 * 8;

namespace detail {

inline void write_json(const std::filesystem::path& file, const nlohmann::ordered_json& content) {
  std::ofstream out(file);
  out << content.dump(2) << '\n';
  if (!out.flush()) throw lodestone::io_error("could not be written", file.string(), "look at the disk's room");
}

[[nodiscard]] inline nlohmann::ordered_json tokenizer_json() {
  nlohmann::ordered_json vocab;
  for (int byte = 0; byte < 256; ++byte)
    vocab[lodestone::text::byte_alphabet::get().spell(std::string(1, static_cast<char>(byte)))] = byte;
  nlohmann::ordered_json added = nlohmann::ordered_json::array();
  for (std::size_t k = 0; k < control_tokens.size(); ++k)
    added.push_back({{"id", 256 + k},
                     {"content", control_tokens[k]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  const nlohmann::ordered_json begin = {{"SpecialToken", {{"id", control_tokens[0]}, {"type_id", 0}}}};
  const nlohmann::ordered_json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const nlohmann::ordered_json second = {{"Sequence", {{"id", "B"}, {"type_id", 0}}}};
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", nlohmann::ordered_json::array({begin, first})},
        {"pair", nlohmann::ordered_json::array({begin, first, second})},
        {"special_tokens",
         {{control_tokens[0],
           {{"id", control_tokens[0]},
            {"ids", nlohmann::ordered_json::array({256})},
            {"tokens", nlohmann::ordered_json::array({control_tokens[0]})}}}}}}},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", nlohmann::ordered_json::array()}}}};
}

[[nodiscard]] inline nlohmann::ordered_json config_json(const model_shape& shape) {
  return {{"architectures", nlohmann::ordered_json::array({"LlamaForCausalLM"})},
          {"attention_bias", true},
          {"attention_dropout", 0.0},
          {"bos_token_id", 256},
          {"eos_token_id", 257},
          {"head_dim", 64},
          {"hidden_act", "silu"},
          {"hidden_size", shape.hidden},
          {"initializer_range", 0.02},
          {"intermediate_size", shape.feed_forward},
          {"max_position_embeddings", shape.context},
          {"mlp_bias", false},
          {"model_type", "llama"},
          {"num_attention_heads", shape.heads},
          {"num_hidden_layers", shape.layers},
          {"num_key_value_heads", shape.heads},
          {"rms_norm_eps", 1e-6},
          {"rope_scaling", nullptr},
          {"rope_theta", shape.rope_base},
          {"tie_word_embeddings", true},
          {"torch_dtype", "bfloat16"},
          {"use_cache", true},
          {"vocab_size", vocabulary}};
}

}  // namespace detail

/// Writes all files but the weights into `folder`, which is created where it does not exist.
inline void write_folder(const std::filesystem::path& folder, const model_shape& shape) {
  std::filesystem::create_directories(folder);
  detail::write_json(folder / "config.json", detail::config_json(shape));
  detail::write_json(folder / "tokenizer.json", detail::tokenizer_json());
  detail::write_json(folder / "tokenizer_config.json", {{"add_bos_token", true},
                                                        {"bos_token", control_tokens[0]},
                                                        {"eos_token", control_tokens[1]},
                                                        {"model_max_length", shape.context},
                                                        {"tokenizer_class", "PreTrainedTokenizerFast"}});
  detail::write_json(folder / "special_tokens_map.json",
                     {{"bos_token", control_tokens[0]}, {"eos_token", control_tokens[1]}});
  detail::write_json(folder / "generation_config.json", {{"bos_token_id", 256}, {"eos_token_id", 257}});
}

}  // namespace retrieval
