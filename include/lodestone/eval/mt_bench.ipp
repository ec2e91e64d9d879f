// Definitions of mt_bench.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/judge_data.hpp>
#include <lodestone/eval/mt_bench.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] inline bool needs_reference(std::string_view category) {
  return category == "math" || category == "reasoning" || category == "coding";
}

}  // namespace detail

LODESTONE_INLINE mt_bench_prompts published_mt_bench_prompts() {
  return {{
      {
          "You are a helpful assistant.",
          judge_template(
              "[Instruction]\n"
              "Please act as an impartial judge and evaluate the quality of the response provided by an AI assistant "
              "to the user question displayed below. Your evaluation should consider factors such as the "
              "helpfulness, relevance, accuracy, depth, creativity, and level of detail of the response. Begin your "
              "evaluation by providing a short explanation. Be as objective as possible. After providing your "
              "explanation, you must rate the response on a scale of 1 to 10 by strictly following this format: "
              "\"[[rating]]\", for example: \"Rating: [[5]]\".\n"
              "\n"
              "[Question]\n"
              "{question}\n"
              "\n"
              "[The Start of Assistant's Answer]\n"
              "{answer}\n"
              "[The End of Assistant's Answer]",
              "single-v1")},
      {
          "You are a helpful assistant.",
          judge_template(
              "[Instruction]\n"
              "Please act as an impartial judge and evaluate the quality of the response provided by an AI assistant "
              "to the user question displayed below. Your evaluation should consider correctness and helpfulness. "
              "You will be given a reference answer and the assistant's answer. Begin your evaluation by comparing "
              "the assistant's answer with the reference answer. Identify and correct any mistakes. Be as objective "
              "as possible. After providing your explanation, you must rate the response on a scale of 1 to 10 by "
              "strictly following this format: \"[[rating]]\", for example: \"Rating: [[5]]\".\n"
              "\n"
              "[Question]\n"
              "{question}\n"
              "\n"
              "[The Start of Reference Answer]\n"
              "{ref_answer_1}\n"
              "[The End of Reference Answer]\n"
              "\n"
              "[The Start of Assistant's Answer]\n"
              "{answer}\n"
              "[The End of Assistant's Answer]",
              "single-math-v1")},
      {
          "Please act as an impartial judge and evaluate the quality of the response provided by an AI assistant to "
          "the user question displayed below. Your evaluation should consider factors such as the helpfulness, "
          "relevance, accuracy, depth, creativity, and level of detail of the response. You evaluation should focus "
          "on the assistant's answer to the second user question. Begin your evaluation by providing a short "
          "explanation. Be as objective as possible. After providing your explanation, you must rate the response on "
          "a scale of 1 to 10 by strictly following this format: \"[[rating]]\", for example: \"Rating: [[5]]\".\n"
          "\n",
          judge_template(
              "<|The Start of Assistant A's Conversation with User|>\n"
              "\n"
              "### User:\n"
              "{question_1}\n"
              "\n"
              "### Assistant A:\n"
              "{answer_1}\n"
              "\n"
              "### User:\n"
              "{question_2}\n"
              "\n"
              "### Assistant A:\n"
              "{answer_2}\n"
              "\n"
              "<|The End of Assistant A's Conversation with User|>",
              "single-v1-multi-turn")},
      {
          "Please act as an impartial judge and evaluate the quality of the response provided by an AI assistant to "
          "the user question. Your evaluation should consider correctness and helpfulness. You will be given a "
          "reference answer and the assistant's answer. You evaluation should focus on the assistant's answer to the "
          "second question. Begin your evaluation by comparing the assistant's answer with the reference answer. "
          "Identify and correct any mistakes. Be as objective as possible. After providing your explanation, you "
          "must rate the response on a scale of 1 to 10 by strictly following this format: \"[[rating]]\", for "
          "example: \"Rating: [[5]]\".\n"
          "\n",
          judge_template(
              "<|The Start of Reference Answer|>\n"
              "\n"
              "### User:\n"
              "{question_1}\n"
              "\n"
              "### Reference answer:\n"
              "{ref_answer_1}\n"
              "\n"
              "### User:\n"
              "{question_2}\n"
              "\n"
              "### Reference answer:\n"
              "{ref_answer_2}\n"
              "\n"
              "<|The End of Reference Answer|>\n"
              "\n"
              "\n"
              "<|The Start of Assistant A's Conversation with User|>\n"
              "\n"
              "### User:\n"
              "{question_1}\n"
              "\n"
              "### Assistant A:\n"
              "{answer_1}\n"
              "\n"
              "### User:\n"
              "{question_2}\n"
              "\n"
              "### Assistant A:\n"
              "{answer_2}\n"
              "\n"
              "<|The End of Assistant A's Conversation with User|>",
              "single-math-v1-multi-turn")},
  }};
}

