// LongAlign, then LOGO, on a small model and real text. The model was trained from nothing, on texts of 512 tokens, to
// look up facts that stand between the words of a speech; see examples/retrieval. No text that is trained here is
// longer, but its positions are spread over 4,096: (d) a larger RoPE base, (e) supervised tuning in packs, (f) LOGO,
// which prefers the fact that was asked for to other facts of the same text. Each stage is measured on speeches that
// are never trained on, at real lengths up to 4,096.

#include "demo_retrieval.hpp"

#include <chrono>
#include <cstdio>
#include <memory>
#include <span>

#include <lodestone/core/random.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "commands.hpp"
#include "retrieval_model.hpp"

namespace lodestone_cli {
namespace {

using namespace lodestone;
namespace fs = std::filesystem;

constexpr std::int64_t lengths[] = {short_tokens, 1024, 2048, long_tokens};
constexpr std::size_t longest = std::size(lengths) - 1;
constexpr std::int64_t groups_of_context = 2;
constexpr std::uint64_t seed = 42;
constexpr double larger_base = 5e5;

template <class... Values>
[[nodiscard]] std::string printed(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

[[nodiscard]] fs::path model_folder() { return fs::path(LODESTONE_EXAMPLES_DIR) / "data" / "retrieval"; }

[[nodiscard]] retrieval::task_maker make_tasks(bool is_held_out) {
  return {tokenizer::load(model_folder()), fs::path(LODESTONE_EXAMPLES_DIR) / "data" / "state_union", is_held_out};
}

/// Preference groups about the first facts of each task.
[[nodiscard]] in_memory_store groups_about(const retrieval::task_maker& make, std::span<const retrieval::task> tasks,
                                           std::int64_t of_each) {
  in_memory_store store;
  std::int64_t group = 0;
  for (const retrieval::task& one : tasks)
    for (std::int64_t k = 0; k < of_each; ++k, ++group)
      for (encoded_sequence& answer : make.preference(one, one.facts[static_cast<std::size_t>(k)], group))
        store.add(std::move(answer));
  return store;
}

[[nodiscard]] std::string percent(double share) { return printed("%.0f%%", 100.0 * share); }

}  // namespace

retrieval_demonstration::retrieval_demonstration(const settings& s, fs::path output)
    : settings_(s),
      output_(std::move(output)),
      align_steps_(s.quick ? 24 : 240),
      prefer_steps_(s.quick ? 3 : 24),
      contexts_(s.quick ? 1 : 8) {}

void retrieval_demonstration::run() {
  const auto begin = std::chrono::steady_clock::now();
  const retrieval::task_maker held_out = make_tasks(true);
  for (const std::int64_t tokens : lengths) held_out_.push_back(retrieval::tasks_of(held_out, tokens, contexts_, seed));
  near_ = groups_about(held_out, held_out_.front(), groups_of_context);
  far_ = groups_about(held_out, held_out_.back(), groups_of_context);

  const model_config original = read_model_config(model_folder());
  rope_override larger;
  larger.base = larger_base;
  larger.max_positions = long_tokens;
  const model_config config = with_rope_override(original, larger);
  measure("as trained (512 tokens, RoPE base 10,000)",
          *load_retrieval_model(settings_, {model_folder(), original, parameters::purpose::inference}));
  const std::unique_ptr<retrieval_model> model =
      load_retrieval_model(settings_, {model_folder(), config, parameters::purpose::training});
  measure("d: RoPE base 500,000, no training", *model);

  train::loop_options options;
  options.seed = seed;
  const auto train = [&](const std::string& stage, std::int64_t capacity, auto go) {
    options.title = stage;
    options.pack_capacity = capacity;
    losses_.emplace_back(stage, std::vector<double>{});
    go(options, output_ / (stage.substr(0, 1) + "_metrics.jsonl"), losses_.back().second);
    measure(stage, *model);
  };
  train(
      "e: LongAlign, positions over 4,096", demo_pack_tokens,
      [&](const auto& how, const fs::path& metrics, auto& losses) { model->align(sequences(), how, metrics, losses); });
  train("f: LOGO, positions over 4,096", stream_tokens,
        [&](const auto& how, const fs::path& metrics, auto& losses) { model->prefer(groups(), how, metrics, losses); });
  model->save(output_ / "retrieval_model", model_folder());
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// As many sequences of 512 tokens as packs of 4,096 hold in all steps: a text with questions and answers about it.
in_memory_store retrieval_demonstration::sequences() const {
  const retrieval::task_maker make = make_tasks(false);
  in_memory_store store;
  for (std::int64_t k = 0; k < align_steps_ * demo_pack_tokens / short_tokens; ++k) {
    random_stream random(seed, random_purpose::synthesis, 3, static_cast<std::uint64_t>(k));
    store.add(make.example(make.make(retrieval::task_maker::size_of_example(short_tokens), random), 0.0F));
  }
  return store;
}

/// Texts of 512 tokens, each with one question: the right answer, and two that are right about other facts.
in_memory_store retrieval_demonstration::groups() const {
  const retrieval::task_maker make = make_tasks(false);
  std::vector<retrieval::task> tasks;
  for (std::int64_t k = 0; k < prefer_steps_ * groups_per_step; ++k) {
    random_stream random(seed, random_purpose::synthesis, 4, static_cast<std::uint64_t>(k));
    tasks.push_back(
        make.make({.context = short_tokens - retrieval::task_maker::fact_question, .quotations = 0}, random));
  }
  return groups_about(make, tasks, 1);
}

void retrieval_demonstration::measure(const std::string& stage, retrieval_model& model) {
  const retrieval::task_maker make = make_tasks(true);
  measurement own{.stage = stage, .matches = {}, .near = model.compare(near_), .far = model.compare(far_)};
  for (const std::vector<retrieval::task>& tasks : held_out_) own.matches.push_back(model.answer(make, tasks));
  note(printed("%-44s facts found at 512 %s, at 4k %s; preferred at 4k %s, margin %.2f", stage.c_str(),
               percent(own.matches.front().facts.share()).c_str(), percent(own.matches.back().facts.share()).c_str(),
               percent(own.far.preference.accuracy).c_str(), own.far.preference.margin));
  measured_.push_back(std::move(own));
}

std::string retrieval_demonstration::results() const {
  std::string text = printed(
      "\nLooking things up in held-out speeches: exact answers by length, %lld facts and %lld quotations at each\n",
      static_cast<long long>(measured_.front().matches.back().facts.asked),
      static_cast<long long>(measured_.front().matches.back().quotations.asked));
  text += printed("%-44s", "stage");
  for (const std::int64_t tokens : lengths) text += printed("%8lld", static_cast<long long>(tokens));
  text += printed("%18s%18s\n", "quotations at 512", "at 4096");
  for (const measurement& own : measured_) {
    text += printed("%-44s", own.stage.c_str());
    for (const retrieval::matches& at : own.matches) text += printed("%8s", percent(at.facts.share()).c_str());
    text += printed("%18s%18s\n", percent(own.matches.front().quotations.share()).c_str(),
                    percent(own.matches.back().quotations.share()).c_str());
  }
  text += printed("\nThe fact that was asked for against others of the same text, %lld groups of three answers\n",
                  static_cast<long long>(measured_.front().far.preference.groups));
  text += printed("%-44s%12s%8s%8s%12s%8s%8s\n", "stage", "right at 512", "margin", "loss", "right at 4k", "margin",
                  "loss");
  for (const measurement& own : measured_) {
    text += printed("%-44s", own.stage.c_str());
    for (const evaluation* at : {&own.near, &own.far})
      text += printed("%12s%8.2f%8.3f", percent(at->preference.accuracy).c_str(), at->preference.margin, at->loss);
    text += "\n";
  }
  return text + "\n" + aims() + printed(". %.0f seconds\n", seconds_);
}

std::string retrieval_demonstration::aims() const {
  const std::vector<retrieval::matches>& before = measured_.front().matches;
  const double near = before.front().facts.share();
  const double far = before.back().facts.share();
  const double after = measured_.back().matches.back().facts.share();
  const auto verdict = [](bool is_reached) { return is_reached ? "reached" : "not reached"; };
  const std::string text = printed(
      "Aims for facts: at least 90%% at 512 before (%.0f%%: %s), at most 30%% at 4,096 before (%.0f%%: %s), at least "
      "80%% "
      "at 4,096 after (%.0f%%: %s)",
      100.0 * near, verdict(near >= 0.9), 100.0 * far, verdict(far <= 0.3), 100.0 * after, verdict(after >= 0.8));
  return settings_.quick ? text + ", with a tenth of the steps" : text;
}

std::vector<key_number> retrieval_demonstration::key_numbers() const {
  const measurement& first = measured_.front();
  const measurement& last = measured_.back();
  return {{percent(last.matches.back().facts.share()), "facts found at 4,096 tokens",
           "from " + percent(first.matches.back().facts.share())},
          {printed("%.1f", last.far.preference.margin), "LOGO margin at 4,096 tokens",
           printed("from %.1f", first.far.preference.margin)}};
}

void retrieval_demonstration::add_to(html_report& report) const {
  report.add_heading("Eight times further: LongAlign, then LOGO");
  report.add_text(
      "A model of two layers and 593 thousand parameters finds facts such as {dako=48213} between the words of a text "
      "of "
      "512 tokens, the longest that it was trained on. The stages train texts of 512 tokens too, but spread their "
      "position ids over 4,096. It is measured on held-out speeches of real length.");
  report_table table;
  table.header = {"stage"};
  for (const std::int64_t tokens : lengths)
    table.header.push_back(printed("facts at %lld", static_cast<long long>(tokens)));
  for (const char* name : {"quotations at 512", "at 4096"}) table.header.emplace_back(name);
  report_table preferences;
  preferences.header = {"stage", "right at 512", "margin", "loss", "right at 4096", "margin", "loss"};
  for (const measurement& own : measured_) {
    table.rows.push_back({own.stage});
    for (const retrieval::matches& at : own.matches) table.rows.back().push_back(percent(at.facts.share()));
    for (const auto* at : {&own.matches.front(), &own.matches.back()})
      table.rows.back().push_back(percent(at->quotations.share()));
    preferences.rows.push_back({own.stage});
    for (const evaluation* at : {&own.near, &own.far}) {
      preferences.rows.back().push_back(percent(at->preference.accuracy));
      preferences.rows.back().push_back(printed("%.2f", at->preference.margin));
      preferences.rows.back().push_back(printed("%.3f", at->loss));
    }
  }
  table.caption = printed("Answers without a wrong character: %lld facts and %lld quotations at each length. ",
                          static_cast<long long>(measured_.front().matches.back().facts.asked),
                          static_cast<long long>(measured_.front().matches.back().quotations.asked)) +
                  aims() + ".";
  preferences.caption = printed(
      "The fact that was asked for against two others of the same text: how often it is preferred, by how much (LOGO's "
      "margin before gamma), and LOGO's loss, over %lld groups.",
      static_cast<long long>(measured_.front().far.preference.groups));
  report.add_table(table);
  report.add_table(preferences);
  line_plot found{
      .title = "Facts found by length", .x_label = "tokens", .y_label = "exact match (%)", .from_zero = true};
  for (const measurement& own : measured_) {
    plot_series series{.name = own.stage};
    for (std::size_t k = 0; k <= longest; ++k) {
      series.x.push_back(static_cast<double>(lengths[k]));
      series.y.push_back(100.0 * own.matches[k].facts.share());
    }
    found.series.push_back(std::move(series));
  }
  report.add_line_plot(found);
  for (const measurement* own : {&measured_.front(), &measured_.back()})
    report.add_histogram({.title = "Margins at 4,096 tokens, " + own->stage,
                          .x_label = "chosen reward less mean rejected reward",
                          .values = own->far.preference.margins});
  for (const auto& [stage, losses] : losses_) {
    plot_series series{.name = stage};
    for (std::size_t i = 0; i < losses.size(); ++i) {
      series.x.push_back(static_cast<double>(i + 1));
      series.y.push_back(losses[i]);
    }
    report.add_line_plot({.title = "Training loss, " + stage,
                          .x_label = "optimiser step",
                          .y_label = "loss",
                          .series = {std::move(series)}});
  }
}

}  // namespace lodestone_cli
