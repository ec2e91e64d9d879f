// Definitions of judge_rating.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <charconv>
#include <cstddef>
#include <string>

#include <lodestone/core/ascii.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/judge_rating.hpp>

namespace lodestone::eval {

namespace detail {

using lodestone::detail::is_digit;

/// `text` with U+FF10 to U+FF19 as 0 to 9.
[[nodiscard]] inline std::string narrow_digits(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto last = i + 2 < text.size() ? static_cast<unsigned char>(text[i + 2]) : 0U;
    if (text.substr(i, 2) == "\xEF\xBC" && last >= 0x90 && last <= 0x99) {
      result += static_cast<char>('0' + (last - 0x90));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// The number of only digits and one point, if it lies on the scale.
[[nodiscard]] inline std::optional<double> rating_of(std::string_view digits, rating_scale scale) {
  double value = 0.0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ec != std::errc{} || !(value >= scale.least && value <= scale.most)) return std::nullopt;
  return value;
}

}  // namespace detail

// In the published codes: re.findall(r"\[\[([^\]]+)\]\]", reply)[-1], then re.findall(r"\d+\.\d+|\d+", ...)[0].
LODESTONE_INLINE std::optional<double> last_bracketed_rating(std::string_view reply, rating_scale scale) {
  const std::string narrow = detail::narrow_digits(reply);
  const std::string_view text = narrow;
  std::string_view inside;
  for (std::size_t i = 0; (i = text.find("[[", i)) != std::string_view::npos;) {
    const std::size_t end = text.find(']', i + 2);
    if (end == std::string_view::npos) break;
    if (end > i + 2 && text.substr(end, 2) == "]]") {
      inside = text.substr(i + 2, end - i - 2);
      i = end + 2;
    } else {
      ++i;
    }
  }
  std::size_t begin = 0;
  while (begin < inside.size() && !detail::is_digit(inside[begin])) ++begin;
  std::size_t end = begin;
  while (end < inside.size() && detail::is_digit(inside[end])) ++end;
  if (begin == end) return std::nullopt;
  if (end + 1 < inside.size() && inside[end] == '.' && detail::is_digit(inside[end + 1]))
    for (++end; end < inside.size() && detail::is_digit(inside[end]);) ++end;
  return detail::rating_of(inside.substr(begin, end - begin), scale);
}

// In FastChat: re.search of r"\[\[(\d+\.?\d*)\]\]", else of r"\[(\d+\.?\d*)\]".
LODESTONE_INLINE std::optional<double> first_bracketed_rating(std::string_view reply, rating_scale scale) {
  const std::string narrow = detail::narrow_digits(reply);
  const std::string_view text = narrow;
  for (const std::string_view open : {"[[", "["}) {
    const std::string_view close = open == "[[" ? "]]" : "]";
    for (std::size_t i = 0; (i = text.find(open, i)) != std::string_view::npos; ++i) {
      const std::size_t begin = i + open.size();
      std::size_t end = begin;
      while (end < text.size() && detail::is_digit(text[end])) ++end;
      if (end == begin) continue;
      if (end < text.size() && text[end] == '.')
        for (++end; end < text.size() && detail::is_digit(text[end]);) ++end;
      if (text.substr(end, close.size()) == close) return detail::rating_of(text.substr(begin, end - begin), scale);
    }
  }
  return std::nullopt;
}

}  // namespace lodestone::eval
