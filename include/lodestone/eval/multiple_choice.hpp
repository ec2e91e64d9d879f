// Multiple choice by log-probability: the choice that the model finds most likely behind the prompt.
//
//     eval::multiple_choice(model, words, eval::read_arc(file), {}, [&](eval::record&& r) { ... });
//
// Prompts, tokens and metrics are those of lm-evaluation-harness (github.com/EleutherAI/lm-evaluation-harness, MIT),
// output type multiple_choice, so that numbers can be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/perplexity.hpp>
#include <lodestone/eval/scoring.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::eval {

/// A question with choices to score.
struct choice_question {
  std::string id{};                    ///< unique in its task, the same in every run
  std::string prompt{};                ///< what stands before every choice; a space is put between. Not empty
  std::vector<std::string> choices{};  ///< at least one
  std::vector<bool> is_right{};        ///< of each choice; at least one is
  std::vector<label> labels{};         ///< what its record is grouped by
};

/// What a question is marked by.
enum class choice_metric {
  accuracy,    ///< "acc": 1 when the most likely choice is right
  normalised,  ///< also "acc_norm" and "acc_bytes": log p divided by the choice's characters, and by its bytes
  mass         ///< "acc": the share of the right choices in the probability of all (TruthfulQA's mc2)
};

/// Questions of one benchmark.
struct choice_task {
  std::string name{};                              ///< as the harness names it
  std::vector<choice_question> questions{};        ///< in the order of the file
  choice_metric metric = choice_metric::accuracy;  ///< of every question
};

/// How questions are scored.
struct choice_options {
  std::int64_t max_tokens = 0;  ///< of prompt and choice: more is cut at the front; 0: the model's positions, and one
  std::int64_t batch_tokens = 16'384;  ///< questions are computed together up to so many rows
  record_filter is_done{};             ///< questions that are there already
};

/// Tokens of a prompt and a choice.
struct choice_tokens {
  std::vector<std::int32_t> tokens{};  ///< of both
  std::int64_t first = 0;              ///< the first that belongs to the choice
};

/// The tokens as the harness makes them: spaces at the end of the prompt go to the choice, and the choice has those
/// tokens of the whole text that come after as many as the prompt alone takes; before them stand the prompt's own, also
/// where a tokenizer joins the two across their border. Cut at the front to `max_tokens` and one, which is only
/// predicted (0: not at all). Throws data_error for a choice that adds no token.
[[nodiscard]] choice_tokens encode_choice(const tokenizer& words, const std::string& prompt, const std::string& choice,
                                          std::int64_t max_tokens = 0);

/// Hears question number i and the sum of log p over the tokens of each of its choices.
using choice_listener = std::function<void(std::size_t, std::span<const double>)>;

/// The log-probabilities of the choices of questions, each question once, in order. The choices of a question share its
/// prompt, and questions the beginning that they have in common, such as examples: a choice of one token costs nothing.
/// Throws data_error, naming the question, for one without prompt, choices or a right one.
void score_choices(const any_scoring_model& model, const tokenizer& words, std::span<const choice_question> questions,
                   const choice_options& options, const choice_listener& each);

/// The marks of a question whose choices have these log-probabilities. Of equally likely choices the first counts; a
/// choice without characters is never the most likely one when lengths count.
[[nodiscard]] std::vector<score> mark_choices(const choice_question& own, choice_metric metric,
                                              std::span<const double> log_probs);

/// The place of the most likely choice, the first of equals.
[[nodiscard]] std::size_t most_likely(std::span<const double> log_probs);

/// A record for each question, in order: its marks, and the most likely choice as the answer.
void multiple_choice(const any_scoring_model& model, const tokenizer& words, const choice_task& task,
                     const choice_options& options, const record_listener& each);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/multiple_choice.ipp>
#endif
