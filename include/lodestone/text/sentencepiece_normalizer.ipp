// Definitions of sentencepiece_normalizer.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/sentencepiece_normalizer.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

LODESTONE_INLINE character_map::character_map(std::string_view compiled, std::string_view where) {
  if (compiled.empty()) return;
  const std::size_t size = compiled.size() < 4 ? 0 : little_endian(compiled, 0);
  if (size == 0 || size % 4 != 0 || size > compiled.size() - 4)
    throw format_error("the precompiled character map is damaged", where, "fetch the file again");
  for (std::size_t i = 0; i < size; i += 4) trie_.push_back(little_endian(compiled, 4 + i));
  replacements_ = compiled.substr(4 + size);
  replacements_.push_back('\0');
}

LODESTONE_INLINE std::pair<std::size_t, std::string_view> character_map::longest(std::string_view text) const {
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

LODESTONE_INLINE std::uint32_t character_map::little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

LODESTONE_INLINE std::string sentencepiece_normalizer::operator()(std::string_view text) const {
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

}  // namespace lodestone::text

