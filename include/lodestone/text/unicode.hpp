// UTF-8 that keeps bytes which are not UTF-8, and the character classes that tokenizer patterns speak of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lodestone::text {

/// What `decode_utf8` reports for a byte that belongs to no well-formed sequence.
inline constexpr char32_t not_utf8 = 0xffff'ffffU;

/// One code point and the number of bytes that spell it; a byte outside well-formed UTF-8 is {not_utf8, 1}.
struct code_point {
  char32_t value = not_utf8;  ///< at most U+10FFFF, or not_utf8
  std::uint32_t length = 1;   ///< bytes, 1 to 4
};

/// Reads the code point at `p` (p < end). Overlong forms, surrogates and values above U+10FFFF are not UTF-8.
[[nodiscard]] inline code_point decode_utf8(const char* p, const char* end) {
  const auto byte = [p](std::ptrdiff_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(p[i])); };
  const auto tail = [&byte](std::ptrdiff_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::ptrdiff_t left = end - p;
  if (first >= 0xC2 && first < 0xE0 && left >= 2 && tail(1)) return {((first & 0x1FU) << 6) | (byte(1) & 0x3FU), 2};
  if (first >= 0xE0 && first < 0xF0 && left >= 3 && tail(1) && tail(2)) {
    const std::uint32_t value = ((first & 0x0FU) << 12) | ((byte(1) & 0x3FU) << 6) | (byte(2) & 0x3FU);
    if (value >= 0x800 && (value < 0xD800 || value > 0xDFFF)) return {value, 3};
  }
  if (first >= 0xF0 && first < 0xF5 && left >= 4 && tail(1) && tail(2) && tail(3)) {
    const std::uint32_t value =
        ((first & 0x07U) << 18) | ((byte(1) & 0x3FU) << 12) | ((byte(2) & 0x3FU) << 6) | (byte(3) & 0x3FU);
    if (value >= 0x10000 && value <= 0x10FFFF) return {value, 4};
  }
  return {not_utf8, 1};
}

/// The code point that ends just before `p` (begin < p), or the single byte there.
[[nodiscard]] inline code_point decode_utf8_before(const char* begin, const char* p) {
  for (std::ptrdiff_t length = 1; length <= 4 && p - begin >= length; ++length) {
    const code_point at = decode_utf8(p - length, p);
    if (at.value != not_utf8 && at.length == static_cast<std::uint32_t>(length)) return at;
  }
  return {not_utf8, 1};
}

/// Appends the UTF-8 form of a code point (at most U+10FFFF).
inline void append_utf8(std::string& text, char32_t value) {
  const auto put = [&text](std::uint32_t byte) { text.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  const auto v = static_cast<std::uint32_t>(value);
  if (v < 0x80) {
    put(v);
  } else if (v < 0x800) {
    put(0xC0U | (v >> 6));
    put(0x80U | (v & 0x3FU));
  } else if (v < 0x10000) {
    put(0xE0U | (v >> 12));
    put(0x80U | ((v >> 6) & 0x3FU));
    put(0x80U | (v & 0x3FU));
  } else {
    put(0xF0U | (v >> 18));
    put(0x80U | ((v >> 12) & 0x3FU));
    put(0x80U | ((v >> 6) & 0x3FU));
    put(0x80U | (v & 0x3FU));
  }
}

/// Classes of a character, as a set of bits.
namespace character {
inline constexpr std::uint8_t letter = 1;        ///< general category L
inline constexpr std::uint8_t number = 2;        ///< general category N
inline constexpr std::uint8_t space = 4;         ///< Unicode White_Space
inline constexpr std::uint8_t newline = 8;       ///< carriage return or line feed
inline constexpr std::uint8_t punctuation = 16;  ///< general category P, or ASCII punctuation
inline constexpr std::uint8_t mark = 32;         ///< general category M
inline constexpr std::uint8_t word = 64;  ///< of UTS 18: Alphabetic, marks, decimal numbers, connectors, joiners

/// The bits of one code point, from the tables of utf8proc.
[[nodiscard]] std::uint8_t look_up(char32_t value);

/// The bits of every code point of the basic plane: one load for each character of a document.
class table {
 public:
  /// The one table, made at the first call.
  [[nodiscard]] static const table& get() {
    static const table instance;
    return instance;
  }
  /// The bits of any code point, beyond the basic plane by look_up(); 0 for not_utf8.
  [[nodiscard]] std::uint8_t operator[](char32_t value) const {
    if (value < 0x10000) return bits_[value];
    return value == not_utf8 ? std::uint8_t{0} : look_up(value);
  }

 private:
  table();
  std::array<std::uint8_t, 0x10000> bits_{};
};
}  // namespace character

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/unicode.ipp>
#endif
