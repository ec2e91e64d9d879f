#include "eval_tasks.hpp"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/eval/haystack.hpp>
#include <lodestone/eval/needle.hpp>
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

template <class... Tasks>
[[nodiscard]] std::vector<eval::any_task> list_of(Tasks... tasks) {
  std::vector<eval::any_task> all;
  (all.push_back(eval::any_task(std::move(tasks))), ...);
  return all;
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

[[nodiscard]] std::vector<eval::any_task> make_needle(const task_parts& parts, const std::string&) {
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
  return list_of(eval::needle(read_haystack(s), count_of(parts, parts.is_chat), needle_options_of(parts, "needle"), form));
}

/// {dako=48213} between sentences: what small models that read no questions can do.
[[nodiscard]] std::vector<eval::any_task> make_facts(const task_parts& parts, const std::string&) {
  const bool has_mark = parts.words.id_of("<|question|>").has_value();
  eval::needle_options options = needle_options_of(parts, "facts");
  options.is_chat = false;
  options.values = 1;
  options.max_new_tokens = 8;
  options.stop = {"}"};
  return list_of(eval::needle(read_haystack(parts.s), count_of(parts, false), std::move(options),
                              eval::needle_form::compact(has_mark ? "<|question|>" : "\n")));
}

[[nodiscard]] std::vector<eval::any_task> make_ruler(const task_parts& parts, std::string_view one = {}) {
  eval::ruler_options options;
  options.lengths = parts.s.lengths;
  options.repeats = parts.s.repeats;
  options.is_chat = parts.is_chat;
  options.seed = static_cast<std::uint64_t>(parts.s.seed);
  std::vector<eval::any_task> all;
  for (const eval::ruler_kind kind : eval::ruler_kinds)
    if (one.empty() || one == to_string(kind))
      all.push_back(eval::any_task(eval::ruler(kind, count_of(parts, parts.is_chat), options)));
  return all;
}

}  // namespace

const std::vector<task_entry>& task_entries() {
  static const std::vector<task_entry> entries = [] {
    std::vector<task_entry> list{
        {"needle", "", "facts between the sentences of long text, over depths and lengths", make_needle},
        {"facts", "", "the same as {name=number}, for models that look things up but read no questions", make_facts},
        {"ruler", "", "all of the following",
         [](const task_parts& parts, const std::string&) { return make_ruler(parts); }},
    };
    constexpr const char* ruler_texts[] = {"one number between sentences",
                                           "one number among many",
                                           "four numbers of one name",
                                           "the numbers of four names",
                                           "variables through assignments",
                                           "words that are repeated in a list",
                                           "the most frequent words",
                                           "who has a thing that was passed on"};
    for (std::size_t k = 0; k < std::size(eval::ruler_kinds); ++k) {
      const std::string_view name = to_string(eval::ruler_kinds[k]);
      list.push_back({name, "", ruler_texts[k],
                      [name](const task_parts& parts, const std::string&) { return make_ruler(parts, name); }});
    }
    return list;
  }();
  return entries;
}

task_choice split_choice(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {std::string(text), {}};
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

std::vector<eval::any_task> make_tasks(const std::vector<task_choice>& choices, const task_parts& parts) {
  std::vector<eval::any_task> all;
  std::set<std::string> names;
  for (const task_choice& choice : choices) {
    const auto& entries = task_entries();
    const auto entry =
        std::find_if(entries.begin(), entries.end(), [&](const task_entry& e) { return e.name == choice.name; });
    if (entry == entries.end()) {
      std::vector<std::string> known;
      std::string list;
      for (const task_entry& e : entries) {
        known.emplace_back(e.name);
        list += (list.empty() ? "" : ", ") + std::string(e.name) + (e.file.empty() ? "" : ":" + std::string(e.file));
      }
      const std::string near = nearest(choice.name, known);
      throw config_error("unknown task \"" + choice.name + "\"" +
                             (near.empty() ? "" : ", did you mean \"" + near + "\"?"),
                         "--tasks", "use some of: " + list);
    }
    if (entry->file.empty() && !choice.file.empty())
      throw config_error("takes no file, but " + choice.file + " stands behind its colon", "--tasks " + choice.name,
                         "write the name alone");
    if (!entry->file.empty() && choice.file.empty())
      throw config_error("names no file", "--tasks " + choice.name,
                         "write " + choice.name + ":" + std::string(entry->file));
    for (eval::any_task& one : entry->make(parts, choice.file)) {
      if (!names.insert(one.name()).second)
        throw config_error("is asked for twice", "--tasks " + one.name(), "name each task once");
      all.push_back(parts.s.questions == 0
                        ? std::move(one)
                        : eval::any_task(first_questions{std::move(one), static_cast<std::size_t>(parts.s.questions)}));
    }
  }
  return all;
}

}  // namespace lodestone_cli
