// Runs judged tasks: a model answers, a judge rates, and a killed run goes on where it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/data/result_log.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/judged.hpp>
#include <lodestone/eval/runner.hpp>
#include <lodestone/generate/concept.hpp>

namespace lodestone::eval {

/// How the judge is asked.
struct judge_options {
  std::int64_t attempts = 5;           ///< for one rating, as the published codes do; then there is none
  std::int64_t max_new_tokens = 2048;  ///< of a reply
  generate::sampling draw{};           ///< of the first attempt: the most likely reply; seeds differ by attempt
  /// Of all further attempts: a judge that always gives the most likely reply would only repeat itself.
  double retry_temperature = 0.5;
};

/// What a run did.
struct judged_report {
  std::size_t reused = 0;          ///< records that the log had
  std::size_t asked = 0;           ///< turns put to the model
  std::size_t cut = 0;             ///< prompts among them that lost their middle
  std::size_t replies = 0;         ///< what the judge was asked for, all attempts
  std::size_t unrated = 0;         ///< ratings that no attempt gave
  std::vector<record> failures{};  ///< records of this run without a score, logged or not
};

/// Makes a record of every part of every dialogue that `log` has no record of.
///
/// `options` rules how the model is asked; a question's own temperature wins over options.draw. Dialogues are taken
/// options.batch at a time: their turns first, each with the answers before it, then all their ratings, and those whose
/// reply has no rating again until `judging.attempts` are spent. Records get ids TASK/ID as run() gives them.
///
/// `work` keeps what is between: every answer ({"id": "TASK/ID/answer/1", "answer": ...}) and every rating with the
/// judge's words ({"id": "TASK/PART/rating/1", "rating": 7.0, "reply": ..., "attempt": 1}; attempts that gave none
/// stand beside it as "TASK/PART/rating/1/attempt/1"), as they come. So neither model nor judge is asked twice after a
/// kill. It may be `log` itself. work_ids() lists the ids to commit it by.
///
/// A part without an answer or a rating is a record with `error` and no score: it counts in no mean. Whether it is
/// logged, and so not tried again, options.keeps_failures says. Throws what the generators throw; what was logged
/// until then stays.
judged_report run_judged(const any_judged& task, const generate::any_generator& model,
                         const generate::any_generator& judge, result_log& log, result_log& work,
                         const run_options& options = {}, const judge_options& judging = {});

/// The task's answers and ratings that `work` holds, in the order of its dialogues.
[[nodiscard]] std::vector<std::string> work_ids(const any_judged& task, const result_log& work);

/// The records' ids in the order of the task, as a log of it is committed by.
[[nodiscard]] std::vector<std::string> record_ids(const any_judged& task);

/// Means of ratings as leaderboards give them.
struct rating_summary {
  std::size_t rated = 0;   ///< records with the metric
  std::size_t failed = 0;  ///< records without a score
  double sum = 0.0;        ///< LongBench-Chat's total_score
  double mean = 0.0;       ///< of the rated; 0 when there is none
};

/// Sums one metric up.
[[nodiscard]] rating_summary summarise_ratings(std::span<const record> records, std::string_view metric = "rating");

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/judge.ipp>
#endif
