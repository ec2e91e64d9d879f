// Definitions of sentencepiece_folder.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/text/json_place.hpp>
#include <lodestone/text/sentencepiece_folder.hpp>
#include <lodestone/text/sentencepiece_model.hpp>

namespace lodestone::text {

namespace detail {

/// Adds a token beside those of the SentencePiece model, or confirms one of them.
inline void add_beside(tokenizer_parts& parts, added_token token, std::int64_t id, const std::string& where) {
  if (token.content.empty()) return;
  parts.tokens.add(token.content, id, where, true);
  token.id = static_cast<std::int32_t>(id);
  parts.added.add(token, parts.normalize);
}

/// ChatGLM2 and ChatGLM3 number nine tokens past the SentencePiece pieces and put [gMASK] sop before every text.
///
/// "sop" and "eop" are never sought in text: they would be found inside ordinary words.
inline void add_chatglm(tokenizer_parts& parts, const std::string& where) {
  constexpr std::array<std::string_view, 9> names{
      "[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};
  const std::int32_t first = parts.tokens.size();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::int32_t id = first + static_cast<std::int32_t>(i);
    added_token token;
    token.content = names[i];
    token.special = true;
    if (names[i] == "sop" || names[i] == "eop") {
      parts.tokens.add(names[i], id, where);
      token.id = id;
      parts.added.mark_special(id);
    } else {
      add_beside(parts, std::move(token), id, where);
    }
  }
  parts.prefix = {first + 1, first + 3};
}

[[nodiscard]] inline nlohmann::json read_json_beside(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return nlohmann::json::object();
  const std::string text = read_text(file);
  refuse_zero_byte(text, file.string());
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& problem) {
    throw format_error(std::string("not JSON: ") + problem.what(), file.string(), "fetch the file again");
  }
}

}  // namespace detail

LODESTONE_INLINE tokenizer_parts read_sentencepiece_folder(const std::filesystem::path& file) {
  using detail::json_place;
  const std::string where = file.string();
  const sentencepiece_model model = sentencepiece_model::parse(read_text(file), where);
  tokenizer_parts parts = build_sentencepiece(model, where);

  const std::filesystem::path config_file = file.parent_path() / "tokenizer_config.json";
  const nlohmann::json config_json = detail::read_json_beside(config_file);
  const json_place config(config_json, config_file.string());
  const json_place kind = config.get("tokenizer_class");
  const bool is_chatglm = kind.is_present() && kind.text() == "ChatGLMTokenizer";
  if (is_chatglm) {
    detail::add_chatglm(parts, where);
  } else {
    const auto id_of = [&](const std::string& piece, const char* key, bool otherwise) {
      if (!config.get(key).flag(otherwise)) return -1;
      const std::int32_t id = parts.tokens.id(piece);
      if (id < 0 && config.get(key).is_present())
        config.get(key).fail("the model has no piece \"" + token_list::shortened(piece) + '"');
      return id;
    };
    if (const std::int32_t bos = id_of(model.bos_piece, "add_bos_token", true); bos >= 0) parts.prefix = {bos};
    if (const std::int32_t eos = id_of(model.eos_piece, "add_eos_token", false); eos >= 0) parts.suffix = {eos};
  }

  if (const json_place added = config.get("added_tokens_decoder"); added.is_present()) {
    added.expect_object();
    parts.tokens.expect(added.value().size());
    for (const auto& [key, value] : added.value().items()) {
      const json_place one(value, added.where() + '.' + key);
      std::int64_t id = -1;
      if (const auto read = std::from_chars(key.data(), key.data() + key.size(), id);
          read.ec != std::errc{} || read.ptr != key.data() + key.size())
        one.fail("the key must be an id");
      added_token token;
      token.content = one.need("content").text();
      if (is_chatglm && (token.content == "sop" || token.content == "eop")) continue;
      token.special = one.get("special").flag(false);
      token.single_word = one.get("single_word").flag(false);
      token.lstrip = one.get("lstrip").flag(false);
      token.rstrip = one.get("rstrip").flag(false);
      detail::add_beside(parts, std::move(token), id, one.where());
    }
  }
  const std::filesystem::path added_file = file.parent_path() / "added_tokens.json";
  const nlohmann::json added_json = detail::read_json_beside(added_file);
  const json_place added(added_json, added_file.string());
  added.expect_object();
  parts.tokens.expect(added.value().size());
  for (const auto& [content, id] : added.value().items()) {
    added_token token;
    token.content = content;
    detail::add_beside(parts, std::move(token), json_place(id, added_file.string() + ": " + content).integer(),
                       added_file.string());
  }
  return parts;
}

}  // namespace lodestone::text

