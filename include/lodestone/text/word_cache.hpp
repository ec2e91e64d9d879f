// Remembers the ids of words that come back: text is Zipf-distributed, and merging is the slow part of encoding.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/text/piece_table.hpp>

namespace lodestone::text {

/// A direct-mapped cache of short words: 2^14 entries of 64 bytes (1 MiB). One per thread and vocabulary.
class word_cache {
 public:
  static constexpr std::size_t longest_word = 26;  ///< bytes; a longer word is merged each time
  static constexpr std::size_t most_ids = 7;       ///< a word of more is merged each time

  /// A number for each vocabulary of the process; copies of a vocabulary share it.
  [[nodiscard]] static std::uint64_t new_owner() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  /// This thread's cache for a vocabulary. A thread keeps four; the least recently opened gives way.
  [[nodiscard]] static word_cache& of(std::uint64_t owner) {
    thread_local std::array<word_cache, 4> caches;
    thread_local std::uint64_t clock = 0;
    word_cache* chosen = &caches[0];
    for (word_cache& one : caches) {
      if (one.owner_ == owner) {
        one.used_ = ++clock;
        return one;
      }
      if (one.used_ < chosen->used_) chosen = &one;
    }
    chosen->entries_.assign(entry_count, entry{});
    chosen->owner_ = owner;
    chosen->used_ = ++clock;
    return *chosen;
  }

  /// The remembered ids of a word; calls merge(ids) to append them to `ids` if the word is new.
  template <class Merge>
  void encode(std::string_view word, std::vector<std::int32_t>& ids, Merge&& merge) {
    if (word.size() > longest_word) {
      merge(ids);
      return;
    }
    const std::uint64_t hash = hash_bytes(word.data(), word.size());
    entry& place = entries_[static_cast<std::size_t>(hash) % entry_count];
    if (place.hash == hash && place.length == word.size() && std::memcmp(place.word, word.data(), word.size()) == 0) {
      ids.insert(ids.end(), place.ids, place.ids + place.count);
      return;
    }
    const std::size_t before = ids.size();
    merge(ids);
    const std::size_t count = ids.size() - before;
    if (count > most_ids) return;
    place.hash = hash;
    place.length = static_cast<std::uint8_t>(word.size());
    place.count = static_cast<std::uint8_t>(count);
    std::memcpy(place.word, word.data(), word.size());
    if (count != 0) std::memcpy(place.ids, ids.data() + before, count * sizeof(std::int32_t));
  }

 private:
  static constexpr std::size_t entry_count = std::size_t{1} << 14;
  struct entry {
    std::uint64_t hash = 0;
    std::uint8_t length = 0;  // 0: free (a word is never empty)
    std::uint8_t count = 0;
    char word[longest_word] = {};
    std::int32_t ids[most_ids] = {};
  };
  static_assert(sizeof(entry) == 64);

  std::vector<entry> entries_;
  std::uint64_t owner_ = 0;
  std::uint64_t used_ = 0;
};

}  // namespace lodestone::text
