// Definitions of longbench.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <unordered_set>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_metrics.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/longbench.hpp>
#include <lodestone/eval/published_prompts.hpp>
#include <lodestone/eval/record_fields.hpp>

namespace lodestone::eval {

namespace detail {

/// Tasks whose examples end a line: only the answer's first line counts.
[[nodiscard]] inline bool is_few_shot(const published_task& task) { return task.category == "Few-shot"; }

[[nodiscard]] inline const published_task* find_longbench_task(std::string_view name) {
  if (name.ends_with("_e")) name.remove_suffix(2);
  const auto found = std::find_if(longbench_tasks.begin(), longbench_tasks.end(),
                                  [&](const published_task& task) { return task.name == name; });
  return found == longbench_tasks.end() ? nullptr : &*found;
}

[[nodiscard]] inline std::string_view first_line(std::string_view answer) {
  answer.remove_prefix(std::min(answer.find_first_not_of('\n'), answer.size()));
  return answer.substr(0, answer.find('\n'));
}

/// The number in "Paragraph 12" or its Chinese form; empty when the text is neither.
[[nodiscard]] inline std::string paragraph_number(std::string_view reference) {
  for (const std::string_view lead : {"Paragraph ", "\u6BB5\u843D"}) {
    const std::size_t at = reference.find(lead);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = reference.substr(at + lead.size());
    const std::vector<std::string> numbers = numbers_in(rest);
    if (!numbers.empty() && rest.starts_with(numbers.front())) return numbers.front();
  }
  return {};
}

[[nodiscard]] inline answer_key longbench_key(const published_task& task, const record_fields& fields) {
  answer_key key;
  key.references = fields.texts("answers");
  if (task.metric == answer_metric::class_name) key.classes = fields.texts("all_classes");
  if (task.metric == answer_metric::paragraph)
    for (std::string& reference : key.references) {
      reference = paragraph_number(reference);
      if (reference.empty()) fields.fail("an answer does not name a paragraph");
    }
  return key;
}

[[nodiscard]] inline marked_question longbench_question(const published_task& task, const record_fields& fields,
                                                        std::int64_t line, const benchmark_options& options) {
  marked_question result;
  question& ask = result.ask;
  ask.id = fields.text("dataset") + "/" + fields.text_or("_id", "line " + std::to_string(line));
  ask.prompt = fill_prompt(options.prompt.empty() ? task.prompt : std::string_view(options.prompt),
                           {{"context", fields.text("context")}, {"input", fields.text("input")}});
  ask.is_chat = !is_few_shot(task) && task.category != "Code";
  ask.max_new_tokens = task.max_new_tokens;
  if (task.name == "samsum") {  // the model goes on with further dialogues: its first line is the answer
    ask.min_new_tokens = 1;
    ask.stop = {"\n"};
  }
  const std::int64_t length = fields.integer("length");
  ask.labels = {{"dataset", fields.text("dataset")},
                {"category", std::string(task.category)},
                {"language", fields.text_or("language", "")},
                {"length", length < 4000   ? "0-4k"
                           : length < 8000 ? "4-8k"
                                           : "8k+"}};
  result.mark = [&task, key = longbench_key(task, fields), chinese = options.chinese](std::string_view answer) {
    return mark_answer(task.metric, key, is_few_shot(task) ? first_line(answer) : answer, chinese);
  };
  return result;
}

[[nodiscard]] inline std::string_view label_of(const record& each, std::string_view name) {
  for (const label& found : each.labels)
    if (found.name == name) return found.value;
  return {};
}

}  // namespace detail

LODESTONE_INLINE marked_questions longbench(const std::filesystem::path& file, const benchmark_options& options) {
  std::vector<marked_question> questions;
  std::unordered_set<std::string> ids;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t line) {
    const std::string& name = fields.text("dataset");
    const published_task* const task = detail::find_longbench_task(name);
    if (task == nullptr) fields.fail("LongBench has no data set '" + name + "'");
    questions.push_back(detail::longbench_question(*task, fields, line, options));
    std::string& id = questions.back().ask.id;
    if (!ids.insert(id).second) ids.insert(id += " line " + std::to_string(line));
  });
  return {"longbench/" + file.stem().string(), std::move(questions)};
}

LODESTONE_INLINE longbench_averages average_longbench(std::span<const record> records, bool with_code) {
  struct sum {
    double total = 0.0;
    std::size_t count = 0;
  };
  std::array<sum, longbench_tasks.size()> sums{};
  for (const record& each : records) {
    const published_task* const task = detail::find_longbench_task(detail::label_of(each, "dataset"));
    if (task == nullptr) throw data_error("the record is not one of LongBench", each.id, "give longbench() records");
    sum& of_task = sums[static_cast<std::size_t>(task - longbench_tasks.data())];
    of_task.total += each.scores.empty() ? 0.0 : each.scores.front().value;
    ++of_task.count;
  }
  longbench_averages result;
  std::vector<sum> of_categories;
  for (std::size_t i = 0; i < longbench_tasks.size(); ++i) {
    const published_task& task = longbench_tasks[i];
    if (sums[i].count == 0 || (task.category == "Code" && !with_code)) continue;
    const double mean = sums[i].total / static_cast<double>(sums[i].count);
    result.datasets.emplace_back(task.name, mean);
    if (result.categories.empty() || result.categories.back().first != task.category) {  // its tasks stand together
      result.categories.emplace_back(task.category, 0.0);
      of_categories.emplace_back();
    }
    of_categories.back().total += mean;
    ++of_categories.back().count;
  }
  for (std::size_t i = 0; i < of_categories.size(); ++i) {
    result.categories[i].second = of_categories[i].total / static_cast<double>(of_categories[i].count);
    result.mean += result.categories[i].second / static_cast<double>(of_categories.size());
  }
  return result;
}

}  // namespace lodestone::eval
