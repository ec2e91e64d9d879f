// Normalizers of tokenizer files: rewrite a text before it is split into words.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/regex.hpp>
#include <lodestone/text/sentencepiece_normalizer.hpp>

namespace lodestone::text {

/// Puts `prefix` before a text that is not empty.
struct prepend_text {
  std::string prefix;  ///< UTF-8; may be empty
  /// An empty text stays empty.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Replaces every occurrence of a string.
struct replace_string {
  std::string pattern;  ///< empty: nothing is replaced
  std::string content;  ///< what replaces it; may be empty
  /// From left to right, without overlap.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Replaces every match of a pattern by `content`, literally.
struct replace_pattern {
  regex pattern;        ///< may match the empty string
  std::string content;  ///< taken literally: no references to groups
  /// From left to right, without overlap. Throws error when a match exceeds PCRE2's limits.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// A normalization form of Unicode (UAX 15). Bytes that are not UTF-8 stay.
struct unicode_form {
  /// Canonical or compatibility forms (k), composed (c) or decomposed (d).
  enum class kind { nfc, nfd, nfkc, nfkd };
  kind form = kind::nfc;  ///< the form of the result

  /// Throws error when utf8proc fails, as it does without memory.
  [[nodiscard]] std::string operator()(std::string_view text) const;

 private:
  /// Blocks whose characters are starters with NFC_Quick_Check = Yes; for the other forms ASCII only.
  [[nodiscard]] bool never_changes(char32_t c) const;

  void write_run(std::string_view run, bool is_plain, std::string& result) const;
};

/// Lower case, character by character (no context: a final sigma is a sigma).
struct lowercase {
  /// Bytes that are not UTF-8 stay.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Removes white space at the ends.
struct strip_space {
  bool left = true;   ///< removes it at the start
  bool right = true;  ///< removes it at the end
  /// White space is Unicode's (character::space); bytes that are not UTF-8 are none.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Removes combining marks; decompose first to remove accents.
struct strip_accents {
  /// Bytes that are not UTF-8 stay.
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Spells every byte in the byte-level alphabet.
struct spell_bytes {
  /// Needs no valid UTF-8; the result is.
  [[nodiscard]] std::string operator()(std::string_view text) const { return byte_alphabet::get().spell(text); }
};

/// A sequence of normalizers, applied in order.
class normalizer {
 public:
  /// A file whose replacements multiply each other could fill the memory. NFKC grows a text by 11 at most.
  static constexpr std::size_t most_growth = 64;

  /// One normalizer.
  using step = std::variant<prepend_text, replace_string, replace_pattern, unicode_form, lowercase, strip_space,
                            strip_accents, spell_bytes, sentencepiece_normalizer>;

  /// Puts a step behind the others.
  void add(step next);
  [[nodiscard]] bool empty() const;  ///< no steps: a text stays as it is

  /// The normalized form of `text`, which lies in `storage` or, if nothing was to do, in `text` itself.
  [[nodiscard]] std::string_view apply(std::string_view text, std::string& storage) const;

 private:
  std::vector<step> steps_;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/normalizer.ipp>
#endif
