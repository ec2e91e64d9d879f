// Definitions of question_stage.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/synthesis/json_record.hpp>
#include <lodestone/synthesis/question_stage.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE std::vector<question_task> question_tasks(std::span<const text_document> documents,
                                                           const question_options& options, std::uint64_t seed) {
  if (options.kinds.empty()) throw config_error("names no kind of questions", "question_kinds", "leave it out: all");
  if (options.count < 1) throw config_error("must be at least 1", "questions", "the paper asks for 5");
  if (options.prompts < 1 || options.prompts > static_cast<std::int64_t>(options.kinds.size()))
    throw config_error("must lie between 1 and the number of question_kinds, " + std::to_string(options.kinds.size()),
                       "prompts_per_document", "prompts about one document are of different kinds");
  std::vector<question_task> tasks;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    std::vector<question_kind> kinds = options.kinds;
    random_stream random(seed_of(seed, random_purpose::synthesis, documents[d].id), random_purpose::synthesis, 1);
    shuffle(std::span(kinds), random);
    const language tongue = options.tongue ? *options.tongue : language_of(documents[d].text);
    for (std::size_t k = 0; k < static_cast<std::size_t>(options.prompts); ++k)
      tasks.push_back({documents[d].id + "/" + std::string(to_string(kinds[k])), d, kinds[k], tongue});
  }
  return tasks;
}

LODESTONE_INLINE ask_counts ask_for_questions(const generate::any_generator& model,
                                              std::span<const text_document> documents,
                                              std::span<const question_task> tasks, const question_options& options,
                                              const ask_options& how, result_log& log) {
  ask_items items;
  for (const question_task& task : tasks) items.ids.push_back(task.id);
  items.request = [&](std::size_t i) {
    generate::request request;
    request.prompt = std::vector<chat_message>{
        {chat_role::user,
         question_prompt(documents[tasks[i].document].text, tasks[i].kind, tasks[i].tongue, options.count),
         std::nullopt}};
    return request;
  };
  items.line = [&](std::size_t i, const generate::answer& answer) -> std::string {
    std::vector<std::string> questions = parse_numbered_questions(answer.text);
    if (static_cast<std::int64_t>(questions.size()) < options.count) return {};
    questions.resize(static_cast<std::size_t>(options.count));
    return detail::to_line({{"id", tasks[i].id},
                            {"document", documents[tasks[i].document].id},
                            {"kind", to_string(tasks[i].kind)},
                            {"language", to_string(tasks[i].tongue)},
                            {"questions", questions}});
  };
  ask_options asking = how;
  asking.max_new_tokens = options.max_new_tokens;
  asking.min_new_tokens = 0;
  asking.stop.clear();
  return ask(model, items, "questions", log, asking);
}

LODESTONE_INLINE std::vector<std::string> questions_of(std::string_view line) {
  return nlohmann::json::parse(line).at("questions").get<std::vector<std::string>>();
}

}  // namespace lodestone::synthesis
