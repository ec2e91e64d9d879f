// What a tokenizer is put together from, whichever file it is read from.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include <lodestone/text/added_tokens.hpp>
#include <lodestone/text/bpe.hpp>
#include <lodestone/text/decoder.hpp>
#include <lodestone/text/normalizer.hpp>
#include <lodestone/text/pre_tokenizer.hpp>
#include <lodestone/text/token_list.hpp>
#include <lodestone/text/unigram.hpp>

namespace lodestone::text {

/// The added tokens of a tokenizer: those sought in the raw text, and those sought in the normalized one.
struct added_tokens {
  token_finder raw;              ///< sought before a text is normalized
  token_finder normalized;       ///< sought afterwards, in their normal form
  std::vector<bool> is_special;  ///< by id; ids past its end are not special

  /// `id` must not be negative.
  void mark_special(std::int32_t id);

  /// Call once `normalize` is complete.
  void add(const added_token& token, const normalizer& normalize);
};

/// A complete tokenizer, in the order in which a text passes through it.
struct tokenizer_parts {
  token_list tokens;                 ///< the vocabulary with the added tokens
  added_tokens added;                ///< found first; what lies between them goes on
  normalizer normalize;              ///< empty: the text stays
  pre_tokenizer split;               ///< normal form to words; empty: one word
  std::variant<bpe, unigram> model;  ///< words to ids
  std::vector<std::int32_t> prefix;  ///< ids before a sequence
  std::vector<std::int32_t> suffix;  ///< ids after it
  decoder decode;                    ///< token texts to text
  std::int32_t unknown = -1;         ///< id for what has no token; -1: none
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/tokenizer_parts.ipp>
#endif
