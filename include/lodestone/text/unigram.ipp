// Definitions of unigram.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/unicode.hpp>
#include <lodestone/text/unigram.hpp>

namespace lodestone::text {

LODESTONE_INLINE unigram::unigram(const unigram_parts& parts)
    : unknown_(parts.unknown), fuse_unknown_(parts.fuse_unknown), byte_ids_(parts.byte_ids) {
  byte_fallback_ =
      parts.byte_fallback && std::none_of(byte_ids_.begin(), byte_ids_.end(), [](std::int32_t id) { return id < 0; });
  double lowest = std::numeric_limits<double>::infinity();
  double highest = 0;  // of log-probabilities: SentencePiece starts from FLT_MIN, so that this is its bound too
  for (const unigram_parts::piece& one : parts.pieces) {
    if (one.is_user_defined) continue;
    lowest = std::min(lowest, one.score);
    highest = std::max(highest, one.score);
  }
  if (lowest == std::numeric_limits<double>::infinity()) lowest = 0;
  unknown_score_ = lowest - 10.0;  // kUnkPenalty of SentencePiece
  for (const unigram_parts::piece& one : parts.pieces) {
    // A user-defined piece beats nearly every segmentation of its characters: the bonus of SentencePiece.
    const double score = one.is_user_defined ? static_cast<double>(one.text.size()) * highest - 0.1 : one.score;
    if (!pieces_.insert(one.text, static_cast<std::int32_t>(entries_.size()))) continue;
    entries_.push_back({one.id, static_cast<float>(score)});
    add_path(one.text);
  }
}

LODESTONE_INLINE void unigram::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  struct best_end {
    float score = -std::numeric_limits<float>::infinity();
    std::uint32_t length = 0;
    std::int32_t id = -1;
  };
  if (text.size() > 0x7fff'ffffU) throw error("a single text of more than 2 GiB", {}, "split the text");
  std::vector<best_end> ends(text.size() + 1);
  ends[0].score = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t character = decode_utf8(text.data() + at, text.data() + text.size()).length;
    const float here = ends[at].score;
    const auto offer = [&](std::size_t length, float score, std::int32_t id) {
      best_end& end = ends[at + length];
      if (end.length == 0 || here + score > end.score) end = {here + score, static_cast<std::uint32_t>(length), id};
    };
    bool has_character = false;
    std::int32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node < 0) break;
      const std::int32_t entry = nodes_[static_cast<std::size_t>(node)].entry;
      if (entry < 0) continue;
      const piece_entry& piece = entries_[static_cast<std::size_t>(entry)];
      offer(i + 1 - at, piece.score, piece.id);
      has_character = has_character || i + 1 - at == character;
    }
    if (!has_character) offer(character, static_cast<float>(unknown_score_), -1);
    at += character;
  }
  std::vector<text_piece> path;
  for (std::size_t end = text.size(); end > 0; end -= ends[end].length)
    path.push_back({end - ends[end].length, end, ends[end].id});
  bool after_unknown = false;
  for (auto piece = path.rbegin(); piece != path.rend(); ++piece) {
    if (piece->id >= 0) {
      ids.push_back(piece->id);
    } else if (byte_fallback_) {
      for (const char c : text.substr(piece->begin, piece->end - piece->begin))
        ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
    } else if (unknown_ >= 0 && !(after_unknown && fuse_unknown_)) {
      ids.push_back(unknown_);
    }
    after_unknown = piece->id < 0;
  }
}

LODESTONE_INLINE std::int32_t unigram::child(std::int32_t parent, unsigned char byte) const {
  const merge_table::merge found = edges_.find(parent, byte);
  return found.symbol;
}

LODESTONE_INLINE void unigram::add_path(std::string_view piece) {
  std::int32_t at = 0;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    std::int32_t next = child(at, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      nodes_.emplace_back();
      edges_.insert(at, byte, {0, next});
    }
    at = next;
  }
  nodes_[static_cast<std::size_t>(at)].entry = static_cast<std::int32_t>(entries_.size()) - 1;
}

}  // namespace lodestone::text

