// Cuts a prompt in its middle, token by token, as LongBench does: instructions stand at both ends of long prompts.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::eval {

/// What cutting asks of a tokenizer: `encode(text)`, with the tokens that it puts around a text, the empty one too, and
/// `decode(ids, skip_special)`, whose text may begin or end inside a character.
template <class T>
concept cutting_tokenizer = requires(const T& t, std::string_view text, std::span<const std::int32_t> ids) {
  { t.encode(text) } -> std::convertible_to<std::vector<std::int32_t>>;
  { t.decode(ids, true) } -> std::convertible_to<std::string>;
};

/// A prompt that fits, and what it was before.
struct cut_prompt {
  std::string text{};      ///< UTF-8, as given when it was short enough
  std::size_t tokens = 0;  ///< of the whole prompt, with those that the tokenizer puts around it
  bool is_cut = false;     ///< its middle is gone
};

/// `text` with U+FFFD in place of what is not UTF-8: one for each run of bytes that begins a character and does not end
/// it, one for every other byte (the practice that Unicode 15, section 3.9 recommends).
[[nodiscard]] inline std::string replace_broken_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    if (const std::size_t length = lodestone::detail::utf8_length(text); length != 0) {
      result.append(text.substr(0, length));
      text.remove_prefix(length);
      continue;
    }
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    const std::size_t wanted = first < 0xC2 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 1;
    std::size_t run = 1;
    for (; run < std::min(wanted, text.size()); ++run) {
      const unsigned low = run > 1 ? 0x80U : first == 0xE0 ? 0xA0U : first == 0xF0 ? 0x90U : 0x80U;
      const unsigned high = run > 1 ? 0xBFU : first == 0xED ? 0x9FU : first == 0xF4 ? 0x8FU : 0xBFU;
      if (byte(run) < low || byte(run) > high) break;
    }
    result += "\xEF\xBF\xBD";
    text.remove_prefix(run);
  }
  return result;
}

namespace detail {

/// How many tokens at both ends of a text's are the tokenizer's own.
struct tokens_around {
  std::size_t front = 0;
  std::size_t back = 0;
};

/// Those that an empty text has too.
template <cutting_tokenizer Tokenizer>
[[nodiscard]] tokens_around find_tokens_around(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  const std::vector<std::int32_t> none = tokenizer.encode(std::string_view());
  tokens_around result;
  while (result.front < std::min(none.size(), ids.size()) && none[result.front] == ids[result.front]) ++result.front;
  const std::size_t rest = none.size() - result.front;
  if (rest <= ids.size() - result.front && std::equal(none.end() - static_cast<std::ptrdiff_t>(rest), none.end(),
                                                      ids.end() - static_cast<std::ptrdiff_t>(rest)))
    result.back = rest;
  return result;
}

}  // namespace detail

/// `prompt`, or, when it has more than `limit` tokens, the text of its first limit / 2 tokens and then of its last
/// limit / 2, without the tokens that the tokenizer puts around it: what LongBench's pred.py makes of it. Special
/// tokens that the prompt itself has stay (pred.py loses them): a question may begin with one. The bytes of a character
/// that a cut goes through become U+FFFD (pred.py's library replaces the whole run of byte tokens around them). Encoded
/// again, the result may have a few tokens more than `limit`: both ends are tokenised anew. Throws config_error for a
/// limit below 2.
template <cutting_tokenizer Tokenizer>
[[nodiscard]] cut_prompt cut_middle(const Tokenizer& tokenizer, std::string_view prompt, std::int64_t limit) {
  if (limit < 2) {
    throw config_error("a prompt cannot be cut to " + std::to_string(limit) + " tokens", "limit",
                       "leave room for the prompt: a longer window, or fewer new tokens");
  }
  const std::vector<std::int32_t> ids = tokenizer.encode(prompt);
  cut_prompt result;
  result.tokens = ids.size();
  if (ids.size() <= static_cast<std::size_t>(limit)) {
    result.text = prompt;
    return result;
  }
  const auto half = static_cast<std::size_t>(limit / 2);
  const std::span<const std::int32_t> all(ids);
  const detail::tokens_around around = detail::find_tokens_around(tokenizer, all);
  const std::size_t front = std::min(around.front, half), back = std::min(around.back, half);
  result.is_cut = true;
  result.text = replace_broken_utf8(tokenizer.decode(all.first(half).subspan(front), false)) +
                replace_broken_utf8(tokenizer.decode(all.last(half).first(half - back), false));
  return result;
}

}  // namespace lodestone::eval
