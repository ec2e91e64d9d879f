// Definitions of html_recorder.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/html_recorder.hpp>

namespace lodestone {

LODESTONE_INLINE std::vector<double> smoothed(const std::vector<double>& values, double memory) {
  std::vector<double> out;
  out.reserve(values.size());
  const double keep = 1.0 - 1.0 / std::max(1.0, memory);
  double sum = 0.0, weight = 0.0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      sum = keep * sum + value;
      weight = keep * weight + 1.0;
    }
    out.push_back(weight > 0.0 ? sum / weight : value);
  }
  return out;
}

LODESTONE_INLINE html_recorder::html_recorder(std::filesystem::path name, std::filesystem::path metrics)
    : name_(std::move(name)), metrics_(std::move(metrics)) {}

LODESTONE_INLINE void html_recorder::record(const run_started& event) {
  started_ = event;
  lengths_.assign(event.lengths.begin(), event.lengths.end());
  fills_.clear();
  for (const std::int64_t pack : event.packs)
    fills_.push_back(static_cast<double>(pack) /
                     (event.pack_capacity > 0 ? static_cast<double>(event.pack_capacity) : 1.0));
  started_.lengths = {};  // the spans end with this call
  started_.packs = {};
  history_ =
      event.resumed_step > 0 && !metrics_.empty() ? read_metrics(metrics_, event.resumed_step) : metrics_history{};
  write();
}

LODESTONE_INLINE void html_recorder::record(const step_record& event) {
  history_.steps.push_back(event);
  if (clock::now() - written_ > std::chrono::seconds(20)) write();
}

LODESTONE_INLINE void html_recorder::record(const evaluation_record& event) {
  history_.evaluations.push_back(event);
  write();
}

LODESTONE_INLINE void html_recorder::record(const run_finished& event) {
  finished_ = event;
  is_finished_ = true;
  write();
}

LODESTONE_INLINE html_report html_recorder::report() const {
  html_report page(started_.title.empty() ? "Training run" : started_.title, status());
  add_summary(page);
  add_training(page);
  add_preferences(page);
  add_evaluation(page);
  add_data(page);
  add_tables(page);
  return page;
}

LODESTONE_INLINE void html_recorder::write() {
  report().write(name_);
  written_ = clock::now();
}

LODESTONE_INLINE std::string html_recorder::status() const {
  const std::int64_t step = history_.steps.empty() ? started_.resumed_step : history_.steps.back().step;
  std::string text = is_finished_ ? std::string(to_string(finished_.outcome)) : "running";
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
  text += ": step " + format_count(step) + " of " + format_count(started_.steps);
  if (started_.parameters > 0) text += " · " + format_short(static_cast<double>(started_.parameters)) + " parameters";
  if (started_.ranks > 1) text += " · " + std::to_string(started_.ranks) + " ranks";
  if (started_.resumed_step > 0) text += " · resumed after step " + format_count(started_.resumed_step);
  return text;
}

LODESTONE_INLINE void html_recorder::add_summary(html_report& page) const {
  if (history_.steps.empty()) return;
  std::int64_t tokens = 0, targets = 0;
  double seconds = 0.0;
  for (const step_record& s : history_.steps) {
    tokens += s.tokens;
    targets += s.targets;
    if (std::isfinite(s.seconds)) seconds += s.seconds;
  }
  std::vector<key_number> numbers;
  const auto losses = smoothed(column(&step_record::loss), 20.0);
  numbers.push_back({format_fixed(losses.back(), 4), "training loss",
                     "mean of the last steps; step 1: " + format_fixed(history_.steps.front().loss, 4)});
  for (const std::string& name : names()) {
    const auto of_name = evaluations(name);
    numbers.push_back({format_fixed(of_name.back()->loss, 4), name + " loss",
                       of_name.size() > 1 ? "at step " + format_count(of_name.front()->step) + ": " +
                                                format_fixed(of_name.front()->loss, 4)
                                          : ""});
  }
  for (const std::string& name : names()) {
    const auto of_name = evaluations(name);
    if (of_name.back()->preference.groups == 0) continue;
    const auto percent = [](const evaluation_record& e) { return format_fixed(100.0 * e.preference.accuracy, 1) + "%"; };
    numbers.push_back({percent(*of_name.back()), name + " accuracy",
                       of_name.size() > 1
                           ? "at step " + format_count(of_name.front()->step) + ": " + percent(*of_name.front())
                           : ""});
  }
  numbers.push_back({format_short(static_cast<double>(tokens)), "tokens trained on",
                     format_short(static_cast<double>(targets)) + " of them targets"});
  if (seconds > 0.0)
    numbers.push_back(
        {format_short(static_cast<double>(tokens) / seconds), "tokens per second", "mean over all steps"});
  numbers.push_back({format_duration(seconds), "in training steps", ""});
  page.add_key_numbers(numbers);
}

