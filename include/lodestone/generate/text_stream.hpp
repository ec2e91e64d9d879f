// Text of an answer while its tokens arrive: whole characters, and nothing that a stop string may still take away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/text/tokenizer.hpp>

namespace lodestone::generate {

/// Turns tokens into text, each in constant time.
///
/// A token may be part of a character, and decoders treat the start of a text in their own way (they drop a space):
/// every token is decoded behind a few that stand before it. Special tokens have no text. Bytes that can never become
/// UTF-8 are replaced by U+FFFD; a character whose end never comes is left out.
class text_stream {
 public:
  /// For text behind the tokens `before`; with none it starts as a text of its own does. `words` must outlive the
  /// stream. Throws config_error for an empty stop string.
  text_stream(const tokenizer& words, std::span<const std::int32_t> before, std::vector<std::string> stop);

  /// Takes the next token and returns the text that is certain now. A stop string is found when `may_stop` and its
  /// first byte comes with this token or with an earlier one that might stop.
  [[nodiscard]] std::string push(std::int32_t token, bool may_stop = true);

  /// Whether a stop string was found: text() ends before it, and further tokens are not looked at.
  [[nodiscard]] bool is_stopped() const { return is_stopped_; }

  /// The text that was held back, when no more tokens come.
  [[nodiscard]] std::string finish();

  /// All text so far, with what is held back.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  [[nodiscard]] std::string decode(std::int32_t token);
  void take_characters();
  [[nodiscard]] std::size_t held_back() const;
  [[nodiscard]] std::string show(std::size_t end);

  const tokenizer* words_;
  std::vector<std::string> stop_;
  std::vector<std::int32_t> before_;  // the last tokens that have text
  std::string bytes_;                 // the start of a character
  std::string text_;
  std::size_t shown_ = 0;
  std::size_t search_ = 0;  // stop strings begin here or later
  bool is_stopped_ = false;
};

}  // namespace lodestone::generate

#ifndef LODESTONE_COMPILED
#include <lodestone/generate/text_stream.ipp>
#endif
