// Definitions of pre_tokenizer.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/pre_tokenizer.hpp>

namespace lodestone::text {

LODESTONE_INLINE word_collector::word_collector(text_range whole, split_behavior behavior, bool invert,
                                                std::vector<text_range>& words)
    : whole_(whole), behavior_(behavior), invert_(invert), done_(whole.begin), words_(words) {}

LODESTONE_INLINE void word_collector::match(std::size_t begin, std::size_t end) {
  if (done_ < begin) part({done_, begin}, invert_);
  if (begin < end) part({begin, end}, !invert_);
  done_ = end;
}

LODESTONE_INLINE void word_collector::finish() {
  if (done_ < whole_.end) part({done_, whole_.end}, invert_);
  if (!open_) return;
  words_.push_back(pending_);
}

LODESTONE_INLINE void word_collector::part(text_range range, bool is_match) {
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

LODESTONE_INLINE void split_words::operator()(std::string_view text, text_range range,
                                              std::vector<text_range>& words) const {
  scanner.each(text.substr(range.begin, range.end - range.begin), [&](std::size_t begin, std::size_t end) {
    words.push_back({range.begin + begin, range.begin + end});
  });
}

LODESTONE_INLINE void split_pattern::operator()(std::string_view text, text_range range,
                                                std::vector<text_range>& words) const {
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

LODESTONE_INLINE void split_string::operator()(std::string_view text, text_range range,
                                               std::vector<text_range>& words) const {
  const std::string_view part = text.substr(0, range.end);
  word_collector collect(range, behavior, invert, words);
  if (!pattern.empty())
    for (std::size_t at = part.find(pattern, range.begin); at != std::string_view::npos;
         at = part.find(pattern, at + pattern.size()))
      collect.match(at, at + pattern.size());
  collect.finish();
}

LODESTONE_INLINE void split_class::operator()(std::string_view text, text_range range,
                                              std::vector<text_range>& words) const {
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

LODESTONE_INLINE void split_words_and_symbols::operator()(std::string_view text, text_range range,
                                                          std::vector<text_range>& words) const {
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

LODESTONE_INLINE std::string_view split_text::word(text_range range) const {
  return text.substr(range.begin, range.end - range.begin);
}

LODESTONE_INLINE void pre_tokenizer::add(step next) { steps_.push_back(std::move(next)); }

LODESTONE_INLINE bool pre_tokenizer::ends_in_bytes() const {
  return !steps_.empty() && std::holds_alternative<spell_words>(steps_.back());
}

LODESTONE_INLINE void pre_tokenizer::apply(std::string_view text, bool is_start, split_text& result) const {
  result.text = text;
  result.words.clear();
  if (!text.empty()) result.words.push_back({0, text.size()});
  const std::size_t count = steps_.size() - (ends_in_bytes() ? 1 : 0);
  for (std::size_t i = 0; i < count; ++i) std::visit([&](const auto& one) { run(one, is_start, result); }, steps_[i]);
}

LODESTONE_INLINE void pre_tokenizer::run(const prefix_space&, bool, split_text& result) {
  rewrite_words(result, [](std::string_view word, bool, std::string& next) {
    if (word.front() != ' ') next.push_back(' ');
    next.append(word);
  });
}

LODESTONE_INLINE void pre_tokenizer::run(const spell_words&, bool, split_text& result) {
  rewrite_words(
      result, [](std::string_view word, bool, std::string& next) { next.append(byte_alphabet::get().spell(word)); });
}

LODESTONE_INLINE void pre_tokenizer::run(const metaspace& meta, bool is_start, split_text& result) {
  rewrite_words(result, [&](std::string_view word, bool is_first, std::string& next) {
    const bool starts = word.front() == ' ' || word.substr(0, meta.replacement.size()) == meta.replacement;
    const bool wanted = meta.prepend == metaspace::scheme::always ||
                        (meta.prepend == metaspace::scheme::first && is_start && is_first);
    if (wanted && !starts) next.append(meta.replacement);
    for (const char c : word) c == ' ' ? next.append(meta.replacement) : next.append(1, c);
  });
  if (meta.split) run(split_string{meta.replacement, split_behavior::merged_with_next, false}, is_start, result);
}

}  // namespace lodestone::text

