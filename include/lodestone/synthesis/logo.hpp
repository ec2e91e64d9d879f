// LOGO's data: preference pairs from documents and questions, in one run that can be interrupted at any time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/documents.hpp>
#include <lodestone/generate/concept.hpp>
#include <lodestone/synthesis/ask.hpp>
#include <lodestone/synthesis/chunks.hpp>
#include <lodestone/synthesis/importance.hpp>
#include <lodestone/synthesis/pairs.hpp>
#include <lodestone/synthesis/question_stage.hpp>
#include <lodestone/synthesis/questions.hpp>
#include <lodestone/synthesis/selection.hpp>

namespace lodestone::synthesis {

/// How chunks and a question are put to the generator.
enum class prompt_kind : std::uint8_t {
  chat,   ///< as a user's turn of the model's chat template
  text,   ///< as text that the answer continues
  tokens  ///< as the ids that the chunks have, for models on this machine: nothing is tokenised again
};

/// The prompt of LOGO's released code, as context_form, and what it puts between chunks (data/gen_pre_dis_pre_data of
/// github.com/ZetangForward/LCM_Stack): for comparison with that code.
///@{
inline constexpr std::string_view released_context_form =
    "Answer the question according to the context below:\n{context}\n Question: {question}";
inline constexpr std::string_view released_chunk_separator = " \n ";
///@}

/// How pairs are made.
struct logo_options {
  selection_options select{};    ///< which chunks answers are made from
  pair_filter filter{};          ///< which pairs are kept
  ask_options ask{};             ///< how answers are asked for
  question_options questions{};  ///< how questions are made where none are given
  /// The prompt of answers and, as `prefer` reads the pairs, of training: {context} and {question} once each.
  std::string context_form = "{context}\n\n{question}";
  std::string chunk_separator{};                   ///< between the chunks of a prompt
  prompt_kind prompt = prompt_kind::chat;          ///< how it is put to the generator
  double common_words = 0.1;                       ///< of shared_features
  bool score_answers = false;                      ///< of shared_features: use_answer
  const imported_scores* scores = nullptr;         ///< in the place of shared_features
  const generate::any_generator* judge = nullptr;  ///< rates answers; none: they are not rated
  bool accept_failures = false;  ///< pairs are written even if answers could not be had; else the next run tries again
  bool only_scores = false;      ///< stop when chunks, questions and scores are written: others can score them
};

/// What came of a run.
struct logo_summary {
  std::int64_t documents = 0;       ///< that were read
  std::int64_t chunks = 0;          ///< of all documents
  std::int64_t inexact_chunks = 0;  ///< whose text gives other tokens (token_chunk::is_exact)
  std::int64_t questions = 0;       ///< about all documents
  std::int64_t unimportant = 0;     ///< questions without important or without irrelevant chunks, left out
  std::int64_t important = 0;       ///< important chunks of all other questions
  ask_counts made_questions{};      ///< asking for questions
  ask_counts answers{};             ///< asking for answers
  ask_counts ratings{};             ///< asking the judge
  std::int64_t unanswered = 0;      ///< questions of which an answer failed, left out or waiting for the next run
  pair_drops drops{};               ///< why answers and questions were left out
  std::int64_t pairs = 0;           ///< records that were written
  std::int64_t rejected = 0;        ///< dis-preferred answers of all of them
  double preferred_metric = 0.0;    ///< mean over the questions whose right answer is known
  double rejected_metric = 0.0;     ///< mean over their dis-preferred answers, before the filter
  bool is_complete = false;         ///< the output has its name

  /// One JSON object.
  [[nodiscard]] std::string to_json() const;
};

/// Makes preference pairs about documents, and writes them to `output` (NAME.jsonl), which appears complete or not at
/// all. Beside it stand the stages: NAME.chunks.jsonl, NAME.questions.jsonl, NAME.scores.jsonl, NAME.answers.jsonl,
/// with a judge NAME.ratings.jsonl, and NAME.summary.json; docs/14_synthesis.md describes their lines.
///
/// With no `questions` the generator makes them (question_stage.hpp). A run that was killed goes on when it is started
/// again with the same settings: nothing is asked twice, and with a generator that answers the same the files are those
/// of an uninterrupted run. Throws config_error for settings that contradict each other or those of the interrupted
/// run, and for an output that is complete already under other settings.
logo_summary make_preferences(const generate::any_generator& model, const tokenizer& words, const chunker& cutter,
                              std::span<const text_document> documents, std::span<const document_question> questions,
                              const logo_options& options, const std::filesystem::path& output);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/logo.ipp>
#endif
