// Definitions of answer_scores.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <array>
#include <unordered_map>

#include <utf8proc.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/answer_text.ipp>

namespace lodestone::eval {

namespace detail {

using word_counts = std::unordered_map<std::string_view, std::size_t>;

[[nodiscard]] inline word_counts count_words(std::span<const std::string> words) {
  word_counts counts;
  for (const std::string& word : words) ++counts[word];
  return counts;
}

[[nodiscard]] inline std::string replace_each(std::string_view text, std::string_view characters, char by) {
  std::string result(text);
  for (char& c : result)
    if (characters.find(c) != std::string_view::npos) c = by;
  return result;
}

/// str.strip(): without white space at both ends.
[[nodiscard]] inline std::string strip(std::string_view text) {
  std::u32string points = code_points(text);
  std::size_t begin = 0;
  std::size_t end = points.size();
  while (begin < end && is_blank(points[begin])) ++begin;
  while (end > begin && is_blank(points[end - 1])) --end;
  return utf8_of(std::u32string_view(points).substr(begin, end - begin));
}

}  // namespace detail

LODESTONE_INLINE bool is_exact_match(std::string_view answer, std::string_view reference) {
  return normalise_answer(answer) == normalise_answer(reference);
}

LODESTONE_INLINE bool is_substring_match(std::string_view answer, std::string_view reference) {
  return normalise_answer(answer).find(normalise_answer(reference)) != std::string::npos;
}

LODESTONE_INLINE bool is_chinese_substring_match(std::string_view answer, std::string_view reference) {
  return normalise_chinese_answer(answer).find(normalise_chinese_answer(reference)) != std::string::npos;
}

LODESTONE_INLINE double words_f1(std::span<const std::string> answer, std::span<const std::string> reference) {
  detail::word_counts left = detail::count_words(reference);
  std::size_t same = 0;
  for (const std::string& word : answer) {
    const auto found = left.find(word);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++same;
  }
  if (same == 0) return 0.0;
  const double precision = static_cast<double>(same) / static_cast<double>(answer.size());
  const double recall = static_cast<double>(same) / static_cast<double>(reference.size());
  return (2 * precision * recall) / (precision + recall);
}

LODESTONE_INLINE double answer_f1(std::string_view answer, std::string_view reference) {
  return words_f1(split_words(normalise_answer(answer)), split_words(normalise_answer(reference)));
}

namespace detail {

/// The words of a Chinese text that count.
[[nodiscard]] inline std::vector<std::string> chinese_words_of(std::string_view text, const word_splitter& words) {
  std::vector<std::string> result;
  for (const std::string& word : words(text))
    if (std::string bare = normalise_chinese_answer(word); !bare.empty()) result.push_back(std::move(bare));
  return result;
}

}  // namespace detail

LODESTONE_INLINE double chinese_answer_f1(std::string_view answer, std::string_view reference,
                                          const word_splitter& words) {
  return words_f1(detail::chinese_words_of(answer, words), detail::chinese_words_of(reference, words));
}

LODESTONE_INLINE double character_f1(std::string_view answer, std::string_view reference) {
  const auto characters = [](std::string_view text) {
    std::vector<std::string> result;
    for (const char32_t c : code_points(normalise_chinese_answer(text)))
      result.push_back(utf8_of(std::u32string_view(&c, 1)));
    return result;
  };
  return words_f1(characters(answer), characters(reference));
}

LODESTONE_INLINE double keyword_recall(std::span<const std::string> answer, std::span<const std::string> keywords,
                                       std::span<const std::string_view> ignored) {
  if (keywords.empty()) return 1.0;
  const detail::word_counts of_answer = detail::count_words(answer);
  std::size_t same = 0;
  for (const auto& [word, count] : detail::count_words(keywords)) {
    const auto found = of_answer.find(word);
    if (found == of_answer.end() || std::find(ignored.begin(), ignored.end(), word) != ignored.end()) continue;
    same += std::min(count, found->second);
  }
  return static_cast<double>(same) / static_cast<double>(keywords.size());
}

LODESTONE_INLINE double class_score(std::string_view answer, std::string_view reference,
                                    std::span<const std::string> classes) {
  std::vector<std::string_view> found;
  for (const std::string& name : classes)
    if (answer.find(name) != std::string_view::npos) found.push_back(name);
  // The published loop removes from the list that it walks over, so the name behind a removed one is not looked at.
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string_view name = found[i];
    if (name != reference && reference.find(name) != std::string_view::npos)
      found.erase(std::find(found.begin(), found.end(), name));
  }
  if (std::find(found.begin(), found.end(), reference) == found.end()) return 0.0;
  return 1.0 / static_cast<double>(found.size());
}

LODESTONE_INLINE std::vector<std::string> numbers_in(std::string_view text) {
  std::vector<std::string> numbers;
  bool is_run = false;
  for (const char32_t c : code_points(text)) {
    const bool is_digit = utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ND;
    if (is_digit && !is_run) numbers.emplace_back();
    if (is_digit) text::append_utf8(numbers.back(), c);
    is_run = is_digit;
  }
  return numbers;
}

LODESTONE_INLINE double number_share(std::string_view answer, std::string_view number) {
  const std::vector<std::string> numbers = numbers_in(answer);
  if (numbers.empty()) return 0.0;
  const auto right = std::count(numbers.begin(), numbers.end(), number);
  return static_cast<double>(right) / static_cast<double>(numbers.size());
}

LODESTONE_INLINE std::string first_number(std::string_view text) {
  constexpr std::string_view digits = "0123456789";
  const std::size_t begin = text.find_first_of(digits);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_first_not_of(digits, begin) - begin));
}

LODESTONE_INLINE bool has_word(std::string_view answer, std::string_view word) {
  const std::vector<std::string> words = split_words(detail::replace_each(answer, "\n:\"'.,?!{}", ' '));
  return std::find(words.begin(), words.end(), word) != words.end();
}

LODESTONE_INLINE bool is_right_choice(std::string_view answer, char letter, std::string_view right) {
  constexpr std::u32string_view letters = U"ABCD";
  std::u32string text = code_points(detail::strip(answer));
  const std::u32string wanted = code_points(right);
  const std::u32string wanted_letter(1, static_cast<char32_t>(letter));
  const auto is_wanted = [&](std::u32string_view word) { return word == wanted_letter || word == wanted; };
  if (text.empty()) return false;
  if (letters.find(text.front()) != std::u32string_view::npos) return is_wanted(std::u32string_view(text).substr(0, 1));
  if (is_wanted(text)) return true;
  for (char32_t& c : text)
    if (std::u32string_view(U"\n\"'.,?!{}").find(c) != std::u32string_view::npos) c = U' ';
  const auto is_double_space = [](char32_t a, char32_t b) { return a == U' ' && b == U' '; };
  text.erase(std::unique(text.begin(), text.end(), is_double_space), text.end());
  for (const std::u32string_view lead : {U"answer is:", U"answer:", U"answer is", U"option is"}) {
    const std::size_t at = text.find(lead);
    if (at == std::u32string::npos) continue;
    if (text.size() < at + lead.size() + 1) return false;
    const std::u32string_view after = std::u32string_view(text).substr(at + lead.size() + 1);
    return after.starts_with(wanted_letter) || after.starts_with(wanted);
  }
  for (const std::u32string& word : detail::split_points(text))
    if (letters.find(word) != std::u32string_view::npos) return is_wanted(word);
  return false;
}

}  // namespace lodestone::eval
