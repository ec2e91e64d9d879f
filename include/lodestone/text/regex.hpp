// Regular expressions of tokenizer files: PCRE2 with its just-in-time compiler, in Unicode mode.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <lodestone/core/error.hpp>

namespace lodestone::text {

/// A compiled pattern. Copies share it; finding is safe from several threads.
///
/// Bytes that are not UTF-8 match nothing. `\s` is Unicode White_Space (PCRE2's own also takes U+180E, which left that
/// property with Unicode 6.3 and which the Oniguruma engine of the Hugging Face library does not take).
class regex {
 public:
  /// Half-open byte range of a match.
  struct match {
    std::size_t begin = 0;  ///< offset of its first byte
    std::size_t end = 0;    ///< one past its last byte; begin if it is empty
  };

  /// Throws format_error, with `where`, if the pattern does not compile.
  explicit regex(std::string_view pattern, std::string_view where = {});

  /// The leftmost match that starts at or after `from` (look-behind sees all of `text`); false if there is none.
  [[nodiscard]] bool find(std::string_view text, std::size_t from, match& found) const;

 private:
  struct scratch;

  [[nodiscard]] static std::string message(int code);

  /// Spells `\s` and `\S` out, everywhere but `\S` inside a class, where no short form exists.
  [[nodiscard]] static std::string translate(std::string_view pattern);

  std::shared_ptr<void> code_;  ///< pcre2_code
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/regex.ipp>
#endif
