// Chat templates: the strings that stand around the messages of a conversation, and where its training targets are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_message.hpp>

namespace lodestone {

/// Which tokens are trained.
enum class target_choice {
  all_answers,  ///< every assistant turn with its end token
  last_answer,  ///< the last assistant turn with its end token
  all_tokens    ///< every token that has a predecessor
};

/// The name that options use.
[[nodiscard]] constexpr std::string_view to_string(target_choice targets) {
  switch (targets) {
    case target_choice::all_answers: return "all-answers";
    case target_choice::last_answer: return "last-answer";
    case target_choice::all_tokens: return "all-tokens";
  }
  return "?";
}

/// What marks the end of an answer.
enum class answer_end {
  token,       ///< the end token follows every answer, as input and as target
  label_only,  ///< every answer's last token predicts the end token, which is input only after the last answer: what
               ///< the original LongAlign code does (pre_tokenize.py, process_file)
  next_token   ///< the next turn's first token ends an answer (ChatGLM3's <|user|>); the last answer gets the end token
};

/// The name that options use.
[[nodiscard]] constexpr std::string_view to_string(answer_end end) {
  switch (end) {
    case answer_end::token: return "token";
    case answer_end::label_only: return "label-only";
    case answer_end::next_token: return "next-token";
  }
  return "?";
}

class chat_program;

/// The strings of a chat format. Every family is a value of this type, and so is a user's own format.
///
/// A conversation is written as
///
///     begin  [system_prefix S system_suffix]  rounds joined by turn_separator
///     round = user_prefix U user_suffix assistant_prefix A assistant_suffix end_token
///
/// Each "{round}" in user_prefix becomes the number of the round, from 1. The targets of an answer are A,
/// assistant_suffix and end_token. A single space at the end of assistant_prefix is tokenised together with the answer
/// (tokens carry their leading space), so it belongs to the first target token.
struct chat_template {
  std::string name = "custom";  ///< under any other name the end token must be in the vocabulary
  /// Tokens at the very beginning; written only when the tokenizer's post-processor puts nothing there.
  std::string begin{};
  /// Before and after a system message.
  ///@{
  std::string system_prefix{};
  std::string system_suffix{};
  ///@}
  /// Before and after a user message.
  ///@{
  std::string user_prefix{};
  std::string user_suffix{};
  ///@}
  /// Before and after an answer.
  ///@{
  std::string assistant_prefix{};
  std::string assistant_suffix{};
  ///@}
  /// Between an answer and the next turn.
  std::string turn_separator{};
  /// Ends an answer: a token of the vocabulary, or "{eos}" for the end-of-sequence token of the model's folder. A
  /// custom format may name plain text, or nothing.
  std::string end_token = "{eos}";
  /// Used when a conversation has no system message.
  std::string default_system{};
  /// The system message stands inside the first user turn: user_prefix system_prefix S system_suffix U user_suffix.
  bool system_in_user_turn = false;
  /// White space at both ends of every message is dropped, as the family's published template does.
  bool trim = false;
  answer_end end = answer_end::token;  ///< how an answer's end is marked
  /// A Jinja template (chat_program.hpp) that writes the conversation instead of the strings above; usually none.
  std::shared_ptr<const chat_program> program{};

  friend bool operator==(const chat_template&, const chat_template&) = default;
};

/// A run of rendered text with one meaning.
struct chat_segment {
  /// UTF-8; may be empty.
  std::string text;
  bool is_template = true;     ///< control tokens in it are meant; in a message's content they are only characters
  bool is_end_token = false;   ///< the template's end token
  bool is_label_only = false;  ///< the end token as a label of the token before, not as input
  bool starts_piece = false;   ///< tokenised apart from what precedes it
  bool bounds_chunk = false;   ///< a chunk of the context begins or ends here: cuts, and the encoder notes the place
  bool is_first_token_target = false;  ///< only the first token of the segment is a target (answer_end::next_token)
  double weight = 0.0;                 ///< a_t of its tokens as targets; 0: no targets
  std::int32_t message = -1;           ///< index of the message it belongs to
};

/// What rendering a conversation met on the way.
struct render_report {
  std::int64_t empty_answers = 0;     ///< answers without text: masked unless all tokens are targets
  std::int64_t unanswered_turns = 0;  ///< user turns after the last answer: not written
};

namespace detail {

[[nodiscard]] std::string_view trimmed(std::string_view text);

/// render() and render_prompt() for a format with a program, defined in chat_program.ipp. Only answers from message
/// `first_target` on are targets.
///@{
[[nodiscard]] std::vector<chat_segment> render_program(const chat_template& form,
                                                       std::span<const chat_message> messages, target_choice targets,
                                                       std::string_view where, render_report* report,
                                                       std::size_t first_target = 0);
[[nodiscard]] std::vector<chat_segment> render_program_prompt(const chat_template& form,
                                                              std::span<const chat_message> messages,
                                                              std::string_view where);
///@}

}  // namespace detail

/// Writes a conversation as segments, without `begin` (the encoder writes it, or the tokenizer's post-processor).
///
/// A program's answers are its generation blocks, or what the conversation up to an answer has behind the prompt before
/// it; where that does not hold, data_error says which message and shows the difference.
///
/// Messages after the last answer are left out and counted. Answers without text are masked and counted (all of their
/// targets, with the end token). Throws data_error at `where` ("file:line") when there is no assistant turn, or a
/// system message for which the template has no place.
[[nodiscard]] std::vector<chat_segment> render(const chat_template& form, std::span<const chat_message> messages,
                                               target_choice targets = target_choice::all_answers,
                                               std::string_view where = {}, render_report* report = nullptr);

/// Writes a conversation up to the place where the model's next answer begins.
[[nodiscard]] std::vector<chat_segment> render_prompt(const chat_template& form, std::span<const chat_message> messages,
                                                      std::string_view where = {});

/// The segments as one string: what a reader of the training data would see.
[[nodiscard]] std::string to_text(std::span<const chat_segment> segments);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/chat_template.ipp>
#endif
