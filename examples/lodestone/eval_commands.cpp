// eval: asks a model the questions of tasks, and leaves records, tables and a page. Killed, it goes on where it was.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/eval/correlation.hpp>
#include <lodestone/eval/judge.hpp>
#include <lodestone/eval/longbench.hpp>
#include <lodestone/eval/progress.hpp>
#include <lodestone/eval/report.hpp>
#include <lodestone/eval/retrieval_heads.hpp>
#include <lodestone/eval/runner.hpp>
#include <lodestone/eval/truncate.hpp>
#include <lodestone/text/chat_message.hpp>
#include <lodestone/text/jsonl.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/train/recorders/format.hpp>

#include "commands.hpp"
#include "data_parts.hpp"
#include "eval_tasks.hpp"
#include "generator_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

namespace eval = lodestone::eval;
namespace generate = lodestone::generate;
namespace fs = std::filesystem;

/// Settings that change no answer: a run goes on under others.
constexpr std::string_view free_settings[] = {
    "output",          "threads", "at_once",      "cache_tokens",         "progress",         "report",
    "accept_failures", "backend", "human_scores", "endpoint_concurrency", "endpoint_retries", "endpoint_timeout"};

/// A TOML value as JSON: numbers, texts, lists and truth values are spelled alike but for 65_536.
[[nodiscard]] std::string as_json(std::string value) {
  if (value.find('"') == std::string::npos) std::erase(value, '_');
  const auto parsed = nlohmann::json::parse(value, nullptr, false);
  return parsed.is_discarded() ? nlohmann::json(value).dump() : parsed.dump();
}

[[nodiscard]] std::vector<std::pair<std::string, std::string>> settings_json(const settings& s) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const lodestone::setting& one : to_pairs(s))
    if (std::find(std::begin(free_settings), std::end(free_settings), one.key) == std::end(free_settings))
      all.emplace_back(one.key, as_json(one.value));
  return all;
}

/// Whether chat questions are a user's turn: as the settings say, or when the model's folder has a chat format.
/// `why` tells why not.
[[nodiscard]] bool asks_as_chat(const settings& s, const text_parts& text, std::string& why) {
  if (s.prompts == "plain") return false;
  try {
    text.require_template();
    return true;
  } catch (const lodestone::config_error& e) {
    if (s.prompts == "chat") throw;
    why = e.what();
    return false;
  }
}

