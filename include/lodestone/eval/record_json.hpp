// Records as JSON lines: what an evaluation writes for every question, and reads again when it goes on.
#pragma once

#include <string>
#include <string_view>

#include <lodestone/eval/concept.hpp>

namespace lodestone::eval {

/// A record of one of several tasks.
struct task_record {
  std::string task{};  ///< its name
  record own{};        ///< its id begins with the task's name and a slash

  friend bool operator==(const task_record&, const task_record&) = default;
};

/// The id in a log of several tasks: TASK/ID.
[[nodiscard]] std::string log_id(std::string_view task, std::string_view id);

/// One line without its end:
/// {"id": "needle/1024/50/0", "task": "needle", "labels": {"length": "1024"}, "scores": {"found": 1.0}, "answer":
/// "..."} with "weights": {"nll": 511.0} for scores whose weight is not 1, and "error" where there is no score. Throws
/// numeric_error for a score that is not finite or a negative weight.
[[nodiscard]] std::string to_json_line(const task_record& r);

/// Reads it again, bit for bit. Throws format_error that names `where` and the key.
[[nodiscard]] task_record read_task_record(std::string_view line, std::string_view where);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/record_json.ipp>
#endif
