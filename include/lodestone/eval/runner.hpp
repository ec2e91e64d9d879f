// Asks a model the questions of a task and logs a record of every answer, as it comes: a killed run goes on.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/eval/any_task.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/record_json.hpp>
#include <lodestone/generate/concept.hpp>

namespace lodestone::eval {

/// What keeps records by their ids; result_log (data/result_log.hpp) models it.
template <class Log>
concept record_log = requires(Log& log, std::string_view text) {
  { log.contains(text) } -> std::convertible_to<bool>;
  { log.read(text) } -> std::convertible_to<std::string>;
  log.append(text, text);
};

/// What prompts cost a model, and how one that is too long is cut in its middle.
struct prompt_meter {
  /// Tokens of the whole prompt, as a user's turn of the chat template or as the text that it is.
  std::function<std::int64_t(std::string_view prompt, bool is_chat)> tokens{};
  /// The text of at most about `limit` tokens, its middle left out.
  std::function<std::string(std::string_view prompt, std::int64_t limit)> cut{};
};

/// How far a run is.
struct run_progress {
  std::string_view task{};    ///< its name
  std::size_t done = 0;       ///< answered, in this run or before
  std::size_t questions = 0;  ///< all; 0: not known yet
  std::size_t failed = 0;     ///< of those that were asked in this run
  double seconds = 0.0;       ///< of this run
};

/// How questions are asked.
struct run_options {
  std::size_t batch = 64;                            ///< questions that the model gets at once
  std::int64_t window = 0;                           ///< tokens of prompt and answer together; 0: prompts are never cut
  prompt_meter meter{};                              ///< needed with a window
  bool always_plain = false;                         ///< chat questions too are asked as the text that they are
  std::string system{};                              ///< the system message of chat questions; empty: none
  generate::sampling draw{};                         ///< the seed is mixed with each question's id
  bool keeps_failures = true;                        ///< failed answers are logged too, and not asked again
  std::function<void(const run_progress&)> hears{};  ///< called after every answer, and once before the first
};

/// What a run did.
struct run_report {
  std::size_t reused = 0;          ///< records that the log had
  std::size_t asked = 0;           ///< questions put to the model
  std::size_t cut = 0;             ///< prompts among them that lost their middle
  std::vector<record> failures{};  ///< of this run, logged or not
};

namespace detail {

/// The prompt cut so that it and the answer fit the window. Throws config_error when nothing of it would be left.
[[nodiscard]] std::string fit_prompt(const std::string& prompt, bool is_chat, std::int64_t room,
                                     const prompt_meter& meter);

/// The request of a question; its prompt may be cut, then `is_cut` is set.
[[nodiscard]] generate::request make_request(const question& asked, const run_options& options, bool& is_cut);

/// The seed of one question's answer.
[[nodiscard]] inline std::uint64_t question_seed(std::uint64_t seed, std::string_view id) {
  return seed_of(seed, random_purpose::sampling, id, 1);  // epoch 0 belongs to the tokens that are drawn
}

}  // namespace detail

/// Asks every question of `t` that `log` has no record of, in order, `batch` at a time, and logs the records as the
/// answers come, under the ids TASK/ID. A record of a cut prompt has the label {"cut", "yes"}. A prompt that cannot be
/// cut to fit fails alone. Throws what the model throws; the records until then stay.
///
/// Laws: with a deterministic model the records do not depend on where runs were interrupted, nor on `batch`.
template <task Task, generate::generator Model, record_log Log>
run_report run(const Task& t, Model& model, Log& log, const run_options& options = {}) {
  if (options.window > 0 && (!options.meter.tokens || !options.meter.cut))
    throw config_error("prompts cannot be cut without a meter", "run_options::meter", "give the model's tokenizer");
  const std::string name = t.name();
  const std::size_t n = t.size();
  const auto start = std::chrono::steady_clock::now();
  run_report report;
  run_progress progress{.task = name, .questions = n};
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < n; ++i)
    if (!log.contains(log_id(name, question_id(t, i)))) open.push_back(i);
  report.reused = progress.done = n - open.size();
  if (options.hears) options.hears(progress);

  std::vector<generate::request> requests;
  std::vector<std::size_t> numbers;  // of the questions behind the requests
  std::vector<record> records;       // and what is known of theirs
  const auto finish = [&](record&& done) {
    done.id = log_id(name, done.id);
    if (done.error.empty() || options.keeps_failures) log.append(done.id, to_json_line({name, done}));
    if (!done.error.empty()) report.failures.push_back(std::move(done));
    ++progress.done;
    progress.failed = report.failures.size();
    progress.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (options.hears) options.hears(progress);
  };
  const std::size_t batch = std::max<std::size_t>(options.batch, 1);
  for (std::size_t begin = 0; begin < open.size(); begin += batch) {
    requests.clear();
    numbers.clear();
    records.clear();
    for (std::size_t k = begin; k < std::min(begin + batch, open.size()); ++k) {
      question asked = t.ask(open[k]);
      record own{.id = asked.id, .labels = std::move(asked.labels)};
      ++report.asked;
      try {
        bool is_cut = false;
        requests.push_back(detail::make_request(asked, options, is_cut));
        if (is_cut) {
          ++report.cut;
          own.labels.push_back({"cut", "yes"});
        }
        numbers.push_back(open[k]);
        records.push_back(std::move(own));
      } catch (const config_error& e) {
        own.error = e.what();
        finish(std::move(own));
      }
    }
    if (requests.empty()) continue;
    model.generate(std::span<const generate::request>(requests), [&](std::size_t k, generate::answer&& given) {
      record own = std::move(records.at(k));
      own.answer = std::move(given.text);
      if (given.why == generate::finish::failed)
        own.error = given.error.empty() ? "the model gave no answer and no reason" : std::move(given.error);
      else
        own.scores = t.mark(numbers[k], own.answer);
      finish(std::move(own));
    });
  }
  return report;
}

/// The records of a task in the order of its questions: from the log, and from `failures` that are not logged.
/// Questions without a record are left out.
template <task Task, record_log Log>
[[nodiscard]] std::vector<record> records_of(const Task& t, const Log& log, std::span<const record> failures = {}) {
  std::vector<record> all;
  const std::string name = t.name();
  for (std::size_t i = 0; i < t.size(); ++i) {
    const std::string id = log_id(name, question_id(t, i));
    if (log.contains(id)) {
      all.push_back(read_task_record(log.read(id), id).own);
      continue;
    }
    for (const record& failed : failures)
      if (failed.id == id) all.push_back(failed);
  }
  return all;
}

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/runner.ipp>
#endif
