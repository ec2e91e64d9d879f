// Definitions of bpe.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <span>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/bpe.hpp>
#include <lodestone/text/merge.hpp>

namespace lodestone::text {

LODESTONE_INLINE void code_point_map::set(char32_t key, std::int32_t value) {
  std::uint32_t& page = pages_[key >> 8];
  if (page == 0) {
    page = static_cast<std::uint32_t>(values_.size());
    values_.resize(values_.size() + 256, -1);
  }
  values_[page + (key & 0xFFU)] = value;
}

LODESTONE_INLINE std::int32_t code_point_map::find(char32_t key) const {
  return key > 0x10FFFF ? -1 : values_[pages_[key >> 8] + (key & 0xFFU)];
}

LODESTONE_INLINE bpe::bpe(const bpe_parts& parts)
    : over_bytes_(parts.over_bytes),
      ignore_merges_(parts.ignore_merges),
      fuse_unknown_(parts.fuse_unknown),
      unknown_(parts.unknown),
      byte_ids_(parts.byte_ids),
      owner_(word_cache::new_owner()) {
  has_all_bytes_ = std::none_of(byte_ids_.begin(), byte_ids_.end(), [](std::int32_t id) { return id < 0; });
  byte_fallback_ = parts.byte_fallback;
  for (const bpe_parts::piece& one : parts.pieces) {
    if (ignore_merges_) whole_.insert(one.text, one.id);
    if (over_bytes_ || one.text.empty()) continue;
    const code_point first = decode_utf8(one.text.data(), one.text.data() + one.text.size());
    if (first.length == one.text.size() && first.value != not_utf8) characters_.set(first.value, one.id);
  }
  for (const bpe_parts::piece& one : parts.frozen) frozen_.insert(one.text, one.id);
  std::vector<std::int32_t> bytes(byte_ids_.begin(), byte_ids_.end());
  std::sort(bytes.begin(), bytes.end());
  const auto is_fallback = [&](std::int32_t id) {
    return id == unknown_ || (byte_fallback_ && std::binary_search(bytes.begin(), bytes.end(), id));
  };
  merges_.reserve(parts.merges.size());
  for (const bpe_parts::merge& one : parts.merges) {
    merges_.insert(one.left, one.right, {one.rank, one.becomes});
    if (over_bytes_) continue;
    note_neighbours(one.text);
    merges_fallback_ = merges_fallback_ || is_fallback(one.left) || is_fallback(one.right);
  }
}

LODESTONE_INLINE void bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  encode(word, word_cache::of(owner_), ids);
}

LODESTONE_INLINE void bpe::encode(std::string_view word, word_cache& cache, std::vector<std::int32_t>& ids) const {
  if (word.empty()) return;
  if (over_bytes_) {
    cache.encode(word, ids, [&](std::vector<std::int32_t>& out) { merge_bytes(word, out); });
  } else {
    if (ignore_merges_)
      if (const std::int32_t id = whole_.find(word); id != piece_table::none) {
        ids.push_back(id);
        return;
      }
    encode_characters(word, cache, ids);
  }
}

LODESTONE_INLINE void bpe::merge_bytes(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (ignore_merges_)
    if (const std::int32_t id = whole_.find(word); id != piece_table::none) {
      ids.push_back(id);
      return;
    }
  const std::size_t begin = ids.size();
  bool after_unknown = false;
  for (const char c : word) {
    const std::int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id >= 0) {
      ids.push_back(id);
    } else if (unknown_ >= 0 && !(after_unknown && fuse_unknown_)) {
      ids.push_back(unknown_);
    }
    after_unknown = id < 0;
  }
  merge_tail(ids, begin);
}

