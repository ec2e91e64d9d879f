// Definitions of language.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstdint>

#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/language.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::synthesis {

namespace detail {

/// Han: the blocks of unified ideographs and of compatibility ideographs, and the two marks that stand for one.
[[nodiscard]] inline bool is_cjk(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x20000 && c <= 0x323AF) || c == 0x3005 || c == 0x3007;
}

}  // namespace detail

LODESTONE_INLINE double cjk_share(std::string_view text) {
  const text::character::table& classes = text::character::table::get();
  std::int64_t letters = 0, han = 0;
  for (const char *p = text.data(), *const end = p + text.size(); p < end;) {
    const text::code_point at = text::decode_utf8(p, end);
    p += at.length;
    if ((classes[at.value] & text::character::letter) == 0) continue;
    ++letters;
    if (detail::is_cjk(at.value)) ++han;
  }
  return letters == 0 ? 0.0 : static_cast<double>(han) / static_cast<double>(letters);
}

}  // namespace lodestone::synthesis
