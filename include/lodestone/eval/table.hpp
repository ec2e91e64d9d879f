// What records come to: means of every metric by task and by label, as a table for people and as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/eval/concept.hpp>

namespace lodestone::eval {

/// The records of one task.
struct task_result {
  std::string task{};             ///< its name
  std::vector<record> records{};  ///< in the order of its questions
};

/// The mean of one metric over some records.
struct mean_score {
  std::string metric{};         ///< "perplexity" is made here: e to the mean of "nll"
  double mean = 0.0;            ///< weighted: sum of w x over sum of w
  double standard_error = 0.0;  ///< of the mean; 0 for a single record
  std::int64_t records = 0;     ///< with a score of this metric and a positive weight
  double weight = 0.0;          ///< their sum
};

/// Some records of a task: all, those with one value of a label, or those with one value of each of two.
struct table_row {
  std::string task{};                ///< its name
  std::vector<label> labels{};       ///< none, one or two
  std::int64_t records = 0;          ///< failed ones too
  std::int64_t failed = 0;           ///< without scores: they count in no mean
  std::vector<mean_score> scores{};  ///< in the order in which metrics appear
};

/// Weighted means. The standard error is that of a ratio of sums, sqrt(n / (n - 1) * sum w^2 (x - mean)^2) / sum w,
/// which for equal weights is the textbook's; for perplexity it is that of "nll" times the perplexity.
[[nodiscard]] std::vector<mean_score> mean_scores(std::span<const record> records);

/// For every task: a row of all its records, then one for each value of each label, labels in the order in which they
/// appear; values that are all numbers (1024, 8k) ascend, others stand as they appear.
[[nodiscard]] std::vector<table_row> table_of(std::span<const task_result> results);

/// Rows for each pair of values of two labels, `down` outside and `across` inside, in the same order; only pairs that
/// have records. Empty when no record has both.
[[nodiscard]] std::vector<table_row> cross_table(const task_result& result, std::string_view down,
                                                 std::string_view across);

/// The different values of a label in the order of table_of().
[[nodiscard]] std::vector<std::string> values_of(const task_result& result, std::string_view name);

/// The table as text: a line for each row and metric, in columns: task, records of it, metric, mean, standard error,
/// number of records, failures.
[[nodiscard]] std::string to_text(std::span<const table_row> rows);

/// The table as comma-separated values with a header line: task, label, value, metric, mean, standard_error, records,
/// failed.
[[nodiscard]] std::string to_csv(std::span<const table_row> rows);

/// The table as JSON: {"settings": {...}, "tasks": [{"task", "records", "failed", "scores": {METRIC: {"mean",
/// "standard_error", "records", "weight"}}, "by": {LABEL: {VALUE: {"records", "failed", "scores"}}}}]}. `settings` are
/// pairs of a name and a JSON text.
[[nodiscard]] std::string to_json(std::span<const table_row> rows,
                                  std::span<const std::pair<std::string, std::string>> settings = {});

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/table.ipp>
#endif
