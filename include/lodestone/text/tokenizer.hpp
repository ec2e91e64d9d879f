// The tokenizer of a model folder: text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone {

namespace text {
struct split_text;
struct tokenizer_parts;
}

/// Reads tokenizer.json (byte-level and SentencePiece-style BPE) and SentencePiece's tokenizer.model (BPE and unigram).
///
/// Ids equal those of the Hugging Face `tokenizers` library and of SentencePiece. Text is bytes: what is not UTF-8 is
/// kept byte by byte where the vocabulary has bytes, so that decode(encode(x)) == x wherever the model can spell x.
/// A value type whose copies share their parts; const members are safe to call from several threads at once.
class tokenizer {
 public:
  /// Loads a folder (tokenizer.json is preferred to tokenizer.model) or one of the two files. For tokenizer.model,
  /// tokenizer_config.json and added_tokens.json beside it are read too. Throws io_error for a missing file and
  /// format_error, with file and key, for a damaged or unsupported one.
  [[nodiscard]] static tokenizer load(const std::filesystem::path& folder_or_file);

  /// A tokenizer from its parts, for tests and for vocabularies that come from elsewhere.
  explicit tokenizer(text::tokenizer_parts parts);

  /// The ids of `text`. `add_special` puts prefix() and suffix() around them; `parse_special` finds special tokens
  /// spelled out in the text (without it they are plain text; added tokens that are not special are always found).
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, bool add_special = true,
                                                 bool parse_special = true) const;

  /// The text of ids; `skip_special` leaves special tokens out. Ids that no token has (the padding of a vocabulary)
  /// stand for nothing; a negative id is a data_error. The result may end or start inside a character.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const;

  /// The largest id plus one; a model may have more rows.
  [[nodiscard]] std::int32_t vocabulary_size() const;

  /// The id of a token by its text in the vocabulary file (`<s>`, or the like).
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const;

  /// The text of a token in the vocabulary file; empty for an id that no token has. Valid while this object lives.
  [[nodiscard]] std::string_view token_of(std::int32_t id) const;

  /// Whether an id is a special token: control text such as `<s>`, never part of a document.
  [[nodiscard]] bool is_special(std::int32_t id) const;

  /// The id that stands for characters which the vocabulary cannot spell; byte-level vocabularies have none.
  [[nodiscard]] std::optional<std::int32_t> unknown_id() const;

  /// What encode puts before a text when add_special is set, for example {BOS}.
  [[nodiscard]] std::vector<std::int32_t> prefix() const;
  /// What it puts after the text.
  [[nodiscard]] std::vector<std::int32_t> suffix() const;

 private:
  /// Ids of text without added tokens.
  void encode_plain(std::string_view plain, bool is_start, text::split_text& words,
                    std::vector<std::int32_t>& ids) const;

  std::shared_ptr<const text::tokenizer_parts> parts_;  ///< never changes: copies share it
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/tokenizer.ipp>
#endif
