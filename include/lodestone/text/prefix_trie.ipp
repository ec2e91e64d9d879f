// Definitions of prefix_trie.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/prefix_trie.hpp>

namespace lodestone::text {

LODESTONE_INLINE prefix_trie::prefix_trie() : nodes_(1) {}

LODESTONE_INLINE bool prefix_trie::insert(std::string_view key, std::int32_t value) {
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

LODESTONE_INLINE prefix_trie::match prefix_trie::longest(std::string_view text) const {
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

LODESTONE_INLINE std::size_t prefix_trie::next_start(std::string_view text, std::size_t from) const {
  if (from >= text.size() || empty()) return text.size();
  if (start_count_ == 1) return std::min(text.find(start_, from), text.size());
  while (from < text.size() && !starts_[static_cast<unsigned char>(text[from])]) ++from;
  return from;
}

LODESTONE_INLINE std::uint32_t prefix_trie::child_or_new(std::uint32_t parent, unsigned char byte) {
  for (const auto& [label, child] : nodes_[parent].children)
    if (label == byte) return child;
  const auto child = static_cast<std::uint32_t>(nodes_.size());
  nodes_[parent].children.emplace_back(byte, child);
  nodes_.emplace_back();
  return child;
}

}  // namespace lodestone::text

