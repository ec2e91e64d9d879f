// Definitions of jsonl.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cmath>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/jsonl.hpp>

namespace lodestone {

namespace detail {

/// Adds the numbers of a preference step to its record; of other steps nothing.
inline void add_preference(nlohmann::ordered_json& record, const preference_summary& p) {
  if (p.groups == 0) return;
  record["groups"] = p.groups;
  record["rewards_chosen"] = p.chosen_reward;
  record["rewards_rejected"] = p.rejected_reward;
  record["margin"] = p.margin;
  record["accuracy"] = p.accuracy;
  record["log_probs_chosen"] = p.chosen_log_prob;
  record["log_probs_rejected"] = p.rejected_log_prob;
  record["sft"] = p.sft;
  record["margins"] = p.margins;
}

inline nlohmann::ordered_json to_json(const step_record& r) {
  nlohmann::ordered_json record =
         {{"event", "step"},
          {"step", r.step},
          {"steps", r.steps},
          {"epoch", r.epoch},
          {"loss", r.loss},
          {"learning_rate", r.learning_rate},
          {"gradient_norm", r.gradient_norm},
          {"tokens", r.tokens},
          {"targets", r.targets},
          {"sequences", r.sequences},
          {"without_targets", r.without_targets},
          {"packs", r.packs},
          {"seconds", r.seconds},
          {"tokens_per_second", r.tokens_per_second()},
          {"clipped", r.clipped},
          {"skipped", r.skipped}};
  add_preference(record, r.preference);
  return record;
}

inline nlohmann::ordered_json to_json(const evaluation_record& r) {
  nlohmann::ordered_json buckets = nlohmann::ordered_json::array();
  for (const position_bucket& b : r.buckets)
    buckets.push_back({{"begin", b.begin}, {"end", b.end}, {"loss", b.loss}, {"targets", b.targets}});
  nlohmann::ordered_json record =
         {{"event", "evaluation"}, {"step", r.step},           {"name", r.name},
          {"loss", r.loss},        {"token_loss", r.token_loss}, {"tokens", r.tokens},
          {"targets", r.targets},  {"sequences", r.sequences}, {"seconds", r.seconds},
          {"best", r.best},        {"buckets", std::move(buckets)}};
  add_preference(record, r.preference);
  return record;
}

// JSON has no NaN: it is written as null and read back as NaN.
inline double number(const nlohmann::json& record, const char* key) {
  const auto found = record.find(key);
  if (found == record.end() || found->is_null()) return std::numeric_limits<double>::quiet_NaN();
  return found->get<double>();
}

inline preference_summary preference_from_json(const nlohmann::json& r) {
  preference_summary out;
  out.groups = r.value("groups", out.groups);
  if (out.groups == 0) return out;
  out.chosen_reward = number(r, "rewards_chosen");
  out.rejected_reward = number(r, "rewards_rejected");
  out.margin = number(r, "margin");
  out.accuracy = number(r, "accuracy");
  out.chosen_log_prob = number(r, "log_probs_chosen");
  out.rejected_log_prob = number(r, "log_probs_rejected");
  out.sft = number(r, "sft");
  for (const nlohmann::json& margin : r.value("margins", nlohmann::json::array()))
    out.margins.push_back(margin.is_number() ? margin.get<double>() : std::numeric_limits<double>::quiet_NaN());
  return out;
}

inline step_record step_from_json(const nlohmann::json& r) {
  step_record out;
  out.step = r.at("step").get<std::int64_t>();
  out.steps = r.value("steps", out.steps);
  out.epoch = number(r, "epoch");
  out.loss = number(r, "loss");
  out.learning_rate = number(r, "learning_rate");
  out.gradient_norm = number(r, "gradient_norm");
  out.tokens = r.value("tokens", out.tokens);
  out.targets = r.value("targets", out.targets);
  out.sequences = r.value("sequences", out.sequences);
  out.without_targets = r.value("without_targets", out.without_targets);
  out.packs = r.value("packs", out.packs);
  out.seconds = number(r, "seconds");
  out.clipped = r.value("clipped", false);
  out.skipped = r.value("skipped", false);
  out.preference = preference_from_json(r);
  return out;
}

inline evaluation_record evaluation_from_json(const nlohmann::json& r) {
  evaluation_record out;
  out.step = r.at("step").get<std::int64_t>();
  out.name = r.value("name", out.name);
  out.loss = number(r, "loss");
  out.token_loss = number(r, "token_loss");
  out.tokens = r.value("tokens", out.tokens);
  out.targets = r.value("targets", out.targets);
  out.sequences = r.value("sequences", out.sequences);
  out.seconds = number(r, "seconds");
  out.best = r.value("best", false);
  for (const nlohmann::json& b : r.value("buckets", nlohmann::json::array()))
    out.buckets.push_back({b.value("begin", std::int64_t{0}), b.value("end", std::int64_t{0}), number(b, "loss"),
                           b.value("targets", std::int64_t{0})});
  out.preference = preference_from_json(r);
  return out;
}

/// One line of JSON. Text of the user may be broken UTF-8: replaced, for a record must not end a run.
inline std::string line_of(const nlohmann::ordered_json& record) {
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace detail

LODESTONE_INLINE metrics_history read_metrics(const std::filesystem::path& name, std::int64_t last_step) {
  metrics_history history;
  if (!std::filesystem::exists(name)) return history;
  const std::string text = read_text(name);
  std::int64_t line = 0;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    ++line;
    try {
      const nlohmann::json record = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                                          text.begin() + static_cast<std::ptrdiff_t>(end));
      const std::string event = record.value("event", "");
      if ((event != "step" && event != "evaluation") || record.value("step", std::int64_t{0}) > last_step) continue;
      if (event == "step")
        history.steps.push_back(detail::step_from_json(record));
      else
        history.evaluations.push_back(detail::evaluation_from_json(record));
    } catch (const nlohmann::json::exception& failure) {
      throw format_error(failure.what(), name.string() + ":" + std::to_string(line),
                         "remove the line, or move the file away");
    }
  }
  return history;
}

LODESTONE_INLINE void jsonl_recorder::record(const run_started& event) {
  if (event.resumed_step > 0) cut_back(event.resumed_step);
  open(event.resumed_step > 0 ? 0 : O_TRUNC);
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  for (const setting& s : event.settings) settings[s.key] = s.value;
  std::int64_t tokens = 0;
  for (const std::int64_t length : event.lengths) tokens += length;
  append(detail::line_of({{"event", "run_started"},
                          {"step", event.resumed_step},
                          {"title", event.title},
                          {"steps", event.steps},
                          {"epochs", event.epochs},
                          {"parameters", event.parameters},
                          {"ranks", event.ranks},
                          {"examples", std::ssize(event.lengths)},
                          {"tokens", tokens},
                          {"packs", std::ssize(event.packs)},
                          {"pack_capacity", event.pack_capacity},
                          {"settings", std::move(settings)}}));
}

LODESTONE_INLINE void jsonl_recorder::record(const step_record& event) {
  append(detail::line_of(detail::to_json(event)));
}

LODESTONE_INLINE void jsonl_recorder::record(const evaluation_record& event) {
  append(detail::line_of(detail::to_json(event)));
}

LODESTONE_INLINE void jsonl_recorder::record(const message& event) {
  append(detail::line_of(
      {{"event", "message"}, {"step", event.step}, {"level", to_string(event.level)}, {"text", event.text}}));
}

LODESTONE_INLINE void jsonl_recorder::record(const run_finished& event) {
  nlohmann::ordered_json results = nlohmann::ordered_json::object();
  for (const setting& s : event.results) results[s.key] = s.value;
  append(detail::line_of({{"event", "run_finished"},
                          {"step", event.step},
                          {"steps", event.steps},
                          {"outcome", to_string(event.outcome)},
                          {"seconds", event.seconds},
                          {"tokens", event.tokens},
                          {"loss", event.loss},
                          {"text", event.text},
                          {"results", std::move(results)}}));
}

LODESTONE_INLINE void jsonl_recorder::open(int flags) {
  handle_ = detail::descriptor(::open(name_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0666));
  if (!handle_) detail::throw_errno("cannot open", name_);
}

LODESTONE_INLINE void jsonl_recorder::append(std::string line) {
  if (!handle_) open(0);  // events may come without run_started
  line += '\n';
  detail::write_all(handle_.get(), std::as_bytes(std::span(line.data(), line.size())), -1, name_);
}

LODESTONE_INLINE void jsonl_recorder::cut_back(std::int64_t step) {
  if (!std::filesystem::exists(name_)) return;
  const std::string text = read_text(name_);
  std::string kept;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string_view line(text.data() + begin, end - begin);
    const nlohmann::json record = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!record.is_object() || record.value("step", nlohmann::json(0)).is_number() == false) continue;
    const auto event = record.value("event", nlohmann::json(""));
    // An interrupted run's last word is no longer true; its start stays as the history of the file.
    if (event == "run_finished" || record.value("step", std::int64_t{0}) > step) continue;
    kept.append(line).append(1, '\n');
  }
  atomic_file file(name_);
  file.write(kept);
  file.commit();
}

}  // namespace lodestone

