// The normalizer inside a SentencePiece tokenizer.model: character map, white space, dummy prefix.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/prefix_trie.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// A compiled character map (nmt_nfkc and the like): the longest key that starts a text, and what replaces it.
///
/// The form of SentencePiece: the trie's size in bytes (32 bits), the trie, replacements that end with a zero byte.
/// The trie is a double array in the layout of Darts: a unit holds label (8 bits), leaf flag, offset (21 bits, scaled
/// by 256 when bit 9 is set), or, with bit 31 set, a value.
class character_map {
 public:
  character_map() = default;

  /// Throws format_error if the sizes do not fit.
  character_map(std::string_view compiled, std::string_view where) {
    if (compiled.empty()) return;
    const std::size_t size = compiled.size() < 4 ? 0 : little_endian(compiled, 0);
    if (size == 0 || size % 4 != 0 || size > compiled.size() - 4)
      throw format_error("the precompiled character map is damaged", where, "fetch the file again");
    for (std::size_t i = 0; i < size; i += 4) trie_.push_back(little_endian(compiled, 4 + i));
    replacements_ = compiled.substr(4 + size);
    replacements_.push_back('\0');
  }

  [[nodiscard]] bool empty() const { return trie_.empty(); }

  /// The length of the longest key at the start of `text` (0: none) and its replacement.
  [[nodiscard]] std::pair<std::size_t, std::string_view> longest(std::string_view text) const {
    std::pair<std::size_t, std::string_view> best{0, {}};
    if (trie_.empty()) return best;
    std::size_t node = offset(trie_[0]);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto label = static_cast<std::uint32_t>(static_cast<unsigned char>(text[i]));
      node ^= label;
      if (node >= trie_.size()) break;
      const std::uint32_t unit = trie_[node];
      if ((unit & 0x8000'00FFU) != label) break;
      node ^= offset(unit);
      if ((unit >> 8 & 1U) != 0 && node < trie_.size()) {
        const std::size_t value = trie_[node] & 0x7FFF'FFFFU;
        if (value < replacements_.size()) best = {i + 1, std::string_view(replacements_.c_str() + value)};
      }
    }
    return best;
  }

 private:
  [[nodiscard]] static std::size_t offset(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200U) >> 6); }
  [[nodiscard]] static std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
  }
  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

/// Normalizes as SentencePiece does (Kudo and Richardson 2018): maps characters, removes repeated spaces if asked,
/// puts a space first if asked, and writes each space as U+2581. Bytes that are not UTF-8 stay (SentencePiece itself
/// would write U+FFFD and lose them).
struct sentencepiece_normalizer {
  static constexpr std::string_view space_symbol = "\xE2\x96\x81";

  character_map characters;
  prefix_trie verbatim;  ///< user-defined pieces, which no rule touches
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;

  [[nodiscard]] std::string operator()(std::string_view text) const {
    const std::string_view space = escape_whitespaces ? space_symbol : std::string_view(" ");
    std::string result;
    result.reserve(text.size() + text.size() / 2 + 8);
    const auto next = [&]() -> std::pair<std::size_t, std::string_view> {
      if (const auto kept = verbatim.longest(text); kept.length != 0) return {kept.length, text.substr(0, kept.length)};
      if (!characters.empty())
        if (const auto mapped = characters.longest(text); mapped.first != 0) return mapped;
      const std::size_t length = decode_utf8(text.data(), text.data() + text.size()).length;
      return {length, text.substr(0, length)};
    };
    if (remove_extra_whitespaces)
      while (!text.empty()) {
        const auto [length, mapped] = next();
        if (mapped != " ") break;
        text.remove_prefix(length);
      }
    if (text.empty()) return result;
    if (add_dummy_prefix) result.append(space);
    bool after_space = remove_extra_whitespaces;
    while (!text.empty()) {
      auto [length, mapped] = next();
      while (after_space && !mapped.empty() && mapped.front() == ' ') mapped.remove_prefix(1);
      for (const char c : mapped) c == ' ' ? result.append(space) : result.append(1, c);
      if (!mapped.empty()) after_space = remove_extra_whitespaces && mapped.back() == ' ';
      text.remove_prefix(length);
    }
    if (remove_extra_whitespaces)
      while (result.size() >= space.size() && std::string_view(result).substr(result.size() - space.size()) == space)
        result.resize(result.size() - space.size());
    return result;
  }
};

}  // namespace lodestone::text
