// Definitions of chat_encoder.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <tuple>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

LODESTONE_INLINE std::int64_t encoded_sequence::targets() const {
  return static_cast<std::int64_t>(labels.size()) - std::count(labels.begin(), labels.end(), no_label);
}

LODESTONE_INLINE example_view encoded_sequence::view(std::int64_t index) const {
  return {tokens, labels, weights, weight, index, group, role, prompt, reference, chunks};
}

LODESTONE_INLINE bool operator==(const encoded_sequence& a, const encoded_sequence& b) {
  const bool has_same_reference =
      a.reference == b.reference || (a.reference != a.reference && b.reference != b.reference);
  return has_same_reference &&
         std::tie(a.tokens, a.labels, a.weights, a.weight, a.group, a.role, a.prompt, a.chunks) ==
             std::tie(b.tokens, b.labels, b.weights, b.weight, b.group, b.role, b.prompt, b.chunks);
}

namespace detail {

LODESTONE_INLINE void control_words::add(std::string_view word) { words_.emplace_back(word); }

LODESTONE_INLINE void control_words::sort() {
  std::sort(words_.begin(), words_.end());
  for (const std::string& word : words_)
    if (starts_.find(word.front()) == std::string::npos) starts_ += word.front();
}

LODESTONE_INLINE bool control_words::contains(std::string_view word) const {
  return std::binary_search(words_.begin(), words_.end(), word);
}

LODESTONE_INLINE std::int64_t control_words::find_all(std::string_view text, std::size_t offset,
                                                      std::vector<std::pair<std::size_t, std::size_t>>& found) const {
  std::int64_t count = 0;
  for (auto [at, length] = find(text, 0); length != 0; std::tie(at, length) = find(text, at + length), ++count)
    found.emplace_back(offset + at, length);
  return count;
}

// The next control token in text at or after `from`: (offset, length).
LODESTONE_INLINE std::pair<std::size_t, std::size_t> control_words::find(std::string_view text,
                                                                         std::size_t from) const {
  for (std::size_t at = text.find_first_of(starts_, from); at != std::string_view::npos;
       at = text.find_first_of(starts_, at + 1)) {
    const std::string_view rest = text.substr(at);
    // All control tokens that are prefixes of `rest` sort before it; the longest is the nearest one.
    auto after = std::upper_bound(words_.begin(), words_.end(), rest);
    while (after != words_.begin()) {
      --after;
      if (rest.starts_with(*after)) return {at, after->size()};
      if (after->substr(0, 2) != rest.substr(0, 2)) break;
    }
  }
  return {std::string_view::npos, 0};
}

LODESTONE_INLINE void assembly::push(std::int32_t id, double weight) {
  if (weight > 0.0 && !sequence.tokens.empty() && !is_label_fixed) {
    sequence.labels.back() = id;
    sequence.weights.back() = static_cast<float>(weight);
  }
  is_label_fixed = false;
  sequence.tokens.push_back(id);
  sequence.labels.push_back(no_label);
  sequence.weights.push_back(0.0F);
}

LODESTONE_INLINE bool begins_with(const std::vector<std::int32_t>& whole, const std::vector<std::int32_t>& head) {
  return whole.size() >= head.size() && std::equal(head.begin(), head.end(), whole.begin());
}

LODESTONE_INLINE bool is_conversation(std::span<const chat_segment> segments) {
  return std::any_of(segments.begin(), segments.end(),
                     [](const chat_segment& one) { return one.is_template && !one.is_end_token && !one.text.empty(); });
}

LODESTONE_INLINE std::int64_t remove_doubled(const std::string& prefix, std::vector<chat_segment>& segments) {
  std::int64_t count = 0;
  if (prefix.empty()) return count;
  for (chat_segment& segment : segments) {
    while (segment.text.starts_with(prefix)) {
      segment.text.erase(0, prefix.size());
      ++count;
    }
    if (!segment.text.empty()) break;
  }
  return count;
}

}  // namespace detail

}  // namespace lodestone
