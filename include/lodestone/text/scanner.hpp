// The word patterns of GPT-2, Llama-3 and Qwen2 as hand-written scanners; equal to the regular expressions, and faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// Finds the words of a text one after the other. The patterns of all three families match everywhere on UTF-8, so
/// that the words tile the text. A byte that is not UTF-8 counts as a symbol.
class word_scanner {
 public:
  /// Radford et al. 2019: contractions in lower case, words, numbers and symbols with one leading space.
  static constexpr std::string_view gpt2_pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  /// Llama-3 (and cl100k): any case, one leading non-letter, numbers of at most three digits, line ends kept together.
  static constexpr std::string_view llama3_pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
      R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  /// Qwen2: as Llama-3, with one digit at a time.
  static constexpr std::string_view qwen2_pattern = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                                                    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

  /// The scanner that equals a pattern, if there is one.
  [[nodiscard]] static std::optional<word_scanner> of(std::string_view pattern) {
    if (pattern == gpt2_pattern) return word_scanner(true, 0);
    if (pattern == llama3_pattern) return word_scanner(false, 3);
    if (pattern == qwen2_pattern) return word_scanner(false, 1);
    return std::nullopt;
  }

  /// Calls visit(begin, end) with the byte range of each word of `text`, in order.
  template <class Visitor>
  void each(std::string_view text, Visitor&& visit) const {
    const cursor all{text.data(), text.data() + text.size(), character::table::get()};
    for (const char* p = all.begin; p != all.end;) {
      const char* next = is_gpt2_ ? gpt2_word(all, p) : llama3_word(all, p);
      visit(static_cast<std::size_t>(p - all.begin), static_cast<std::size_t>(next - all.begin));
      p = next;
    }
  }

 private:
  static constexpr std::uint8_t word_bits = character::letter | character::number | character::space;

  struct seen {
    std::uint8_t bits;
    std::uint32_t length;
  };
  struct cursor {
    const char* begin;
    const char* end;
    const character::table& classes;

    [[nodiscard]] seen at(const char* p) const {
      const auto first = static_cast<unsigned char>(*p);
      if (first < 0x80) return {classes[first], 1};
      const code_point read = decode_utf8(p, end);
      return {classes[read.value], read.length};
    }
    /// The end of the run, from p, of characters whose word bits are exactly `kind` (letter, number, space or 0).
    [[nodiscard]] const char* run(const char* p, std::uint8_t kind) const {
      while (p != end) {
        const seen next = at(p);
        if ((next.bits & word_bits) != kind) break;
        p += next.length;
      }
      return p;
    }
  };

  constexpr word_scanner(bool is_gpt2, int digits) : is_gpt2_(is_gpt2), digits_(digits) {}

  /// The length of 's 't 're 've 'm 'll 'd at p, which points to the apostrophe; 0 if it is none of them. Without case,
  /// U+017F (long s) is an s.
  [[nodiscard]] static std::size_t contraction(const char* p, const char* end, bool any_case) {
    const auto letter = [&](std::ptrdiff_t i) -> char {
      if (end - p <= i) return '\0';
      const char c = p[i];
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    };
    const char first = letter(1);
    const char second = letter(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
    if (any_case && first == '\xC5' && second == '\xBF') return 3;
    return 0;
  }

  /// The end of the white space that one match takes at p: `\s+(?!\S)|\s+`, after `\s*[\r\n]+` if `lines`.
  [[nodiscard]] static const char* white_space(const cursor& all, const char* p, bool lines) {
    const char* last = p;         // start of the last space of the run
    const char* after = nullptr;  // end of its last line end
    const char* q = p;
    while (q != all.end) {
      const seen next = all.at(q);
      if ((next.bits & character::space) == 0) break;
      last = q;
      q += next.length;
      if ((next.bits & character::newline) != 0) after = q;
    }
    if (lines && after != nullptr) return after;
    return q == all.end || last == p ? q : last;
  }

  [[nodiscard]] static const char* gpt2_word(const cursor& all, const char* p) {
    if (*p == '\'')
      if (const std::size_t length = contraction(p, all.end, false); length != 0) return p + length;
    const seen first = all.at(p);
    const char* body = *p == ' ' ? p + 1 : p;
    if (body == all.end) return body;
    const std::uint8_t kind = (body == p ? first.bits : all.at(body).bits) & word_bits;
    if (kind != character::space) return all.run(body, kind);
    return white_space(all, p, false);
  }

  [[nodiscard]] const char* llama3_word(const cursor& all, const char* p) const {
    if (*p == '\'')
      if (const std::size_t length = contraction(p, all.end, true); length != 0) return p + length;
    const seen first = all.at(p);
    const std::uint8_t kind = first.bits & word_bits;
    if (kind == character::letter) return all.run(p + first.length, character::letter);
    if (kind == character::number) {
      const char* q = p + first.length;
      for (int digits = 1; digits < digits_ && q != all.end; ++digits) {
        const seen next = all.at(q);
        if ((next.bits & word_bits) != character::number) break;
        q += next.length;
      }
      return q;
    }
    const char* second = p + first.length;
    const std::uint8_t next = second == all.end ? character::space : all.at(second).bits & word_bits;
    if (next == character::letter && (first.bits & character::newline) == 0) return all.run(second, character::letter);
    if (kind == 0 || (*p == ' ' && next == 0)) {
      const char* q = all.run(second, 0);
      while (q != all.end && (*q == '\r' || *q == '\n')) ++q;
      return q;
    }
    return white_space(all, p, true);
  }

  bool is_gpt2_;
  int digits_;
};

}  // namespace lodestone::text
