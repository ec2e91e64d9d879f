// Which bytes of a text each of its tokens spells.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/text/tokenizer.hpp>

namespace lodestone::text {

/// A range of a text or of its tokens: [begin, end).
struct span_of_text {
  std::int64_t begin = 0;  ///< first
  std::int64_t end = 0;    ///< one past the last

  friend bool operator==(const span_of_text&, const span_of_text&) = default;
};

/// For each of `ids`, the bytes [begin, end) that it adds to `text`, of which `ids` is the encoding without first and
/// last special tokens. A token may end inside a character; an unknown token has the characters that the vocabulary
/// lacks. Throws data_error where the tokenizer changes the text (a normalizer that composes characters): then no bytes
/// belong to a token.
[[nodiscard]] std::vector<span_of_text> token_spans(const tokenizer& words, std::span<const std::int32_t> ids,
                                                    std::string_view text);

/// The same spans in characters (code points) instead of bytes; a token that holds a part of a character has all of it.
/// Throws data_error for text that is not UTF-8.
[[nodiscard]] std::vector<span_of_text> in_characters(std::span<const span_of_text> bytes, std::string_view text);

/// The tokens [begin, end) that have bytes of the range; empty, at the place where they would stand, for an empty
/// range. `spans` are those of token_spans().
[[nodiscard]] span_of_text tokens_within(std::span<const span_of_text> spans, span_of_text bytes);

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/token_spans.ipp>
#endif