LODESTONE_INLINE mt_bench_prompts read_mt_bench_prompts(const std::filesystem::path& file) {
  constexpr std::string_view names[] = {"single-v1", "single-math-v1", "single-v1-multi-turn",
                                        "single-math-v1-multi-turn"};
  mt_bench_prompts prompts;
  std::array<bool, 4> is_there{};
  detail::for_each_judge_record(file, [&](const detail::judge_field& record) {
    const std::string name = record.text("name");
    const auto found = std::find(std::begin(names), std::end(names), name) - std::begin(names);
    if (found == 4) return;  // pairwise prompts
    const auto k = static_cast<std::size_t>(found);
    prompts[k] = {record.text("system_prompt"), judge_template(record.text("prompt_template"), name)};
    is_there[k] = true;
  });
  for (std::size_t k = 0; k < 4; ++k)
    if (!is_there[k])
      throw data_error("holds no prompt of the name " + std::string(names[k]), file.string(),
                       "is it FastChat's judge_prompts.jsonl?");
  return prompts;
}

LODESTONE_INLINE std::vector<mt_bench_question> read_mt_bench(const std::filesystem::path& questions,
                                                              const std::filesystem::path& references) {
  std::map<std::string, std::vector<std::string>> answers;
  const auto texts = [](const detail::judge_field& list) {
    std::vector<std::string> result;
    for (std::size_t k = 0; k < list.size(); ++k) result.push_back(list.at(k).text());
    return result;
  };
  if (!references.empty())
    detail::for_each_judge_record(references, [&](const detail::judge_field& record) {
      answers[record.number_text("question_id")] = texts(record.get("choices").at(0).get("turns"));
    });
  std::vector<mt_bench_question> result;
  detail::for_each_judge_record(questions, [&](const detail::judge_field& record) {
    mt_bench_question one{.id = record.number_text("question_id"),
                          .category = record.text("category"),
                          .turns = texts(record.get("turns"))};
    if (one.turns.size() != 2) record.fail("has " + std::to_string(one.turns.size()) + " turns, not 2");
    if (detail::needs_reference(one.category)) {
      const auto found = answers.find(one.id);
      if (found == answers.end())
        record.fail("question " + one.id + " (" + one.category + ") has no reference answer" +
                    (references.empty() ? "; give reference_answer/gpt-4.jsonl" : " in " + references.string()));
      if (found->second.size() != 2) record.fail("the reference of question " + one.id + " has not 2 turns");
      one.references = found->second;
    }
    for (const mt_bench_question& other : result)
      if (other.id == one.id) record.fail("question_id " + one.id + " stands twice");
    result.push_back(std::move(one));
  });
  return result;
}

LODESTONE_INLINE mt_bench::mt_bench(std::vector<mt_bench_question> questions, mt_bench_prompts prompts,
                                    mt_bench_options options)
    : questions_(std::move(questions)), prompts_(std::move(prompts)), options_(std::move(options)) {
  for (const mt_bench_question& one : questions_) {
    if (one.turns.size() != 2) throw data_error("has not 2 turns", options_.name + " " + one.id);
    if (detail::needs_reference(one.category) && one.references.size() != 2)
      throw data_error("has no reference answers, which " + one.category + " needs", options_.name + " " + one.id,
                       "give reference_answer/gpt-4.jsonl");
  }
}

LODESTONE_INLINE question mt_bench::ask(std::size_t i, std::span<const std::string> answers) const {
  const mt_bench_question& one = questions_[i];
  const auto is = [&](std::string_view name) { return one.category == name; };
  const bool is_exact = is("extraction") || is("math") || is("coding") || is("reasoning");
  return {.id = one.id + "/" + std::to_string(answers.size() + 1),
          .prompt = one.turns[answers.size()],
          .max_new_tokens = options_.max_new_tokens,
          .temperature = is_exact ? 0.0 : is("stem") || is("humanities") ? 0.1 : 0.7};
}

LODESTONE_INLINE std::vector<judged_part> mt_bench::parts(std::size_t i) const {
  std::vector<judged_part> result;
  for (std::size_t turn = 1; turn <= 2; ++turn) {
    const std::string number = std::to_string(turn);
    result.push_back({.id = questions_[i].id + "/" + number,
                      .labels = {{"category", questions_[i].category}, {"turn", number}},
                      .turns = turn});
  }
  return result;
}

LODESTONE_INLINE std::vector<chat_message> mt_bench::judge(rating_place place, std::span<const std::string> answers,
                                                           std::int64_t) const {
  const mt_bench_question& one = questions_[place.dialogue];
  const mt_bench_prompt& prompt = prompts_[2 * place.part + (detail::needs_reference(one.category) ? 1 : 0)];
  std::vector<judge_template::named_value> values{{"question", one.turns[0]}, {"answer", answers[0]},
                                                  {"question_1", one.turns[0]}, {"answer_1", answers[0]}};
  if (place.part == 1) {
    values.push_back({"question_2", one.turns[1]});
    values.push_back({"answer_2", answers[1]});
  }
  if (detail::needs_reference(one.category)) {
    values.push_back({"ref_answer_1", one.references[0]});
    values.push_back({"ref_answer_2", one.references[1]});
  }
  return {{chat_role::system, prompt.system, {}},
          {chat_role::user, prompt.user.fill(std::span<const judge_template::named_value>(values)), {}}};
}

LODESTONE_INLINE std::vector<score> mt_bench::marks(std::size_t, std::size_t, std::span<const double> ratings) const {
  return {{.metric = "rating", .value = ratings.front()}};
}

}  // namespace lodestone::eval
