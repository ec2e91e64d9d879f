// What filters and methods of jinja_interpreter.hpp do with strings, numbers and JSON: included by their files.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include <utf8proc.h>

#include <lodestone/text/jinja_interpreter.hpp>
#include <lodestone/text/jinja_lexer.ipp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::jinja::detail {

/// The offsets of the characters of a text, and its size.
[[nodiscard]] inline std::vector<std::size_t> characters(std::string_view bytes) {
  std::vector<std::size_t> result;
  result.reserve(bytes.size() + 1);
  for (std::size_t at = 0; at < bytes.size();) {
    result.push_back(at);
    at += lodestone::text::decode_utf8(bytes.data() + at, bytes.data() + bytes.size()).length;
  }
  result.push_back(bytes.size());
  return result;
}

// --- Text

/// Every character through fn(code point) -> code point.
template <class Function>
[[nodiscard]] std::string each_character(std::string_view bytes, const Function& fn) {
  std::string result;
  result.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const lodestone::text::code_point point =
        lodestone::text::decode_utf8(bytes.data() + at, bytes.data() + bytes.size());
    if (point.value == lodestone::text::not_utf8)
      result += bytes[at];
    else
      lodestone::text::append_utf8(result, fn(point.value));
    at += point.length;
  }
  return result;
}

[[nodiscard]] inline char32_t upper(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
[[nodiscard]] inline char32_t lower(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
[[nodiscard]] inline std::string upper(std::string_view bytes) {
  return each_character(bytes, [](char32_t c) { return upper(c); });
}
[[nodiscard]] inline std::string lower(std::string_view bytes) {
  return each_character(bytes, [](char32_t c) { return lower(c); });
}

/// The first character in upper case, the others in lower case.
[[nodiscard]] inline std::string capitalized(std::string_view bytes) {
  bool is_first = true;
  return each_character(bytes, [&](char32_t c) { return std::exchange(is_first, false) ? upper(c) : lower(c); });
}

/// The text without what `takes` (bytes of a character) holds at its ends; empty `takes`: white space.
[[nodiscard]] inline text stripped(const text& what, const value* takes, bool left, bool right) {
  const std::string_view bytes = what.bytes();
  std::string_view set;
  if (takes != nullptr && !takes->is(kind::none)) set = takes->string().bytes();
  const bool is_space = takes == nullptr || takes->is(kind::none);
  const auto has = [&](std::size_t at, std::size_t length) {
    return set.find(bytes.substr(at, length)) != std::string_view::npos;
  };
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  while (left && begin < end) {
    std::size_t length = space_at(bytes, begin);
    if (!is_space) {
      length = lodestone::text::decode_utf8(bytes.data() + begin, bytes.data() + end).length;
      if (!has(begin, length)) length = 0;
    }
    if (length == 0) break;
    begin += length;
  }
  while (right && begin < end) {
    std::size_t length = space_before(bytes.substr(0, end), end);
    if (!is_space) {
      length = lodestone::text::decode_utf8_before(bytes.data() + begin, bytes.data() + end).length;
      if (!has(end - length, length)) length = 0;
    }
    if (length == 0) break;
    end -= length;
  }
  return what.part(begin, end);
}

[[nodiscard]] inline text replaced(const text& what, const text& old, const text& by, std::int64_t count) {
  text result;
  const std::string& bytes = what.bytes();
  std::size_t at = 0;
  if (old.size() == 0) {  // Python puts `by` in front of every character and at the end
    const std::vector<std::size_t> places = characters(bytes);
    for (const std::size_t place : places) {
      result.append(what, at, place);
      at = place;
      if (count-- == 0) break;
      result.append(by);
    }
  } else {
    for (std::size_t found = bytes.find(old.bytes()); found != std::string::npos && count-- != 0;
         found = bytes.find(old.bytes(), at)) {
      result.append(what, at, found);
      result.append(by);
      at = found + old.size();
    }
  }
  result.append(what, at, what.size());
  return result;
}

/// The lines of a text as Python's splitlines() cuts them.
[[nodiscard]] inline std::vector<text> lines_of(const text& what, bool keeps_ends) {
  std::vector<text> result;
  const std::string& bytes = what.bytes();
  std::size_t begin = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const lodestone::text::code_point point =
        lodestone::text::decode_utf8(bytes.data() + at, bytes.data() + bytes.size());
    const char32_t c = point.value;
    std::size_t length = point.length;
    const bool is_end = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (is_end) {
      if (c == '\r' && at + 1 < bytes.size() && bytes[at + 1] == '\n') length = 2;
      result.push_back(what.part(begin, keeps_ends ? at + length : at));
      begin = at + length;
    }
    at += length;
  }
  if (begin < bytes.size()) result.push_back(what.part(begin, bytes.size()));
  return result;
}

/// Words begin behind a blank, a hyphen or an opening bracket.
[[nodiscard]] inline std::string titled(std::string_view bytes) {
  bool is_first = true;
  return each_character(bytes, [&](char32_t c) {
    const bool is_gap = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' ||
                        (lodestone::text::character::table::get()[c] & lodestone::text::character::space) != 0;
    if (is_gap) {
      is_first = true;
      return c;
    }
    return std::exchange(is_first, false) ? upper(c) : lower(c);
  });
}

[[nodiscard]] inline std::string escaped(std::string_view bytes) {
  std::string result;
  for (const char c : bytes) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '\'': result += "&#39;"; break;
      case '"': result += "&#34;"; break;
      default: result += c;
    }
  }
  return result;
}

