// Definitions of unicode.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <string_view>

#include <utf8proc.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

namespace character {

LODESTONE_INLINE std::uint8_t look_up(char32_t value) {
  if (value == '\r' || value == '\n') return space | newline;
  if ((value >= 9 && value <= 13) || value == 0x85) return space;
  // Enclosed letters are symbols (So) with the property Other_Alphabetic; the joiners are Join_Control.
  const bool enclosed = (value >= 0x24B6 && value <= 0x24E9) || (value >= 0x1F130 && value <= 0x1F149) ||
                        (value >= 0x1F150 && value <= 0x1F169) || (value >= 0x1F170 && value <= 0x1F189);
  if (enclosed || value == 0x200C || value == 0x200D) return word;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(value))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return letter | word;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL: return number | word;
    case UTF8PROC_CATEGORY_NO: return number;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return mark | word;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return space;
    case UTF8PROC_CATEGORY_PC: return punctuation | word;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return punctuation;
    default: return value > 32 && value < 127 ? punctuation : std::uint8_t{0};  // ASCII $ + < = > ^ ` | ~ are symbols
  }
}

LODESTONE_INLINE table::table() {
  for (char32_t value = 0; value < 0x10000; ++value) bits_[value] = look_up(value);
}

}  // namespace character

}  // namespace lodestone::text

