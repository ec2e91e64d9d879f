// Chat templates as programs: the Jinja source of a model folder writes the conversation, and its answers are found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/chat_template.hpp>
#include <lodestone/text/special_tokens.hpp>

namespace lodestone {

namespace jinja {
struct program;
}

/// What a template sees beside the conversation.
struct chat_program_options {
  std::vector<std::pair<std::string, std::string>> tokens{};  ///< bos_token, eos_token, ... as text
  std::string values{};  ///< further variables as a JSON object, such as {"enable_thinking": false}; empty: none
  std::string date{};    ///< what strftime_now() writes, as 2024-07-26; empty: today
};

/// Bytes [begin, end) of a written conversation.
struct chat_span {
  std::size_t begin = 0;      ///< first byte
  std::size_t end = 0;        ///< behind the last byte
  std::int32_t message = -1;  ///< index of the message whose content they are; -1: of none
};

/// A conversation as a template wrote it.
struct chat_text {
  std::string text{};                  ///< UTF-8
  std::vector<chat_span> contents{};   ///< the bytes that are messages' contents, ascending
  std::vector<chat_span> generated{};  ///< what stands in generation blocks
};

/// A parsed chat template. Immutable: safe to call from several threads.
///
/// Law: rendering is pure but for strftime_now() without a date. A template sees `messages` (role and content),
/// `add_generation_prompt`, the special tokens and the values of its options; `tools` and `documents` are none.
class chat_program {
 public:
  /// Parses `source`; errors call it `name`. Throws jinja::template_error with the line and the column of what is wrong
  /// or not supported, or when it does not write a question and its answer, and config_error for a date that is none
  /// and for values that are no object or hold tools.
  chat_program(std::string source, std::string name, chat_program_options options = {});

  /// The conversation. With `opens_answer` (add_generation_prompt) it ends where the model's answer begins. Throws
  /// data_error at `where` when the template refuses it or fails on it.
  [[nodiscard]] chat_text write(std::span<const chat_message> messages, bool opens_answer,
                                std::string_view where = {}) const;

  [[nodiscard]] const std::string& name() const { return name_; }      ///< as errors call it
  [[nodiscard]] const std::string& source() const { return source_; }  ///< the Jinja text
  [[nodiscard]] const std::string& ending() const { return ending_; }  ///< what it writes behind a last answer
  [[nodiscard]] bool marks_answers() const;                            ///< whether it has generation blocks
  /// Source, values, tokens and date in one string, for records of how data were made.
  [[nodiscard]] std::string describe() const;

 private:
  std::string source_;
  std::string name_;
  chat_program_options options_;
  std::shared_ptr<const jinja::program> program_;
  std::string ending_;
};

/// The format that renders conversations with `program`.
[[nodiscard]] chat_template rendered_template(std::shared_ptr<const chat_program> program);

/// The template of a folder under that name ("default" or empty: the one that chat_template names); config_error with
/// the names that there are otherwise.
[[nodiscard]] chat_template rendered_template(const special_tokens& specials, std::string_view name,
                                              chat_program_options options = {});

/// A format, and what the user should hear about the choice.
struct chat_choice {
  chat_template form{};  ///< built in, or with a program
  std::string note{};    ///< empty: nothing
};

/// The format of a folder: the built-in family that writes exactly what the folder's template writes; else the template
/// itself; else, when it cannot be parsed, the family of its marks, with a note. config_error at key "template", with
/// the names, when there is none of these.
[[nodiscard]] chat_choice choose_chat_template(const special_tokens& specials,
                                               const std::function<bool(std::string_view)>& has_token,
                                               chat_program_options options = {});

namespace detail {

/// What render_program() writes behind the prompt of the first `before` messages. data_error at `where` when the
/// prompt is no prefix of the whole.
[[nodiscard]] std::vector<chat_segment> render_program_answer(const chat_template& form,
                                                              std::span<const chat_message> messages,
                                                              std::size_t before, std::string_view where);

}  // namespace detail

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/chat_program.ipp>
#endif
