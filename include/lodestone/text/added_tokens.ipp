// Definitions of added_tokens.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/added_tokens.hpp>

namespace lodestone::text {

LODESTONE_INLINE void token_finder::add(std::string_view pattern, added_token token) {
  if (patterns_.insert(pattern, static_cast<std::int32_t>(tokens_.size()))) tokens_.push_back(std::move(token));
}

LODESTONE_INLINE bool token_finder::has(code_point at, std::uint8_t bits) {
  return (character::table::get()[at.value] & bits) != 0;
}

LODESTONE_INLINE bool token_finder::word_ends(std::string_view text) {
  return !text.empty() && has(decode_utf8_before(text.data(), text.data() + text.size()), character::word);
}

LODESTONE_INLINE bool token_finder::word_starts(std::string_view text) {
  return !text.empty() && has(decode_utf8(text.data(), text.data() + text.size()), character::word);
}

LODESTONE_INLINE std::size_t token_finder::trim_right(std::string_view whole, std::size_t done, std::size_t end) {
  while (end > done) {
    const code_point before = decode_utf8_before(whole.data() + done, whole.data() + end);
    if (!has(before, character::space)) break;
    end -= before.length;
  }
  return end;
}

LODESTONE_INLINE std::size_t token_finder::trim_left(std::string_view whole, std::size_t begin) {
  while (begin < whole.size()) {
    const code_point next = decode_utf8(whole.data() + begin, whole.data() + whole.size());
    if (!has(next, character::space)) break;
    begin += next.length;
  }
  return begin;
}

}  // namespace lodestone::text