LODESTONE_INLINE void html_recorder::add_training(html_report& page) const {
  if (history_.steps.empty()) return;
  page.add_heading("Training");
  const auto steps = step_numbers();
  const auto losses = column(&step_record::loss);
  line_plot loss{.title = "Training loss", .x_label = "optimiser step", .y_label = "loss (nats)"};
  if (losses.size() >= 40) {
    const double memory = std::clamp(static_cast<double>(losses.size()) / 20.0, 10.0, 100.0);
    loss.series.push_back({.name = "each step", .x = steps, .y = losses, .faint = true});
    loss.series.push_back({.name = "running mean, memory of " + format_number(std::round(memory), 3) + " steps",
                           .x = steps, .y = smoothed(losses, memory)});
  } else {
    loss.series.push_back({.name = "", .x = steps, .y = losses});
  }
  page.add_line_plot(loss);
  add_held_out(page);
  page.add_line_plot({.title = "Learning rate", .x_label = "optimiser step", .y_label = "learning rate",
                      .series = {{.x = steps, .y = column(&step_record::learning_rate)}}, .from_zero = true});
  line_plot norm{.title = "Gradient norm", .x_label = "optimiser step", .y_label = "global norm before clipping",
                 .series = {{.x = steps, .y = column(&step_record::gradient_norm)}}, .from_zero = true};
  const auto clipped = std::ranges::count_if(history_.steps, &step_record::clipped);
  const auto skipped = std::ranges::count_if(history_.steps, &step_record::skipped);
  norm.caption = format_count(clipped) + " of " + format_count(std::ssize(history_.steps)) + " steps clipped" +
                 (skipped > 0 ? ", " + format_count(skipped) + " skipped because they were not finite." : ".");
  page.add_line_plot(norm);
  std::vector<double> speed;
  for (const step_record& s : history_.steps) speed.push_back(s.tokens_per_second());
  page.add_line_plot({.title = "Speed", .x_label = "optimiser step", .y_label = "tokens per second",
                      .series = {{.x = steps, .y = speed}}, .from_zero = true});
  std::vector<double> targets;
  for (const step_record& s : history_.steps) targets.push_back(static_cast<double>(s.targets));
  page.add_line_plot({.title = "Targets", .x_label = "optimiser step", .y_label = "scored tokens in a step",
                      .series = {{.x = steps, .y = targets}}, .from_zero = true});
}

LODESTONE_INLINE void html_recorder::add_held_out(html_report& page) const {
  line_plot held{.title = "Held-out loss", .x_label = "optimiser step", .y_label = "loss (nats)"};
  for (const std::string& name : names()) {
    plot_series s{.name = name};
    for (const evaluation_record* e : evaluations(name)) {
      s.x.push_back(static_cast<double>(e->step));
      s.y.push_back(e->loss);
    }
    held.series.push_back(std::move(s));
  }
  if (!held.series.empty()) page.add_line_plot(held);
}

