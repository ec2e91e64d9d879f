// The printable alphabet in which byte-level tokenizer files spell the 256 bytes (GPT-2, section 2.2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// Bytes that are printable in Latin-1 stand for themselves; the other 68 are U+0100, U+0101, ... in order of value.
class byte_alphabet {
 public:
  /// The one table, made at the first call.
  [[nodiscard]] static const byte_alphabet& get() {
    static const byte_alphabet instance;
    return instance;
  }

  /// The character that spells a byte.
  [[nodiscard]] char32_t spell(std::uint8_t byte) const { return characters_[byte]; }

  /// The byte that a character spells, or -1.
  [[nodiscard]] int byte_of(char32_t value) const { return value < bytes_.size() ? bytes_[value] : -1; }

  /// Every byte of `text`, spelled.
  [[nodiscard]] std::string spell(std::string_view text) const {
    std::string spelled;
    spelled.reserve(text.size() + text.size() / 4);
    for (const char c : text) append_utf8(spelled, characters_[static_cast<unsigned char>(c)]);
    return spelled;
  }

  /// Appends the bytes that `spelled` stands for; false, with nothing appended, if some character is not of the
  /// alphabet.
  bool read(std::string_view spelled, std::string& bytes) const {
    const std::size_t before = bytes.size();
    const char* end = spelled.data() + spelled.size();
    for (const char* p = spelled.data(); p != end;) {
      const code_point at = decode_utf8(p, end);
      const int byte = byte_of(at.value);
      if (byte < 0) {
        bytes.resize(before);
        return false;
      }
      bytes.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
      p += at.length;
    }
    return true;
  }

 private:
  byte_alphabet() {
    bytes_.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
      characters_[byte] = printable ? static_cast<char32_t>(byte) : next++;
      bytes_[characters_[byte]] = static_cast<std::int16_t>(byte);
    }
  }
  std::array<char32_t, 256> characters_{};
  std::array<std::int16_t, 0x144> bytes_{};
};

}  // namespace lodestone::text
