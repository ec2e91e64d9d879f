// Definitions of jinja_lexer.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_lexer.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::jinja {

LODESTONE_INLINE std::string describe(std::string_view name, place at) {
  return std::string(name) + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

namespace detail {

[[nodiscard]] inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
[[nodiscard]] inline bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

/// The bytes of the white space (as Python's str.isspace) that begins at `at`; 0: there is none.
[[nodiscard]] inline std::size_t space_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return (byte >= 9 && byte <= 13) || (byte >= 0x1C && byte <= 0x20) ? 1 : 0;
  const lodestone::text::code_point point = lodestone::text::decode_utf8(text.data() + at, text.data() + text.size());
  return (lodestone::text::character::table::get()[point.value] & lodestone::text::character::space) != 0 ? point.length
                                                                                                          : 0;
}

/// The same for the white space that ends before `end`.
[[nodiscard]] inline std::size_t space_before(std::string_view text, std::size_t end) {
  if (end == 0) return 0;
  if (static_cast<unsigned char>(text[end - 1]) < 0x80) return space_at(text, end - 1);
  const lodestone::text::code_point point = lodestone::text::decode_utf8_before(text.data(), text.data() + end);
  return space_at(text, end - point.length) == point.length ? point.length : 0;
}

/// One reading of a source, whose line ends are "\n".
class lexer {
 public:
  lexer(std::string_view source, std::string_view name) : source_(source), name_(name) {}

  std::vector<token> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = find_tag(at_);
      if (tag == std::string_view::npos) {
        add_data(source_.substr(at_), at_);
        break;
      }
      const char what = source_[tag + 1];
      const std::string_view ahead = source_.substr(at_, tag - at_);
      const std::size_t ahead_at = at_;
      std::size_t inside = tag + 2;
      const char sign =
          inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+') ? source_[inside] : '\0';
      if (sign != '\0') ++inside;
      add_data(before_tag(ahead, sign, what), ahead_at);
      at_ = inside;
      if (what == '#')
        skip_comment(tag);
      else if (what == '%' && is_raw())
        read_raw(tag);
      else
        read_tag(tag, what == '%');
      line_starting_ = at_ > 0 && source_[at_ - 1] == '\n';
    }
    add(token_kind::end, {}, source_.size());
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] place place_of(std::size_t at) {
    for (; counted_ < at && counted_ < source_.size(); ++counted_) {
      if (source_[counted_] != '\n') continue;
      ++line_;
      line_begin_ = counted_ + 1;
    }
    return {line_, static_cast<std::int32_t>(at - std::min(at, line_begin_)) + 1};
  }

  [[noreturn]] void fail(const std::string& what, std::size_t at, std::string_view remedy = "correct the template") {
    counted_ = line_begin_ = 0;  // the place may lie before what was read last
    line_ = 1;
    throw template_error(what, describe(name_, place_of(at)), remedy);
  }

  void add(token_kind what, std::string text, std::size_t at) {
    tokens_.push_back({what, std::move(text), place_of(at)});
  }

  void add_data(std::string_view text, std::size_t at) {
    if (!text.empty()) add(token_kind::data, std::string(text), at);
  }

  [[nodiscard]] std::size_t find_tag(std::size_t from) const {
    for (std::size_t at = source_.find('{', from); at != std::string_view::npos; at = source_.find('{', at + 1)) {
      if (at + 1 < source_.size() && (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#'))
        return at;
    }
    return std::string_view::npos;
  }

  /// Text in front of a tag, without what the tag's sign or the beginning of its line takes away.
  [[nodiscard]] std::string_view before_tag(std::string_view text, char sign, char what) const {
    if (sign == '-') {
      std::size_t end = text.size();
      while (const std::size_t length = space_before(text, end)) end -= length;
      return text.substr(0, end);
    }
    if (sign == '+' || what == '{') return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (begin == 0 && !line_starting_) return text;
    for (std::size_t at = begin; at < text.size();) {
      const std::size_t length = space_at(text, at);
      if (length == 0) return text;
      at += length;
    }
    return text.substr(0, begin);
  }

  void skip_spaces() {
    while (const std::size_t length = space_at(source_, at_)) at_ += length;
  }

  /// Behind the end of a tag whose sign is `sign`.
  void after_tag(char sign, bool trims_newline) {
    if (sign == '-')
      skip_spaces();
    else if (sign != '+' && trims_newline && at_ < source_.size() && source_[at_] == '\n')
      ++at_;
  }

  void skip_comment(std::size_t tag) {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos) fail("the comment has no end", tag, "close it with #}");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    at_ = end + 2;
    after_tag(sign, true);
  }

  /// Whether a block is {% raw %}; then at_ stands behind it.
  [[nodiscard]] bool is_raw() {
    std::size_t at = at_;
    while (const std::size_t length = space_at(source_, at)) at += length;
    if (source_.substr(at, 3) != "raw") return false;
    at += 3;
    while (const std::size_t length = space_at(source_, at)) at += length;
    const bool is_stripped = source_.substr(at, 3) == "-%}";
    if (!is_stripped && source_.substr(at, 2) != "%}") return false;
    at_ = at + (is_stripped ? 3 : 2);
    if (is_stripped) skip_spaces();
    return true;
  }

  void read_raw(std::size_t tag) {
    const std::size_t begin = at_;
    line_starting_ = begin > 0 && source_[begin - 1] == '\n';
    for (std::size_t end = source_.find("{%", begin); end != std::string_view::npos;
         end = source_.find("{%", end + 2)) {
      at_ = end + 2;
      char sign = at_ < source_.size() ? source_[at_] : '\0';
      if (sign == '-' || sign == '+')
        ++at_;
      else
        sign = '\0';
      skip_spaces();
      if (source_.substr(at_, 6) != "endraw") continue;
      at_ += 6;
      skip_spaces();
      char closing = at_ < source_.size() ? source_[at_] : '\0';
      if (closing == '-' || closing == '+')
        ++at_;
      else
        closing = '\0';
      if (source_.substr(at_, 2) != "%}") continue;
      at_ += 2;
      add_data(before_tag(source_.substr(begin, end - begin), sign, '%'), begin);
      after_tag(closing, true);
      return;
    }
    fail("the raw block has no end", tag, "close it with {% endraw %}");
  }

  void read_tag(std::size_t tag, bool is_block) {
    add(is_block ? token_kind::block_begin : token_kind::variable_begin, {}, tag);
    const std::string_view closing = is_block ? "%}" : "}}";
    std::string open;
    for (;;) {
      skip_spaces();
      if (at_ >= source_.size()) fail("the tag has no end", tag, "close it with " + std::string(closing));
      if (open.empty()) {
        const char sign = source_[at_] == '-' || (source_[at_] == '+' && is_block) ? source_[at_] : '\0';
        const std::size_t skip = sign != '\0' ? 1 : 0;
        if (source_.substr(at_ + skip, 2) == closing) {
          add(is_block ? token_kind::block_end : token_kind::variable_end, {}, at_);
          at_ += skip + 2;
          after_tag(sign, is_block);
          return;
        }
      }
      read_token(open);
    }
  }

  void read_token(std::string& open) {
    const char c = source_[at_];
    const std::size_t begin = at_;
    if (is_digit(c)) return read_number();
    if (is_name_start(c)) {
      while (at_ < source_.size() && (is_name_start(source_[at_]) || is_digit(source_[at_]))) ++at_;
      return add(token_kind::name, std::string(source_.substr(begin, at_ - begin)), begin);
    }
    if (c == '\'' || c == '"') return read_string(c);
    for (const std::string_view two : {"**", "//", "==", "!=", ">=", "<="}) {
      if (source_.substr(at_, 2) != two) continue;
      at_ += 2;
      return add(token_kind::symbol, std::string(two), begin);
    }
    constexpr std::string_view symbols = "+-*/%~[](){}><=.:|,";
    if (symbols.find(c) == std::string_view::npos) fail(std::string("unexpected character '") + c + "'", at_);
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '{') open += '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) fail(std::string("unexpected '") + c + "'", at_);
      if (open.back() != c) fail(std::string("unexpected '") + c + "', expected '" + open.back() + "'", at_);
      open.pop_back();
    }
    ++at_;
    add(token_kind::symbol, std::string(1, c), begin);
  }

  /// Digits with single underscores between them.
  void skip_digits() {
    while (at_ < source_.size() &&
           (is_digit(source_[at_]) || (source_[at_] == '_' && at_ + 1 < source_.size() && is_digit(source_[at_ + 1]))))
      ++at_;
  }

  [[nodiscard]] bool has_digit(std::size_t at) const { return at < source_.size() && is_digit(source_[at]); }

  void read_number() {
    const std::size_t begin = at_;
    const auto finish = [&](token_kind what) {
      std::string digits(source_.substr(begin, at_ - begin));
      std::erase(digits, '_');
      add(what, std::move(digits), begin);
    };
    skip_digits();
    const bool follows_dot = begin > 0 && source_[begin - 1] == '.';
    bool is_real = false;
    if (!follows_dot && at_ < source_.size() && source_[at_] == '.' && has_digit(at_ + 1)) {
      ++at_;
      skip_digits();
      is_real = true;
    }
    if (!follows_dot && at_ < source_.size() && (source_[at_] == 'e' || source_[at_] == 'E')) {
      const std::size_t sign = at_ + 1 < source_.size() && (source_[at_ + 1] == '+' || source_[at_ + 1] == '-') ? 1 : 0;
      if (has_digit(at_ + 1 + sign)) {
        at_ += 1 + sign;
        skip_digits();
        is_real = true;
      }
    }
    if (!is_real && source_[begin] == '0' && at_ > begin + 1 &&
        source_.substr(begin, at_ - begin).find_first_not_of("0_") != std::string_view::npos)
      fail("a number begins with 0", begin);
    if (!is_real && source_[begin] == '0' && at_ < source_.size() && is_name_start(source_[at_]))
      fail("binary, octal and hexadecimal numbers are not supported", begin, "write the number in decimals");
    finish(is_real ? token_kind::real : token_kind::integer);
  }

  void read_string(char quote) {
    const std::size_t begin = at_++;
    std::string text;
    for (;; ++at_) {
      if (at_ >= source_.size()) fail("the string has no end", begin, std::string("close it with ") + quote);
      const char c = source_[at_];
      if (c == quote) break;
      if (c != '\\') {
        text += c;
        continue;
      }
      if (++at_ >= source_.size()) fail("the string has no end", begin, std::string("close it with ") + quote);
      read_escape(text);
    }
    ++at_;
    add(token_kind::string, std::move(text), begin);
  }

  /// The escape whose letter stands at at_; at_ ends on its last character.
  void read_escape(std::string& text) {
    constexpr std::string_view letters = "ntrabfv\\'\"";
    constexpr std::string_view meanings = "\n\t\r\a\b\f\v\\'\"";
    const char c = source_[at_];
    if (const std::size_t found = letters.find(c); found != std::string_view::npos) {
      text += meanings[found];
    } else if (c == '\n') {
      return;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      char32_t point = 0;
      for (std::size_t i = 1; i <= count; ++i) {
        const char digit = at_ + i < source_.size() ? source_[at_ + i] : '\0';
        const int number = is_digit(digit)                ? digit - '0'
                           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                          : -1;
        if (number < 0) fail("an escape needs more hexadecimal digits", at_ - 1);
        point = point * 16 + static_cast<char32_t>(number);
      }
      if (point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) fail("an escape is no character", at_ - 1);
      lodestone::text::append_utf8(text, point);
      at_ += count;
    } else if (c >= '0' && c <= '7') {
      char32_t point = 0;
      std::size_t count = 0;
      for (; count < 3 && at_ + count < source_.size() && source_[at_ + count] >= '0' && source_[at_ + count] <= '7';
           ++count)
        point = point * 8 + static_cast<char32_t>(source_[at_ + count] - '0');
      lodestone::text::append_utf8(text, point);
      at_ += count - 1;
    } else if (c == 'N') {
      fail("characters by name are not supported", at_ - 1, "write the character itself");
    } else {
      text += '\\';
      text += c;
    }
  }

  std::string_view source_;
  std::string_view name_;
  std::vector<token> tokens_;
  std::size_t at_ = 0;
  bool line_starting_ = true;  // the last tag ended a line
  std::size_t counted_ = 0;    // place_of: up to here lines are counted
  std::int32_t line_ = 1;
  std::size_t line_begin_ = 0;
};

}  // namespace detail

LODESTONE_INLINE std::vector<token> tokenize(std::string_view source, std::string_view name) {
  std::string lines;
  lines.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      lines += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      lines += source[i];
    }
  }
  if (lines.ends_with('\n')) lines.pop_back();
  return detail::lexer(lines, name).run();
}

}  // namespace lodestone::jinja
