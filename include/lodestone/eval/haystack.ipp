// Definitions of haystack.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <lodestone/core/ascii.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/haystack.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::eval {

namespace detail {

using lodestone::detail::is_blank;
using lodestone::detail::is_capital;
using lodestone::detail::is_digit;
using lodestone::detail::is_small;

[[nodiscard]] constexpr bool is_word(char c) {
  return is_capital(c) || is_small(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80;
}

/// Bytes of quotes and brackets that close at `at`, as many as follow each other.
[[nodiscard]] LODESTONE_INLINE std::size_t closing(std::string_view text, std::size_t at) {
  static constexpr std::array<std::string_view, 14> marks{"\"",     "'",      ")",      "]",      "}",
                                                          "\u201D", "\u2019", "\u00BB", "\u300D", "\u300F",
                                                          "\uFF09", "\u3011", "\u300B", "\u3009"};
  std::size_t end = at;
  for (bool moved = true; std::exchange(moved, false);)
    for (const std::string_view mark : marks)
      if (text.substr(end).starts_with(mark)) {
        end += mark.size();
        moved = true;
      }
  return end - at;
}

/// Whether the full stop at `at` only shortens the word before it.
[[nodiscard]] LODESTONE_INLINE bool is_abbreviation(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  while (begin > 0 && is_word(text[begin - 1])) --begin;
  const std::string_view word = text.substr(begin, at - begin);
  if (word.size() == 1 && is_capital(word.front()) && word != "I") return true;
  static constexpr std::array<std::string_view, 21> titles{"Mr",  "Mrs", "Ms",   "Dr", "Prof", "St",  "Messrs",
                                                           "Gen", "Col", "Capt", "Lt", "Rev",  "Hon", "Sen",
                                                           "Rep", "Gov", "Jr",   "vs", "No",   "Mt",  "cf"};
  return std::find(titles.begin(), titles.end(), word) != titles.end();
}

}  // namespace detail

LODESTONE_INLINE std::vector<std::size_t> sentence_ends(std::string_view text) {
  static constexpr std::array<std::string_view, 4> wide{"\u3002", "\uFF01", "\uFF1F", "\u2026\u2026"};
  std::vector<std::size_t> ends;
  const std::size_t last = [&] {
    std::size_t end = text.size();
    while (end > 0 && detail::is_blank(text[end - 1])) --end;
    return end;
  }();
  const auto add = [&](std::size_t end) {
    if (end > 0 && end <= last && (ends.empty() || ends.back() < end)) ends.push_back(end);
  };
  for (std::size_t i = 0; i < last;) {
    const char c = text[i];
    if (c == '.' || c == '!' || c == '?') {
      std::size_t end = i + 1;
      while (end < last && (text[end] == '.' || text[end] == '!' || text[end] == '?')) ++end;
      const bool is_stop = end == i + 1 && c == '.';
      end += detail::closing(text, end);
      std::size_t next = end;
      while (next < last && detail::is_blank(text[next])) ++next;
      const bool goes_on =
          next < last && (next == end || detail::is_small(text[next]) || (is_stop && detail::is_abbreviation(text, i)));
      if (!goes_on) add(end);
      i = end;
      continue;
    }
    if (c == '\n') {  // an empty line
      std::size_t next = i + 1, lines = 1, end = i;
      for (; next < last && detail::is_blank(text[next]); ++next)
        if (text[next] == '\n') ++lines;
      while (end > 0 && detail::is_blank(text[end - 1])) --end;
      if (lines > 1) add(end);
      i = next;
      continue;
    }
    const auto mark =
        std::find_if(wide.begin(), wide.end(), [&](std::string_view m) { return text.substr(i).starts_with(m); });
    if (mark == wide.end()) {
      ++i;
      continue;
    }
    i += mark->size();
    i += detail::closing(text, i);
    add(i);
  }
  if (last > 0) add(last);
  return ends;
}

LODESTONE_INLINE haystack::haystack(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    const std::size_t begin = text.find_first_not_of(" \n\t\r");
    if (begin == std::string::npos) continue;
    const std::string_view kept = std::string_view(text).substr(begin, text.find_last_not_of(" \n\t\r") + 1 - begin);
    text_.append(kept).append("\n\n");
  }
  const std::vector<std::size_t> ends = sentence_ends(text_);
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    std::size_t next = end;
    while (next < text_.size() && detail::is_blank(text_[next])) ++next;
    ends_.push_back({begin, end, next});
    begin = next;
  }
  if (ends_.empty()) throw data_error("holds no text", "haystack", "give a file or folder with text");
}

LODESTONE_INLINE haystack haystack::read(const std::filesystem::path& file_or_folder) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(file_or_folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(file_or_folder))
      if (entry.path().extension() == ".txt") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    if (files.empty()) throw io_error("holds no .txt file", file_or_folder.string(), "give a folder with text files");
  } else {
    files.push_back(file_or_folder);
  }
  std::vector<std::string> texts;
  for (const auto& file : files) {
    texts.push_back(read_text(file));
    if (const std::size_t at = find_broken_utf8(texts.back()); at != std::string::npos)
      throw data_error(
          "is not UTF-8",
          source_line(file.string(), 1 + std::count(texts.back().begin(),
                                                    texts.back().begin() + static_cast<std::ptrdiff_t>(at), '\n')),
          "convert the file, for example with iconv");
  }
  try {
    return haystack(texts);
  } catch (const data_error&) {
    throw data_error("holds no text", file_or_folder.string(), "give a file or folder with text");
  }
}

LODESTONE_INLINE haystack::piece haystack::operator[](std::size_t i) const {
  const span at = ends_[i % ends_.size()];
  const std::string_view text = text_;
  return {text.substr(at.begin, at.end - at.begin), text.substr(at.end, at.next - at.end)};
}

}  // namespace lodestone::eval
