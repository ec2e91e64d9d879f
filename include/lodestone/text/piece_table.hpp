// Hash tables of the tokenizer: pieces by their bytes, and merges by their two sides.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone::text {

/// A 64-bit hash of some bytes: eight at a time, multiplied and folded. Not for untrusted keys in large numbers.
[[nodiscard]] std::uint64_t hash_bytes(const char* data, std::size_t size);

/// Maps byte strings to ids: open addressing over one arena of keys.
class piece_table {
 public:
  static constexpr std::int32_t none = -1;  ///< not found; no key may have it as id

  /// Adds a key; false, and nothing changes, if it is there already.
  bool insert(std::string_view key, std::int32_t id);

  /// The id of a key, or none.
  [[nodiscard]] std::int32_t find(std::string_view key) const;

  [[nodiscard]] std::size_t size() const { return count_; }  ///< number of keys

 private:
  struct slot {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
    std::int32_t id = none;
    std::uint32_t tag = 0;
  };

  /// The slot that holds a key, or the free one where it belongs.
  [[nodiscard]] std::size_t place_of(std::string_view key) const;

  void grow();

  std::vector<slot> slots_;
  std::string keys_;
  std::size_t count_ = 0;
};

/// Maps a pair of symbols to the rank of its merge and to the symbol it becomes.
class merge_table {
 public:
  static constexpr std::uint32_t no_rank = 0xffff'ffffU;  ///< the pair does not merge
  /// What a pair becomes, and how early.
  struct merge {
    std::uint32_t rank = no_rank;  ///< lower ranks merge first
    std::int32_t symbol = -1;      ///< what the pair becomes
  };

  /// Makes room for `count` merges in all; never for fewer than there is.
  void reserve(std::size_t count) { rehash(std::bit_ceil(std::max({std::size_t{16}, count * 2, slots_.size()}))); }

  /// Adds a merge; the last one for a pair counts.
  void insert(std::int32_t left, std::int32_t right, merge value);

  /// The merge of a pair; its rank is no_rank if there is none.
  [[nodiscard]] merge find(std::int32_t left, std::int32_t right) const;

 private:
  static constexpr std::uint64_t empty_key = ~std::uint64_t{0};
  struct slot {
    std::uint64_t key = empty_key;
    merge value{};
  };

  [[nodiscard]] static std::uint64_t key_of(std::int32_t left, std::int32_t right);
  [[nodiscard]] static std::size_t place_of(std::uint64_t key);
  [[nodiscard]] slot& find_slot(std::uint64_t key);
  void rehash(std::size_t size);

  std::vector<slot> slots_ = std::vector<slot>(16);
  std::size_t count_ = 0;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/piece_table.ipp>
#endif
