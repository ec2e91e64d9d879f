// Definitions of longbench_chat.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/eval/judge_data.hpp>
#include <lodestone/eval/longbench_chat.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::eval {

LODESTONE_INLINE std::string_view longbench_chat_few_shot_template() {
  return
      "[Instructions]\n"
      "You are asked to evaluate the quality of the AI assistant's answers to user questions as an impartial judge, "
      "and your evaluation should take into account factors including correctness (high priority), helpfulness, "
      "accuracy, and relevance. The scoring principles are as follows:\n"
      "1. Read the AI assistant's answer and compare the assistant's answer with the reference answer.\n"
      "2. Identify all errors in the AI Assistant's answers and consider how much they affect the answer to the "
      "question.\n"
      "3. Evaluate how helpful the AI assistant's answers are in directly answering the user's questions and "
      "providing the information the user needs. \n"
      "4. Examine any additional information in the AI assistant's answer to ensure that it is correct and closely "
      "related to the question. If this information is incorrect or not relevant to the question, points should be "
      "deducted from the overall score.\n"
      "\n"
      "Please give an overall integer rating from 1 to 10 based on the above principles, strictly in the following "
      "format:\"[[rating]]\", e.g. \"[[5]]\".\n"
      "\n"
      "[Question]\n"
      "{}\n"
      "\n"
      "[Reference answer begins]\n"
      "{}\n"
      "[Reference answer ends]\n"
      "\n"
      "Below are several assistants' answers and their ratings:\n"
      "\n"
      "[Assistant's answer begins]\n"
      "{}\n"
      "[Assistant's answer ends]\n"
      "\n"
      "Rating: [[{}]]\n"
      "\n"
      "[Assistant's answer begins]\n"
      "{}\n"
      "[Assistant's answer ends]\n"
      "\n"
      "Rating: [[{}]]\n"
      "\n"
      "[Assistant's answer begins]\n"
      "{}\n"
      "[Assistant's answer ends]\n"
      "\n"
      "Rating: [[{}]]\n"
      "\n"
      "Please rate the following assistant answers based on the scoring principles and examples above:\n"
      "\n"
      "[Assistant's answer begins]\n"
      "{}\n"
      "[Assistant's answer ends]\n"
      "\n"
      "Rating: ";
}

LODESTONE_INLINE std::string_view longbench_chat_zero_shot_template() {
  static const std::string text = [] {
    const std::string_view whole = longbench_chat_few_shot_template();
    const std::string_view examples = "Below are several assistants' answers";
    const std::string_view request = "Please rate the following assistant answers";
    const std::string_view last = "\n\n[Assistant's answer begins]";
    const std::size_t answer = whole.rfind(last);
    return std::string(whole.substr(0, whole.find(examples))) + std::string(request) +
           " based on the scoring principles above:" + std::string(whole.substr(answer));
  }();
  return text;
}

LODESTONE_INLINE std::vector<longbench_chat_case> read_longbench_chat(const std::filesystem::path& cases,
                                                                      const std::filesystem::path& few_shots) {
  std::vector<std::vector<rated_answer>> shots;
  if (!few_shots.empty())
    detail::for_each_judge_record(few_shots, [&](const detail::judge_field& record) {
      std::vector<rated_answer>& list = shots.emplace_back();
      for (std::size_t k = 0; k < record.size(); ++k) {
        const detail::judge_field one = record.at(k);
        list.push_back({one.text("answer"), one.number_text("score")});
      }
    });
  std::vector<longbench_chat_case> result;
  detail::for_each_judge_record(cases, [&](const detail::judge_field& record) {
    longbench_chat_case one;
    one.id = record.number_text("idx");
    one.prompt = record.text("prompt");
    one.query = record.text("query");
    one.reference = record.text("answer");
    if (!few_shots.empty()) {
      const std::int64_t index = record.whole("idx");
      if (index < 1 || index > static_cast<std::int64_t>(shots.size()))
        record.fail("idx " + one.id + " has no entry among the " + std::to_string(shots.size()) + " of " +
                    few_shots.string());
      one.shots = shots[static_cast<std::size_t>(index - 1)];
    }
    for (const longbench_chat_case& other : result)
      if (other.id == one.id) record.fail("idx " + one.id + " stands twice");
    result.push_back(std::move(one));
  });
  return result;
}

LODESTONE_INLINE longbench_chat::longbench_chat(std::vector<longbench_chat_case> cases, judge_template prompt,
                                                longbench_chat_options options)
    : cases_(std::move(cases)), prompt_(std::move(prompt)), options_(std::move(options)) {
  const std::size_t slots = prompt_.slots();
  if (slots < 3 || slots % 2 == 0 || !prompt_.names().front().empty())
    throw format_error("the judge's template has " + std::to_string(slots) + " slots", "judge template",
                       "write {} for query, reference, answer and score of each example, and the answer to rate");
  if (options_.runs < 1) throw config_error("must be at least 1", "runs");
  for (const longbench_chat_case& one : cases_)
    if (one.shots.size() < (slots - 3) / 2)
      throw data_error("the case has " + std::to_string(one.shots.size()) + " of the " +
                           std::to_string((slots - 3) / 2) + " examples that the judge's template shows",
                       options_.name + " " + one.id, "give few_shots.json, or a template without examples");
}

LODESTONE_INLINE question longbench_chat::ask(std::size_t i, std::span<const std::string>) const {
  return {.id = cases_[i].id,
          .prompt = cases_[i].prompt,
          .max_new_tokens = options_.max_new_tokens,
          .temperature = options_.temperature};
}

LODESTONE_INLINE std::vector<judged_part> longbench_chat::parts(std::size_t i) const {
  const char* const language = detail::has_chinese(cases_[i].query) ? "zh" : "en";
  return {{.id = cases_[i].id, .labels = {{"language", language}}, .ratings = options_.runs}};
}

LODESTONE_INLINE std::vector<chat_message> longbench_chat::judge(rating_place place,
                                                                 std::span<const std::string> answers,
                                                                 std::int64_t attempt) const {
  const longbench_chat_case& one = cases_[place.dialogue];
  std::vector<std::size_t> order(one.shots.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (options_.shuffles) {
    random_stream random(options_.seed, random_purpose::user,
                         place.number * 1024 + static_cast<std::uint64_t>(attempt), place.dialogue);
    shuffle(std::span(order), random);
  }
  std::string answer = answers.front();
  if (options_.joins_lines) {
    const std::size_t begin = std::min(answer.find_first_not_of(" \t\r\n"), answer.size());
    answer = answer.substr(begin, answer.find_last_not_of(" \t\r\n") + 1 - begin);
    std::replace(answer.begin(), answer.end(), '\n', ' ');
  }
  std::vector<std::string_view> values{one.query, one.reference};
  for (std::size_t k = 0; k < (prompt_.slots() - 3) / 2; ++k) {
    values.push_back(one.shots[order[k]].answer);
    values.push_back(one.shots[order[k]].score);
  }
  values.push_back(answer);
  return {{chat_role::system, "You're a good assistant at evaluating the quality of texts.", {}},
          {chat_role::user, prompt_.fill(values), {}}};
}

LODESTONE_INLINE std::vector<score> longbench_chat::marks(std::size_t, std::size_t,
                                                          std::span<const double> ratings) const {
  const double sum = std::accumulate(ratings.begin(), ratings.end(), 0.0);
  return {{.metric = "rating", .value = sum / static_cast<double>(ratings.size())}};
}

}  // namespace lodestone::eval
