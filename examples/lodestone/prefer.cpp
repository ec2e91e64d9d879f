// The preference losses by name, and ablate: what each part of the method contributes.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/html_report.hpp>
#include <lodestone/train/recorders/jsonl.hpp>

#include "arithmetic.hpp"
#include "commands.hpp"
#include "data_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

namespace fs = std::filesystem;

void refuse(bool is_given, const char* key, const std::string& loss) {
  if (is_given)
    throw lodestone::config_error("loss = " + loss + " has no such setting", key, "remove it, or choose another loss");
}

/// gamma, or gamma / beta; the default where neither is given.
template <class Loss>
void set_margin(Loss& loss, const settings& s, double default_ratio) {
  loss.gamma = s.gamma;
  loss.gamma_beta_ratio = s.gamma_beta_ratio;
  if (!s.gamma && !s.gamma_beta_ratio) loss.gamma_beta_ratio = default_ratio;
}

}  // namespace

any_loss make_preference_loss(const settings& s) {
  namespace loss = lodestone::loss;
  const auto by = s.penalty == "hinge" ? loss::penalty::hinge : loss::penalty::sigmoid;
  const auto sft = s.sft_term == "token-sum" ? loss::sft_term::token_sum : loss::sft_term::token_mean;
  const auto by_length = [&](bool preset) {
    return s.length_normalised == "auto" ? preset : s.length_normalised == "yes";
  };
  if (s.loss != "logo" && s.loss != "simpo") {
    refuse(s.gamma.has_value(), "gamma", s.loss);
    refuse(s.gamma_beta_ratio.has_value(), "gamma_beta_ratio", s.loss);
  }
  refuse(s.penalty_weight.has_value() && s.loss != "orpo", "penalty_weight", s.loss);
  refuse(s.beta.has_value() && s.loss == "orpo", "beta", s.loss);
  refuse(s.sft_weight.has_value() && (s.loss == "simpo" || s.loss == "chosen"), "sft_weight", s.loss);
  const auto common = [&](auto& one) {
    if constexpr (requires { one.beta; }) one.beta = s.beta.value_or(one.beta);
    if constexpr (requires { one.sft_weight; }) one.sft_weight = s.sft_weight.value_or(one.sft_weight);
    if constexpr (requires { one.sft; }) one.sft = sft;
    if constexpr (requires { one.by; }) one.by = by;
    if constexpr (requires { one.label_smoothing; }) one.label_smoothing = s.label_smoothing;
    if constexpr (requires { one.length_normalised; }) one.length_normalised = by_length(one.length_normalised);
  };
  if (s.loss == "simpo") {
    loss::simpo one;
    common(one);
    set_margin(one, s, 0.25);
    return one;
  }
  if (s.loss == "cpo") {
    loss::cpo one;
    common(one);
    return one;
  }
  if (s.loss == "dpo") {
    loss::dpo one;
    common(one);
    return one;
  }
  if (s.loss == "orpo") {
    loss::orpo one;
    common(one);
    one.penalty_weight = s.penalty_weight.value_or(one.penalty_weight);
    return one;
  }
  if (s.loss == "chosen") {
    refuse(s.penalty == "hinge", "penalty", s.loss);
    refuse(s.label_smoothing != 0.0, "label_smoothing", s.loss);
    refuse(s.length_normalised == "no", "length_normalised", s.loss);
    loss::chosen one;
    common(one);
    return one;
  }
  loss::logo one;
  common(one);
  set_margin(one, s, 0.3);
  return one;
}

