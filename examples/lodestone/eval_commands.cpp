// eval: asks a model the questions of tasks, and leaves records, tables and a page. Killed, it goes on where it was.
#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/eval/progress.hpp>
#include <lodestone/eval/report.hpp>
#include <lodestone/eval/runner.hpp>
#include <lodestone/eval/truncate.hpp>
#include <lodestone/text/chat_message.hpp>

#include "commands.hpp"
#include "data_parts.hpp"
#include "eval_tasks.hpp"
#include "generator_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

namespace eval = lodestone::eval;
namespace fs = std::filesystem;

/// Settings that change no answer: a run goes on under others.
constexpr std::string_view free_settings[] = {"output",   "threads",      "at_once",         "cache_tokens",
                                              "progress", "report",       "accept_failures", "backend"};

[[nodiscard]] std::vector<std::pair<std::string, std::string>> settings_json(const settings& s) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const lodestone::setting& one : to_pairs(s)) {
    if (std::find(std::begin(free_settings), std::end(free_settings), one.key) != std::end(free_settings)) continue;
    all.emplace_back(one.key, nlohmann::json(one.value).dump());
  }
  return all;
}

/// Whether chat questions are a user's turn: as the settings say, or when the model's folder has a chat format.
[[nodiscard]] bool asks_as_chat(const settings& s, const text_parts& text) {
  if (s.prompts == "plain") return false;
  try {
    text.require_template();
    return true;
  } catch (const lodestone::config_error& e) {
    if (s.prompts == "chat") throw;
    note("prompts are plain text: " + std::string(e.what()));
    return false;
  }
}

[[nodiscard]] eval::prompt_meter make_meter(const text_parts& text) {
  eval::prompt_meter meter;
  meter.tokens = [&text](std::string_view prompt, bool is_chat) {
    if (!is_chat) return std::ssize(text.tokenizer().encode(prompt));
    const std::vector<lodestone::chat_message> turn{{.role = lodestone::chat_role::user, .content = std::string(prompt)}};
    return std::ssize(text.encoder().encode_prompt(turn));
  };
  meter.cut = [&text](std::string_view prompt, std::int64_t limit) {
    return eval::cut_middle(text.tokenizer(), prompt, limit).text;
  };
  return meter;
}

void write(const fs::path& name, const std::string& content) {
  lodestone::atomic_file file(name);
  file.write(content);
  file.commit();
}

}  // namespace

int run_eval(const settings& s) {
  std::vector<task_choice> choices;
  for (const std::string& name : s.tasks) choices.push_back(split_choice(name));
  const text_parts text(s, false);
  const bool is_chat = asks_as_chat(s, text);
  const eval::prompt_meter meter = make_meter(text);
  const std::vector<eval::any_task> tasks = make_tasks(choices, {s, text.tokenizer(), meter, is_chat});

  const fs::path output(s.output);
  fs::create_directories(output);
  const std::vector<std::pair<std::string, std::string>> chosen = settings_json(s);
  nlohmann::ordered_json log_settings = nlohmann::ordered_json::object();
  for (const auto& [key, value] : chosen) log_settings[key] = nlohmann::ordered_json::parse(value);
  lodestone::result_log log(output / "results.jsonl", log_settings.dump());

  std::vector<eval::task_result> results;
  std::vector<std::string> order;
  std::size_t failed = 0;
  std::string model_name;
  with_generator(s, [&](lodestone::generate::any_generator& model) {
    model_name = model.name();
    eval::run_options options;
    options.batch = static_cast<std::size_t>(4 * s.at_once);
    options.window = s.window > 0 ? s.window : read_config(s).max_positions;
    options.meter = meter;
    options.always_plain = !is_chat;
    options.system = s.system;
    options.draw = make_request(s).draw;
    options.keeps_failures = s.accept_failures;
    if (s.progress) options.hears = eval::progress_line();
    for (const eval::any_task& task : tasks) {
      const eval::run_report report = eval::run(task, model, log, options);
      if (report.cut > 0)
        note(task.name() + ": " + std::to_string(report.cut) + " prompts were cut in their middle to fit the window of " +
             std::to_string(options.window) + " tokens");
      for (const eval::record& failure : report.failures)
        if (failed++ < 3) note("no answer: " + failure.id + ": " + failure.error);
      results.push_back({task.name(), eval::records_of(task, log, report.failures)});
      for (std::size_t i = 0; i < task.size(); ++i) order.push_back(eval::log_id(task.name(), task.id(i)));
    }
  });

  // The tables first: once results.jsonl is there, the job is done.
  const std::vector<eval::table_row> rows = eval::table_of(results);
  const std::string table = eval::to_text(rows);
  write(output / "summary.txt", table);
  write(output / "summary.csv", eval::to_csv(rows));
  write(output / "summary.json", eval::to_json(rows, chosen));
  if (s.report) {
    std::vector<lodestone::setting> pairs;
    for (const auto& [key, value] : chosen) pairs.push_back({key, nlohmann::json::parse(value).get<std::string>()});
    eval::report_of("Evaluation of " + model_name, s.model, results, pairs).write(output / "report.html");
  }
  print(table);
  if (failed > 0 && !s.accept_failures) {
    note("lodestone: " + std::to_string(failed) +
         " questions have no answer; the same command asks them again, and with --accept-failures ends without them");
    return failure;
  }
  log.commit(order);
  return success;
}

}  // namespace lodestone_cli
