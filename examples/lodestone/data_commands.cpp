// prepare: tokenise once. plan: what a run would do, without doing it.
#include <algorithm>
#include <cmath>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/data/prepare.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/cost.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/contiguous.hpp>
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
  if (strategy == "original" && s.packs_per_step == 0) {
    s.packs_per_step = s.sequences_per_step > 0
                           ? at_least_one(static_cast<double>(s.sequences_per_step) / sequences_per_pack)
                           : at_least_one(static_cast<double>(s.tokens_per_step) / static_cast<double>(s.tokens));
    s.sequences_per_step = s.tokens_per_step = 0;
  }
  return s;
}

const lodestone::micro_batch& largest(const lodestone::epoch_plan& plan, std::span<const std::int64_t> lengths) {
  const lodestone::micro_batch* most = nullptr;
  std::int64_t tokens = -1;
  for (const lodestone::step_plan& step : plan.steps)
    for (const lodestone::micro_batch& batch : step.micro_batches) {
      std::int64_t own = 0;
      for (const std::int64_t example : batch.examples) own += lengths[static_cast<std::size_t>(example)];
      if (own > tokens) tokens = own, most = &batch;
    }
  if (most == nullptr) throw lodestone::data_error("the plan has no batch", "plan", "give data with examples");
  return *most;
}

template <class Arithmetic>
lodestone::train::need needs(const lodestone::model_config& config, const any_store& examples,
                             const lodestone::micro_batch& batch, const settings& s) {
  using model = lodestone::llama<typename Arithmetic::backend, typename Arithmetic::attention>;
  return lodestone::train::count_micro_batch<model>(
      config, lodestone::batching::assemble(examples, batch, lodestone::position::contiguous{}, 0, 0, 0),
      make_activations(s).table(config.layers), true, make_trained(s, config));
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
  const lodestone::model_config config =
      lodestone::with_rope_override(lodestone::read_model_config(s.model), make_rope_override(s));
  const text_parts text(s, s.end_of_text);
  lodestone::thread_pool pool(thread_count(s));
  lodestone::data_summary summary;
  const any_store examples = load_examples(s.data, s, text, config.vocabulary, pool, "data", &summary);
  for (const std::string& warning : summary.warnings()) note("warning: " + warning);
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(examples.size()));
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i)
    longest = std::max(longest, lengths[i] = examples.length(static_cast<std::int64_t>(i)));

  const bool recomputes = s.activations != "keep-all";
  const batching::cost_model cost = lodestone::training_cost(config, recomputes ? 1.0 : 0.0);
  const std::vector<int> ranks(s.plan_ranks.begin(), s.plan_ranks.end());
  const auto seed = static_cast<std::uint64_t>(s.seed);
  std::vector<std::string> names{s.batching};
  for (const std::string& name : s.compare)
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  std::vector<batching::plan_report> reports;
  std::vector<lodestone::epoch_plan> plans;
  for (const std::string& name : names) {
    const settings own = comparable(s, name, lengths);
    plans.push_back(make_batching(own, name).plan(lengths, seed, 0));
    reports.push_back(batching::make_report(name, plans.back(), lengths, cost, ranks, capacity(own, name)));
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

  const lodestone::micro_batch& batch = largest(plans.front(), lengths);
  std::int64_t batch_tokens = 0;
  for (const std::int64_t example : batch.examples) batch_tokens += lengths[static_cast<std::size_t>(example)];
  const lodestone::train::need need = with_arithmetic(
      s, [&](auto arithmetic) { return needs<decltype(arithmetic)>(config, examples, batch, s); });
  const auto bytes = [](std::int64_t value) { return format_bytes(static_cast<double>(value)); };
  out +=
      "memory of one rank on backend " + s.backend + " (" + arithmetic_of(s) + ", activations " + s.activations + ")\n";
  out += row("weights", bytes(need.weight_bytes));
  out += row("gradients and optimiser state", bytes(need.training_bytes));
  out += row("activations of " + format_count(batch_tokens) + " tokens", bytes(need.activation_bytes));
  out += row("together", bytes(need.total_bytes()));
  const double epochs = static_cast<double>(s.epochs);
  out += "work of the run\n";
  out += row("epochs", format_count(s.epochs));
  out += row("optimiser steps", format_count(static_cast<std::int64_t>(plans.front().steps.size()) * s.epochs));
  out += row("floating-point operations (without the head)", format_number(cost_of_run * epochs, 3));
  if (config.max_positions > 0 && longest > config.max_positions && !s.rope_base && s.rope_scaling == "keep")
    note("warning: the longest example has " + format_count(longest) + " tokens, the model was trained for " +
         format_count(config.max_positions) + "; raise rope_base or set rope_scaling, and max_positions");
  print(out);
  return success;
}

}  // namespace lodestone_cli
