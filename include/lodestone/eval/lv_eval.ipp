// Definitions of lv_eval.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_metrics.hpp>
#include <lodestone/eval/lv_eval.hpp>
#include <lodestone/eval/published_prompts.hpp>
#include <lodestone/eval/record_fields.hpp>

namespace lodestone::eval {

LODESTONE_INLINE marked_questions lv_eval(const std::filesystem::path& file, const benchmark_options& options) {
  const std::string stem = file.stem().string();
  const std::size_t bar = std::min(stem.rfind('_'), stem.size());
  const std::string name = stem.substr(0, bar);
  const std::string level = bar == stem.size() ? "" : stem.substr(bar + 1);
  const auto task = std::find_if(lv_eval_tasks.begin(), lv_eval_tasks.end(),
                                 [&](const published_task& each) { return each.name == name; });
  if (task == lv_eval_tasks.end() || !level.ends_with('k')) {
    throw config_error("the name is not a data set of LV-Eval and its length", file.string(),
                       "keep the published name, for example cmrc_mixup_16k.jsonl");
  }
  std::vector<marked_question> questions;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t line) {
    marked_question& each = questions.emplace_back();
    each.ask.id = stem + "/line " + std::to_string(line);
    each.ask.prompt = fill_prompt(options.prompt.empty() ? task->prompt : std::string_view(options.prompt),
                                  {{"context", fields.text("context")}, {"input", fields.text("input")}});
    each.ask.max_new_tokens = task->max_new_tokens;
    each.ask.labels = {{"dataset", name},
                       {"category", std::string(task->category)},
                       {"language", fields.text("language")},
                       {"length", level}};
    answer_key key;
    key.references = {fields.texts("answers").front()};
    key.keywords = fields.text_or("answer_keywords", "");
    const answer_metric metric = task->metric;
    each.mark = [metric, key = std::move(key), chinese = options.chinese](std::string_view answer) {
      return mark_answer(metric, key, answer, chinese);
    };
  });
  return {"lv_eval/" + stem, std::move(questions)};
}

}  // namespace lodestone::eval
