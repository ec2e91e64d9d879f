// Definitions of judge.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/judge.hpp>
#include <lodestone/eval/record_json.hpp>
#include <lodestone/text/json_place.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] inline std::string answer_id(std::string_view task, std::string_view dialogue, std::size_t turn) {
  return log_id(task, dialogue) + "/answer/" + std::to_string(turn + 1);
}

[[nodiscard]] inline std::string rating_id(std::string_view task, std::string_view part, std::size_t number) {
  return log_id(task, part) + "/rating/" + std::to_string(number + 1);
}

[[nodiscard]] inline std::string attempt_id(const std::string& rating, std::int64_t attempt) {
  return rating + "/attempt/" + std::to_string(attempt + 1);
}

/// A line of `work`, without the members that say nothing.
[[nodiscard]] inline std::string work_line(const nlohmann::ordered_json& members) {
  nlohmann::ordered_json line;
  for (const auto& [key, value] : members.items())
    if (!(value.is_string() && key == "error" && value.get_ref<const std::string&>().empty()) &&
        !(value.is_boolean() && !value.get<bool>()))
      line[key] = value;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// A dialogue on its way through a run.
struct dialogue_state {
  std::size_t number = 0;
  std::string id{};
  std::vector<judged_part> parts{};
  std::vector<bool> is_open{};  ///< parts that have no record yet
  std::size_t turns = 0;        ///< that its open parts need
  std::vector<std::string> answers{};
  std::string error{};  ///< why the next answer is missing
  bool is_cut = false;
};

/// A rating on its way.
struct rating_state {
  dialogue_state* dialogue = nullptr;
  rating_place place{};
  std::string id{};
  std::int64_t attempt = 0;   ///< the next one
  std::int64_t attempts = 0;  ///< that it may have
  std::optional<double> rating{};
  std::string error{};
  bool is_done = false;
};

/// One run of run_judged().
class judging_run {
 public:
  judging_run(const any_judged& task, const generate::any_generator& model, const generate::any_generator& judge,
              result_log& log, result_log& work, const run_options& options, const judge_options& judging)
      : task_(task), model_(model), judge_(judge), log_(log), work_(work), options_(options), judging_(judging),
        name_(task.name()) {}

  judged_report run() {
    if (options_.window > 0 && (!options_.meter.tokens || !options_.meter.cut))
      throw config_error("prompts cannot be cut without a meter", "run_options::meter", "give the model's tokenizer");
    if (judging_.attempts < 1) throw config_error("must be at least 1", "judge attempts");
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < task_.size(); ++i) {
      bool is_open = false;
      for (const judged_part& part : task_.parts(i)) {
        ++progress_.questions;
        if (log_.contains(log_id(name_, part.id)))
          ++report_.reused;
        else
          is_open = true;
      }
      if (is_open) open.push_back(i);
    }
    progress_.task = name_;
    progress_.done = report_.reused;
    hear();
    const std::size_t batch = std::max<std::size_t>(options_.batch, 1);
    for (std::size_t begin = 0; begin < open.size(); begin += batch) {
      std::vector<dialogue_state> dialogues;
      for (std::size_t k = begin; k < std::min(begin + batch, open.size()); ++k) dialogues.push_back(load(open[k]));
      answer(dialogues);
      rate(dialogues);
    }
    return std::move(report_);
  }

 private:
  using clock = std::chrono::steady_clock;

  void hear() {
    progress_.failed = report_.failures.size();
    progress_.seconds = std::chrono::duration<double>(clock::now() - start_).count();
    if (options_.hears) options_.hears(progress_);
  }

  dialogue_state load(std::size_t number) const {
    dialogue_state one;
    one.number = number;
    one.id = task_.id(number);
    one.parts = task_.parts(number);
    for (const judged_part& part : one.parts) {
      one.is_open.push_back(!log_.contains(log_id(name_, part.id)));
      if (one.is_open.back()) one.turns = std::max(one.turns, part.turns);
    }
    if (one.turns > task_.turns(number))
      throw shape_error("a part needs " + std::to_string(one.turns) + " answers of " +
                            std::to_string(task_.turns(number)) + " turns",
                        log_id(name_, one.id));
    return one;
  }

  // --- Answers -------------------------------------------------------------------------------------------------------

  void take_answer(dialogue_state& one, const std::string& id) const {
    const nlohmann::json line = nlohmann::json::parse(work_.read(id));
    const text::detail::json_place place(line, work_.partial().string() + ": " + id);
    one.is_cut |= place.get("cut").flag(false);
    if (const auto error = place.get("error"); error.is_present())
      one.error = error.text();
    else
      one.answers.emplace_back(place.need("answer").text());
  }

  generate::request make_turn(const dialogue_state& one, bool& is_cut) const {
    const question asked = task_.ask(one.number, one.answers);
    generate::request made = make_request(asked, options_, is_cut);
    if (asked.temperature) made.draw.temperature = *asked.temperature;
    const std::span<const std::string> answers(one.answers);
    std::vector<chat_message> before;
    for (std::size_t k = 0; k < answers.size(); ++k) {
      before.push_back({chat_role::user, task_.ask(one.number, answers.first(k)).prompt, {}});
      before.push_back({chat_role::assistant, answers[k], {}});
    }
    if (auto* messages = std::get_if<std::vector<chat_message>>(&made.prompt)) {
      messages->insert(messages->end() - 1, before.begin(), before.end());
    } else {
      std::string text;
      for (const chat_message& message : before) text += message.content + "\n\n";
      made.prompt = text + std::get<std::string>(made.prompt);
    }
    return made;
  }

  void answer(std::vector<dialogue_state>& dialogues) {
    for (bool goes_on = true; goes_on;) {
      goes_on = false;
      std::vector<generate::request> requests;
      std::vector<dialogue_state*> asked;
      std::vector<bool> cuts;
      for (dialogue_state& one : dialogues) {
        std::string id = answer_id(name_, one.id, one.answers.size());
        while (one.answers.size() < one.turns && one.error.empty() && work_.contains(id)) {
          take_answer(one, id);
          id = answer_id(name_, one.id, one.answers.size());
        }
        if (one.answers.size() == one.turns || !one.error.empty()) continue;
        goes_on = true;
        ++report_.asked;
        try {
          bool is_cut = false;
          requests.push_back(make_turn(one, is_cut));
          asked.push_back(&one);
          cuts.push_back(is_cut);
          report_.cut += is_cut ? 1 : 0;
        } catch (const config_error& failure) {  // a prompt that cannot be cut to fit
          end_turn(one, {.why = generate::finish::failed, .error = failure.what()}, false);
        }
      }
      if (requests.empty()) continue;
      model_.generate(requests, [&](std::size_t k, generate::answer&& given) {
        end_turn(*asked.at(k), std::move(given), cuts.at(k));
      });
    }
  }

  void end_turn(dialogue_state& one, generate::answer&& given, bool is_cut) {
    const std::string id = answer_id(name_, one.id, one.answers.size());
    one.is_cut |= is_cut;
    if (given.why == generate::finish::failed) {
      one.error = given.error.empty() ? "the model gave no answer and no reason" : std::move(given.error);
      if (options_.keeps_failures) work_.append(id, work_line({{"id", id}, {"cut", is_cut}, {"error", one.error}}));
      return;
    }
    const std::string line = work_line({{"id", id}, {"answer", given.text}, {"cut", is_cut}});
    work_.append(id, line);
    // As it reads after a restart: half a character has become U+FFFD.
    one.answers.push_back(nlohmann::json::parse(line).at("answer").get<std::string>());
  }

  // --- Ratings -------------------------------------------------------------------------------------------------------

  void rate(std::vector<dialogue_state>& dialogues) {
    std::vector<rating_state> ratings;
    for (dialogue_state& one : dialogues)
      for (std::size_t p = 0; p < one.parts.size(); ++p) {
        if (!one.is_open[p] || one.answers.size() < one.parts[p].turns) continue;
        for (std::size_t k = 0; k < one.parts[p].ratings; ++k) {
          std::string id = rating_id(name_, one.parts[p].id, k);
          ratings.push_back({.dialogue = &one, .place = {one.number, p, k}, .id = std::move(id)});
          take_rating(ratings.back());
        }
      }
    while (ask_judge(ratings)) {
    }
    for (rating_state& one : ratings) {
      if (one.is_done) continue;
      ++report_.unrated;
      one.error = "no rating in " + std::to_string(one.attempt) + " attempts: " + one.error;
      if (options_.keeps_failures) work_.append(one.id, work_line({{"id", one.id}, {"error", one.error}}));
    }
    for (dialogue_state& one : dialogues)
      for (std::size_t p = 0; p < one.parts.size(); ++p)
        if (one.is_open[p]) end_part(one, p, ratings);
  }

  void take_rating(rating_state& one) const {
    for (; work_.contains(attempt_id(one.id, one.attempt)); ++one.attempt) {
      const std::string id = attempt_id(one.id, one.attempt);
      const nlohmann::json line = nlohmann::json::parse(work_.read(id));
      const text::detail::json_place place(line, work_.partial().string() + ": " + id);
      one.error = place.get("error").is_present() ? place.get("error").text() : unrated(place.need("reply").text());
    }
    // Where failures are not kept, a run that begins with all attempts spent has as many again.
    one.attempts = options_.keeps_failures ? judging_.attempts
                                           : (one.attempt / judging_.attempts + 1) * judging_.attempts;
    if (!work_.contains(one.id)) return;
    const nlohmann::json line = nlohmann::json::parse(work_.read(one.id));
    const text::detail::json_place place(line, work_.partial().string() + ": " + one.id);
    one.is_done = true;
    if (const auto error = place.get("error"); error.is_present())
      one.error = error.text();
    else
      one.rating = place.need("rating").number();
  }

  static std::string unrated(std::string_view reply) {
    constexpr std::size_t most = 200;
    return "the reply is \"" + std::string(reply.substr(0, most)) + (reply.size() > most ? "...\"" : "\"");
  }

  /// Asks for the ratings that are missing and have attempts left; false when there are none.
  bool ask_judge(std::vector<rating_state>& ratings) {
    std::vector<generate::request> requests;
    std::vector<rating_state*> asked;
    for (rating_state& one : ratings) {
      if (one.is_done || one.attempt >= one.attempts) continue;
      const std::span<const std::string> answers(one.dialogue->answers);
      const std::size_t turns = one.dialogue->parts[one.place.part].turns;
      generate::request made{.prompt = task_.judge(one.place, answers.first(turns), one.attempt),
                             .max_new_tokens = judging_.max_new_tokens,
                             .draw = judging_.draw};
      made.draw.seed = question_seed(judging_.draw.seed + static_cast<std::uint64_t>(one.attempt), one.id);
      if (one.attempt > 0) made.draw.temperature = std::max(made.draw.temperature, judging_.retry_temperature);
      requests.push_back(std::move(made));
      asked.push_back(&one);
    }
    if (requests.empty()) return false;
    report_.replies += requests.size();
    judge_.generate(requests, [&](std::size_t k, generate::answer&& reply) {
      rating_state& one = *asked.at(k);
      const std::int64_t attempt = one.attempt++;
      const std::string id = attempt_id(one.id, attempt);
      if (reply.why == generate::finish::failed) {
        one.error = reply.error.empty() ? "the judge gave no reply and no reason" : std::move(reply.error);
        work_.append(id, work_line({{"id", id}, {"error", one.error}}));
        return;
      }
      one.rating = task_.rating(one.place, reply.text);
      if (!one.rating) {
        one.error = unrated(reply.text);
        work_.append(id, work_line({{"id", id}, {"reply", reply.text}}));
        return;
      }
      one.is_done = true;
      work_.append(one.id, work_line({{"id", one.id},
                                      {"rating", *one.rating},
                                      {"reply", reply.text},
                                      {"attempt", attempt + 1}}));
    });
    return true;
  }

  void end_part(const dialogue_state& one, std::size_t p, const std::vector<rating_state>& ratings) {
    const judged_part& part = one.parts[p];
    record own{.id = log_id(name_, part.id), .labels = part.labels};
    if (one.is_cut) own.labels.push_back({"cut", "yes"});
    if (one.answers.size() < part.turns) {
      own.error = one.error;
    } else {
      own.answer = one.answers[part.turns - 1];
      std::vector<double> values;
      for (const rating_state& rating : ratings) {
        if (rating.dialogue != &one || rating.place.part != p) continue;
        if (rating.rating)
          values.push_back(*rating.rating);
        else if (own.error.empty())
          own.error = rating.error;
      }
      if (own.error.empty()) own.scores = task_.marks(one.number, p, values);
    }
    if (own.error.empty() || options_.keeps_failures) log_.append(own.id, to_json_line({name_, own}));
    if (!own.error.empty()) report_.failures.push_back(std::move(own));
    ++progress_.done;
    hear();
  }

  const any_judged& task_;
  const generate::any_generator& model_;
  const generate::any_generator& judge_;
  result_log& log_;
  result_log& work_;
  const run_options& options_;
  const judge_options& judging_;
  std::string name_;
  judged_report report_;
  run_progress progress_;
  clock::time_point start_ = clock::now();
};

}  // namespace detail