// --- JSON as Python's json.dumps writes it

struct json_form {
  std::string item = ", ";
  std::string key = ": ";
  std::optional<std::string> indent{};
  bool ascii = false;
  bool sorts_keys = false;
};

[[nodiscard]] inline std::string json_escaped(std::string_view bytes, bool ascii) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  const auto unit = [&](std::uint32_t u) {
    result += "\\u";
    for (const int shift : {12, 8, 4, 0}) result += digits[(u >> shift) & 0xFU];
  };
  for (std::size_t at = 0; at < bytes.size();) {
    const lodestone::text::code_point point =
        lodestone::text::decode_utf8(bytes.data() + at, bytes.data() + bytes.size());
    const auto c = static_cast<std::uint32_t>(point.value);
    if (c == '"' || c == '\\')
      result.append({'\\', bytes[at]});
    else if (c == '\n')
      result += "\\n";
    else if (c == '\r')
      result += "\\r";
    else if (c == '\t')
      result += "\\t";
    else if (c == '\b')
      result += "\\b";
    else if (c == '\f')
      result += "\\f";
    else if (c < 0x20)
      unit(c);
    else if (!ascii || c < 0x80 || point.value == lodestone::text::not_utf8)
      result += bytes.substr(at, point.length);
    else if (c < 0x10000)
      unit(c);
    else {
      unit(0xD800 + ((c - 0x10000) >> 10));
      unit(0xDC00 + ((c - 0x10000) & 0x3FFU));
    }
    at += point.length;
  }
  return result;
}

inline void write_json(const value& what, const json_form& form, const std::string& newline, text& out) {
  const std::string inner = form.indent ? newline + *form.indent : newline;
  const auto between = [&](bool is_first) {
    if (!is_first) out.append(form.indent && form.item == ", " ? "," : form.item);
    if (form.indent) out.append(inner);
  };
  const auto quote = [&](const text& string) {
    out.append("\"");
    out.append(string.transformed([&](std::string_view part) { return json_escaped(part, form.ascii); }));
    out.append("\"");
  };
  const auto scalar = [](const value& one) -> text {
    if (one.is(kind::none)) return text("null");
    if (one.is(kind::boolean)) return text(one.truth() ? "true" : "false");
    if (one.is(kind::real) && !std::isfinite(one.real()))
      return text(std::isnan(one.real()) ? "NaN" : one.real() < 0 ? "-Infinity" : "Infinity");
    return to_text(one);
  };
  switch (what.type()) {
    case kind::string: quote(what.string()); return;
    case kind::none:
    case kind::boolean:
    case kind::integer:
    case kind::real: out.append(scalar(what)); return;
    case kind::list:
    case kind::tuple: {
      if (what.items().empty()) return out.append("[]");
      out.append("[");
      bool is_first = true;
      for (const value& item : what.items()) {
        between(is_first);
        is_first = false;
        write_json(item, form, inner, out);
      }
      if (form.indent) out.append(newline);
      return out.append("]");
    }
    case kind::dict: {
      if (what.entries().entries.empty()) return out.append("{}");
      std::vector<std::pair<text, const value*>> entries;
      for (const auto& [key, item] : what.entries().entries) {
        if (!key.is(kind::string) && !key.is(kind::none) && !key.is_number())
          throw evaluation_error("a key of a JSON object cannot be " + std::string(to_string(key.type())));
        entries.emplace_back(key.is(kind::string) ? key.string() : scalar(key), &item);
      }
      if (form.sorts_keys)
        std::stable_sort(entries.begin(), entries.end(),
                         [](const auto& a, const auto& b) { return a.first.bytes() < b.first.bytes(); });
      out.append("{");
      bool is_first = true;
      for (const auto& [key, item] : entries) {
        between(is_first);
        is_first = false;
        quote(key);
        out.append(form.key);
        write_json(*item, form, inner, out);
      }
      if (form.indent) out.append(newline);
      return out.append("}");
    }
    default: throw evaluation_error(std::string(to_string(what.type())) + " cannot be written as JSON");
  }
}

