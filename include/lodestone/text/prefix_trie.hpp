// A trie of byte strings: the longest of them that starts a text.
#pragma once

#include <algorithm>
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
  /// The longest key at the start of a text.
  struct match {
    std::int32_t value = -1;  ///< -1: no key starts the text
    std::size_t length = 0;
  };

  /// Adds a key; false, and nothing changes, if it is empty or there already.
  bool insert(std::string_view key, std::int32_t value) {
    if (key.empty()) return false;
    std::uint32_t at = 0;
    for (const char c : key) at = child_or_new(at, static_cast<unsigned char>(c));
    if (nodes_[at].value >= 0) return false;
    nodes_[at].value = value;
    const auto first = static_cast<unsigned char>(key.front());
    if (!starts_[first]) ++start_count_;
    starts_[first] = true;
    start_ = key.front();
    return true;
  }

  [[nodiscard]] bool empty() const { return start_count_ == 0; }

  /// The longest key that starts `text`.
  [[nodiscard]] match longest(std::string_view text) const {
    match best;
    if (text.empty() || !starts_[static_cast<unsigned char>(text.front())]) return best;
    const node* here = &nodes_[0];
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      const auto child = std::find_if(here->children.begin(), here->children.end(),
                                      [byte](const auto& one) { return one.first == byte; });
      if (child == here->children.end()) break;
      here = &nodes_[child->second];
      if (here->value >= 0) best = {here->value, i + 1};
    }
    return best;
  }

  /// The first place at or after `from` whose byte starts a key; the size of `text` if there is none.
  [[nodiscard]] std::size_t next_start(std::string_view text, std::size_t from) const {
    if (from >= text.size() || empty()) return text.size();
    if (start_count_ == 1) return std::min(text.find(start_, from), text.size());
    while (from < text.size() && !starts_[static_cast<unsigned char>(text[from])]) ++from;
    return from;
  }

 private:
  struct node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;
    std::int32_t value = -1;
  };

  std::uint32_t child_or_new(std::uint32_t parent, unsigned char byte) {
    for (const auto& [label, child] : nodes_[parent].children)
      if (label == byte) return child;
    const auto child = static_cast<std::uint32_t>(nodes_.size());
    nodes_[parent].children.emplace_back(byte, child);
    nodes_.emplace_back();
    return child;
  }

  std::vector<node> nodes_ = std::vector<node>(1);
  std::array<bool, 256> starts_{};
  int start_count_ = 0;
  char start_ = '\0';
};

}  // namespace lodestone::text
