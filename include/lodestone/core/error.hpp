// Exceptions: every message says what failed, where, and what to do about it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace lodestone {

/// Base of every exception that Lodestone throws.
///
/// `what()` reads "where: what; remedy". `where` is a place the user knows: "data.jsonl:17", a tensor name, a config
/// key. Empty parts are left out.
class error : public std::runtime_error {
 public:
  explicit error(std::string_view what, std::string_view where = {}, std::string_view remedy = {})
      : std::runtime_error(compose(what, where, remedy)) {}

 private:
  [[nodiscard]] static std::string compose(std::string_view what, std::string_view where, std::string_view remedy) {
    std::string text;
    if (!where.empty()) text.append(where).append(": ");
    text.append(what);
    if (!remedy.empty()) text.append("; ").append(remedy);
    return text;
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

}  // namespace lodestone
