// Cuts the source of a chat template into text and the tokens of its tags, with Jinja's rules for white space.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::jinja {

/// A fault of a template, or something that is not supported; the place is "NAME:line:column".
class template_error : public format_error {
  using format_error::format_error;
};

/// A template refused its input with raise_exception(); the message is the template's.
class template_refusal : public error {
  using error::error;
};

/// A place in the source, both from 1; the column counts bytes.
struct place {
  std::int32_t line = 1;    ///< from 1
  std::int32_t column = 1;  ///< from 1
};

/// What a token is.
enum class token_kind : std::uint8_t {
  data,            ///< text between tags
  variable_begin,  ///< two braces
  variable_end,
  block_begin,  ///< brace and per cent
  block_end,
  name,
  string,   ///< unescaped
  integer,  ///< its digits
  real,
  symbol,  ///< an operator or a bracket
  end      ///< of the source
};

/// One token.
struct token {
  token_kind what = token_kind::end;  ///< its kind
  std::string text{};                 ///< its text; of a string the characters it stands for
  place at{};                         ///< where it begins
};

/// Where a template is, as errors say it: "NAME:3:14".
[[nodiscard]] std::string describe(std::string_view name, place at);

/// The tokens of a template, the last of kind end. White space follows Hugging Face's settings: a newline behind a
/// block or a comment is dropped, so are blanks before one that begins a line, and '-' and '+' in the tags say
/// otherwise. Throws template_error.
[[nodiscard]] std::vector<token> tokenize(std::string_view source, std::string_view name);

}  // namespace lodestone::jinja

#ifndef LODESTONE_COMPILED
#include <lodestone/text/jinja_lexer.ipp>
#endif
