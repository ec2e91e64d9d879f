// The stage that has a generator write questions about documents: of LongAlign's synthesis, and of LOGO's without any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/documents.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/generate/concept.hpp>
#include <lodestone/synthesis/ask.hpp>
#include <lodestone/synthesis/language.hpp>
#include <lodestone/synthesis/self_instruct.hpp>

namespace lodestone::synthesis {

/// How questions are made.
struct question_options {
  std::int64_t count = 5;  ///< questions of one prompt; an answer with fewer is asked for again
  std::vector<question_kind> kinds{all_question_kinds.begin(), all_question_kinds.end()};  ///< to draw from
  std::int64_t prompts = 1;           ///< prompts about each document, of different kinds: kinds.size() at most
  std::optional<language> tongue{};   ///< of prompts and questions; none: that of each document
  std::int64_t max_new_tokens = 512;  ///< of the answer with the questions
};

/// One prompt for questions.
struct question_task {
  std::string id{};                             ///< "DOCUMENT/kind"
  std::size_t document = 0;                     ///< place in the list of documents
  question_kind kind = question_kind::general;  ///< what is asked for
  language tongue = language::english;          ///< in which language
};

/// The prompts about each document. Its kinds are drawn by the seed and the document's id alone. Throws config_error
/// for no kinds, more prompts than kinds, and less than one question.
[[nodiscard]] std::vector<question_task> question_tasks(std::span<const text_document> documents,
                                                        const question_options& options, std::uint64_t seed);

/// Asks for the questions that `log` does not hold. Its lines have `id`, `document`, `kind`, `language` and the list
/// `questions`, of options.count texts.
ask_counts ask_for_questions(const generate::any_generator& model, std::span<const text_document> documents,
                             std::span<const question_task> tasks, const question_options& options,
                             const ask_options& how, result_log& log);

/// The questions of one of these lines.
[[nodiscard]] std::vector<std::string> questions_of(std::string_view line);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/question_stage.ipp>
#endif