LODESTONE_INLINE void html_recorder::add_preferences(html_report& page) const {
  std::vector<const step_record*> steps;
  for (const step_record& s : history_.steps)
    if (s.preference.groups > 0) steps.push_back(&s);
  std::vector<const evaluation_record*> held_out;
  for (const evaluation_record& e : history_.evaluations)
    if (e.preference.groups > 0) held_out.push_back(&e);
  if (steps.empty() && held_out.empty()) return;
  page.add_heading("Preferences");
  const auto of_steps = [&](const char* name, double preference_summary::*member) {
    plot_series line{.name = name};
    for (const step_record* s : steps) {
      line.x.push_back(static_cast<double>(s->step));
      line.y.push_back(s->preference.*member);
    }
    if (line.y.size() >= 40) line.y = smoothed(line.y, static_cast<double>(line.y.size()) / 20.0);
    return line;
  };
  const auto of_held_out = [&](const char* name, double preference_summary::*member) {
    plot_series line{.name = name, .dashed = true};
    for (const evaluation_record* e : held_out) {
      line.x.push_back(static_cast<double>(e->step));
      line.y.push_back(e->preference.*member);
    }
    return line;
  };
  const auto plot = [&](const char* title, const char* y_label, std::vector<plot_series> series, bool from_zero,
                        const char* caption) {
    std::erase_if(series, [](const plot_series& s) { return s.x.empty(); });
    page.add_line_plot({.title = title,
                        .x_label = "optimiser step",
                        .y_label = y_label,
                        .caption = caption,
                        .series = std::move(series),
                        .from_zero = from_zero});
  };
  using summary = preference_summary;
  plot("Accuracy", "share of groups",
       {of_steps("training", &summary::accuracy), of_held_out("held out", &summary::accuracy)}, true,
       "Groups whose chosen answer is rewarded more than every rejected one.");
  plot("Margin", "reward", {of_steps("training", &summary::margin), of_held_out("held out", &summary::margin)}, false,
       "Reward of the chosen answer less the mean reward of the rejected ones.");
  plot("Rewards", "reward",
       {of_steps("chosen", &summary::chosen_reward), of_steps("rejected", &summary::rejected_reward)}, false, "");
  plot("Log-probabilities", "nats per token",
       {of_steps("chosen", &summary::chosen_log_prob), of_steps("rejected", &summary::rejected_log_prob)}, false, "");
  plot("Supervised term", "nats", {of_steps("training", &summary::sft), of_held_out("held out", &summary::sft)}, false,
       "Of the chosen answer, before its weight.");
  const auto histogram = [&](const std::string& when, std::vector<double> margins) {
    page.add_histogram({.title = "Margins " + when,
                        .x_label = "reward of the chosen answer less that of the rejected ones",
                        .y_label = "groups",
                        .values = std::move(margins)});
  };
  if (!held_out.empty()) {
    histogram("before training, held out", held_out.front()->preference.margins);
    if (held_out.size() > 1)
      histogram("at step " + format_count(held_out.back()->step) + ", held out", held_out.back()->preference.margins);
  } else {
    const std::size_t part = std::max<std::size_t>(1, steps.size() / 10);
    const auto joined = [&](std::size_t begin, std::size_t end) {
      std::vector<double> all;
      for (std::size_t i = begin; i < end; ++i)
        all.insert(all.end(), steps[i]->preference.margins.begin(), steps[i]->preference.margins.end());
      return all;
    };
    histogram("of the first tenth of the steps", joined(0, part));
    histogram("of the last tenth of the steps", joined(steps.size() - part, steps.size()));
  }
}

LODESTONE_INLINE void html_recorder::add_evaluation(html_report& page) const {
  bool headed = false;
  for (const std::string& name : names()) {
    const auto of_name = evaluations(name);
    const evaluation_record& first = *of_name.front();
    const evaluation_record& last = *of_name.back();
    if (last.buckets.empty()) continue;
    if (!headed) page.add_heading("Loss by position");
    headed = true;
    bar_plot bars{.title = "Loss by position: " + name, .x_label = "token position in the sequence",
                  .y_label = "mean loss of the targets (nats)",
                  .caption = "Targets are grouped by their position; a bucket without targets has no bar."};
    report_table table{.header = {"positions", "targets"}, .beside_plot = true};
    for (const position_bucket& b : last.buckets) {
      bars.categories.push_back(short_position(b.begin) + "–" + short_position(b.end));
      table.rows.push_back({format_count(b.begin) + " – " + format_count(b.end), format_count(b.targets)});
    }
    const auto add = [&](const evaluation_record& e) {
      bar_series s{.name = e.step == 0 ? "before training" : "step " + format_count(e.step)};
      table.header.push_back(s.name);
      for (std::size_t i = 0; i < last.buckets.size(); ++i) {
        const bool there = i < e.buckets.size() && e.buckets[i].targets > 0;
        s.values.push_back(there ? e.buckets[i].loss : std::numeric_limits<double>::quiet_NaN());
        table.rows[i].push_back(there ? format_fixed(e.buckets[i].loss, 4) : "–");
      }
      bars.series.push_back(std::move(s));
    };
    if (of_name.size() > 1) add(first);
    add(last);
    page.add_bar_plot(bars);
    page.add_table(table);
  }
}

