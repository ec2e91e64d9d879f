// Definitions of tokenizer.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>
#include <utility>
#include <variant>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/text/sentencepiece_folder.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/text/tokenizer_json.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone {

LODESTONE_INLINE tokenizer tokenizer::load(const std::filesystem::path& folder_or_file) {
  namespace fs = std::filesystem;
  fs::path file = folder_or_file;
  if (fs::is_directory(file)) {
    file = folder_or_file / "tokenizer.json";
    if (!fs::exists(file)) file = folder_or_file / "tokenizer.model";
    if (!fs::exists(file))
      throw io_error("no tokenizer.json and no tokenizer.model", folder_or_file.string(),
                     "copy the tokenizer of the model into the folder");
  }
  if (file.extension() == ".json") return tokenizer(text::read_tokenizer_json(read_text(file), file.string()));
  return tokenizer(text::read_sentencepiece_folder(file));
}

LODESTONE_INLINE tokenizer::tokenizer(text::tokenizer_parts parts)
    : parts_(std::make_shared<const text::tokenizer_parts>(std::move(parts))) {}

LODESTONE_INLINE std::vector<std::int32_t> tokenizer::encode(std::string_view text, bool add_special,
                                                             bool parse_special) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  if (add_special) ids = parts_->prefix;
  std::string storage;
  text::split_text words;
  parts_->added.raw.each(
      text, parse_special,
      [&](std::size_t begin, std::size_t end) {
        const std::string_view normal = parts_->normalize.apply(text.substr(begin, end - begin), storage);
        parts_->added.normalized.each(
            normal, parse_special,
            [&](std::size_t from, std::size_t to) {
              encode_plain(normal.substr(from, to - from), begin == 0 && from == 0, words, ids);
            },
            [&](std::int32_t id) { ids.push_back(id); });
      },
      [&](std::int32_t id) { ids.push_back(id); });
  if (add_special) ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return ids;
}

LODESTONE_INLINE std::string tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const std::int32_t id : ids) {
    if (id < 0)
      throw data_error("the token id " + std::to_string(id) + " is negative", "decode", "remove label masks");
    if (!parts_->tokens.contains(id) || (skip_special && is_special(id))) continue;
    pieces.emplace_back(parts_->tokens.text(id));
  }
  return parts_->decode.apply(std::move(pieces));
}

LODESTONE_INLINE std::int32_t tokenizer::vocabulary_size() const { return parts_->tokens.size(); }

LODESTONE_INLINE std::optional<std::int32_t> tokenizer::id_of(std::string_view token) const {
  const std::int32_t id = parts_->tokens.id(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

LODESTONE_INLINE std::string_view tokenizer::token_of(std::int32_t id) const { return parts_->tokens.text(id); }

LODESTONE_INLINE bool tokenizer::is_special(std::int32_t id) const {
  return id >= 0 && static_cast<std::size_t>(id) < parts_->added.is_special.size() &&
         parts_->added.is_special[static_cast<std::size_t>(id)];
}

LODESTONE_INLINE std::optional<std::int32_t> tokenizer::unknown_id() const {
  return parts_->unknown < 0 ? std::nullopt : std::optional(parts_->unknown);
}

LODESTONE_INLINE std::vector<std::int32_t> tokenizer::prefix() const { return parts_->prefix; }

LODESTONE_INLINE std::vector<std::int32_t> tokenizer::suffix() const { return parts_->suffix; }

LODESTONE_INLINE void tokenizer::encode_plain(std::string_view plain, bool is_start, text::split_text& words,
                                              std::vector<std::int32_t>& ids) const {
  parts_->split.apply(plain, is_start, words);
  if (const auto* merging = std::get_if<text::bpe>(&parts_->model)) {
    merging->encode_all(
        [&words](const auto& visit) {
          for (const text::text_range& range : words.words) visit(words.word(range));
        },
        ids);
    return;
  }
  for (const text::text_range& range : words.words)
    std::get<text::unigram>(parts_->model).encode(words.word(range), ids);
}

}  // namespace lodestone