LODESTONE_INLINE judged_report run_judged(const any_judged& task, const generate::any_generator& model,
                                          const generate::any_generator& judge, result_log& log, result_log& work,
                                          const run_options& options, const judge_options& judging) {
  return detail::judging_run(task, model, judge, log, work, options, judging).run();
}

LODESTONE_INLINE std::vector<std::string> work_ids(const any_judged& task, const result_log& work) {
  std::vector<std::string> ids;
  const std::string name = task.name();
  const auto add = [&](std::string id) {
    if (work.contains(id)) ids.push_back(std::move(id));
  };
  for (std::size_t i = 0; i < task.size(); ++i) {
    for (std::size_t turn = 0; turn < task.turns(i); ++turn) add(detail::answer_id(name, task.id(i), turn));
    for (const judged_part& part : task.parts(i))
      for (std::size_t k = 0; k < part.ratings; ++k) {
        const std::string id = detail::rating_id(name, part.id, k);
        for (std::int64_t attempt = 0; work.contains(detail::attempt_id(id, attempt)); ++attempt)
          add(detail::attempt_id(id, attempt));
        add(id);
      }
  }
  return ids;
}

LODESTONE_INLINE std::vector<std::string> record_ids(const any_judged& task) {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < task.size(); ++i)
    for (const judged_part& part : task.parts(i)) ids.push_back(log_id(task.name(), part.id));
  return ids;
}

LODESTONE_INLINE rating_summary summarise_ratings(std::span<const record> records, std::string_view metric) {
  rating_summary result;
  for (const record& one : records) {
    if (one.scores.empty()) ++result.failed;
    for (const score& value : one.scores) {
      if (value.metric != metric) continue;
      ++result.rated;
      result.sum += value.value;
    }
  }
  if (result.rated > 0) result.mean = result.sum / static_cast<double>(result.rated);
  return result;
}

}  // namespace lodestone::eval