LODESTONE_INLINE void html_recorder::add_data(html_report& page) const {
  if (lengths_.empty() && fills_.empty()) return;
  page.add_heading("Data and batching");
  if (!lengths_.empty()) {
    std::vector<double> values(lengths_.begin(), lengths_.end());
    const auto [low, high] = std::ranges::minmax(values);
    page.add_histogram({.title = "Length of the training examples", .x_label = "tokens", .y_label = "examples",
                        .values = std::move(values), .powers_of_two = high > 16.0 * std::max(1.0, low)});
  }
  if (!fills_.empty() && started_.pack_capacity > 0)
    page.add_histogram({.title = "Pack fill",
                        .x_label = "share of " + format_count(started_.pack_capacity) + " tokens",
                        .y_label = "packs",
                        .caption = "Epoch 1.",
                        .values = fills_,
                        .percent = true});
  else if (!fills_.empty())
    page.add_histogram({.title = "Size of the micro-batches", .x_label = "tokens", .y_label = "micro-batches",
                        .caption = "Epoch 1.", .values = fills_});
}

LODESTONE_INLINE void html_recorder::add_tables(html_report& page) const {
  if (is_finished_) {
    page.add_heading("Results");
    report_table table{.header = {"result", "value"}};
    table.rows.push_back({"outcome", std::string(to_string(finished_.outcome))});
    table.rows.push_back({"steps", format_count(finished_.step) + " of " + format_count(finished_.steps)});
    table.rows.push_back({"time of this process", format_duration(finished_.seconds)});
    table.rows.push_back({"tokens trained by this process", format_count(finished_.tokens)});
    for (const setting& r : finished_.results) table.rows.push_back({r.key, r.value});
    if (!finished_.text.empty()) table.rows.push_back({"remark", finished_.text});
    page.add_table(table);
  }
  if (!messages_.empty()) {
    page.add_heading("Messages");
    report_table table{.header = {"step", "level", "message"}};
    // The first tell about the data, the last about the end: a long run keeps both.
    for (std::size_t i = 0; i < messages_.size(); ++i)
      if (i < 100 || i + 100 >= messages_.size())
        table.rows.push_back(
            {format_count(messages_[i].step), std::string(to_string(messages_[i].level)), messages_[i].text});
    page.add_table(table);
  }
  if (!started_.settings.empty()) {
    page.add_heading("Settings");
    report_table table{.header = {"setting", "value"}};
    for (const setting& s : started_.settings) table.rows.push_back({s.key, s.value});
    page.add_table(table);
  }
}

LODESTONE_INLINE std::string html_recorder::short_position(std::int64_t position) {
  return position >= 1024 && position % 1024 == 0 ? std::to_string(position / 1024) + "k" : std::to_string(position);
}

LODESTONE_INLINE std::vector<double> html_recorder::column(double step_record::*member) const {
  std::vector<double> out;
  out.reserve(history_.steps.size());
  for (const step_record& s : history_.steps) out.push_back(s.*member);
  return out;
}

LODESTONE_INLINE std::vector<double> html_recorder::step_numbers() const {
  std::vector<double> out;
  for (const step_record& s : history_.steps) out.push_back(static_cast<double>(s.step));
  return out;
}

LODESTONE_INLINE std::vector<std::string> html_recorder::names() const {
  std::vector<std::string> out;
  for (const evaluation_record& e : history_.evaluations)
    if (std::ranges::find(out, e.name) == out.end()) out.push_back(e.name);
  return out;
}

LODESTONE_INLINE std::vector<const evaluation_record*> html_recorder::evaluations(const std::string& name) const {
  std::vector<const evaluation_record*> out;
  for (const evaluation_record& e : history_.evaluations)
    if (e.name == name) out.push_back(&e);
  return out;
}

}  // namespace lodestone

