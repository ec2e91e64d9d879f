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
  token_finder raw;
  token_finder normalized;
  std::vector<bool> is_special;  ///< by id; ids past its end are not special

  void mark_special(std::int32_t id);

  /// Call once `normalize` is complete.
  void add(const added_token& token, const normalizer& normalize);
};

/// A complete tokenizer, in the order in which a text passes through it.
struct tokenizer_parts {
  token_list tokens;
  added_tokens added;
  normalizer normalize;
  pre_tokenizer split;
  std::variant<bpe, unigram> model;
  std::vector<std::int32_t> prefix;  ///< ids before a sequence
  std::vector<std::int32_t> suffix;  ///< ids after it
  decoder decode;
  std::int32_t unknown = -1;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/tokenizer_parts.ipp>
#endif
