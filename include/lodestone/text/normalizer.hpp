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
  std::string prefix;
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Replaces every occurrence of a string.
struct replace_string {
  std::string pattern;
  std::string content;
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Replaces every match of a pattern by `content`, literally.
struct replace_pattern {
  regex pattern;
  std::string content;
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// A normalization form of Unicode (UAX 15). Bytes that are not UTF-8 stay.
struct unicode_form {
  enum class kind { nfc, nfd, nfkc, nfkd };
  kind form = kind::nfc;

  [[nodiscard]] std::string operator()(std::string_view text) const;

 private:
  /// Blocks whose characters are starters with NFC_Quick_Check = Yes; for the other forms ASCII only.
  [[nodiscard]] bool never_changes(char32_t c) const;

  void write_run(std::string_view run, bool is_plain, std::string& result) const;
};

/// Lower case, character by character (no context: a final sigma is a sigma).
struct lowercase {
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Removes white space at the ends.
struct strip_space {
  bool left = true;
  bool right = true;
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Removes combining marks; decompose first to remove accents.
struct strip_accents {
  [[nodiscard]] std::string operator()(std::string_view text) const;
};

/// Spells every byte in the byte-level alphabet.
struct spell_bytes {
  [[nodiscard]] std::string operator()(std::string_view text) const { return byte_alphabet::get().spell(text); }
};

/// A sequence of normalizers, applied in order.
class normalizer {
 public:
  /// A file whose replacements multiply each other could fill the memory. NFKC grows a text by 11 at most.
  static constexpr std::size_t most_growth = 64;

  using step = std::variant<prepend_text, replace_string, replace_pattern, unicode_form, lowercase, strip_space,
                            strip_accents, spell_bytes, sentencepiece_normalizer>;

  void add(step next);
  [[nodiscard]] bool empty() const { return steps_.empty(); }

  /// The normalized form of `text`, which lies in `storage` or, if nothing was to do, in `text` itself.
  [[nodiscard]] std::string_view apply(std::string_view text, std::string& storage) const;

 private:
  std::vector<step> steps_;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/normalizer.ipp>
#endif
