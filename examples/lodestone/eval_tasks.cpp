#include "eval_tasks.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/data/documents.hpp>
#include <lodestone/eval/chinese_words.hpp>
#include <lodestone/eval/choice_data.hpp>
#include <lodestone/eval/choice_shots.hpp>
#include <lodestone/eval/haystack.hpp>
#include <lodestone/eval/infinite_bench.hpp>
#include <lodestone/eval/long_perplexity.hpp>
#include <lodestone/eval/longbench.hpp>
#include <lodestone/eval/longbench_chat.hpp>
#include <lodestone/eval/longbench_rated.hpp>
#include <lodestone/eval/lv_eval.hpp>
#include <lodestone/eval/mt_bench.hpp>
#include <lodestone/eval/multiple_choice.hpp>
#include <lodestone/eval/needle.hpp>
#include <lodestone/eval/question_files.hpp>
#include <lodestone/eval/ruler.hpp>

namespace lodestone_cli {
namespace {

namespace eval = lodestone::eval;
using lodestone::config_error;

/// At most the first `count` questions of a task; all for 0.
struct first_questions {
  eval::any_task whole;
  std::size_t count;
  [[nodiscard]] std::string name() const { return whole.name(); }
  [[nodiscard]] std::size_t size() const { return count == 0 ? whole.size() : std::min(count, whole.size()); }
  [[nodiscard]] std::string id(std::size_t i) const { return whole.id(i); }
  [[nodiscard]] eval::question ask(std::size_t i) const { return whole.ask(i); }
  [[nodiscard]] std::vector<eval::score> mark(std::size_t i, std::string_view answer) const {
    return whole.mark(i, answer);
  }
};

/// Questions that a function marks, as the settings limit them.
[[nodiscard]] eval_work asks(const settings& s, eval::any_task task) {
  if (s.questions > 0) task = eval::any_task(first_questions{std::move(task), static_cast<std::size_t>(s.questions)});
  std::string name = task.name();
  return {.name = std::move(name), .asked = {std::move(task)}};
}

[[nodiscard]] eval_work rates(eval::any_judged task) {
  std::string name = task.name();
  return {.name = std::move(name), .judged = {std::move(task)}};
}

/// The same, with the judge's words from --judge-template where that is given.
[[nodiscard]] std::vector<eval_work> rates_by_template(eval::any_judged task) {
  eval_work work = rates(std::move(task));
  work.judge_prompts = {"judge_template"};
  return {std::move(work)};
}

[[nodiscard]] eval::token_count count_of(const task_parts& parts, bool is_chat) {
  return [&meter = parts.meter, is_chat](std::string_view prompt) { return meter.tokens(prompt, is_chat); };
}

[[nodiscard]] eval::haystack read_haystack(const settings& s) {
  return eval::haystack::read(s.haystack.empty() ? LODESTONE_EXAMPLES_DIR "/data/state_union" : s.haystack);
}

[[nodiscard]] eval::needle_options needle_options_of(const task_parts& parts, std::string name) {
  const settings& s = parts.s;
  eval::needle_options options;
  options.lengths = s.lengths;
  options.depths = s.depths;
  options.repeats = s.repeats;
  options.values = s.needle_values;
  options.others = s.needle_others;
  options.is_chat = parts.is_chat;
  options.seed = static_cast<std::uint64_t>(s.seed);
  options.name = std::move(name);
  return options;
}

[[nodiscard]] eval::needle needle_of(const task_parts& parts) {
  const settings& s = parts.s;
  eval::needle_form form;
  const auto set = [](std::string& to, const std::string& from) {
    if (!from.empty()) to = from;
  };
  set(form.fact, s.needle_fact);
  set(form.question, s.needle_question);
  set(form.several, s.needle_question);
  set(form.answer, s.needle_answer);
  set(form.prompt, s.needle_prompt);
  return {read_haystack(s), count_of(parts, parts.is_chat), needle_options_of(parts, "needle"), form};
}

/// {dako=48213} between sentences: what small models that read no questions can do.
[[nodiscard]] eval::needle facts_of(const task_parts& parts) {
  const bool has_mark = parts.words.id_of("<|question|>").has_value();
  eval::needle_options options = needle_options_of(parts, "facts");
  options.is_chat = false;
  options.values = 1;
  options.max_new_tokens = 8;
  options.stop = {"}"};
  return {read_haystack(parts.s), count_of(parts, false), std::move(options),
          eval::needle_form::compact(has_mark ? "<|question|>" : "\n")};
}

[[nodiscard]] eval_work ruler_of(const task_parts& parts, eval::ruler_kind kind) {
  eval::ruler_options options;
  options.lengths = parts.s.lengths;
  options.repeats = parts.s.repeats;
  options.is_chat = parts.is_chat;
  options.seed = static_cast<std::uint64_t>(parts.s.seed);
  return asks(parts.s, eval::any_task(eval::ruler(kind, count_of(parts, parts.is_chat), options)));
}

[[nodiscard]] eval::benchmark_options benchmark_options_of(const settings& s) {
  eval::benchmark_options options;
  if (!s.chinese_words.empty()) options.chinese = eval::chinese_words::load(s.chinese_words);
  return options;
}

/// A benchmark whose reader takes a file and options.
template <class Read>
[[nodiscard]] task_entry benchmark(std::string_view name, std::string_view file, const Read& read) {
  return {name, file, [read](const task_parts& parts, const std::string& path) {
            return std::vector{asks(parts.s, eval::any_task(read(path, benchmark_options_of(parts.s))))};
          }};
}

/// The file of --shots-from for a task, empty for none.
[[nodiscard]] std::string shots_file(const settings& s, std::string_view name) {
  for (const std::string& own : s.shots_from)
    if (own.substr(0, own.find(':')) == name) return own.substr(name.size() + 1);
  return "";
}

/// Puts --shots examples before the questions of `path`, from a file of the same kind.
template <class Read>
void add_shots(const settings& s, std::string_view name, const std::string& path, const Read& read,
               eval::choice_task& task) {
  if (s.shots.value_or(0) == 0) return;
  const std::string file = shots_file(s, name);
  if (file.empty())
    throw config_error("names no examples of " + std::string(name), "--shots-from",
                       "write --shots-from " + std::string(name) + ":FILE, such as its training split");
  std::error_code is_missing;
  const bool is_same = std::filesystem::equivalent(file, path, is_missing);
  eval::add_shots(task, read(file), {.count = *s.shots, .has_spare = is_same || name == "hellaswag"});
}

/// Where the examples of a benchmark of choices come from.
enum class shot_source {
  file,    ///< --shots-from
  folder,  ///< --shots-from, or the benchmark's own folder: its reader takes them
  prompt   ///< the prompt has its own, and no others
};

/// A benchmark of choices by their probability: `read(path, settings)` gives its questions.
template <class Read>
[[nodiscard]] task_entry choices(std::string_view name, std::string_view file, shot_source shots, const Read& read) {
  return {name, file, [name, shots, read](const task_parts& parts, const std::string& path) {
            if (shots == shot_source::prompt && parts.s.shots.has_value())
              throw config_error("the prompt of " + std::string(name) + " has its six examples, and no others",
                                 "--shots", "ask for it in a run of its own, without --shots");
            eval::choice_task task = read(path, parts.s);
            if (shots == shot_source::file)
              add_shots(
                  parts.s, name, path, [&](const std::string& from) { return read(from, parts.s); }, task);
            const auto most = static_cast<std::size_t>(parts.s.questions);
            if (most > 0 && task.questions.size() > most) task.questions.resize(most);
            eval_work work{.name = std::string(name)};
            work.scores = [task = std::move(task), &parts = parts](const auto& model, const auto& is_done,
                                                                   const auto& each) {
              eval::choice_options options;
              options.is_done = is_done;
              eval::multiple_choice(model, parts.words, task, options, each);
            };
            return std::vector{std::move(work)};
          }};
}

[[nodiscard]] std::vector<lodestone::text_document> documents_of(const settings& s, const std::string& path) {
  std::vector<lodestone::text_document> all = lodestone::read_documents(path);
  const auto most = static_cast<std::size_t>(s.questions);
  if (most > 0 && all.size() > most) all.resize(most);
  return all;
}

[[nodiscard]] std::vector<eval_work> perplexity_of(const task_parts& parts, const std::string& path) {
  eval_work work{.name = "perplexity"};
  work.scores = [texts = documents_of(parts.s, path), &parts](const auto& model, const auto& is_done,
                                                              const auto& each) {
    eval::perplexity_options options;
    options.window = parts.s.sliding_window;
    options.stride = parts.s.stride;
    options.max_tokens = parts.s.document_tokens;
    options.is_done = is_done;
    for (const lodestone::text_document& text : texts) {  // one at a time: books are large
      const std::vector<eval::document> one{eval::tokenise(text, parts.words)};
      eval::perplexity(model, one, options, each);
    }
  };
  return {std::move(work)};
}

[[nodiscard]] eval::token_edges edges_of(std::string_view name) {
  return name == "whole" ? eval::token_edges::whole : eval::token_edges::trimmed;
}

[[nodiscard]] eval::key_token_options key_options_of(const settings& s) {
  eval::key_token_options options;
  options.context = s.key_context;
  options.step = s.key_step;
  options.gain = s.key_gain;
  options.loss = s.key_loss;
  options.edges = edges_of(s.key_edges);
  return options;
}

[[nodiscard]] std::vector<eval_work> long_perplexity_of(const task_parts& parts, const std::string& path) {
  const settings& s = parts.s;
  if (!s.key_tokens.empty() && !s.evaluator_model.empty())
    throw config_error("finds key tokens, and key_tokens names a file of them", "--evaluator-model",
                       "give one of both");
  eval_work work{.name = "long_perplexity"};
  const auto texts = std::make_shared<const std::vector<lodestone::text_document>>(documents_of(s, path));
  if (!s.key_tokens.empty()) (void)eval::read_keys(s.key_tokens);  // its faults are told before a model is loaded
  if (!s.evaluator_model.empty())
    work.finds_keys = [texts, &s](const auto& evaluator, const auto& words, const auto& is_done, const auto& each) {
      std::vector<std::string> ids;
      for (const lodestone::text_document& text : *texts) {
        ids.push_back(text.id);
        if (!is_done(text.id))
          each(text.id, eval::key_line(text.id, eval::key_ranges(evaluator, words, text.text, key_options_of(s))));
      }
      return ids;
    };
  work.scores = [texts, &s, &parts](const auto& model, const auto& is_done, const auto& each) {
    const std::filesystem::path file = key_tokens_file(s);
    std::map<std::string, eval::text_ranges> keys;
    if (!file.empty()) keys = eval::read_keys(file);
    const eval::key_source source = [&](const lodestone::text_document& text) {
      if (file.empty()) return eval::key_ranges(model, parts.words, text.text, key_options_of(s));
      const auto found = keys.find(text.id);
      if (found == keys.end())
        throw lodestone::data_error("holds no key tokens of the document " + text.id, file.string(),
                                    "make the file from the same documents");
      return found->second;
    };
    eval::long_perplexity_options options;
    options.edges = edges_of(s.token_edges);
    options.is_done = is_done;
    eval::long_perplexity(model, parts.words, *texts, source, options, each);
  };
  return {std::move(work)};
}

/// A file of a folder, or nothing where it is not there.
[[nodiscard]] std::filesystem::path optional_file(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? file : std::filesystem::path();
}

[[nodiscard]] std::vector<eval_work> longbench_chat_of(const task_parts& parts, const std::string& folder) {
  const std::filesystem::path base(folder);
  const std::filesystem::path shots = optional_file(base / "few_shots.json");
  eval::longbench_chat_options options;
  options.runs = static_cast<std::size_t>(parts.s.judge_runs);
  options.seed = static_cast<std::uint64_t>(parts.s.seed);
  eval::judge_template prompt(shots.empty() ? eval::longbench_chat_zero_shot_template()
                                            : eval::longbench_chat_few_shot_template());
  if (!parts.s.judge_template.empty()) prompt = eval::judge_template::read(parts.s.judge_template);
  return rates_by_template(eval::any_judged(
      eval::longbench_chat(eval::read_longbench_chat(base / "test_cases.json", shots), std::move(prompt), options)));
}

[[nodiscard]] std::vector<eval_work> mt_bench_of(const task_parts& parts, const std::string& folder) {
  const std::filesystem::path base(folder);
  const std::string& prompts = parts.s.judge_template;
  return rates_by_template(eval::any_judged(eval::mt_bench(
      eval::read_mt_bench(base / "question.jsonl", optional_file(base / "reference_answer" / "gpt-4.jsonl")),
      prompts.empty() ? eval::published_mt_bench_prompts() : eval::read_mt_bench_prompts(prompts))));
}

[[nodiscard]] std::vector<eval_work> longbench_rated_of(const task_parts& parts, const std::string& file) {
  const auto prompt = [](const std::string& own, std::string_view published) {
    return own.empty() ? eval::judge_template(published) : eval::judge_template::read(own);
  };
  std::vector<eval::rated_reference> references = eval::read_rated_references(file);
  std::set<std::string_view> settings_used;
  for (const eval::rated_reference& own : references)
    settings_used.insert(eval::longbench_rated_kind(own.dataset) == eval::rated_kind::summary ? "summary_template"
                                                                                              : "judge_template");
  eval_work work = rates(eval::any_judged(
      eval::longbench_rated(eval::any_task(eval::longbench(file, benchmark_options_of(parts.s))), std::move(references),
                            prompt(parts.s.judge_template, eval::longbench_answer_template()),
                            prompt(parts.s.summary_template, eval::longbench_summary_template()))));
  work.judge_prompts = std::move(settings_used);
  return {std::move(work)};
}

[[nodiscard]] std::vector<eval_work> watches(std::string name, eval::needle asked, bool is_chat,
                                             const task_parts& parts) {
  eval_work work{.name = std::move(name)};
  work.measures = [asked = std::move(asked), is_chat, &parts](const auto& is_done, const auto& each) {
    score_retrieval_heads(parts.s, asked, is_chat, is_done, each);
  };
  return {std::move(work)};
}

[[nodiscard]] std::vector<task_entry> make_entries() {
  std::vector<task_entry> list;
  const auto one = [&](std::string_view name, auto make) {
    list.push_back({name, "", [make](const task_parts& parts, const std::string&) { return make(parts); }});
  };
  // Made on the spot.
  one("needle", [](const task_parts& p) { return std::vector{asks(p.s, eval::any_task(needle_of(p)))}; });
  one("facts", [](const task_parts& p) { return std::vector{asks(p.s, eval::any_task(facts_of(p)))}; });
  one("ruler", [](const task_parts& p) {
    std::vector<eval_work> all;
    for (const eval::ruler_kind kind : eval::ruler_kinds) all.push_back(ruler_of(p, kind));
    return all;
  });
  for (const eval::ruler_kind kind : eval::ruler_kinds)
    one(to_string(kind), [kind](const task_parts& p) { return std::vector{ruler_of(p, kind)}; });
  // Published benchmarks, from their files.
  list.push_back(benchmark("longbench", "NAME.jsonl", eval::longbench));
  list.push_back(benchmark("lv_eval", "NAME_16k.jsonl", eval::lv_eval));
  list.push_back({"infinite_bench", "longbook_qa_eng.jsonl", [](const task_parts& p, const std::string& file) {
                    const auto form = p.is_chat ? eval::infinite_bench_form::chat : eval::infinite_bench_form::text;
                    return std::vector{
                        asks(p.s, eval::any_task(eval::infinite_bench(file, form, benchmark_options_of(p.s))))};
                  }});
  list.push_back(benchmark("musique", "musique_ans_v1.0_dev.jsonl", eval::musique));
  list.push_back(benchmark("two_wiki", "dev.json", eval::two_wiki));
  list.push_back(benchmark("qmsum", "test.jsonl", eval::qmsum));
  list.push_back(
      benchmark("narrativeqa", "FOLDER with qaps.csv and stories", [](const std::string& folder, auto options) {
        const std::filesystem::path base(folder);
        return eval::narrativeqa(base / "qaps.csv", base / "stories", "test", options);
      }));
  list.push_back(benchmark(
      "key_value_retrieval", "kv-retrieval-N_keys.jsonl",
      [](const std::string& file, auto options) { return eval::key_value_retrieval(file, std::nullopt, options); }));
  // Rated by a judge.
  one("needle_judged",
      [](const task_parts& p) { return std::vector{rates(eval::any_judged(eval::judged_needle(needle_of(p))))}; });
  list.push_back({"longbench_chat", "FOLDER with test_cases.json and few_shots.json", longbench_chat_of});
  list.push_back({"longbench_rated", "NAME.jsonl", longbench_rated_of});
  list.push_back({"mt_bench", "FOLDER with question.jsonl and reference_answer/gpt-4.jsonl", mt_bench_of});
  // By what its attention looks at while it answers the questions of needle, and of facts.
  one("retrieval_heads", [](const task_parts& p) { return watches("retrieval_heads", needle_of(p), p.is_chat, p); });
  one("retrieval_heads_facts",
      [](const task_parts& p) { return watches("retrieval_heads_facts", facts_of(p), false, p); });
  // By the probability of given texts.
  list.push_back({"perplexity", "a .txt, .md, .jsonl or .json file, or a folder of them", perplexity_of});
  list.push_back({"long_perplexity", "a .txt, .md, .jsonl or .json file, or a folder of them", long_perplexity_of});
  list.push_back(choices("mmlu", "FOLDER with test and dev", shot_source::folder,
                         [](const std::filesystem::path& folder, const settings& s) {
                           if (!std::filesystem::is_directory(folder))
                             throw lodestone::io_error("is no folder", folder.string(),
                                                       "name the one that holds test and dev");
                           std::filesystem::path examples = shots_file(s, "mmlu");
                           if (examples.empty()) examples = folder / "dev";
                           return eval::read_mmlu(folder / "test", examples, s.shots.value_or(5));
                         }));
  for (const char* name : {"arc_easy", "arc_challenge"})
    list.push_back(choices(name, "test.jsonl", shot_source::file,
                           [](const std::string& file, const settings&) { return eval::read_arc(file); }));
  list.push_back(choices("hellaswag", "validation.jsonl", shot_source::file,
                         [](const std::string& file, const settings&) { return eval::read_hellaswag(file); }));
  const auto truthful = [&](const char* name, eval::truthful_choices which) {
    list.push_back(
        choices(name, "validation.jsonl", shot_source::prompt,
                [which](const std::string& file, const settings&) { return eval::read_truthfulqa(file, which); }));
  };
  truthful("truthfulqa_mc1", eval::truthful_choices::mc1);
  truthful("truthfulqa_mc2", eval::truthful_choices::mc2);
  return list;
}

}  // namespace

const std::vector<task_entry>& task_entries() {
  static const std::vector<task_entry> entries = make_entries();
  return entries;
}

namespace {

constexpr std::string_view takes_shots[] = {"mmlu", "arc_easy", "arc_challenge", "hellaswag"};

/// Throws for --shots and --shots-from that no task of `names` uses.
void check_shots(const settings& s, const std::set<std::string>& names) {
  const auto is_asked = [&](std::string_view name) { return names.count(std::string(name)) > 0; };
  if (s.shots.has_value() && std::none_of(std::begin(takes_shots), std::end(takes_shots), is_asked))
    throw config_error("no task takes examples", "--shots",
                       "leave it out, or ask for mmlu, arc_easy, arc_challenge or hellaswag");
  std::set<std::string> given;
  for (const std::string& own : s.shots_from) {
    const std::size_t colon = own.find(':');
    const std::string name = own.substr(0, colon);
    if (colon == std::string::npos || colon + 1 == own.size())
      throw config_error("\"" + own + "\" names no file of a task", "--shots-from", "write NAME:FILE, as in --tasks");
    if (std::find(std::begin(takes_shots), std::end(takes_shots), name) == std::end(takes_shots) || !is_asked(name))
      throw config_error("\"" + name + "\" is no task of this run that takes examples", "--shots-from",
                         "name some of mmlu, arc_easy, arc_challenge and hellaswag that --tasks names");
    if (!given.insert(name).second) throw config_error("names " + name + " twice", "--shots-from", "name one file");
    if (s.shots.value_or(name == "mmlu" ? 5 : 0) == 0)
      throw config_error("names examples of " + name + ", but none are shown", "--shots-from", "give --shots N");
  }
}

}  // namespace

std::filesystem::path key_tokens_file(const settings& s) {
  if (!s.evaluator_model.empty()) return std::filesystem::path(s.output) / "key_tokens.jsonl";
  return s.key_tokens;
}

settings evaluator_settings(const settings& s) {
  settings evaluator = s;
  evaluator.model = s.evaluator_model;
  evaluator.adapter.clear();
  const settings own;  // of its own positions
  evaluator.rope_base = own.rope_base;
  evaluator.rope_scaling = own.rope_scaling;
  evaluator.rope_factor = own.rope_factor;
  evaluator.rope_original_max_positions = own.rope_original_max_positions;
  evaluator.max_positions = own.max_positions;
  return evaluator;
}

std::vector<eval_work> make_work(const std::vector<std::string>& choices, const task_parts& parts) {
  std::vector<eval_work> all;
  std::set<std::string> names, asked;
  for (const std::string& choice : choices) asked.insert(choice.substr(0, choice.find(':')));
  check_shots(parts.s, asked);
  if (!parts.s.evaluator_model.empty() && asked.count("long_perplexity") == 0)
    throw config_error("no task has key tokens to find", "--evaluator-model",
                       "leave it out, or ask for long_perplexity");
  const auto& entries = task_entries();
  for (const std::string& choice : choices) {
    const std::size_t colon = choice.find(':');
    const std::string name = choice.substr(0, colon);
    const std::string file = colon == std::string::npos ? "" : choice.substr(colon + 1);
    const auto entry =
        std::find_if(entries.begin(), entries.end(), [&](const task_entry& e) { return e.name == name; });
    if (entry == entries.end()) {
      std::vector<std::string> known;
      std::string list;
      for (const task_entry& e : entries) {
        known.emplace_back(e.name);
        list += (list.empty() ? "" : ", ") + std::string(e.name) + (e.file.empty() ? "" : ":FILE");
      }
      const std::string near = nearest(name, known);
      throw config_error("unknown task \"" + name + "\"" + (near.empty() ? "" : ", did you mean \"" + near + "\"?"),
                         "--tasks", "use some of: " + list);
    }
    if (entry->file.empty() && !file.empty())
      throw config_error("takes no file, but " + file + " stands behind its colon", "--tasks " + name,
                         "write the name alone");
    if (!entry->file.empty() && file.empty())
      throw config_error("names no file", "--tasks " + name, "write " + name + ":FILE, " + std::string(entry->file));
    for (eval_work& one : entry->make(parts, file)) {
      if (!names.insert(one.name).second)
        throw config_error("is asked for twice", "--tasks " + one.name, "name each task once");
      one.entry = name;
      all.push_back(std::move(one));
    }
  }
  const auto check_template = [&](const std::string& file, const char* key, const char* flag, const char* fix) {
    const auto uses = [&](const eval_work& one) { return one.judge_prompts.count(key) > 0; };
    if (!file.empty() && std::none_of(all.begin(), all.end(), uses))
      throw config_error("no question of the tasks is rated with " + file, flag, fix);
  };
  check_template(parts.s.judge_template, "judge_template", "--judge-template",
                 "leave it out; the prompt for summaries of longbench_rated is --summary-template");
  check_template(parts.s.summary_template, "summary_template", "--summary-template",
                 "leave it out, or ask for longbench_rated with summaries, such as gov_report.jsonl");
  return all;
}

}  // namespace lodestone_cli
