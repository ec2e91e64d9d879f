// The tokenizer of a model folder: text to token ids and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/text/sentencepiece_folder.hpp>
#include <lodestone/text/tokenizer_json.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone {

/// Reads tokenizer.json (byte-level and SentencePiece-style BPE) and SentencePiece's tokenizer.model (BPE and unigram).
///
/// Ids equal those of the Hugging Face `tokenizers` library and of SentencePiece. Text is bytes: what is not UTF-8 is
/// kept byte by byte where the vocabulary has bytes, so that decode(encode(x)) == x wherever the model can spell x.
/// A value type; const members are safe to call from several threads at once.
class tokenizer {
 public:
  /// Loads a folder (tokenizer.json is preferred to tokenizer.model) or one of the two files. For tokenizer.model,
  /// tokenizer_config.json and added_tokens.json beside it are read too. Throws io_error for a missing file and
  /// format_error, with file and key, for a damaged or unsupported one.
  [[nodiscard]] static tokenizer load(const std::filesystem::path& folder_or_file) {
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

  /// A tokenizer from its parts, for tests and for vocabularies that come from elsewhere.
  explicit tokenizer(text::tokenizer_parts parts) : parts_(std::move(parts)) {}

  /// The ids of `text`. `add_special` puts prefix() and suffix() around them; `parse_special` finds special tokens
  /// spelled out in the text (without it they are plain text; added tokens that are not special are always found).
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_special = true,
                                                 bool parse_special = true) const {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size() / 3 + 8);
    if (add_special) ids = parts_.prefix;
    std::string storage;
    text::split_text words;
    parts_.added.raw.each(
        text, parse_special,
        [&](std::size_t begin, std::size_t end) {
          const std::string_view normal = parts_.normalize.apply(text.substr(begin, end - begin), storage);
          parts_.added.normalized.each(
              normal, parse_special,
              [&](std::size_t from, std::size_t to) {
                encode_plain(normal.substr(from, to - from), begin == 0 && from == 0, words, ids);
              },
              [&](std::int32_t id) { ids.push_back(id); });
        },
        [&](std::int32_t id) { ids.push_back(id); });
    if (add_special) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
    return ids;
  }

  /// The text of ids; `skip_special` leaves special tokens out. Ids that no token has (the padding of a vocabulary)
  /// stand for nothing; a negative id is a data_error. The result may end or start inside a character.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const {
    std::vector<std::string> pieces;
    pieces.reserve(ids.size());
    for (const std::int32_t id : ids) {
      if (id < 0)
        throw data_error("the token id " + std::to_string(id) + " is negative", "decode", "remove label masks");
      if (!parts_.tokens.contains(id) || (skip_special && is_special(id))) continue;
      pieces.emplace_back(parts_.tokens.text(id));
    }
    return parts_.decode.apply(std::move(pieces));
  }

  /// The largest id plus one; a model may have more rows.
  [[nodiscard]] std::int32_t vocabulary_size() const { return parts_.tokens.size(); }

  /// The id of a token by its text in the vocabulary file (`<s>`, or the like).
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const {
    const std::int32_t id = parts_.tokens.id(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }

  /// The text of a token in the vocabulary file; empty for an id that no token has. Valid while this object lives.
  [[nodiscard]] std::string_view token_of(std::int32_t id) const { return parts_.tokens.text(id); }

  /// Whether an id is a special token: control text such as `<s>`, never part of a document.
  [[nodiscard]] bool is_special(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < parts_.added.is_special.size() &&
           parts_.added.is_special[static_cast<std::size_t>(id)];
  }

  /// The id that stands for characters which the vocabulary cannot spell; byte-level vocabularies have none.
  [[nodiscard]] std::optional<std::int32_t> unknown_id() const {
    return parts_.unknown < 0 ? std::nullopt : std::optional(parts_.unknown);
  }

  /// What encode puts before a text when add_special is set, for example {BOS}.
  [[nodiscard]] std::vector<std::int32_t> prefix() const { return parts_.prefix; }
  /// What it puts after the text.
  [[nodiscard]] std::vector<std::int32_t> suffix() const { return parts_.suffix; }

 private:
  /// Ids of text without added tokens.
  void encode_plain(std::string_view plain, bool is_start, text::split_text& words,
                    std::vector<std::int32_t>& ids) const {
    parts_.split.apply(plain, is_start, words);
    if (const auto* merging = std::get_if<text::bpe>(&parts_.model)) {
      merging->encode_all(
          [&words](const auto& visit) {
            for (const text::text_range& range : words.words) visit(words.word(range));
          },
          ids);
      return;
    }
    for (const text::text_range& range : words.words)
      std::get<text::unigram>(parts_.model).encode(words.word(range), ids);
  }

  text::tokenizer_parts parts_;
};

}  // namespace lodestone
