// Definitions of tokenizer_parts.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/tokenizer_parts.hpp>

namespace lodestone::text {

LODESTONE_INLINE void added_tokens::mark_special(std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  if (at >= is_special.size()) is_special.resize(at + 1, false);
  is_special[at] = true;
}

LODESTONE_INLINE void added_tokens::add(const added_token& token, const normalizer& normalize) {
  if (token.special) mark_special(token.id);
  if (!token.normalized) {
    raw.add(token.content, token);
    return;
  }
  std::string storage;
  const std::string_view pattern = normalize.apply(token.content, storage);
  normalized.add(pattern, token);
}

}  // namespace lodestone::text

