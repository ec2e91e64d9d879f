// Definitions of answer_text.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <array>
#include <cstddef>

#include <utf8proc.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::eval {

namespace detail {

/// What str.split() takes for white space.
[[nodiscard]] inline bool is_blank(char32_t c) {
  return (c >= 0x1C && c <= 0x1F) || (text::character::table::get()[c] & text::character::space) != 0;
}

/// What \w stands for in Python: letters, numbers and the underscore, no marks.
[[nodiscard]] inline bool is_word_part(char32_t c) {
  return c == U'_' || (text::character::table::get()[c] & (text::character::letter | text::character::number)) != 0;
}

[[nodiscard]] inline bool is_ascii_punctuation(char32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

/// The characters that LongBench lists as Chinese punctuation (its metrics.py, normalize_zh_answer).
[[nodiscard]] inline bool is_chinese_punctuation(char32_t c) {
  constexpr std::u32string_view list =
      U"！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝"
      U"〞〟〰〾〿–—‘’‛“”„‟…‧﹏.";
  return list.find(c) != std::u32string_view::npos;
}

[[nodiscard]] inline bool is_cased(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

/// Unicode's Case_Ignorable: what stands between a sigma and the letters that decide its form.
[[nodiscard]] inline bool is_case_ignorable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: break;
  }
  constexpr std::u32string_view inside_words =
      U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A";
  return inside_words.find(c) != std::u32string_view::npos;
}

/// Whether the capital sigma at `at` ends a word that has letters before it.
[[nodiscard]] inline bool is_final_sigma(std::u32string_view text, std::size_t at) {
  std::size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

[[nodiscard]] inline std::u32string lower_points(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == 0x130) {
      result += U"i\u0307";
    } else if (text[i] == 0x3A3) {
      result += is_final_sigma(text, i) ? char32_t{0x3C2} : char32_t{0x3C3};
    } else {
      result += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(text[i])));
    }
  }
  return result;
}

/// Characters of an article that begins at `at` and ends with its word; 0 when there is none.
[[nodiscard]] inline std::size_t article_length(std::u32string_view text, std::size_t at) {
  if (at > 0 && is_word_part(text[at - 1])) return 0;
  for (const std::u32string_view article : {U"a", U"an", U"the"}) {
    if (text.substr(at, article.size()) != article) continue;
    const std::size_t end = at + article.size();
    if (end == text.size() || !is_word_part(text[end])) return article.size();
  }
  return 0;
}

[[nodiscard]] inline std::vector<std::u32string> split_points(std::u32string_view text) {
  std::vector<std::u32string> words;
  std::size_t i = 0;
  while (i < text.size()) {
    if (is_blank(text[i])) {
      ++i;
      continue;
    }
    const std::size_t begin = i;
    while (i < text.size() && !is_blank(text[i])) ++i;
    words.emplace_back(text.substr(begin, i - begin));
  }
  return words;
}

}  // namespace detail

LODESTONE_INLINE std::u32string code_points(std::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p != end) {
    const text::code_point at = text::decode_utf8(p, end);
    result += at.value == text::not_utf8 ? char32_t{0xFFFD} : at.value;
    p += at.length;
  }
  return result;
}

LODESTONE_INLINE std::string utf8_of(std::u32string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char32_t c : text) text::append_utf8(result, c);
  return result;
}

LODESTONE_INLINE std::string lower_case(std::string_view text) {
  return utf8_of(detail::lower_points(code_points(text)));
}

LODESTONE_INLINE std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  for (const std::u32string& word : detail::split_points(code_points(text))) words.push_back(utf8_of(word));
  return words;
}

LODESTONE_INLINE std::string normalise_answer(std::string_view answer) {
  std::u32string bare;
  for (const char32_t c : detail::lower_points(code_points(answer)))
    if (!detail::is_ascii_punctuation(c)) bare += c;
  std::u32string text;
  for (std::size_t i = 0; i < bare.size();) {
    if (const std::size_t length = detail::article_length(bare, i); length != 0) {
      text += U' ';
      i += length;
    } else {
      text += bare[i++];
    }
  }
  std::string result;
  for (const std::u32string& word : detail::split_points(text)) {
    if (!result.empty()) result += ' ';
    result += utf8_of(word);
  }
  return result;
}

LODESTONE_INLINE std::string normalise_chinese_answer(std::string_view answer) {
  std::u32string bare;
  for (const char32_t c : detail::lower_points(code_points(answer)))
    if (!detail::is_ascii_punctuation(c) && !detail::is_chinese_punctuation(c) && !detail::is_blank(c)) bare += c;
  return utf8_of(bare);
}

LODESTONE_INLINE std::vector<std::string> characters_as_words(std::string_view text) {
  std::vector<std::string> words;
  bool is_run = false;
  for (const char32_t c : code_points(text)) {
    const bool is_alphanumeric = c < 128 && (detail::is_word_part(c) && c != U'_');
    if (!detail::is_blank(c)) {
      if (!(is_run && is_alphanumeric)) words.emplace_back();
      text::append_utf8(words.back(), c);
    }
    is_run = is_alphanumeric;
  }
  return words;
}

}  // namespace lodestone::eval
