// prepare: tokenise once. plan: what a run would do, without doing it.
#include <algorithm>
#include <cmath>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/data/prepare.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/cost.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/coverage.hpp>
#include <lodestone/train/memory.hpp>
#include <lodestone/train/recorders/format.hpp>

#include "arithmetic.hpp"
#include "commands.hpp"
#include "data_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {
namespace {

using lodestone::format_bytes;
using lodestone::format_count;
using lodestone::format_number;
using lodestone::format_short;

/// `s` with a step content that `strategy` can count, as near as possible to the one given: packs become as many
/// sequences as they hold on average, and the other way round.
settings comparable(settings s, const std::string& strategy, std::span<const std::int64_t> lengths) {
  std::int64_t tokens = 0;
  for (const std::int64_t length : lengths) tokens += length;
  const double packs =
      std::max(1.0, std::ceil(static_cast<double>(tokens) / static_cast<double>(std::max<std::int64_t>(1, s.tokens))));
  const double sequences_per_pack = static_cast<double>(lengths.size()) / packs;
  const auto at_least_one = [](double value) { return std::max<std::int64_t>(1, std::llround(value)); };
  if ((strategy == "naive" || strategy == "sorted") && s.packs_per_step > 0) {
    s.sequences_per_step = at_least_one(static_cast<double>(s.packs_per_step) * sequences_per_pack);
    s.packs_per_step = 0;
  }
  if (strategy == "separate" && s.packs_per_step > 0) {
    s.groups_per_step = 64;
    s.packs_per_step = 0;
  }
  if (strategy == "original" && s.packs_per_step == 0) {
    s.packs_per_step = s.sequences_per_step > 0
                           ? at_least_one(static_cast<double>(s.sequences_per_step) / sequences_per_pack)
                           : at_least_one(static_cast<double>(s.tokens_per_step) / static_cast<double>(s.tokens));
    s.sequences_per_step = s.tokens_per_step = 0;
  }
  return s;
}

/// The micro-batch whose stream is the longest; of answers that are computed one by one, the longest alone.
lodestone::micro_batch largest(const lodestone::epoch_plan& plan, std::span<const lodestone::example_shape> shapes) {
  lodestone::micro_batch most;
  std::int64_t tokens = 0;
  const auto compare = [&](const lodestone::micro_batch& batch) {
    if (const std::int64_t own = lodestone::stream_tokens(batch, shapes); own > tokens) tokens = own, most = batch;
  };
  for (const lodestone::step_plan& step : plan.steps)
    for (const lodestone::micro_batch& batch : step.micro_batches) {
      if (batch.arranged == lodestone::arrangement::one_by_one)
        for (const std::int64_t example : batch.examples) compare({{example}});
      else
        compare(batch);
    }
  if (tokens == 0) throw lodestone::data_error("the plan has no batch", "plan", "give data with examples");
  return most;
}

/// A way to keep activations and what the largest micro-batch takes with it.
struct kept_activations {
  std::string name;
  lodestone::train::need need;
  double replayed = 0.0;  ///< work that is done again, as a share of the forward pass
  std::string refused;    ///< why there is no such table
};

/// Every choice of `activations`, the settings' own first.
template <class Arithmetic>
std::vector<kept_activations> compare_activations(const lodestone::model_config& config, const any_store& examples,
                                                  const lodestone::micro_batch& largest, const settings& s) {
  using model = lodestone::llama<typename Arithmetic::backend, typename Arithmetic::attention>;
  namespace train = lodestone::train;
  const lodestone::token_batch batch =
      lodestone::batching::assemble(examples, largest, lodestone::position::contiguous{}, 0, 0, 0);
  const lodestone::trained_parts trained = make_trained(s, config);
  // Preference losses see all log-probabilities before they know their coefficients.
  const bool is_linear = largest.arranged != lodestone::arrangement::shared_prompt;
  const train::need everything = train::count_micro_batch<model>(
      config, batch, lodestone::activations::keep_all{}.table(config.layers), is_linear, trained);
  const double forward = train::count_forward<model>(config, batch, trained).flops();
  std::vector<kept_activations> result;
  const auto add = [&](const std::string& name, const lodestone::activation_table& table) {
    const train::need need = train::count_micro_batch<model>(config, batch, table, is_linear, trained);
    result.push_back({name, need, (need.done.flops() - everything.done.flops()) / std::max(forward, 1.0), {}});
  };
  for (const char* name : {"keep-all", "keep-attention", "checkpoint", "offload-inputs", "offload"})
    add(name, make_activations(s, name).table(config.layers));
  const lodestone::activations::memory_budget limits = *make_activations(s, "automatic").budget();
  std::int64_t budget = limits.device_bytes;
  if (budget == 0) budget = Arithmetic::free_memory();
  const std::string name = "automatic in " + format_bytes(static_cast<double>(budget));
  try {
    if (budget == 0)
      throw lodestone::config_error("this machine has no such device", "activations", "give memory_budget");
    add(name, train::fit_activations<model>(config, batch, budget - everything.weight_bytes - everything.training_bytes,
                                            Arithmetic::parking(limits), is_linear, trained).table);
  } catch (const lodestone::config_error& refused) {
    if (s.activations == "automatic") throw;
    result.push_back({budget == 0 ? "automatic" : name, {}, 0.0, budget == 0 ? "give memory_budget" : "does not fit"});
  }
  const auto own = std::ranges::find_if(
      result, [&](const kept_activations& kept) { return kept.name.starts_with(s.activations + " in "); });
  const auto same = std::ranges::find(result, s.activations, &kept_activations::name);
  std::rotate(result.begin(), own != result.end() ? own : same, (own != result.end() ? own : same) + 1);
  return result;
}

std::string row(const std::string& what, const std::string& value) {
  return "  " + what + std::string(what.size() < 42 ? 42 - what.size() : 1, ' ') + value + "\n";
}

}  // namespace

