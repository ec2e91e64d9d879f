// Definitions of infinite_bench.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/infinite_bench.hpp>
#include <lodestone/eval/published_prompts.hpp>
#include <lodestone/eval/record_fields.hpp>

namespace lodestone::eval {

namespace detail {

using answer_marker = std::function<std::vector<score>(std::string_view)>;

/// The letter of a choice and its text, from the text alone or from both.
[[nodiscard]] inline answer_marker choice_marker(const record_fields& fields, const std::vector<std::string>& choices) {
  const std::vector<std::string> given = fields.text_or_texts("answer");
  const auto at = std::find(choices.begin(), choices.end(), given.front());
  char letter = static_cast<char>('A' + (at - choices.begin()));
  if (given.size() == 2 && given[1].size() == 1) letter = given[1].front();
  if (letter < 'A' || letter > 'D') fields.fail("the answer is not one of the options");
  return [letter, text = given.front()](std::string_view answer) -> std::vector<score> {
    return {{"accuracy", is_right_choice(answer, letter, text) ? 1.0 : 0.0, 1.0}};
  };
}

[[nodiscard]] inline answer_marker infinite_bench_marker(std::string_view task, const record_fields& fields) {
  std::vector<std::string> references = fields.text_or_texts("answer");
  if (task == "longbook_qa_eng") {
    return [references = std::move(references)](std::string_view answer) -> std::vector<score> {
      return {{"f1", best_over(answer, std::span(references), answer_f1), 1.0},
              {"substring_match", best_over(answer, std::span(references), is_substring_match), 1.0}};
    };
  }
  if (task == "longbook_qa_chn") {
    return [references = std::move(references)](std::string_view answer) -> std::vector<score> {
      return {{"f1_characters", best_over(answer, std::span(references), character_f1), 1.0}};
    };
  }
  const bool is_word = task == "kv_retrieval";
  return [is_word, right = references.front()](std::string_view answer) -> std::vector<score> {
    const bool is_right = is_word ? has_word(answer, right) : first_number(answer) == right;
    return {{"accuracy", is_right ? 1.0 : 0.0, 1.0}};
  };
}

[[nodiscard]] inline std::string infinite_bench_prompt(std::string_view form, std::string_view book,
                                                       std::string_view input,
                                                       const std::vector<std::string>& choices) {
  constexpr std::array<std::string_view, 4> names{"OPTION_A", "OPTION_B", "OPTION_C", "OPTION_D"};
  std::vector<std::pair<std::string_view, std::string_view>> fields{
      {"context", book}, {"input", input}, {"question", input}};
  for (std::size_t i = 0; i < choices.size(); ++i) fields.emplace_back(names[i], choices[i]);
  return fill_prompt(form, fields);
}

}  // namespace detail

LODESTONE_INLINE marked_questions infinite_bench(const std::filesystem::path& file, infinite_bench_form form,
                                                 const benchmark_options& options) {
  const std::string name = file.stem().string();
  const auto task = std::find_if(infinite_bench_tasks.begin(), infinite_bench_tasks.end(),
                                 [&](const infinite_bench_task& each) { return each.name == name; });
  if (task == infinite_bench_tasks.end()) {
    std::string names;
    for (const infinite_bench_task& each : infinite_bench_tasks)
      names.append(names.empty() ? "" : ", ").append(each.name);
    throw config_error("the name is not a data set of InfiniteBench that is known here", file.string(),
                       "the names are " + names);
  }
  const std::string_view published = form == infinite_bench_form::chat ? task->chat : task->text;
  const bool is_choice = name == "longbook_choice_eng";
  const auto form_text =
      std::make_shared<const std::string>(options.prompt.empty() ? std::string(published) : options.prompt);
  std::unordered_map<std::string_view, std::shared_ptr<const std::string>> books;  // many questions are about one
  std::vector<marked_question> questions;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t line) {
    marked_question& each = questions.emplace_back();
    each.ask.id = name + "/" + (fields.has("id") ? fields.id("id") : "line " + std::to_string(line));
    const std::string& context = fields.text(fields.has("content") ? "content" : "context");
    auto book = books.find(context);
    if (book == books.end()) {
      auto shared = std::make_shared<const std::string>(context);
      const std::string_view key = *shared;
      book = books.emplace(key, std::move(shared)).first;
    }
    std::vector<std::string> choices;
    if (is_choice) {
      choices = fields.texts("options");
      if (choices.size() != 4) fields.fail("there are not four options");
    }
    each.prompt = [form_text, book = book->second, input = fields.text("input"), choices] {
      return detail::infinite_bench_prompt(*form_text, *book, input, choices);
    };
    if (questions.size() == 1) (void)each.prompt();  // a form that cannot be filled fails here
    each.ask.is_chat = form == infinite_bench_form::chat;
    each.ask.max_new_tokens = task->max_new_tokens;
    each.ask.labels = {{"dataset", std::string(task->title)}};
    each.mark = is_choice ? detail::choice_marker(fields, choices) : detail::infinite_bench_marker(name, fields);
  });
  return {"infinite_bench/" + name, std::move(questions)};
}

}  // namespace lodestone::eval
