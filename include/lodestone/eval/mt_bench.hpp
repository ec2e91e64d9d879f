// MT-Bench: questions of two turns, each answer rated from 1 to 10 by a judge.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/judge_rating.hpp>
#include <lodestone/eval/judge_template.hpp>
#include <lodestone/eval/judged.hpp>

namespace lodestone::eval {

/// One question of the benchmark.
struct mt_bench_question {
  std::string id{};                       ///< its question_id
  std::string category{};                 ///< "writing", "math", ...
  std::vector<std::string> turns{};       ///< what the user says
  std::vector<std::string> references{};  ///< answers to compare with, turn by turn; empty where there are none
};

/// Reads question.jsonl and, for the categories that are rated with references (math, reasoning, coding),
/// reference_answer/gpt-4.jsonl, as published by FastChat (https://github.com/lm-sys/FastChat, fastchat/llm_judge).
/// Throws data_error with file:line for missing fields, and for a question that needs a reference and has none.
[[nodiscard]] std::vector<mt_bench_question> read_mt_bench(const std::filesystem::path& questions,
                                                           const std::filesystem::path& references = {});

/// What the judge is asked about one turn.
struct mt_bench_prompt {
  std::string system{};   ///< the system message
  judge_template user{};  ///< slots {question} and {answer}, or {question_1}, {answer_1} ..., {ref_answer_1} ...
};

/// The four prompts of single-answer grading: [2 * turn + (with a reference)].
using mt_bench_prompts = std::array<mt_bench_prompt, 4>;

/// FastChat's prompts single-v1, single-math-v1, single-v1-multi-turn and single-math-v1-multi-turn, word for word
/// (data/judge_prompts.jsonl, Apache License 2.0).
[[nodiscard]] mt_bench_prompts published_mt_bench_prompts();
/// The prompts of those names from another judge_prompts.jsonl. Throws data_error with file:line.
[[nodiscard]] mt_bench_prompts read_mt_bench_prompts(const std::filesystem::path& file);

/// How it is run.
struct mt_bench_options {
  std::int64_t max_new_tokens = 1024;  ///< of an answer
  std::string name = "mt_bench";       ///< of the task
};

/// The benchmark as judged dialogues of two turns and two records (ID/1, ID/2), single-answer grading. The published
/// temperatures rule the answers: 0.7 for writing and roleplay, 0.1 for stem and humanities, 0.7 for categories of
/// others, else 0. Labels: category, turn. Score: rating, from 1 to 10.
class mt_bench {
 public:
  /// Throws data_error for a question without two turns, or one of math, reasoning or coding without references.
  explicit mt_bench(std::vector<mt_bench_question> questions, mt_bench_prompts prompts = published_mt_bench_prompts(),
                    mt_bench_options options = {});

  /// The parts of a judged dialogue.
  ///@{
  [[nodiscard]] const std::string& name() const { return options_.name; }
  [[nodiscard]] std::size_t size() const { return questions_.size(); }
  [[nodiscard]] const std::string& id(std::size_t i) const { return questions_[i].id; }
  [[nodiscard]] std::size_t turns(std::size_t) const { return 2; }
  [[nodiscard]] question ask(std::size_t i, std::span<const std::string> answers) const;
  [[nodiscard]] std::vector<judged_part> parts(std::size_t i) const;
  [[nodiscard]] std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                std::int64_t attempt) const;
  [[nodiscard]] std::optional<double> rating(rating_place, std::string_view reply) const {
    return first_bracketed_rating(reply);
  }
  [[nodiscard]] std::vector<score> marks(std::size_t i, std::size_t part, std::span<const double> ratings) const;
  ///@}

 private:
  std::vector<mt_bench_question> questions_;
  mt_bench_prompts prompts_;
  mt_bench_options options_;
};
static_assert(judged_dialogue<mt_bench>);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/mt_bench.ipp>
#endif