int run_prepare(const settings& s) {
  const text_parts text(s, s.end_of_text);
  for (const data_source& source : s.data)
    if (is_token_store(source.path))
      throw lodestone::config_error("is a token store already", source.path, "use it as data of plan and sft");
  const std::vector<lodestone::data_source> sources = make_sources(s.data);
  const lodestone::prepare_options options = make_prepare_options(s);
  lodestone::thread_pool pool(thread_count(s));
  if (std::filesystem::exists(s.output) && !s.overwrite)
    throw lodestone::config_error("the output exists", s.output, "choose another name, or allow --overwrite");

  using clock = std::chrono::steady_clock;
  const clock::time_point begin = clock::now();
  const bool is_terminal = isatty(STDERR_FILENO) == 1;
  clock::time_point shown = begin;
  const auto progress = [&](const lodestone::prepare_progress& at) {
    const clock::time_point now = clock::now();
    if (now - shown < std::chrono::milliseconds(is_terminal ? 500 : 10'000)) return;
    shown = now;
    const double seconds = std::chrono::duration<double>(now - begin).count();
    const std::string line = format_count(at.records) + " records, " + format_short(static_cast<double>(at.tokens)) +
                             " tokens, " + format_short(static_cast<double>(at.tokens) / seconds) + " tok/s  " +
                             at.file;
    std::fprintf(stderr, is_terminal ? "\r%s\x1b[K" : "%s\n", line.c_str());
  };
  lodestone::token_store_writer writer(s.output, s.overwrite);
  const lodestone::data_summary summary = lodestone::prepare(sources, text.encoder(), options, writer, pool, progress);
  if (is_terminal && shown != begin) std::fputs("\r\x1b[K", stderr);
  if (summary.conversations > 0) text.require_template();
  if (writer.size() == 0)
    throw lodestone::data_error("no example is left of " + format_count(summary.records) + " records", s.output,
                                "see the counts:\n" + summary.to_text());
  writer.commit(
      lodestone::store_metadata(std::span<const lodestone::data_source>(sources), text.encoder(), options, summary));
  save_settings(s, s.output + ".toml");
  for (const std::string& warning : summary.warnings()) note("warning: " + warning);
  const double seconds = std::chrono::duration<double>(clock::now() - begin).count();
  note(s.output + " written in " + lodestone::format_duration(seconds) + " (" +
       format_short(static_cast<double>(summary.tokens_read) / std::max(seconds, 1e-9)) + " tokens/s); settings in " +
       s.output + ".toml");
  print(summary.to_text());
  return success;
}

int run_plan(const settings& s) {
  namespace batching = lodestone::batching;
  const lodestone::model_config config = read_config(s);
  const text_parts text(s, s.end_of_text);
  lodestone::thread_pool pool(thread_count(s));
  lodestone::data_summary summary;
  const answers wanted = is_for_groups(s.batching) ? answers::all : answers::chosen;
  const any_store examples = load_examples(s.data, s, text, config.vocabulary, pool, "data", &summary, wanted);
  for (const std::string& warning : summary.warnings()) note("warning: " + warning);
  if (wanted == answers::all) require_groups(examples, "data", s);
  const std::vector<lodestone::example_shape> shapes = batching::shapes(examples);
  std::vector<std::int64_t> lengths;
  lengths.reserve(shapes.size());
  for (const lodestone::example_shape& shape : shapes) lengths.push_back(shape.length);
  const std::int64_t longest = lengths.empty() ? 0 : *std::ranges::max_element(lengths);
  check_positions(s, examples);

  const bool recomputes = s.activations != "keep-all";
  const batching::cost_model cost = lodestone::training_cost(config, recomputes ? 1.0 : 0.0);
  const std::vector<int> ranks(s.plan_ranks.begin(), s.plan_ranks.end());
  const auto seed = static_cast<std::uint64_t>(s.seed);
  std::vector<std::string> names{s.batching};
  for (const std::string& name :
       wanted == answers::all ? std::vector<std::string>{"shared-prefix", "separate"} : s.compare)
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  std::vector<batching::plan_report> reports;
  std::vector<lodestone::epoch_plan> plans;
  for (const std::string& name : names) {
    const settings own = comparable(s, name, lengths);
    plans.push_back(make_batching(own, name).plan(shapes, seed, 0));
    reports.push_back(batching::make_report(name, plans.back(), shapes, cost, ranks, capacity(own, name)));
  }

  std::string out;
  if (summary.records > 0) out += summary.to_text() + "\n";
  out += batching::to_text(reports.front()) + "\n";

  const double cost_of_run = reports.front().cost;
  // Naive is the base of the comparison wherever it takes part.
  std::stable_partition(reports.begin(), reports.end(), [](const auto& report) { return report.name == "naive"; });
  if (reports.size() > 1)
    for (const int count : ranks)
      if (count == *std::ranges::max_element(ranks)) out += batching::compare_text(reports, count) + "\n";

  const lodestone::micro_batch batch = largest(plans.front(), shapes);
  const std::int64_t batch_tokens = lodestone::stream_tokens(batch, shapes);
  const std::vector<kept_activations> choices = with_arithmetic(
      s, [&](auto arithmetic) { return compare_activations<decltype(arithmetic)>(config, examples, batch, s); });
  const lodestone::train::need& need = choices.front().need;
  const auto bytes = [](std::int64_t value) { return format_bytes(static_cast<double>(value)); };
  out +=
      "memory of one rank on backend " + s.backend + " (" + arithmetic_of(s) + ", activations " + s.activations + ")\n";
  out += row("weights", bytes(need.weight_bytes));
  out += row("gradients and optimiser state", bytes(need.training_bytes));
  out += row("activations of " + format_count(batch_tokens) + " tokens", bytes(need.activation_bytes));
  out += row("together", bytes(need.total_bytes()));
  if (need.parked_bytes > 0) out += row("on the host beside it, page-locked", bytes(need.parked_bytes));
  out += "what else could be kept, by the largest micro-batch\n";
  out += "  activations                  on the device      together   on the host  forward repeated\n";
  for (const kept_activations& kept : choices) {
    const auto cell = [](const std::string& text, std::size_t width) {
      return std::string(text.size() < width ? width - text.size() : 1, ' ') + text;
    };
    out += "  " + kept.name + std::string(kept.name.size() < 26 ? 26 - kept.name.size() : 1, ' ');
    if (!kept.refused.empty())
      out += kept.refused + "\n";
    else
      out += cell(bytes(kept.need.activation_bytes), 16) + cell(bytes(kept.need.total_bytes()), 14) +
             cell(bytes(kept.need.parked_bytes), 14) + cell(format_number(100.0 * kept.replayed, 3) + " %", 18) + "\n";
  }
  const double epochs = static_cast<double>(s.epochs);
  out += "work of the run\n";
  out += row("epochs", format_count(s.epochs));
  out += row("optimiser steps", format_count(static_cast<std::int64_t>(plans.front().steps.size()) * s.epochs));
  out += row("floating-point operations (without the head)", format_number(cost_of_run * epochs, 3));
  if (s.position_window > 0 && s.position != "absolute") {
    any_store prompts = examples;
    prompts.keep_chosen();  // the other answers have the ids of their prompt
    out += "\n" + lodestone::position::to_text(lodestone::position::measure_coverage(
                      prompts, make_position(s), s.position_window, seed, {.epochs = s.epochs}));
  }
  if (const std::int64_t reached = positions_reached(s, longest);
      config.max_positions > 0 && reached > config.max_positions && !s.rope_base && s.rope_scaling == "keep")
    note("warning: " +
         (reached > longest ? "position ids span " + format_count(reached)
                            : "the longest example has " + format_count(longest) + " tokens") +
         ", the model was trained for " + format_count(config.max_positions) +
         "; raise rope_base or set rope_scaling, and max_positions");
  print(out);
  return success;
}

}  // namespace lodestone_cli