LODESTONE_INLINE void bpe::merge_tail(std::vector<std::int32_t>& ids, std::size_t begin) const {
  const std::span<std::int32_t> symbols(ids.data() + begin, ids.size() - begin);
  if (symbols.size() > 0x7fff'ffffU) throw error("a single word of more than 2^31 symbols", {}, "split the text");
  ids.resize(begin + (symbols.size() <= merge_limit ? merge_word(merges_, symbols) : merge_text(merges_, symbols)));
}

LODESTONE_INLINE void bpe::encode_characters(std::string_view text, word_cache& cache,
                                             std::vector<std::int32_t>& ids) const {
  const char* end = text.data() + text.size();
  const char* part = text.data();  // start of the characters that merge together and are not yet written
  std::int32_t only = -1;          // id of the part's character, while it has just one
  std::int32_t last_index = -1;    // of the character before p in the neighbour table
  char32_t last = 0;
  bool after_unknown = false;
  std::size_t loose = ids.size();  // if merges_fallback_: everything from here on merges as one
  const auto flush = [&](const char* stop) {
    if (part == stop) return;
    if (only >= 0) {
      ids.push_back(only);
    } else {
      const std::string_view chars(part, static_cast<std::size_t>(stop - part));
      if (merges_fallback_) {
        append_characters(chars, ids);
      } else {
        cache.encode(chars, ids, [&](std::vector<std::int32_t>& out) {
          const std::size_t begin = out.size();
          append_characters(chars, out);
          merge_tail(out, begin);
        });
      }
    }
    part = stop;
  };
  for (const char* p = part; p != end;) {
    if (!frozen_.empty()) {
      if (const auto piece = frozen_.longest({p, static_cast<std::size_t>(end - p)}); piece.value >= 0) {
        flush(p);
        if (merges_fallback_) merge_tail(ids, loose);
        ids.push_back(piece.value);
        loose = ids.size();
        p += piece.length;
        part = p;
        after_unknown = false;
        continue;
      }
    }
    const code_point here = decode_utf8(p, end);
    const std::int32_t id = characters_.find(here.value);
    if (id < 0) {
      flush(p);
      after_unknown = append_fallback({p, here.length}, after_unknown, ids);
      p += here.length;
      part = p;
      continue;
    }
    after_unknown = false;
    const std::int32_t index = small_index(here.value);
    if (part == p) {
      only = id;
    } else if (may_join(last, last_index, here.value, index)) {
      only = -1;
    } else {
      flush(p);
      only = id;
    }
    last = here.value;
    last_index = index;
    p += here.length;
  }
  flush(end);
  if (merges_fallback_) merge_tail(ids, loose);
}

LODESTONE_INLINE void bpe::append_characters(std::string_view chars, std::vector<std::int32_t>& ids) const {
  const char* end = chars.data() + chars.size();
  for (const char* p = chars.data(); p != end;) {
    const code_point here = decode_utf8(p, end);
    ids.push_back(characters_.find(here.value));
    p += here.length;
  }
}

LODESTONE_INLINE bool bpe::append_fallback(std::string_view bytes, bool after_unknown,
                                           std::vector<std::int32_t>& ids) const {
  const auto id_of = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (byte_fallback_ &&
      (has_all_bytes_ || std::all_of(bytes.begin(), bytes.end(), [&](char c) { return id_of(c) >= 0; }))) {
    for (const char c : bytes) ids.push_back(id_of(c));
    return false;
  }
  if (unknown_ >= 0 && !(after_unknown && fuse_unknown_)) ids.push_back(unknown_);
  return true;
}

LODESTONE_INLINE std::int32_t bpe::small_index(char32_t c) {
  return c < 128 ? static_cast<std::int32_t>(c) : c == 0x2581 ? 128 : -1;
}

LODESTONE_INLINE std::size_t bpe::small_pair(std::int32_t left, std::int32_t right) {
  return static_cast<std::size_t>(left) * small_count + static_cast<std::size_t>(right);
}

LODESTONE_INLINE bool bpe::may_join(char32_t left, std::int32_t left_index, char32_t right,
                                    std::int32_t right_index) const {
  if (left_index >= 0 && right_index >= 0)
    return small_neighbours_[small_pair(left_index, right_index)] != 0;
  return neighbours_.find(static_cast<std::int32_t>(left), static_cast<std::int32_t>(right)).rank == 0;
}

LODESTONE_INLINE void bpe::note_neighbours(std::string_view piece) {
  const char* end = piece.data() + piece.size();
  char32_t left = not_utf8;
  for (const char* p = piece.data(); p != end;) {
    const code_point here = decode_utf8(p, end);
    const std::int32_t right_index = small_index(here.value);
    if (p != piece.data()) {
      const std::int32_t left_index = small_index(left);
      if (left_index >= 0 && right_index >= 0)
        small_neighbours_[small_pair(left_index, right_index)] = 1;
      else
        neighbours_.insert(static_cast<std::int32_t>(left), static_cast<std::int32_t>(here.value), {0, 0});
    }
    left = here.value;
    p += here.length;
  }
}

}  // namespace lodestone::text

