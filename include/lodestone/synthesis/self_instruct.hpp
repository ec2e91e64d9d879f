// Self-Instruct about a document, as LongAlign does it: a prompt that asks for questions, and the reader of its answer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/synthesis/language.hpp>

namespace lodestone::synthesis {

/// What the questions shall be like: LongAlign's four types of prompts.
enum class question_kind : std::uint8_t {
  general,     ///< diverse questions that cover all parts of the text
  summary,     ///< that need a summary or several parts together
  reasoning,   ///< that need several steps of reasoning
  information  ///< that seek pieces of information
};

/// All kinds, in the order of the paper.
inline constexpr std::array<question_kind, 4> all_question_kinds{question_kind::general, question_kind::summary,
                                                                 question_kind::reasoning, question_kind::information};

/// The name that options and records use.
[[nodiscard]] constexpr std::string_view to_string(question_kind kind) {
  switch (kind) {
    case question_kind::general: return "general";
    case question_kind::summary: return "summary";
    case question_kind::reasoning: return "reasoning";
    case question_kind::information: return "information";
  }
  return "?";
}

/// The kind of that name; config_error with the list of names otherwise.
[[nodiscard]] question_kind parse_question_kind(std::string_view name);

/// The request for `count` questions, in our own words; LongAlign's were never released, its paper describes them. It
/// ends by naming the format of the answer: "1: ", "2: ", ...
[[nodiscard]] std::string instruction_for(question_kind kind, language tongue, std::int64_t count);

/// The user's turn that asks for questions: the document, a blank line, the instruction.
[[nodiscard]] std::string question_prompt(std::string_view document, question_kind kind, language tongue,
                                          std::int64_t count);

/// The user's turn that asks one of them: the document, a blank line, the question.
[[nodiscard]] std::string answer_prompt(std::string_view document, std::string_view question);

/// The numbered questions of a model's answer, in its order.
///
/// A question begins on a line of its own with its number and one of : . ) or their full-width forms, perhaps behind
/// "Question", "Q" or the Chinese word for it, in bold or as a list item; it goes on until the next number or a blank
/// line, its lines joined by blanks. Text in front of number 1 is left out; so are empty questions and repetitions.
/// Numbers must come in order from 1: a "3." that follows "1:" is part of question 1.
[[nodiscard]] std::vector<std::string> parse_numbered_questions(std::string_view answer);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/self_instruct.ipp>
#endif
