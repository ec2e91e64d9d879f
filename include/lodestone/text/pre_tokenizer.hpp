// Pre-tokenizers of tokenizer files: cut a text into the words that the model sees one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/text/regex.hpp>
#include <lodestone/text/scanner.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// Half-open byte range.
struct text_range {
  std::size_t begin = 0;  ///< offset of the first byte
  std::size_t end = 0;    ///< offset one past the last byte
};

/// What becomes of the matches of a splitting pattern.
enum class split_behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Receives matches in order, hands out the words between and around them under a split_behavior.
class word_collector {
 public:
  /// Appends the words of `whole` to `words`, which must outlive the object; `invert` exchanges matches and what lies
  /// between them.
  word_collector(text_range whole, split_behavior behavior, bool invert, std::vector<text_range>& words);

  /// The next match, at or after the end of the one before and within `whole`.
  void match(std::size_t begin, std::size_t end);
  /// Hands out what is left; call it once, after the last match.
  void finish();

 private:
  void part(text_range range, bool is_match);

  text_range whole_;
  split_behavior behavior_;
  bool invert_;
  std::size_t done_;
  std::vector<text_range>& words_;
  text_range pending_{};
  bool open_ = false;
  bool last_is_match_ = false;
};

/// Words of one of the three well-known patterns, each isolated.
struct split_words {
  word_scanner scanner;  ///< knows the pattern
  /// Appends the words of `range`, as offsets in `text`.
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const;
};

/// Splits at the matches of a pattern; look-around does not see past the range.
struct split_pattern {
  regex pattern;                                       ///< an empty match is no word
  split_behavior behavior = split_behavior::isolated;  ///< what becomes of the matches
  bool invert = false;                                 ///< what lies between the matches counts as match
  /// Appends the words of `range`, as offsets in `text`. Throws error when a match exceeds PCRE2's limits.
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const;
};

/// Splits at the occurrences of a string.
struct split_string {
  std::string pattern;                                 ///< empty: nothing is cut
  split_behavior behavior = split_behavior::isolated;  ///< what becomes of the occurrences
  bool invert = false;                                 ///< what lies between the occurrences counts as match
  /// Appends the words of `range`, as offsets in `text`.
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const;
};

/// Splits at every character that has one of the given class bits.
struct split_class {
  std::uint8_t bits = 0;                               ///< of namespace character; any of them is enough
  split_behavior behavior = split_behavior::isolated;  ///< what becomes of these characters
  /// Appends the words of `range`, as offsets in `text`.
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const;
};

/// `\w+|[^\w\s]+`, white space removed.
struct split_words_and_symbols {
  /// Appends the words of `range`, as offsets in `text`.
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const;
};

/// Writes spaces as `replacement`, puts one first according to the scheme, and splits before each.
struct metaspace {
  /// Which words get a replacement first, if they do not start with one: all, the first of what the user passed, or
  /// none.
  enum class scheme { always, first, never };
  std::string replacement = "\xE2\x96\x81";  ///< UTF-8, not empty: U+2581
  scheme prepend = scheme::always;           ///< which words get one first
  bool split = true;                         ///< cuts before each replacement
};

/// Puts a space before a word that does not start with one (ByteLevel with add_prefix_space).
struct prefix_space {};

/// Spells the bytes of each word in the byte-level alphabet (ByteLevel that is not the last step).
struct spell_words {};

/// A text and the words cut from it. `text` is the argument of pre_tokenizer::apply, or `storage` where it had to be
/// rewritten.
struct split_text {
  std::string_view text;            ///< what the ranges refer to
  std::vector<text_range> words;    ///< in order, none empty
  std::string storage;              ///< `text` may lie in it, so that the object must stay where it is
  std::vector<text_range> scratch;  ///< between steps; nothing that counts for the caller

  /// The bytes of a range of `text`.
  [[nodiscard]] std::string_view word(text_range range) const;
};

/// A sequence of pre-tokenizers, applied in order.
class pre_tokenizer {
 public:
  /// One pre-tokenizer.
  using step = std::variant<split_words, split_pattern, split_string, split_class, split_words_and_symbols, metaspace,
                            prefix_space, spell_words>;

  /// Puts a step behind the others.
  void add(step next);

  /// Whether the last step spells bytes. That step is not run: the model takes raw bytes in its place.
  [[nodiscard]] bool ends_in_bytes() const;

  /// Cuts `text`, which must outlive `result`; `is_start` says that it is the start of what the user passed.
  void apply(std::string_view text, bool is_start, split_text& result) const;

 private:
  template <class Splitter>
  static void run(const Splitter& splitter, bool, split_text& result) {
    result.scratch.clear();
    for (const text_range& word : result.words) splitter(result.text, word, result.scratch);
    result.words.swap(result.scratch);
  }

  /// Rewrites every word into new storage; rewrite(word, is_first_word, storage) appends it.
  template <class Rewrite>
  static void rewrite_words(split_text& result, Rewrite&& rewrite) {
    std::string next;
    next.reserve(result.text.size() + result.text.size() / 4 + 8);
    for (text_range& word : result.words) {
      const std::size_t begin = next.size();
      rewrite(result.word(word), word.begin == 0, next);
      word = {begin, next.size()};
    }
    result.storage = std::move(next);
    result.text = result.storage;
  }

  static void run(const prefix_space&, bool, split_text& result);

  static void run(const spell_words&, bool, split_text& result);

  static void run(const metaspace& meta, bool is_start, split_text& result);

  std::vector<step> steps_;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/pre_tokenizer.ipp>
#endif
