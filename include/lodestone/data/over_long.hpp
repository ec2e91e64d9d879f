// Examples that are longer than the limit: error, drop, truncate or split, by tokens or by whole turns.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_encoder.hpp>

namespace lodestone {

/// What becomes of an example of more than max_tokens tokens.
enum class over_long {
  error,            ///< stop with the line
  drop,             ///< leave it out
  truncate_left,    ///< cut its beginning (the prefix, such as BOS, stays)
  truncate_right,   ///< cut its end
  truncate_middle,  ///< cut its middle
  split             ///< several examples: documents at the limit, conversations between rounds
};

/// The name that options use.
[[nodiscard]] constexpr std::string_view to_string(over_long action) {
  switch (action) {
    case over_long::error: return "error";
    case over_long::drop: return "drop";
    case over_long::truncate_left: return "truncate-left";
    case over_long::truncate_right: return "truncate-right";
    case over_long::truncate_middle: return "truncate-middle";
    case over_long::split: return "split";
  }
  return "?";
}

/// The limit and what enforces it.
struct length_policy {
  std::int64_t max_tokens = 0;          ///< 0: no limit
  over_long action = over_long::error;  ///< what becomes of a longer example
  /// Truncation of a conversation cuts the text of the longest messages that are not answers, at the left, the right or
  /// in the middle of the message, until the conversation fits: template and answers stay whole, and a conversation
  /// whose answers alone are too long is dropped. Otherwise truncation cuts the stream of tokens, whatever they are: a
  /// right cut then removes the answer of a single-turn example, as in the original LongAlign code.
  bool keep_answers = true;
};

/// The policy of that name; config_error at key "over_long" with the list of names otherwise.
[[nodiscard]] over_long parse_over_long(std::string_view name);

/// Keeps `max_tokens` rows; the first `prefix` rows stay. A row whose next token is gone predicts nothing, so what
/// remains trains as if it had been all. Requires prefix < max_tokens <= size.
[[nodiscard]] encoded_sequence truncate_tokens(const encoded_sequence& full, std::int64_t max_tokens, over_long side,
                                               std::int64_t prefix);

/// Cuts a document into parts of at most `max_tokens` rows; every part begins with the first `prefix` rows. The last
/// row of a part predicts the first token of the next, so every target is trained exactly once. Requires prefix <
/// max_tokens.
[[nodiscard]] std::vector<encoded_sequence> split_tokens(const encoded_sequence& full, std::int64_t max_tokens,
                                                         std::int64_t prefix);

namespace detail {

/// Removes about `count` bytes of text at the named side, whole UTF-8 characters only.
std::size_t cut_text(std::string& text, std::size_t count, over_long side);

}  // namespace detail

namespace detail {

/// Cuts the longest messages that are not answers until `encode()`, which returns how many tokens `messages` have now,
/// gives at most `max_tokens`. False when they are all empty before that.
template <class Encode>
bool cut_messages(std::vector<chat_message>& messages, std::int64_t max_tokens, over_long side, const Encode& encode) {
  std::int64_t current = encode();
  std::size_t bytes = 0;
  for (const chat_message& message : messages) bytes += message.content.size();
  double bytes_per_token = static_cast<double>(bytes) / static_cast<double>(current);
  while (current > max_tokens) {
    chat_message* longest = nullptr;
    for (chat_message& message : messages) {
      if (message.role == chat_role::assistant || message.content.empty()) continue;
      if (longest == nullptr || message.content.size() > longest->content.size()) longest = &message;
    }
    if (longest == nullptr) return false;
    const std::int64_t excess = current - max_tokens;
    const auto size = static_cast<double>(longest->content.size());
    const auto wanted = static_cast<std::size_t>(std::min(size, static_cast<double>(excess) * bytes_per_token)) + 1;
    const std::size_t cut = cut_text(longest->content, wanted, side);
    const std::int64_t before = current;
    current = encode();
    // The measured ratio converges in a few rounds whatever the script; doubling guards against cuts that save nothing.
    const std::int64_t saved = before - current;
    bytes_per_token = saved > 0 ? static_cast<double>(cut) / static_cast<double>(saved) : 2.0 * bytes_per_token + 1.0;
  }
  return true;
}

}  // namespace detail

/// Cuts the longest messages that are not answers until the conversation fits; nothing when the answers alone do not.
template <class Tokenizer>
[[nodiscard]] std::optional<encoded_sequence> truncate_messages(const chat_encoder<Tokenizer>& encoder,
                                                                std::vector<chat_message> messages,
                                                                std::int64_t max_tokens, over_long side,
                                                                std::string_view where) {
  encoded_sequence current;
  const auto encode = [&] {
    current = encoder.encode(messages, where);
    return current.size();
  };
  if (!detail::cut_messages(messages, max_tokens, side, encode)) return std::nullopt;
  return current;
}

/// Splits a conversation between rounds (a user turn up to the next one) into parts that fit; every part begins with
/// the system message. Nothing when a single round does not fit.
template <class Tokenizer>
[[nodiscard]] std::optional<std::vector<encoded_sequence>> split_conversation(const chat_encoder<Tokenizer>& encoder,
                                                                              std::span<const chat_message> messages,
                                                                              std::int64_t max_tokens,
                                                                              std::string_view where) {
  std::size_t lead = 0;
  while (lead < messages.size() && messages[lead].role == chat_role::system) ++lead;
  std::vector<std::size_t> starts;  // first message of every round, and the end of the last answer
  std::size_t end = messages.size();
  while (end > lead && messages[end - 1].role != chat_role::assistant) --end;
  for (std::size_t i = lead; i < end; ++i) {
    if (i == lead || (messages[i - 1].role == chat_role::assistant)) starts.push_back(i);
  }
  starts.push_back(end);
  std::vector<encoded_sequence> parts;
  const auto encode = [&](std::size_t first, std::size_t last) {
    std::vector<chat_message> some(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(lead));
    some.insert(some.end(), messages.begin() + static_cast<std::ptrdiff_t>(starts[first]),
                messages.begin() + static_cast<std::ptrdiff_t>(starts[last]));
    return encoder.encode(some, where);
  };
  for (std::size_t first = 0; first + 1 < starts.size();) {
    std::size_t good = first;  // the most rounds that fit, by bisection: lengths grow with the number of rounds
    std::size_t bad = starts.size();
    encoded_sequence best;
    while (good + 1 < bad) {
      const std::size_t middle = good + (bad - good) / 2;
      encoded_sequence trial = encode(first, middle);
      if (trial.size() <= max_tokens) {
        good = middle;
        best = std::move(trial);
      } else {
        bad = middle;
      }
    }
    if (good == first) return std::nullopt;
    parts.push_back(std::move(best));
    first = good;
  }
  return parts;
}

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/over_long.ipp>
#endif
