// Pre-tokenizers of tokenizer files: cut a text into the words that the model sees one by one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/regex.hpp>
#include <lodestone/text/scanner.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// Half-open byte range.
struct text_range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// What becomes of the matches of a splitting pattern.
enum class split_behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Receives matches in order, hands out the words between and around them under a split_behavior.
class word_collector {
 public:
  word_collector(text_range whole, split_behavior behavior, bool invert, std::vector<text_range>& words)
      : whole_(whole), behavior_(behavior), invert_(invert), done_(whole.begin), words_(words) {}

  void match(std::size_t begin, std::size_t end) {
    if (done_ < begin) part({done_, begin}, invert_);
    if (begin < end) part({begin, end}, !invert_);
    done_ = end;
  }
  void finish() {
    if (done_ < whole_.end) part({done_, whole_.end}, invert_);
    if (!open_) return;
    words_.push_back(pending_);
  }

 private:
  void part(text_range range, bool is_match) {
    if (behavior_ == split_behavior::removed) {
      if (!is_match) words_.push_back(range);
      return;
    }
    bool joins = false;
    switch (behavior_) {
      case split_behavior::contiguous: joins = is_match == last_is_match_; break;
      case split_behavior::merged_with_previous: joins = is_match && !last_is_match_; break;
      case split_behavior::merged_with_next: joins = last_is_match_ && !is_match; break;
      default: break;
    }
    if (open_ && joins) {
      pending_.end = range.end;
    } else {
      if (open_) words_.push_back(pending_);
      pending_ = range;
      open_ = true;
    }
    last_is_match_ = is_match;
  }

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
  word_scanner scanner;
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const {
    scanner.each(text.substr(range.begin, range.end - range.begin), [&](std::size_t begin, std::size_t end) {
      words.push_back({range.begin + begin, range.begin + end});
    });
  }
};

/// Splits at the matches of a pattern; look-around does not see past the range.
struct split_pattern {
  regex pattern;
  split_behavior behavior = split_behavior::isolated;
  bool invert = false;
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const {
    const std::string_view part = text.substr(range.begin, range.end - range.begin);
    word_collector collect(range, behavior, invert, words);
    regex::match found;
    for (std::size_t from = 0; from <= part.size() && pattern.find(part, from, found);) {
      collect.match(range.begin + found.begin, range.begin + found.end);
      from = found.end;
      if (found.begin == found.end) {
        if (from == part.size()) break;
        from += decode_utf8(part.data() + from, part.data() + part.size()).length;
      }
    }
    collect.finish();
  }
};

/// Splits at the occurrences of a string.
struct split_string {
  std::string pattern;
  split_behavior behavior = split_behavior::isolated;
  bool invert = false;
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const {
    const std::string_view part = text.substr(0, range.end);
    word_collector collect(range, behavior, invert, words);
    if (!pattern.empty())
      for (std::size_t at = part.find(pattern, range.begin); at != std::string_view::npos;
           at = part.find(pattern, at + pattern.size()))
        collect.match(at, at + pattern.size());
    collect.finish();
  }
};

/// Splits at every character that has one of the given class bits.
struct split_class {
  std::uint8_t bits = 0;
  split_behavior behavior = split_behavior::isolated;
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const {
    const character::table& classes = character::table::get();
    word_collector collect(range, behavior, false, words);
    const char* end = text.data() + range.end;
    for (std::size_t at = range.begin; at != range.end;) {
      const code_point here = decode_utf8(text.data() + at, end);
      if ((classes[here.value] & bits) != 0) collect.match(at, at + here.length);
      at += here.length;
    }
    collect.finish();
  }
};

/// `\w+|[^\w\s]+`, white space removed.
struct split_words_and_symbols {
  void operator()(std::string_view text, text_range range, std::vector<text_range>& words) const {
    const character::table& classes = character::table::get();
    const char* end = text.data() + range.end;
    int last = 0;  // 0 white space, 1 word, 2 symbols
    for (std::size_t at = range.begin; at != range.end;) {
      const code_point here = decode_utf8(text.data() + at, end);
      const std::uint8_t bits = classes[here.value];
      const int kind = (bits & character::word) != 0 ? 1 : (bits & character::space) != 0 ? 0 : 2;
      if (kind != 0 && kind == last) words.back().end = at + here.length;
      if (kind != 0 && kind != last) words.push_back({at, at + here.length});
      last = kind;
      at += here.length;
    }
  }
};

/// Writes spaces as `replacement`, puts one first according to the scheme, and splits before each.
struct metaspace {
  enum class scheme { always, first, never };
  std::string replacement = "\xE2\x96\x81";
  scheme prepend = scheme::always;
  bool split = true;
};

/// Puts a space before a word that does not start with one (ByteLevel with add_prefix_space).
struct prefix_space {};

/// Spells the bytes of each word in the byte-level alphabet (ByteLevel that is not the last step).
struct spell_words {};

/// A text and the words cut from it. `text` is the argument of pre_tokenizer::apply, or `storage` where it had to be
/// rewritten.
struct split_text {
  std::string_view text;
  std::vector<text_range> words;
  std::string storage;
  std::vector<text_range> scratch;

  [[nodiscard]] std::string_view word(text_range range) const {
    return text.substr(range.begin, range.end - range.begin);
  }
};

/// A sequence of pre-tokenizers, applied in order.
class pre_tokenizer {
 public:
  using step = std::variant<split_words, split_pattern, split_string, split_class, split_words_and_symbols, metaspace,
                            prefix_space, spell_words>;

  void add(step next) { steps_.push_back(std::move(next)); }

  /// Whether the last step spells bytes. That step is not run: the model takes raw bytes in its place.
  [[nodiscard]] bool ends_in_bytes() const {
    return !steps_.empty() && std::holds_alternative<spell_words>(steps_.back());
  }

  /// Cuts `text`, which must outlive `result`; `is_start` says that it is the start of what the user passed.
  void apply(std::string_view text, bool is_start, split_text& result) const {
    result.text = text;
    result.words.clear();
    if (!text.empty()) result.words.push_back({0, text.size()});
    const std::size_t count = steps_.size() - (ends_in_bytes() ? 1 : 0);
    for (std::size_t i = 0; i < count; ++i) std::visit([&](const auto& one) { run(one, is_start, result); }, steps_[i]);
  }

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

  static void run(const prefix_space&, bool, split_text& result) {
    rewrite_words(result, [](std::string_view word, bool, std::string& next) {
      if (word.front() != ' ') next.push_back(' ');
      next.append(word);
    });
  }

  static void run(const spell_words&, bool, split_text& result) {
    rewrite_words(
        result, [](std::string_view word, bool, std::string& next) { next.append(byte_alphabet::get().spell(word)); });
  }

  static void run(const metaspace& meta, bool is_start, split_text& result) {
    rewrite_words(result, [&](std::string_view word, bool is_first, std::string& next) {
      const bool starts = word.front() == ' ' || word.substr(0, meta.replacement.size()) == meta.replacement;
      const bool wanted = meta.prepend == metaspace::scheme::always ||
                          (meta.prepend == metaspace::scheme::first && is_start && is_first);
      if (wanted && !starts) next.append(meta.replacement);
      for (const char c : word) c == ' ' ? next.append(meta.replacement) : next.append(1, c);
    });
    if (meta.split) run(split_string{meta.replacement, split_behavior::merged_with_next, false}, is_start, result);
  }

  std::vector<step> steps_;
};

}  // namespace lodestone::text
