// LongBench-Chat: questions about long documents whose answers a judge rates from 1 to 10 beside a reference.
#pragma once

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

/// An answer that people rated.
struct rated_answer {
  std::string answer{};  ///< its text
  std::string score{};   ///< as the file spells it: "7"
};

/// One question of the benchmark.
struct longbench_chat_case {
  std::string id{};                   ///< its idx, from 1
  std::string prompt{};               ///< document and query, as the model gets them
  std::string query{};                ///< the question alone, as the judge gets it
  std::string reference{};            ///< a correct answer
  std::vector<rated_answer> shots{};  ///< examples for the judge
};

/// Reads test_cases.json (idx, prompt, query, answer) and, where the judge sees examples, few_shots.json (for each idx
/// a list of answer and score), as published by LongAlign (https://github.com/THUDM/LongAlign). JSON arrays or JSON
/// lines. Throws data_error with file:line for missing fields and examples.
[[nodiscard]] std::vector<longbench_chat_case> read_longbench_chat(const std::filesystem::path& cases,
                                                                   const std::filesystem::path& few_shots = {});

/// The judge's prompts. The first is prompt_fs.txt of LongAlign, word for word (Apache License 2.0, Copyright THU-KEG
/// and Zhipu-AI): ratings compare with published ones only where the judge reads the same. The second is that text
/// without its examples.
///@{
[[nodiscard]] std::string_view longbench_chat_few_shot_template();
[[nodiscard]] std::string_view longbench_chat_zero_shot_template();
///@}

/// How it is run.
struct longbench_chat_options {
  std::size_t runs = 1;               ///< ratings of each answer, which are averaged; the paper takes two
  bool shuffles = true;               ///< the examples stand in another order for each run and attempt
  std::uint64_t seed = 42;            ///< of those orders
  bool joins_lines = true;            ///< the judge reads an answer in one line, as in the published code
  std::int64_t max_new_tokens = 1024; ///< of an answer
  double temperature = 1.0;           ///< of an answer
  std::string name = "longbench_chat";  ///< of the task
};

/// The benchmark as judged dialogues of one turn. Label: language (zh where the query has Chinese characters, else en).
/// Score: rating, from 1 to 10, the mean over the runs.
class longbench_chat {
 public:
  /// `prompt` has slots for query, reference, then answer and score of each example, then the answer to rate: 3 + 2 n
  /// slots for n examples. Throws format_error for another number, data_error for a case with fewer examples.
  explicit longbench_chat(std::vector<longbench_chat_case> cases,
                          judge_template prompt = judge_template(longbench_chat_few_shot_template()),
                          longbench_chat_options options = {});

  /// The parts of a judged dialogue.
  ///@{
  [[nodiscard]] const std::string& name() const { return options_.name; }
  [[nodiscard]] std::size_t size() const { return cases_.size(); }
  [[nodiscard]] const std::string& id(std::size_t i) const { return cases_[i].id; }
  [[nodiscard]] std::size_t turns(std::size_t) const { return 1; }
  [[nodiscard]] question ask(std::size_t i, std::span<const std::string> answers) const;
  [[nodiscard]] std::vector<judged_part> parts(std::size_t i) const;
  [[nodiscard]] std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                std::int64_t attempt) const;
  [[nodiscard]] std::optional<double> rating(rating_place, std::string_view reply) const {
    return last_bracketed_rating(reply);
  }
  [[nodiscard]] std::vector<score> marks(std::size_t i, std::size_t part, std::span<const double> ratings) const;
  ///@}

 private:
  std::vector<longbench_chat_case> cases_;
  judge_template prompt_;
  longbench_chat_options options_;
};
static_assert(judged_dialogue<longbench_chat>);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/longbench_chat.ipp>
#endif
