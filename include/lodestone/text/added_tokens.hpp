// Added and special tokens: found in the text before anything else looks at it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// One added token, as tokenizer.json describes it.
struct added_token {
  std::string content;
  std::int32_t id = -1;
  bool special = false;      ///< found only where special tokens are parsed; left out by decode(skip_special)
  bool single_word = false;  ///< only between characters that are not of a word
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< its content is normalized, and sought in normalized text
};

/// Finds tokens in text: leftmost first, and of those that start at one place the longest.
class token_finder {
 public:
  /// Seeks `pattern` (usually the content; its normal form for normalized tokens) as `token`.
  void add(std::string_view pattern, added_token token) {
    if (pattern.empty()) return;
    std::uint32_t node = 0;
    for (const char c : pattern) node = child_or_new(node, static_cast<unsigned char>(c));
    if (nodes_[node].token >= 0) return;  // the first of equal patterns counts
    nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
    tokens_.push_back(std::move(token));
    const auto first = static_cast<unsigned char>(pattern.front());
    if (!starts_[first]) ++start_count_;
    starts_[first] = true;
    start_ = pattern.front();
  }

  [[nodiscard]] bool empty() const { return tokens_.empty(); }

  /// Calls text(begin, end) for the stretches between tokens (never empty) and token(id) for tokens, in order.
  template <class Text, class Token>
  void each(std::string_view whole, bool parse_special, Text&& text, Token&& token) const {
    std::size_t done = 0;
    for (std::size_t at = next_start(whole, 0); at < whole.size();) {
      const auto [found, length] = longest(whole.substr(at));
      if (found == nullptr) {
        at = next_start(whole, at + 1);
        continue;
      }
      std::size_t begin = at;
      std::size_t end = at + length;
      at = next_start(whole, end);
      if (found->special && !parse_special) continue;
      if (found->single_word && (word_ends(whole.substr(0, begin)) || word_starts(whole.substr(end)))) continue;
      if (found->lstrip) begin = trim_right(whole, done, begin);
      if (found->rstrip) end = trim_left(whole, end);
      begin = std::max(begin, done);  // a neighbour may have taken the white space already
      end = std::max(end, done);
      if (done < begin) text(done, begin);
      token(found->id);
      done = end;
      if (at < done) at = next_start(whole, done);
    }
    if (done < whole.size()) text(done, whole.size());
  }

 private:
  struct node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;
    std::int32_t token = -1;
  };

  std::uint32_t child_or_new(std::uint32_t parent, unsigned char byte) {
    for (const auto& [label, child] : nodes_[parent].children)
      if (label == byte) return child;
    const auto child = static_cast<std::uint32_t>(nodes_.size());
    nodes_[parent].children.emplace_back(byte, child);
    nodes_.emplace_back();
    return child;
  }

  /// The first place at or after `from` where a token can start.
  [[nodiscard]] std::size_t next_start(std::string_view whole, std::size_t from) const {
    if (from >= whole.size() || tokens_.empty()) return whole.size();
    if (start_count_ == 1) return std::min(whole.find(start_, from), whole.size());
    while (from < whole.size() && !starts_[static_cast<unsigned char>(whole[from])]) ++from;
    return from;
  }

  [[nodiscard]] std::pair<const added_token*, std::size_t> longest(std::string_view text) const {
    std::pair<const added_token*, std::size_t> best{nullptr, 0};
    const node* here = &nodes_[0];
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      const auto child = std::find_if(here->children.begin(), here->children.end(),
                                      [byte](const auto& one) { return one.first == byte; });
      if (child == here->children.end()) break;
      here = &nodes_[child->second];
      if (here->token >= 0) best = {&tokens_[static_cast<std::size_t>(here->token)], i + 1};
    }
    return best;
  }

  [[nodiscard]] static bool has(code_point at, std::uint8_t bits) {
    return (character::table::get()[at.value] & bits) != 0;
  }
  [[nodiscard]] static bool word_ends(std::string_view text) {
    return !text.empty() && has(decode_utf8_before(text.data(), text.data() + text.size()), character::word);
  }
  [[nodiscard]] static bool word_starts(std::string_view text) {
    return !text.empty() && has(decode_utf8(text.data(), text.data() + text.size()), character::word);
  }
  [[nodiscard]] static std::size_t trim_right(std::string_view whole, std::size_t done, std::size_t end) {
    while (end > done) {
      const code_point before = decode_utf8_before(whole.data() + done, whole.data() + end);
      if (!has(before, character::space)) break;
      end -= before.length;
    }
    return end;
  }
  [[nodiscard]] static std::size_t trim_left(std::string_view whole, std::size_t begin) {
    while (begin < whole.size()) {
      const code_point next = decode_utf8(whole.data() + begin, whole.data() + whole.size());
      if (!has(next, character::space)) break;
      begin += next.length;
    }
    return begin;
  }

  std::vector<node> nodes_ = std::vector<node>(1);
  std::vector<added_token> tokens_;
  std::array<bool, 256> starts_{};
  int start_count_ = 0;
  char start_ = '\0';
};

}  // namespace lodestone::text