[[nodiscard]] eval::prompt_meter make_meter(const text_parts& text) {
  eval::prompt_meter meter;
  meter.tokens = [&text](std::string_view prompt, bool is_chat) {
    if (!is_chat) return std::ssize(text.tokenizer().encode(prompt));
    const std::vector<lodestone::chat_message> turn{
        {.role = lodestone::chat_role::user, .content = std::string(prompt)}};
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

/// People's scores by the ids of records.
[[nodiscard]] std::map<std::string, double> read_human_scores(const std::string& file) {
  std::map<std::string, double> human;
  if (file.empty()) return human;
  lodestone::jsonl_reader reader(file);
  for (lodestone::json_record line; reader.next(line);) {
    const auto parsed = nlohmann::json::parse(line.text, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("id") || !parsed["id"].is_string() || !parsed.contains("score") ||
        !parsed["score"].is_number())
      throw lodestone::data_error("is not an object with id and score", reader.where(line.line),
                                  "write {\"id\": \"TASK/ID\", \"score\": 7}");
    human[parsed["id"].get<std::string>()] = parsed["score"].get<double>();
  }
  return human;
}

/// Everything of one evaluation: its logs and what they come to.
class evaluation {
 public:
  evaluation(const settings& s, std::vector<eval_work> work, eval::run_options options, std::string settings_text)
      : s_(s),
        work_(std::move(work)),
        options_(std::move(options)),
        settings_text_(std::move(settings_text)),
        human_(read_human_scores(s.human_scores)),
        log_(fs::path(s.output) / "results.jsonl", settings_text_) {}

  /// Questions first, then ratings, then probabilities: each model is loaded once. The evaluator that finds key tokens
  /// is gone before the model that is measured on them is there.
  void run() {
    const auto any = [&](const auto& is_kind) { return std::any_of(work_.begin(), work_.end(), is_kind); };
    if (any([](const eval_work& w) { return !w.asked.empty(); }))
      with_generator(s_, [&](generate::any_generator& model) {
        for (const eval_work& one : work_)
          for (const eval::any_task& task : one.asked) ask(task, model);
      });
    if (any([](const eval_work& w) { return !w.judged.empty(); })) rate();
    for (const eval_work& one : work_)
      if (one.finds_keys) find_keys(one);
    if (any([](const eval_work& w) { return static_cast<bool>(w.scores); }))
      with_scoring_model(s_, [&](const eval::any_scoring_model& model) {
        for (const eval_work& one : work_)
          if (one.scores) score(one, [&](const auto& is_done, const auto& each) { one.scores(model, is_done, each); });
      });
    for (const eval_work& one : work_)
      if (one.measures) score(one, one.measures);
  }

  /// Tables, the page, and, where nothing is left open, the records. Returns the exit status.
  int finish(const std::vector<std::pair<std::string, std::string>>& chosen) {
    std::vector<eval::task_result> results;
    std::vector<std::string> order;
    for (const eval_work& one : work_) {
      const std::vector<std::string> ids = ids_of(one);
      eval::task_result result{one.name, {}};
      for (const std::string& id : ids) {
        if (log_.contains(id)) {
          result.records.push_back(eval::read_task_record(log_.read(id), id).own);
          order.push_back(id);
        } else if (const auto failed = failures_.find(id); failed != failures_.end()) {
          result.records.push_back(failed->second);
        }
      }
      results.push_back(std::move(result));
    }
    const fs::path output(s_.output);
    const std::vector<eval::table_row> rows = eval::table_of(results);
    nlohmann::ordered_json summary = nlohmann::ordered_json::parse(eval::to_json(rows, chosen));
    std::string text = eval::to_text(rows);
    lodestone::html_report page =
        eval::report_of("Evaluation", s_.endpoint.empty() ? s_.model : s_.endpoint_model, results, to_pairs(s_));
    add_longbench(results, summary, text, page);
    add_retrieval_heads(results, summary, text);
    if (!s_.human_scores.empty()) add_correlation(results, summary, text);
    write(output / "summary.txt", text);
    write(output / "summary.csv", eval::to_csv(rows));
    write(output / "summary.json",
          summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
    if (s_.report) page.write(output / "report.html");
    print(text);
    if (!failures_.empty() && !s_.accept_failures) {
      std::size_t told = 0;
      for (const auto& [id, failed] : failures_)
        if (++told <= 3) note("no score: " + id + ": " + failed.error);
      note("lodestone: " + std::to_string(failures_.size()) +
           " questions have no score; the same command asks them again, and with --accept-failures ends without them");
      return failure;
    }
    if (dialogues_) {  // before the records: once these are there, the job is done
      std::vector<std::string> said;
      for (const eval_work& one : work_)
        for (const eval::any_judged& task : one.judged)
          for (std::string& id : eval::work_ids(task, *dialogues_)) said.push_back(std::move(id));
      dialogues_->commit(said);
    }
    log_.commit(order);
    return success;
  }

 private:
  void keep(std::vector<eval::record>&& failures) {
    for (eval::record& failed : failures) failures_.insert_or_assign(failed.id, failed);
  }
  void tell_cut(const std::string& name, std::size_t cut) const {
    if (cut > 0)
      note(name + ": " + std::to_string(cut) + " prompts were cut in their middle to fit the window of " +
           std::to_string(options_.window) + " tokens");
  }

  void ask(const eval::any_task& task, generate::any_generator& model) {
    eval::run_report report = eval::run(task, model, log_, options_);
    tell_cut(task.name(), report.cut);
    keep(std::move(report.failures));
  }

  /// Answers and ratings stand in dialogues.jsonl. A job that was stopped between its two commits finds that file whole
  /// and goes on from its lines.
  void open_dialogues() {
    const fs::path done = fs::path(s_.output) / "dialogues.jsonl", earlier = done.string() + ".earlier";
    if (fs::exists(done)) fs::rename(done, earlier);
    dialogues_.emplace(done, settings_text_);
    if (!fs::exists(earlier)) return;
    lodestone::jsonl_reader reader(earlier);
    for (lodestone::json_record line; reader.next(line);) {
      const std::string id = nlohmann::json::parse(line.text).at("id").get<std::string>();
      if (!dialogues_->contains(id)) dialogues_->append(id, line.text);
    }
    fs::remove(earlier);
  }

  void rate() {
    const settings judge = judge_settings(s_);
    open_dialogues();
    with_generator(s_, [&](generate::any_generator& model) {
      with_generator(judge, [&](generate::any_generator& rater) {
        for (const eval_work& one : work_)
          for (const eval::any_judged& task : one.judged) {
            eval::judged_report report = eval::run_judged(task, model, rater, log_, *dialogues_, options_);
            tell_cut(task.name(), report.cut);
            keep(std::move(report.failures));
          }
      });
    });
  }

  /// Key tokens of all documents into their file, which is whole once it is there.
  void find_keys(const eval_work& one) {
    const fs::path file = key_tokens_file(s_);
    if (fs::exists(file)) return;
    lodestone::result_log found(file, settings_text_);
    std::vector<std::string> ids;
    const auto words = lodestone::tokenizer::load(s_.evaluator_model);
    with_scoring_model(evaluator_settings(s_), [&](const eval::any_scoring_model& evaluator) {
      ids = one.finds_keys(
          evaluator, words, [&](std::string_view id) { return found.contains(id); },
          [&](const std::string& id, const std::string& line) { found.append(id, line); });
    });
    found.commit(ids);
    note(one.name + ": key tokens of " + std::to_string(ids.size()) + " documents in " + file.string());
  }

  void score(const eval_work& one, const model_scorer& scores) {
    eval::run_progress progress{.task = one.name, .done = log_.ids(one.name + "/").size()};
    const auto begin = std::chrono::steady_clock::now();
    const auto tell = [&] {
      progress.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (options_.hears) options_.hears(progress);
    };
    tell();
    scores([&](std::string_view id) { return log_.contains(eval::log_id(one.name, id)); },
           [&](eval::record&& made) {
             made.id = eval::log_id(one.name, made.id);
             log_.append(made.id, eval::to_json_line({one.name, made}));
             ++progress.done;
             tell();
           });
    progress.questions = progress.done;
    tell();
    note(one.name + ": " + std::to_string(progress.done) + " records");
  }

  [[nodiscard]] std::vector<std::string> ids_of(const eval_work& one) const {
    std::vector<std::string> ids;
    for (const eval::any_task& task : one.asked)
      for (std::size_t i = 0; i < task.size(); ++i) ids.push_back(eval::log_id(task.name(), task.id(i)));
    for (const eval::any_judged& task : one.judged)
      for (std::string& id : eval::record_ids(task)) ids.push_back(std::move(id));
    return one.scores || one.measures ? log_.ids(one.name + "/") : ids;
  }

  /// LongBench's averages over data sets and categories, as its tables have them.
  void add_longbench(const std::vector<eval::task_result>& results, nlohmann::ordered_json& summary, std::string& text,
                     lodestone::html_report& page) const {
    std::vector<eval::record> all;
    for (std::size_t k = 0; k < work_.size(); ++k)
      if (work_[k].entry == "longbench") all.insert(all.end(), results[k].records.begin(), results[k].records.end());
    if (all.empty()) return;
    const eval::longbench_averages without = eval::average_longbench(all), with = eval::average_longbench(all, true);
    nlohmann::ordered_json own{{"datasets", nlohmann::ordered_json::object()},
                               {"categories", nlohmann::ordered_json::object()}};
    lodestone::report_table table{.header = {"category", "mean"}};
    text += "\nLongBench, means of data sets\n";
    const auto line = [&](const std::string& name, double mean) {
      text += "  " + name + ": " + lodestone::format_fixed(mean, 4) + "\n";
      table.rows.push_back({name, lodestone::format_fixed(mean, 4)});
    };
    for (const auto& [name, mean] : with.datasets) own["datasets"][name] = mean;
    for (const auto& [name, mean] : with.categories) {
      own["categories"][name] = mean;
      line(name, mean);
    }
    own["mean_without_code"] = without.mean;
    own["mean"] = with.mean;
    line("all categories but code", without.mean);
    line("all categories", with.mean);
    summary["longbench"] = std::move(own);
    page.add_heading("LongBench");
    page.add_table(table);
  }

  /// The heads that copy needles, over all questions: the score of a model is that of its best heads.
  void add_retrieval_heads(const std::vector<eval::task_result>& results, nlohmann::ordered_json& summary,
                           std::string& text) const {
    for (std::size_t k = 0; k < work_.size(); ++k) {
      if (!work_[k].measures) continue;
      std::vector<eval::head_scores> all;
      for (const eval::record& own : results[k].records) all.push_back(eval::parse_heads(own.answer));
      const eval::retrieval_summary found = eval::summarise(all);
      nlohmann::ordered_json heads = nlohmann::ordered_json::array();
      for (const eval::retrieval_head& own : found.heads)
        heads.push_back({{"layer", own.layer}, {"head", own.head}, {"score", own.score}});
      summary[work_[k].name] = {{"best_mean", found.best_mean}, {"heads", std::move(heads)}};
      text += "\n" + work_[k].name + ": " + std::to_string(found.heads.size()) +
              " heads above 0.1, mean of the best ten " + lodestone::format_fixed(found.best_mean, 4) + "\n";
    }
  }

  /// How far the records' first scores order their questions as people's scores do.
  void add_correlation(const std::vector<eval::task_result>& results, nlohmann::ordered_json& summary,
                       std::string& text) const {
    std::vector<double> ours, theirs;
    for (const eval::task_result& result : results)
      for (const eval::record& own : result.records)
        if (const auto found = human_.find(own.id); found != human_.end() && !own.scores.empty()) {
          ours.push_back(own.scores.front().value);
          theirs.push_back(found->second);
        }
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    const double spearman = ours.size() < 2 ? none : eval::spearman(ours, theirs).value_or(none);
    const double kendall = ours.size() < 2 ? none : eval::kendall(ours, theirs).value_or(none);
    const auto json = [](double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); };
    const auto shown = [](double value) { return std::isfinite(value) ? lodestone::format_fixed(value, 4) : "-"; };
    summary["human_scores"] = {{"pairs", ours.size()}, {"spearman", json(spearman)}, {"kendall", json(kendall)}};
    text += "\nRank correlation with human scores: Spearman " + shown(spearman) + ", Kendall " + shown(kendall) + ", " +
            std::to_string(ours.size()) + " pairs\n";
  }

  const settings& s_;
  std::vector<eval_work> work_;
  eval::run_options options_;
  std::string settings_text_;
  std::map<std::string, double> human_;
  lodestone::result_log log_;
  std::optional<lodestone::result_log> dialogues_;
  std::map<std::string, eval::record> failures_;
};

}  // namespace

int run_eval(const settings& given) {
  settings s = given;
  settings text_settings = s;
  if (!s.tokenizer.empty()) text_settings.model = s.tokenizer;
  const text_parts text(text_settings, false);
  std::string no_chat;
  const bool is_chat = asks_as_chat(s, text, no_chat);

  eval::run_options options;
  options.meter = make_meter(text);
  options.batch = static_cast<std::size_t>(4 * s.at_once);
  options.window = s.window > 0 || !s.endpoint.empty() ? s.window : read_config(s).max_positions;
  options.always_plain = !is_chat;
  options.system = s.system;
  options.draw = make_request(s).draw;
  options.keeps_failures = s.accept_failures;
  if (s.progress) options.hears = eval::progress_line();

  const task_parts parts{s, text.tokenizer(), options.meter, is_chat};
  std::vector<eval_work> work = make_work(s.tasks, parts);
  if (s.judge_endpoint.empty() && s.judge_model.empty() &&
      std::any_of(work.begin(), work.end(), [](const eval_work& w) { return !w.judged.empty(); }))
    throw lodestone::config_error("is not given; some tasks are rated by a judge", "--judge-endpoint",
                                  "name an endpoint, or a model folder with --judge-model");
  const bool finds_keys =
      std::any_of(work.begin(), work.end(), [](const eval_work& w) { return static_cast<bool>(w.finds_keys); });
  if (finds_keys && fs::exists(key_tokens_file(s)) && !fs::exists(fs::path(s.output) / "results.jsonl.partial"))
    throw lodestone::config_error("is there already, from another evaluation", key_tokens_file(s).string(),
                                  "name another output folder, or take its key tokens with --key-tokens");
  fs::create_directories(s.output);
  const std::vector<std::pair<std::string, std::string>> chosen = settings_json(s);
  nlohmann::ordered_json log_settings = nlohmann::ordered_json::object();
  for (const auto& [key, value] : chosen) log_settings[key] = nlohmann::ordered_json::parse(value);

  evaluation all(s, std::move(work), options, log_settings.dump());
  if (!no_chat.empty()) note("prompts are plain text: " + no_chat);
  all.run();
  return all.finish(chosen);
}

}  // namespace lodestone_cli
