// The unigram language model of SentencePiece (Kudo 2018): the segmentation of highest probability, by Viterbi.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/piece_table.hpp>

namespace lodestone::text {

/// What a unigram model is made of.
struct unigram_parts {
  /// An entry of the vocabulary.
  struct piece {
    std::string_view text;         ///< UTF-8; of equal ones the first counts
    std::int32_t id = -1;          ///< its id in the vocabulary
    double score = 0;              ///< log-probability
    bool is_user_defined = false;  ///< found wherever it occurs, whatever its score
  };
  std::vector<piece> pieces;                 ///< segments that encode() chooses from
  std::int32_t unknown = -1;                 ///< for characters without a piece; -1: left out
  bool byte_fallback = false;                ///< writes such a character as its bytes, if every byte has an id
  bool fuse_unknown = true;                  ///< one unknown id for a run of them
  std::array<std::int32_t, 256> byte_ids{};  ///< ids of `<0x00>` ... `<0xFF>`; -1: none
};

/// The model: a text to ids. Time O(bytes x longest piece); const members are safe to call from several threads.
class unigram {
 public:
  /// Copies what it needs: the views in `parts` need not outlive the call.
  explicit unigram(const unigram_parts& parts);

  /// Appends the ids of `text`.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) const;

 private:
  struct text_piece {
    std::size_t begin;
    std::size_t end;
    std::int32_t id;
  };
  struct piece_entry {
    std::int32_t id;
    float score;
  };
  struct node {
    std::int32_t entry = -1;
  };

  [[nodiscard]] std::int32_t child(std::int32_t parent, unsigned char byte) const;
  void add_path(std::string_view piece);

  std::int32_t unknown_;
  bool fuse_unknown_;
  bool byte_fallback_ = false;
  std::array<std::int32_t, 256> byte_ids_;
  double unknown_score_ = 0;
  piece_table pieces_;
  std::vector<piece_entry> entries_;
  std::vector<node> nodes_ = std::vector<node>(1);
  merge_table edges_;  // (node, byte) -> node
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/unigram.ipp>
#endif
