// English or Chinese: which of them a document is written in, and so the prompts about it.
#pragma once

#include <cstdint>
#include <string_view>

namespace lodestone::synthesis {

/// The language that prompts about a document are written in.
enum class language : std::uint8_t { english, chinese };

/// The name that options and records use.
[[nodiscard]] constexpr std::string_view to_string(language tongue) {
  return tongue == language::chinese ? "chinese" : "english";
}

/// CJK characters (Han, of the basic plane and its extensions) as a share of all letters; 0 where there are none.
[[nodiscard]] double cjk_share(std::string_view text);

/// Chinese when at least three letters in ten are CJK characters: one of them says as much as several Latin letters,
/// and Chinese texts quote Latin names, but English ones rarely quote Chinese at such length. Japanese kana are letters
/// that are not CJK characters here.
[[nodiscard]] inline language language_of(std::string_view text) {
  return cjk_share(text) >= 0.3 ? language::chinese : language::english;
}

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/language.ipp>
#endif
