// Definitions of token_spans.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/text/token_spans.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

namespace detail {

/// Whether a token of byte fallback, "<0xC3>", spells the byte in front of `text`; alone, decoders do not tell it.
[[nodiscard]] inline bool is_byte(std::string_view token, std::string_view text) {
  if (text.empty() || token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return false;
  const auto digit = [&](std::size_t i) { return std::string_view("0123456789ABCDEF").find(token[i]); };
  return digit(3) * 16 + digit(4) == static_cast<unsigned char>(text.front());
}

}  // namespace detail

LODESTONE_INLINE std::vector<span_of_text> token_spans(const tokenizer& words, std::span<const std::int32_t> ids,
                                                       std::string_view text) {
  const auto refuse = [](std::int64_t at) {
    throw data_error("its tokens do not spell the text at byte " + std::to_string(at), "tokenizer",
                     "this tokenizer changes the text: normalise the text as it does, or leave it out");
  };
  const std::optional<std::int32_t> unknown = words.unknown_id();
  std::vector<span_of_text> spans;
  spans.reserve(ids.size());
  std::int64_t at = 0;
  std::size_t open = 0;  // unknown tokens before the next that spells something
  // Characters that a vocabulary lacks cannot hold the beginning of a token that it has, so they end where that is.
  const auto close = [&](std::int64_t end) {
    for (std::size_t i = spans.size() - open; i < spans.size(); ++i) {
      const bool is_last = i + 1 == spans.size();
      const auto length = at == end ? 0 : decode_utf8(text.data() + at, text.data() + end).length;
      spans[i] = {at, is_last ? end : at + length};
      at = spans[i].end;
    }
    open = 0;
  };
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::string_view rest = text.substr(static_cast<std::size_t>(at));
    if (open == 0 && detail::is_byte(words.token_of(ids[i]), rest)) {
      spans.push_back({at, at + 1});
      ++at;
      continue;
    }
    if (unknown == ids[i]) {
      spans.push_back({at, at});
      ++open;
      continue;
    }
    // What a decoder does to the beginning of a text, such as dropping a space, it does to the token before it.
    const std::size_t before = i == 0 ? 0 : words.decode(ids.subspan(i - 1, 1)).size();
    const std::string both = words.decode(i == 0 ? ids.first(1) : ids.subspan(i - 1, 2));
    const std::string_view added = std::string_view(both).substr(std::min(before, both.size()));
    if (open > 0 && !added.empty()) {
      const std::size_t found = rest.find(added);
      if (found == std::string_view::npos) refuse(at);
      close(at + static_cast<std::int64_t>(found));
    } else if (!rest.starts_with(added)) {
      refuse(at);
    }
    const auto end = at + static_cast<std::int64_t>(added.size());
    spans.push_back({at, end});
    at = end;
  }
  if (open > 0) close(static_cast<std::int64_t>(text.size()));
  if (at != static_cast<std::int64_t>(text.size())) refuse(at);
  return spans;
}

LODESTONE_INLINE std::vector<span_of_text> in_characters(std::span<const span_of_text> bytes, std::string_view text) {
  // first[b]: the character that byte b belongs to; one more entry for the end.
  std::vector<std::int64_t> owner(text.size() + 1);
  std::vector<bool> begins(text.size() + 1);
  std::int64_t characters = 0;
  for (std::size_t at = 0; at < text.size();) {
    const code_point next = decode_utf8(text.data() + at, text.data() + text.size());
    if (next.value == not_utf8)
      throw data_error("byte " + std::to_string(at) + " is not UTF-8", "text", "convert the text to UTF-8");
    begins[at] = true;
    for (std::size_t k = 0; k < next.length; ++k) owner[at + k] = characters;
    at += next.length;
    ++characters;
  }
  owner[text.size()] = characters;
  begins[text.size()] = true;
  std::vector<span_of_text> result;
  result.reserve(bytes.size());
  for (const span_of_text& own : bytes) {
    const auto end = static_cast<std::size_t>(own.end);
    result.push_back({owner[static_cast<std::size_t>(own.begin)], owner[end] + (begins[end] ? 0 : 1)});
  }
  return result;
}

LODESTONE_INLINE span_of_text tokens_within(std::span<const span_of_text> spans, span_of_text bytes) {
  const auto begin = std::find_if(spans.begin(), spans.end(), [&](const auto& own) { return own.end > bytes.begin; });
  if (bytes.begin >= bytes.end) return {begin - spans.begin(), begin - spans.begin()};
  const auto end = std::find_if(begin, spans.end(), [&](const auto& own) { return own.begin >= bytes.end; });
  return {begin - spans.begin(), end - spans.begin()};
}

}  // namespace lodestone::text