namespace {

/// One of the runs that are compared.
struct variant {
  std::string name;   ///< of its folder
  std::string label;  ///< for people
  settings values;
};

std::vector<variant> variants_of(const settings& s) {
  std::vector<variant> all;
  const auto add = [&](const char* name, const std::string& label, const std::string& loss,
                       const std::string& position) {
    settings own = s;
    own.command = "prefer";
    own.output = (fs::path(s.output) / name).string();
    own.position = position;
    if (loss == "chosen") {  // what belongs to the preference loss alone
      own.loss = loss;
      own.gamma = own.gamma_beta_ratio = own.sft_weight = own.penalty_weight = std::nullopt;
      own.penalty = "sigmoid";
      own.label_smoothing = 0.0;
      own.length_normalised = "auto";
    }
    all.push_back({name, label, std::move(own)});
  };
  add("supervised", "supervised, normal positions", "chosen", "contiguous");
  add("preference", s.loss + ", normal positions", s.loss, "contiguous");
  add("positions", "supervised, " + s.position, "chosen", s.position);
  add("both", s.loss + ", " + s.position, s.loss, s.position);
  return all;
}

/// A model on the held-out groups, with the preference loss of the comparison.
struct measured {
  lodestone::evaluation normal;     ///< with normal positions
  lodestone::evaluation synthetic;  ///< with those that the comparison is about
};

template <class Arithmetic>
measured measure(const settings& s, const any_store& held_out) {
  const lodestone::model_config config = read_config(s);
  auto weights = load_weights<Arithmetic>(s, config);
  lodestone::dist::single alone;
  const auto with = [&](const std::string& position) {
    settings own = s;
    own.position = position;
    auto program = lodestone::program{
        lodestone::llama<typename Arithmetic::backend, typename Arithmetic::attention>{config, weights},
        make_preference_loss(own),
        make_batching(own, own.batching),
        make_position(own),
        make_activations(own),
        make_optimizer(own),
        alone};
    return program.evaluate(held_out, 0, static_cast<std::uint64_t>(own.seed));
  };
  return {with("contiguous"), with(s.position)};
}

/// The settings of a model that a variant has left.
settings trained_model(const settings& s, const variant& of) {
  settings own = s;
  if (fs::path(trained_folder(of.values)).filename() == "adapter") {
    own.adapter = trained_folder(of.values);
  } else {
    own.model = trained_folder(of.values);
    own.rope_base.reset();  // what it was trained with stands in its folder
    own.rope_scaling = "keep";
    own.rope_factor.reset();
    own.rope_original_max_positions.reset();
    own.max_positions.reset();
  }
  return own;
}

std::string percent(double share) { return lodestone::format_fixed(100.0 * share, 1) + "%"; }

/// The curves of all runs in one plot.
lodestone::line_plot plot(const std::vector<variant>& all, const char* title, const char* y_label,
                          double lodestone::preference_summary::*member) {
  lodestone::line_plot result{.title = title, .x_label = "optimiser step", .y_label = y_label};
  for (const variant& one : all) {
    lodestone::plot_series line{.name = one.label};
    for (const lodestone::step_record& step :
         lodestone::read_metrics(fs::path(one.values.output) / "metrics.jsonl").steps) {
      line.x.push_back(static_cast<double>(step.step));
      line.y.push_back(step.preference.*member);
    }
    result.series.push_back(std::move(line));
  }
  return result;
}

}  // namespace

int run_ablate(const settings& s) {
  const std::vector<variant> all = variants_of(s);
  for (const variant& one : all) {
    note("--- " + one.name + ": " + one.label);
    fs::create_directories(s.output);
    if (run_training(one.values).outcome != lodestone::run_outcome::completed) {
      note("continue with the same command: what is done is not done again");
      return success;
    }
  }
  const lodestone::model_config config = read_config(s);
  any_store held_out;
  {
    const text_parts text(s, s.end_of_text);
    lodestone::thread_pool pool(thread_count(s));
    held_out = load_examples(s.held_out, s, text, config.vocabulary, pool, "held out", nullptr, answers::all);
  }
  lodestone::report_table table{.header = {"run", "accuracy", "margin", "loss", "accuracy, " + s.position,
                                           "margin, " + s.position, "loss, " + s.position}};
  const auto add = [&](const std::string& label, const settings& model) {
    const measured own =
        with_arithmetic(model, [&](auto arithmetic) { return measure<decltype(arithmetic)>(model, held_out); });
    std::vector<std::string> row{label};
    for (const lodestone::evaluation& one : {own.normal, own.synthetic}) {
      row.push_back(percent(one.preference.accuracy));
      row.push_back(lodestone::format_fixed(one.preference.margin, 4));
      row.push_back(lodestone::format_fixed(one.loss, 4));
    }
    table.rows.push_back(std::move(row));
  };
  add("before training", s);
  for (const variant& one : all) add(one.label, trained_model(s, one));

  lodestone::html_report page("What the parts contribute",
                              "held-out preference groups: " + std::to_string(all.size()) + " runs of the same data");
  page.add_heading("Held-out groups");
  page.add_text("Every model is measured with the loss " + s.loss + ", once with normal positions and once with " +
                s.position + " over " + lodestone::format_count(s.position_window) +
                " ids. Accuracy is the share of groups whose chosen answer is rewarded more than every rejected one.");
  page.add_table(table);
  page.add_heading("Training");
  page.add_line_plot(plot(all, "Accuracy", "share of groups", &lodestone::preference_summary::accuracy));
  page.add_line_plot(plot(all, "Margin", "reward", &lodestone::preference_summary::margin));
  page.add_line_plot(plot(all, "Supervised term", "nats", &lodestone::preference_summary::sft));
  page.add_heading("Settings");
  lodestone::report_table values{.header = {"setting", "value"}};
  for (const lodestone::setting& one : to_pairs(s)) values.rows.push_back({one.key, one.value});
  page.add_table(values);
  const fs::path name = fs::path(s.output) / "report.html";
  page.write(name);

  std::vector<std::size_t> widths(table.header.size(), 0);
  const auto lines = [&](const auto& visit) {
    visit(table.header);
    for (const auto& row : table.rows) visit(row);
  };
  lines([&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  });
  std::string text;
  lines([&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i)
      text += (i == 0 ? row[i] + std::string(widths[i] - row[i].size(), ' ')
                      : "  " + std::string(widths[i] - row[i].size(), ' ') + row[i]);
    text += "\n";
  });
  print(text);
  note("the report: " + name.string());
  return success;
}

}  // namespace lodestone_cli
