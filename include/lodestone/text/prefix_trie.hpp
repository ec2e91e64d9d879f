// A trie of byte strings: the longest of them that starts a text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestone::text {

/// Maps keys to numbers. For some thousands of keys: added tokens, user-defined pieces.
class prefix_trie {
 public:
  /// An empty trie, which matches nothing.
  prefix_trie();

  /// The longest key at the start of a text.
  struct match {
    std::int32_t value = -1;  ///< -1: no key starts the text
    std::size_t length = 0;   ///< bytes of the key
  };

  /// Adds a key; false, and nothing changes, if it is empty or there already.
  bool insert(std::string_view key, std::int32_t value);

  [[nodiscard]] bool empty() const { return start_count_ == 0; }  ///< holds no key

  /// The longest key that starts `text`.
  [[nodiscard]] match longest(std::string_view text) const;

  /// The first place at or after `from` whose byte starts a key; the size of `text` if there is none.
  [[nodiscard]] std::size_t next_start(std::string_view text, std::size_t from) const;

 private:
  struct node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;
    std::int32_t value = -1;
  };

  std::uint32_t child_or_new(std::uint32_t parent, unsigned char byte);

  std::vector<node> nodes_;
  std::array<bool, 256> starts_{};
  int start_count_ = 0;
  char start_ = '\0';
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/prefix_trie.ipp>
#endif
