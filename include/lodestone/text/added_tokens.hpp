// Added and special tokens: found in the text before anything else looks at it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/text/prefix_trie.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// One added token, as tokenizer.json describes it.
struct added_token {
  std::string content;       ///< the text to find; empty: never found
  std::int32_t id = -1;      ///< its id in the vocabulary
  bool special = false;      ///< found only where special tokens are parsed; left out by decode(skip_special)
  bool single_word = false;  ///< only between characters that are not of a word
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< its content is normalized, and sought in normalized text
};

/// Finds tokens in text: leftmost first, and of those that start at one place the longest.
class token_finder {
 public:
  /// Seeks `pattern` (the content, or its normal form for normalized tokens) as `token`; of equal patterns the first
  /// counts, and an empty one is never found.
  void add(std::string_view pattern, added_token token);

  [[nodiscard]] bool empty() const { return tokens_.empty(); }  ///< no pattern was added

  /// Calls text(begin, end) for the stretches between tokens (never empty) and token(id) for tokens, in order.
  template <class Text, class Token>
  void each(std::string_view whole, bool parse_special, Text&& text, Token&& token) const {
    std::size_t done = 0;
    for (std::size_t at = patterns_.next_start(whole, 0); at < whole.size();) {
      const prefix_trie::match match = patterns_.longest(whole.substr(at));
      if (match.value < 0) {
        at = patterns_.next_start(whole, at + 1);
        continue;
      }
      const added_token* found = &tokens_[static_cast<std::size_t>(match.value)];
      std::size_t begin = at;
      std::size_t end = at + match.length;
      at = patterns_.next_start(whole, end);
      if (found->special && !parse_special) continue;
      if (found->single_word && (word_ends(whole.substr(0, begin)) || word_starts(whole.substr(end)))) continue;
      if (found->lstrip) begin = trim_right(whole, done, begin);
      if (found->rstrip) end = trim_left(whole, end);
      begin = std::max(begin, done);  // a neighbour may have taken the white space already
      end = std::max(end, done);
      if (done < begin) text(done, begin);
      token(found->id);
      done = end;
      if (at < done) at = patterns_.next_start(whole, done);
    }
    if (done < whole.size()) text(done, whole.size());
  }

 private:
  [[nodiscard]] static bool has(code_point at, std::uint8_t bits);
  [[nodiscard]] static bool word_ends(std::string_view text);
  [[nodiscard]] static bool word_starts(std::string_view text);
  [[nodiscard]] static std::size_t trim_right(std::string_view whole, std::size_t done, std::size_t end);
  [[nodiscard]] static std::size_t trim_left(std::string_view whole, std::size_t begin);

  prefix_trie patterns_;
  std::vector<added_token> tokens_;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/added_tokens.ipp>
#endif
