// LongBench's answers rated by a judge: 1 to 3 for questions, 1 to 5 for summaries, as LongAlign measures them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/any_task.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/judge_rating.hpp>
#include <lodestone/eval/judge_template.hpp>
#include <lodestone/eval/judged.hpp>

namespace lodestone::eval {

/// What is rated.
enum class rated_kind : std::uint8_t {
  answer,  ///< of a question: 1 wrong, 2 partly correct, 3 correct and complete
  summary  ///< from 1 to 5
};

/// The kind of a dataset of LongBench that is rated: narrativeqa, qasper, multifieldqa_en, multifieldqa_zh, hotpotqa,
/// 2wikimqa, musique, dureader; gov_report, qmsum, multi_news, vcsum. Nothing for others.
[[nodiscard]] std::optional<rated_kind> longbench_rated_kind(std::string_view dataset);

/// The group of that dataset in LongAlign's tables: "S-Doc QA", "M-Doc QA", "Summ"; empty for others.
[[nodiscard]] std::string_view longbench_rated_group(std::string_view dataset);

/// What the judge compares an answer with.
struct rated_reference {
  std::string dataset{};               ///< of LongBench
  std::string query{};                 ///< the question; empty where there is none (summaries)
  std::vector<std::string> answers{};  ///< any of them is right: the best rating counts
};

/// Reads `input`, `answers` and `dataset` of every record of a file of LongBench, as published. Throws data_error with
/// file:line for missing fields, and for a dataset that is not rated.
[[nodiscard]] std::vector<rated_reference> read_rated_references(const std::filesystem::path& file);

/// The judge's prompts for answers and for summaries, with slots {question}, {reference}, {answer}; the ratings compare
/// with those of LongReward (https://github.com/THUDM/LongReward, evaluation/LongBench/3_eval.py), whose words they are
/// (Apache License 2.0, Copyright LongReward Team, Zhipu AI).
///@{
[[nodiscard]] std::string_view longbench_answer_template();
[[nodiscard]] std::string_view longbench_summary_template();
///@}

/// Questions of LongBench as judged dialogues of one turn. Labels: those of the questions, and group. Scores: rating,
/// the best over the references, and rating_share, which maps 1 to 0 and the highest rating to 1.
class longbench_rated {
 public:
  /// `questions` ask what `references` answer, in the same order. Throws shape_error for different numbers,
  /// data_error for a dataset that is not rated or a question without a reference, format_error for a template without
  /// {answer} or with other slots than {question}, {reference} and {answer}.
  longbench_rated(any_task questions, std::vector<rated_reference> references,
                  judge_template answers = judge_template(longbench_answer_template()),
                  judge_template summaries = judge_template(longbench_summary_template()));

  /// The parts of a judged dialogue.
  ///@{
  [[nodiscard]] std::string name() const { return questions_.name() + "_rated"; }
  [[nodiscard]] std::size_t size() const { return references_.size(); }
  [[nodiscard]] std::string id(std::size_t i) const { return questions_.id(i); }
  [[nodiscard]] std::size_t turns(std::size_t) const { return 1; }
  [[nodiscard]] question ask(std::size_t i, std::span<const std::string> answers) const;
  [[nodiscard]] std::vector<judged_part> parts(std::size_t i) const;
  [[nodiscard]] std::vector<chat_message> judge(rating_place place, std::span<const std::string> answers,
                                                std::int64_t attempt) const;
  [[nodiscard]] std::optional<double> rating(rating_place place, std::string_view reply) const;
  [[nodiscard]] std::vector<score> marks(std::size_t i, std::size_t part, std::span<const double> ratings) const;
  ///@}

 private:
  [[nodiscard]] bool is_summary(std::size_t i) const;

  any_task questions_;
  std::vector<rated_reference> references_;
  judge_template answers_;
  judge_template summaries_;
};
static_assert(judged_dialogue<longbench_rated>);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/longbench_rated.ipp>
#endif
