// Exceptions: every message says what failed, where, and what to do about it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace lodestone {

namespace detail {

/// Bytes of the UTF-8 character at the front of `text`; 0 when there is none. Overlong forms and surrogates count as
/// none.
[[nodiscard]] constexpr std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xC2 ? 0
                             : first < 0xE0 ? 2
                             : first < 0xF0 ? 3
                             : first < 0xF5 ? 4
                                            : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

/// `text` for a terminal and a log: what is not UTF-8, and control characters but line ends and tabs, as \xNN.
[[nodiscard]] inline std::string printable(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t length = utf8_length(text);
    const bool is_control = (first < 0x20 && first != '\n' && first != '\t') || first == 0x7F;
    if (length == 0 || is_control)
      result.append({'\\', 'x', digits[first >> 4], digits[first & 0xFU]});
    else
      result.append(text.substr(0, length));
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

}  // namespace detail

/// Base of every exception that Lodestone throws.
///
/// `what()` reads "where: what; remedy". `where` is a place the user knows: "data.jsonl:17", a tensor name, a config
/// key. Empty parts are left out. Messages may quote files and command lines: what no terminal should see is escaped.
class error : public std::runtime_error {
 public:
  /// The parts of the message: what failed, where, and what the user can do about it.
  explicit error(std::string_view what, std::string_view where = {}, std::string_view remedy = {})
      : std::runtime_error(compose(what, where, remedy)) {}

 private:
  [[nodiscard]] static std::string compose(std::string_view what, std::string_view where, std::string_view remedy) {
    std::string text;
    if (!where.empty()) text.append(where).append(": ");
    text.append(what);
    if (!remedy.empty()) text.append("; ").append(remedy);
    return detail::printable(text);
  }
};

/// Sizes that do not fit together: a view, a matrix product, a batch.
class shape_error : public error {
  using error::error;
};

/// A file that is not what it claims to be: safetensors, tokenizer.json, a checkpoint.
class format_error : public error {
  using error::error;
};

/// A record of the user's data that cannot be trained on; `where` is "file:line".
class data_error : public error {
  using error::error;
};

/// A setting that is unknown, out of range or contradicts another; `where` is the key.
class config_error : public error {
  using error::error;
};

/// The operating system refused: missing file, full disk, no permission; `where` is the path.
class io_error : public error {
  using error::error;
};

/// A value that is not a number, or an overflow, where training cannot go on.
class numeric_error : public error {
  using error::error;
};

/// Throws format_error when JSON text holds a zero byte: parsers take it for the end and would silently ignore the
/// rest.
inline void refuse_zero_byte(std::string_view text, std::string_view where) {
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos)
    throw format_error("a zero byte at offset " + std::to_string(at) + ", which JSON cannot hold", where,
                       "write the file again");
}

}  // namespace lodestone
