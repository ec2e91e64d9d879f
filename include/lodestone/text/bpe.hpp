// Byte-pair encoding (Sennrich et al. 2016) of words, over bytes or over characters with byte fallback.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/piece_table.hpp>
#include <lodestone/text/prefix_trie.hpp>
#include <lodestone/text/unicode.hpp>
#include <lodestone/text/word_cache.hpp>

namespace lodestone::text {

/// A map from code points to numbers, two loads a look-up.
class code_point_map {
 public:
  /// Sets the number of a code point, at most U+10FFFF; the last one counts.
  void set(char32_t key, std::int32_t value);
  /// The number of a code point, or -1; not_utf8 has none.
  [[nodiscard]] std::int32_t find(char32_t key) const;

 private:
  std::vector<std::uint32_t> pages_ = std::vector<std::uint32_t>(0x1100, 0);
  std::vector<std::int32_t> values_ = std::vector<std::int32_t>(256, -1);  // page 0 is the empty one
};

/// What a BPE model is made of. Ids are those of the vocabulary; -1 stands for "none".
struct bpe_parts {
  /// An entry of the vocabulary.
  struct piece {
    std::string_view text;  ///< its bytes (over_bytes) or its characters
    std::int32_t id = -1;   ///< its id in the vocabulary
  };
  /// A rule: two pieces become one; lower ranks go first.
  struct merge {
    std::int32_t left = -1;     ///< id of the left piece
    std::int32_t right = -1;    ///< id of the right piece
    std::uint32_t rank = 0;     ///< of equal ranks in a word the leftmost goes first
    std::int32_t becomes = -1;  ///< id of the merged piece
    std::string_view text;      ///< of the merged piece
  };
  std::vector<piece> pieces;   ///< looked up as whole words (ignore_merges) and, over characters, as first symbols
  std::vector<merge> merges;   ///< of several for a pair the last counts
  std::vector<piece> frozen;   ///< user-defined pieces of SentencePiece: found first, never merged
  bool over_bytes = false;     ///< the first symbols are bytes; otherwise characters
  bool ignore_merges = false;  ///< a word that is itself a piece is not merged
  bool fuse_unknown = false;   ///< one unknown id for a run of unknown characters
  /// Over characters: one without a piece is written as its bytes, if all of them have one.
  bool byte_fallback = false;
  std::int32_t unknown = -1;  ///< for what has no piece; -1: left out
  /// Over bytes the first symbols; over characters, for byte_fallback, the ids of `<0x00>` ... `<0xFF>` (-1: none).
  std::array<std::int32_t, 256> byte_ids{};
};

/// The model: words to ids. Const members are safe to call from several threads.
///
/// Over characters a word may be a whole document. Such a text is cut wherever two adjacent characters occur together
/// in no merged piece: no merge can cross such a place, so that the parts merge alone, and most are found in the cache.
class bpe {
 public:
  /// Copies what it needs: the views in `parts` need not outlive the call.
  explicit bpe(const bpe_parts& parts);

  /// Appends the ids of one word.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

  /// Appends the ids of many words; each(visit) calls visit(word) for one after the other.
  template <class Each>
  void encode_all(Each&& each, std::vector<std::int32_t>& ids) const {
    word_cache& cache = word_cache::of(owner_);
    each([&](std::string_view word) { encode(word, cache, ids); });
  }

 private:
  void encode(std::string_view word, word_cache& cache, std::vector<std::int32_t>& ids) const;

  void merge_bytes(std::string_view word, std::vector<std::int32_t>& ids) const;

  /// Merges the symbols from `begin` on.
  void merge_tail(std::vector<std::int32_t>& ids, std::size_t begin) const;

  void encode_characters(std::string_view text, word_cache& cache, std::vector<std::int32_t>& ids) const;

  void append_characters(std::string_view chars, std::vector<std::int32_t>& ids) const;

  /// A character that is not in the vocabulary: its bytes if all have pieces, else the unknown id, else nothing.
  /// Returns whether it was written as unknown.
  bool append_fallback(std::string_view bytes, bool after_unknown, std::vector<std::int32_t>& ids) const;

  // Neighbours: pairs of adjacent characters inside merged pieces. ASCII and U+2581 have a bit table, the rest a hash.
  static constexpr std::size_t small_count = 129;
  [[nodiscard]] static std::int32_t small_index(char32_t c);
  [[nodiscard]] static std::size_t small_pair(std::int32_t left, std::int32_t right);
  [[nodiscard]] bool may_join(char32_t left, std::int32_t left_index, char32_t right, std::int32_t right_index) const;
  void note_neighbours(std::string_view piece);

  bool over_bytes_;
  bool ignore_merges_;
  bool fuse_unknown_;
  bool byte_fallback_ = false;
  bool has_all_bytes_ = false;
  bool merges_fallback_ = false;  // some merge takes a byte piece or the unknown piece: parts do not merge alone
  std::int32_t unknown_;
  std::array<std::int32_t, 256> byte_ids_;
  std::uint64_t owner_;
  piece_table whole_;
  code_point_map characters_;
  prefix_trie frozen_;
  merge_table merges_;
  merge_table neighbours_;
  std::vector<std::uint8_t> small_neighbours_ =
      std::vector<std::uint8_t>(small_count * small_count, 0);
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/bpe.ipp>
#endif
