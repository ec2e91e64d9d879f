// The tasks that `lodestone eval` knows: a new one is one entry of the list in eval_tasks.cpp.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/any_task.hpp>
#include <lodestone/eval/runner.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "options.hpp"

namespace lodestone_cli {

/// What makers of tasks may use; it outlives what they make.
struct task_parts {
  const settings& s;
  const lodestone::tokenizer& words;
  const lodestone::eval::prompt_meter& meter;
  bool is_chat;  ///< whether chat questions are asked as a user's turn
};

/// A name that --tasks takes.
struct task_entry {
  std::string_view name;
  std::string_view file;  ///< what stands behind the colon, for --help and errors; empty: nothing does
  std::string_view what;  ///< for --help
  std::function<std::vector<lodestone::eval::any_task>(const task_parts& parts, const std::string& file)> make;
};

/// All of them.
[[nodiscard]] const std::vector<task_entry>& task_entries();

/// NAME or NAME:FILE of --tasks.
struct task_choice {
  std::string name;
  std::string file;
};

/// Splits it at its first colon.
[[nodiscard]] task_choice split_choice(std::string_view text);

/// The tasks of these choices, in order. Throws config_error for an unknown name (with the nearest one), a file that
/// is missing or has no place, and two tasks of one name.
[[nodiscard]] std::vector<lodestone::eval::any_task> make_tasks(const std::vector<task_choice>& choices,
                                                                const task_parts& parts);

}  // namespace lodestone_cli
