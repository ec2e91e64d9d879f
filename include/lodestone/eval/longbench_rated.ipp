// Definitions of longbench_rated.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/judge_data.hpp>
#include <lodestone/eval/longbench_rated.hpp>

namespace lodestone::eval {

namespace detail {

struct rated_dataset {
  std::string_view name;
  rated_kind kind;
  std::string_view group;
};

inline constexpr std::array<rated_dataset, 12> rated_datasets{{
    {"narrativeqa", rated_kind::answer, "S-Doc QA"},
    {"qasper", rated_kind::answer, "S-Doc QA"},
    {"multifieldqa_en", rated_kind::answer, "S-Doc QA"},
    {"multifieldqa_zh", rated_kind::answer, "S-Doc QA"},
    {"hotpotqa", rated_kind::answer, "M-Doc QA"},
    {"2wikimqa", rated_kind::answer, "M-Doc QA"},
    {"musique", rated_kind::answer, "M-Doc QA"},
    {"dureader", rated_kind::answer, "M-Doc QA"},
    {"gov_report", rated_kind::summary, "Summ"},
    {"qmsum", rated_kind::summary, "Summ"},
    {"multi_news", rated_kind::summary, "Summ"},
    {"vcsum", rated_kind::summary, "Summ"},
}};

[[nodiscard]] inline const rated_dataset* find_rated(std::string_view name) {
  if (name.ends_with("_e")) name.remove_suffix(2);  // LongBench-E
  const auto found = std::find_if(rated_datasets.begin(), rated_datasets.end(),
                                  [&](const rated_dataset& one) { return one.name == name; });
  return found == rated_datasets.end() ? nullptr : &*found;
}

}  // namespace detail

LODESTONE_INLINE std::optional<rated_kind> longbench_rated_kind(std::string_view dataset) {
  const detail::rated_dataset* const found = detail::find_rated(dataset);
  return found == nullptr ? std::nullopt : std::optional(found->kind);
}

LODESTONE_INLINE std::string_view longbench_rated_group(std::string_view dataset) {
  const detail::rated_dataset* const found = detail::find_rated(dataset);
  return found == nullptr ? std::string_view() : found->group;
}

LODESTONE_INLINE std::string_view longbench_answer_template() {
  return
      "You are asked to evaluate the quality of the AI assistant's answer to user questions as an impartial judge, "
      "and your evaluation should take into account factors including correctness (high priority), and "
      "comprehensiveness (whether the assistant's answer covers all points).\n"
      "Read the AI assistant's answer and compare against the reference answer, and give an overall integer rating "
      "in 1, 2, 3 (1 = wrong or irrelevant, 2 = partially correct, 3 = correct and comprehensive) based on the above "
      "principles, strictly in the following format:\"[[rating]]\", e.g. \"[[2]]\".\n"
      "\n"
      "[Question]\n"
      "{question}\n"
      "[Reference answer]\n"
      "{reference}\n"
      "[Assistant's answer]\n"
      "{answer}\n"
      "Rating:";
}

LODESTONE_INLINE std::string_view longbench_summary_template() {
  return
      "You are asked to evaluate the quality of the AI assistant's generated summary as an impartial judge, and your "
      "evaluation should take into account factors including correctness (high priority), comprehensiveness (whether "
      "the assistant's summary covers all points), and coherence.\n"
      "Read the AI assistant's summary and compare against the reference summary, and give an overall integer rating "
      "in on a scale of 1 to 5, where 1 is the lowest and 5 is the highest based on the evaluation criteria, "
      "strictly in the following format:\"[[rating]]\", e.g. \"[[3]]\".\n"
      "\n"
      "[Reference summary]\n"
      "{reference}\n"
      "[Assistant's summary]\n"
      "{answer}\n"
      "Rating:";
}

LODESTONE_INLINE std::vector<rated_reference> read_rated_references(const std::filesystem::path& file) {
  std::vector<rated_reference> result;
  detail::for_each_judge_record(file, [&](const detail::judge_field& record) {
    rated_reference one{.dataset = record.text("dataset"), .query = record.text("input")};
    if (!longbench_rated_kind(one.dataset))
      record.fail("data set " + one.dataset + " is not rated: LongAlign rates questions and summaries");
    const detail::judge_field answers = record.get("answers");
    for (std::size_t k = 0; k < answers.size(); ++k) one.answers.push_back(answers.at(k).text());
    if (one.answers.empty()) record.fail("\"answers\" is empty");
    result.push_back(std::move(one));
  });
  return result;
}

LODESTONE_INLINE longbench_rated::longbench_rated(any_task questions, std::vector<rated_reference> references,
                                                  judge_template answers, judge_template summaries)
    : questions_(std::move(questions)),
      references_(std::move(references)),
      answers_(std::move(answers)),
      summaries_(std::move(summaries)) {
  if (questions_.size() != references_.size())
    throw shape_error(std::to_string(questions_.size()) + " questions, but references of " +
                          std::to_string(references_.size()),
                      name(), "read both from one file");
  for (std::size_t i = 0; i < references_.size(); ++i)
    if (references_[i].answers.empty() || !longbench_rated_kind(references_[i].dataset))
      throw data_error("has no reference, or its data set \"" + references_[i].dataset + "\" is not rated",
                       name() + " " + id(i));
  // A fault of a template is told now, not when the first answer is rated.
  for (const judge_template* prompt : {&answers_, &summaries_}) {
    const std::array<judge_template::named_value, 3> none{{{"question", ""}, {"reference", ""}, {"answer", ""}}};
    (void)prompt->fill(std::span<const judge_template::named_value>(none));
    if (!prompt->has("answer"))
      throw format_error("no slot {answer}: the judge would not see what it rates",
                         prompt == &answers_ ? "judge template of answers" : "judge template of summaries",
                         "write {answer} where the answer belongs");
  }
}

LODESTONE_INLINE bool longbench_rated::is_summary(std::size_t i) const {
  return longbench_rated_kind(references_[i].dataset) == rated_kind::summary;
}

LODESTONE_INLINE question longbench_rated::ask(std::size_t i, std::span<const std::string>) const {
  return questions_.ask(i);
}

LODESTONE_INLINE std::vector<judged_part> longbench_rated::parts(std::size_t i) const {
  question asked = questions_.ask(i);
  asked.labels.push_back({"group", std::string(longbench_rated_group(references_[i].dataset))});
  return {{.id = std::move(asked.id), .labels = std::move(asked.labels), .ratings = references_[i].answers.size()}};
}

LODESTONE_INLINE std::vector<chat_message> longbench_rated::judge(rating_place place,
                                                                  std::span<const std::string> answers,
                                                                  std::int64_t) const {
  const rated_reference& right = references_[place.dialogue];
  const std::array<judge_template::named_value, 3> values{
      {{"question", right.query}, {"reference", right.answers[place.number]}, {"answer", answers.front()}}};
  const judge_template& prompt = is_summary(place.dialogue) ? summaries_ : answers_;
  return {{chat_role::system, "You're a good assistant at evaluating the quality of texts.", {}},
          {chat_role::user, prompt.fill(std::span<const judge_template::named_value>(values)), {}}};
}

LODESTONE_INLINE std::optional<double> longbench_rated::rating(rating_place place, std::string_view reply) const {
  return last_bracketed_rating(reply, {1.0, is_summary(place.dialogue) ? 5.0 : 3.0});
}

LODESTONE_INLINE std::vector<score> longbench_rated::marks(std::size_t i, std::size_t,
                                                           std::span<const double> ratings) const {
  const double best = *std::max_element(ratings.begin(), ratings.end());
  return {{.metric = "rating", .value = best},
          {.metric = "rating_share", .value = (best - 1.0) / (is_summary(i) ? 4.0 : 2.0)}};
}

}  // namespace lodestone::eval
