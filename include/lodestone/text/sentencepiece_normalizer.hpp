// The normalizer inside a SentencePiece tokenizer.model: character map, white space, dummy prefix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/prefix_trie.hpp>

namespace lodestone::text {

/// A compiled character map (nmt_nfkc and the like): the longest key that starts a text, and what replaces it.
///
/// The form of SentencePiece: the trie's size in bytes (32 bits), the trie, replacements that end with a zero byte.
/// The trie is a double array in the layout of Darts: a unit holds label (8 bits), leaf flag, offset (21 bits, scaled
/// by 256 when bit 9 is set), or, with bit 31 set, a value.
class character_map {
 public:
  character_map() = default;

  /// Throws format_error if the sizes do not fit.
  character_map(std::string_view compiled, std::string_view where);

  [[nodiscard]] bool empty() const { return trie_.empty(); }  ///< maps nothing

  /// The length of the longest key at the start of `text` (0: none) and its replacement.
  [[nodiscard]] std::pair<std::size_t, std::string_view> longest(std::string_view text) const;

 private:
  [[nodiscard]] static std::size_t offset(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200U) >> 6); }
  [[nodiscard]] static std::uint32_t little_endian(std::string_view bytes, std::size_t at);
  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

/// Normalizes as SentencePiece does (Kudo and Richardson 2018): maps characters, removes repeated spaces if asked,
/// puts a space first if asked, and writes each space as U+2581. Bytes that are not UTF-8 stay (SentencePiece itself
/// would write U+FFFD and lose them).
struct sentencepiece_normalizer {
  static constexpr std::string_view space_symbol = "\xE2\x96\x81";  ///< U+2581, what a space becomes

  character_map characters;              ///< applied to what `verbatim` does not hold
  prefix_trie verbatim;                  ///< user-defined pieces, which no rule touches
  bool add_dummy_prefix = true;          ///< a space comes before a text that is not empty
  bool remove_extra_whitespaces = true;  ///< spaces at the ends go, runs of them become one
  bool escape_whitespaces = true;        ///< otherwise a space stays U+0020

  /// The normal form; empty for an empty text, and, where spaces at the ends go, for one of spaces alone.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/sentencepiece_normalizer.ipp>
#endif
