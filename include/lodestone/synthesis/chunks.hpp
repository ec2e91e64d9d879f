// Cuts a document into chunks of tokens whose text gives the same tokens again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::synthesis {

/// Where a chunk may end.
enum class chunk_end : std::uint8_t {
  word,  ///< behind white space or punctuation, or in front of white space, where a chunk has such a place
  token  ///< behind any token that ends a character: all chunks but the last are as long as they may be
};

/// How documents are cut.
struct chunk_options {
  std::int64_t tokens = 512;        ///< of a chunk, at most (the paper's and the released code's 512 and 1,024)
  chunk_end end = chunk_end::word;  ///< words and names stay whole
};

/// Tokens [begin, end) of a document.
struct token_chunk {
  std::int64_t begin = 0;           ///< first token, counted in the document
  std::vector<std::int32_t> ids{};  ///< its tokens
  std::string text{};               ///< what they spell: whole characters
  bool is_exact = true;             ///< tokenising `text` by itself, as training does, gives `ids`

  friend bool operator==(const token_chunk&, const token_chunk&) = default;
};

/// Cuts documents with one tokenizer, which must outlive it.
///
/// The ids of a document are made once; chunks are ranges of them. A bound lies where both sides are whole characters
/// and where the chunk's text, tokenised as a chunk of a preference record is, gives the chunk's ids again: so a record
/// can hold text, and training sees the very tokens that were scored and shown to the generator. Where no such bound
/// is found in the last half of a chunk, is_exact says so: its text then gives other tokens.
class chunker {
 public:
  /// Throws config_error for chunks of less than 8 tokens.
  explicit chunker(const tokenizer& words, chunk_options options = {});

  /// The chunks of a text, one behind the other; none for an empty text. Their texts together are what the tokenizer
  /// makes of the text.
  [[nodiscard]] std::vector<token_chunk> cut(std::string_view text) const;

  /// The ids of text that stands behind other text: nothing is put in front, control tokens are characters.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const;

  /// As the constructor took them.
  [[nodiscard]] const chunk_options& options() const { return options_; }

 private:
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const;

  const tokenizer* words_;
  chunk_options options_;
  chat_encoder<tokenizer> encoder_;
  std::vector<std::int32_t> newline_;
};

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/chunks.ipp>
#endif
