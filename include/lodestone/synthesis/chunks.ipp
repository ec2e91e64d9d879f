// Definitions of chunks.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/chunks.hpp>
#include <lodestone/text/jsonl.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE chunker::chunker(const tokenizer& words, chunk_options options)
    : words_(&words),
      options_(options),
      encoder_(words, {.end_token = {}}),
      newline_(words.encode("\n", false, false)) {
  if (options_.tokens < 8) throw config_error("must be at least 8", "chunk_tokens", "give 512");
}

LODESTONE_INLINE std::vector<std::int32_t> chunker::encode(std::string_view text) const {
  chat_segment segment;
  segment.text = std::string(text);
  segment.is_template = false;
  // Behind a newline, since no chunk stands at the beginning of a prompt; row 0 of the result is that newline's token.
  std::vector<std::int32_t> ids =
      encoder_.encode_segments({std::move(segment)}, std::nullopt, std::span(newline_).last(1)).tokens;
  ids.erase(ids.begin());
  return ids;
}

LODESTONE_INLINE std::string chunker::decode(std::span<const std::int32_t> ids) const {
  // Behind a newline: tokenizers that put a space before a text take the first one away.
  std::vector<std::int32_t> behind = newline_;
  behind.insert(behind.end(), ids.begin(), ids.end());
  std::string text = words_->decode(behind);
  const std::size_t skipped = words_->decode(newline_).size();
  return text.substr(std::min(skipped, text.size()));
}

namespace detail {

/// Whether a chunk may end between these texts without cutting a word.
[[nodiscard]] inline bool is_between_words(std::string_view before, std::string_view after) {
  if (before.empty() || after.empty()) return true;
  const text::character::table& classes = text::character::table::get();
  const char32_t last = text::decode_utf8_before(before.data(), before.data() + before.size()).value;
  const char32_t next = text::decode_utf8(after.data(), after.data() + after.size()).value;
  const std::uint8_t blank = text::character::space;
  // A point between digits is punctuation that belongs to a number, so white space is asked for behind ASCII marks.
  const bool is_full_width = last > 0x2000 && (classes[last] & text::character::punctuation) != 0;
  return (classes[last] & blank) != 0 || (classes[next] & blank) != 0 || is_full_width;
}

}  // namespace detail

LODESTONE_INLINE std::vector<token_chunk> chunker::cut(std::string_view text) const {
  const std::vector<std::int32_t> ids = encode(text);
  const auto size = static_cast<std::int64_t>(ids.size());
  const auto range = [&](std::int64_t begin, std::int64_t end) {
    return std::span(ids).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  };
  std::vector<token_chunk> chunks;
  for (std::int64_t begin = 0; begin < size;) {
    const std::int64_t longest = std::min(begin + options_.tokens, size);
    const std::int64_t shortest = longest == size ? size : begin + options_.tokens / 2;
    token_chunk best{.begin = begin};
    int best_rank = -1;  // 2: exact and between words; 1: exact; 0: whole characters
    for (std::int64_t end = longest; end >= shortest && best_rank < 2; --end) {
      const std::span<const std::int32_t> own = range(begin, end);
      std::string spelled = decode(own);
      if (end < size && find_broken_utf8(spelled) != std::string_view::npos) continue;
      int rank = 0;
      // Tokens that are looked ahead at: enough to spell one character.
      const std::string ahead = end < size ? decode(range(end, std::min(end + 4, size))) : std::string();
      const bool is_between =
          options_.end == chunk_end::token || end == size || detail::is_between_words(spelled, ahead);
      if (!is_between && best_rank >= 1) continue;
      if (std::ranges::equal(encode(spelled), own)) rank = is_between ? 2 : 1;
      if (rank <= best_rank) continue;
      best_rank = rank;
      best.ids.assign(own.begin(), own.end());
      best.text = std::move(spelled);
      best.is_exact = rank > 0;
    }
    if (best_rank < 0) {  // bytes that are no characters, all along half a chunk
      const std::span<const std::int32_t> own = range(begin, longest);
      best.ids.assign(own.begin(), own.end());
      best.text = decode(own);
      best.is_exact = false;
    }
    begin += static_cast<std::int64_t>(best.ids.size());
    chunks.push_back(std::move(best));
  }
  return chunks;
}

}  // namespace lodestone::synthesis
