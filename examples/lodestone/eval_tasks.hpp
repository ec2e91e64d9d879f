// What `lodestone eval` knows to measure: a new task is one entry of the list in eval_tasks.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/any_task.hpp>
#include <lodestone/eval/judged.hpp>
#include <lodestone/eval/needle.hpp>
#include <lodestone/eval/perplexity.hpp>
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

/// Scores given texts with a local model: leaves out what is done, and tells each record as it comes.
using text_scorer =
    std::function<void(const lodestone::eval::any_scoring_model&, const lodestone::eval::record_filter& is_done,
                       const lodestone::eval::record_listener& each)>;

/// Measures the local model in a way of its own; otherwise as text_scorer.
using model_scorer =
    std::function<void(const lodestone::eval::record_filter& is_done, const lodestone::eval::record_listener& each)>;

/// Finds key tokens of documents with an evaluator model and its tokenizer: leaves out what is done, and tells the id
/// and the line (eval::key_line) of each as it comes. Returns the ids of all.
using key_finder = std::function<std::vector<std::string>(
    const lodestone::eval::any_scoring_model& evaluator, const lodestone::tokenizer& words,
    const lodestone::eval::record_filter& is_done,
    const std::function<void(const std::string& id, const std::string& line)>& each)>;

/// One thing to do: questions that a function marks, dialogues that a judge rates, or texts whose probability counts.
struct eval_work {
  std::string entry{};                                ///< the name in --tasks
  std::string name{};                                 ///< of the task, which begins its ids
  std::vector<lodestone::eval::any_task> asked{};     ///< one, or none
  std::vector<lodestone::eval::any_judged> judged{};  ///< one, or none
  text_scorer scores{};                               ///< or this
  key_finder finds_keys{};                            ///< what key_tokens_file() must hold before it scores
  std::set<std::string_view> judge_prompts{};         ///< settings that name files of prompts which its judge gets
  model_scorer measures{};                            ///< or this, which loads the model itself
};

/// A name that --tasks takes.
struct task_entry {
  std::string_view name;
  std::string_view file;  ///< what stands behind the colon, for messages; empty: nothing does
  std::function<std::vector<eval_work>(const task_parts& parts, const std::string& file)> make;
};

/// All of them.
[[nodiscard]] const std::vector<task_entry>& task_entries();

/// The work of NAME and NAME:FILE in --tasks, in order. Throws config_error for an unknown name (with the nearest one),
/// a file that is missing or has no place, and two tasks of one name.
[[nodiscard]] std::vector<eval_work> make_work(const std::vector<std::string>& choices, const task_parts& parts);

/// A record of retrieval heads for each question of a needle test, which the settings' model answers greedily.
void score_retrieval_heads(const settings& s, const lodestone::eval::needle& asked, bool is_chat,
                           const lodestone::eval::record_filter& is_done, const lodestone::eval::record_listener& each);

/// The file that key tokens are read from; the evaluator's stand in the output folder. Empty: the model finds its own.
[[nodiscard]] std::filesystem::path key_tokens_file(const settings& s);

/// The settings of the model that finds key tokens.
[[nodiscard]] settings evaluator_settings(const settings& s);

/// Loads the settings' model to score texts and calls `use` with it, once.
void with_scoring_model(const settings& s, const std::function<void(const lodestone::eval::any_scoring_model&)>& use);

}  // namespace lodestone_cli