[[nodiscard]] inline text json_of(const value& what, const bound& given) {
  json_form form;
  form.ascii = given.truth(0, false);
  if (given[1] != nullptr && given[1]->is(kind::string)) {
    form.indent = given[1]->string().bytes();
  } else if (given[1] != nullptr && !given[1]->is(kind::none)) {
    const std::int64_t width = std::clamp<std::int64_t>(given.integer(1, 0), 0, 100);
    form.indent = std::string(static_cast<std::size_t>(width), ' ');
  }
  if (given[2] != nullptr && !given[2]->is(kind::none)) {
    if (!given[2]->is_sequence() || given[2]->items().size() != 2 || !given[2]->items()[0].is(kind::string) ||
        !given[2]->items()[1].is(kind::string))
      throw evaluation_error("separators are two strings");
    form.item = given[2]->items()[0].string().bytes();
    form.key = given[2]->items()[1].string().bytes();
  }
  form.sorts_keys = given.truth(3, false);
  text result;
  write_json(what, form, "\n", result);
  return result;
}

// --- Numbers and lines

[[nodiscard]] inline value parsed_integer(const value& what, const value& otherwise, std::int64_t base) {
  if (what.is_integral()) return what.integer();
  const auto from_real = [&](double number) -> value {
    if (!std::isfinite(number) || std::abs(number) >= 9.2e18) return otherwise;
    return static_cast<std::int64_t>(number);
  };
  if (what.is(kind::real)) return from_real(what.real());
  if (!what.is(kind::string) || base < 2 || base > 36) return otherwise;
  std::string digits = stripped(what.string(), nullptr, true, true).bytes();
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.erase(0, 1);
  std::int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto whole = std::from_chars(digits.data(), end, number, static_cast<int>(base));
  if (!digits.empty() && whole.ec == std::errc() && whole.ptr == end) return number;
  double real = 0;
  const auto any = std::from_chars(digits.data(), end, real);
  if (!digits.empty() && any.ec == std::errc() && any.ptr == end) return from_real(real);
  return otherwise;
}

[[nodiscard]] inline value parsed_real(const value& what, const value& otherwise) {
  if (what.is_number()) return what.real();
  if (!what.is(kind::string)) return otherwise;
  std::string digits = stripped(what.string(), nullptr, true, true).bytes();
  if (digits.starts_with('+') && !digits.starts_with("+-")) digits.erase(0, 1);
  double number = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, number);
  return !digits.empty() && parsed.ec == std::errc() && parsed.ptr == end ? value(number) : otherwise;
}

/// Python's round(): halves to even.
[[nodiscard]] inline value rounded(const value& what, std::int64_t precision, const std::string& method) {
  if (!what.is_number()) throw evaluation_error("round needs a number, got " + std::string(to_string(what.type())));
  precision = std::clamp<std::int64_t>(precision, -300, 300);
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return std::ceil(what.real() * scale) / scale;
  if (method == "floor") return std::floor(what.real() * scale) / scale;
  if (method != "common") throw evaluation_error("round knows the methods common, ceil and floor");
  if (what.is_integral() && precision >= 0) return what.integer();
  if (precision > 22 || !std::isfinite(what.real())) return what.real();
  if (precision < 0) return std::nearbyint(what.real() * scale) / scale;
  // The decimal form rounds correctly where multiplying would not: 2.675 is a little less than 2.675.
  std::array<char, 400> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(precision), what.real());
  double number = 0;
  std::from_chars(buffer.data(), buffer.data() + length, number);
  return number;
}

[[nodiscard]] inline text indented(const text& what, const std::string& by, bool first, bool blank) {
  text closed = what;
  closed.append("\n");
  const std::vector<text> lines = lines_of(closed, false);
  text result;
  if (first) result.append(by);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      result.append("\n");
      if (blank || lines[i].size() > 0) result.append(by);
    }
    result.append(lines[i]);
  }
  return result;
}

}  // namespace lodestone::jinja::detail
