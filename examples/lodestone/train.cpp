// sft and prefer: training runs, assembled from the library's parts.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/html_recorder.hpp>
#include <lodestone/train/recorders/jsonl.hpp>
#include <lodestone/train/recorders/progress.hpp>
#include <lodestone/train/recorders/tensorboard.hpp>
#include <lodestone/train/run_folder.hpp>
#include <lodestone/train/signals.hpp>

#include "commands.hpp"
#include "data_parts.hpp"
#include "program_parts.hpp"
#include "train_rank.hpp"

namespace lodestone_cli {
namespace {

namespace fs = std::filesystem;

/// The checkpoint to go on from; nullopt begins anew.
std::optional<fs::path> find_checkpoint(const settings& s, const lodestone::run_folder& folder) {
  if (s.resume == "never") return std::nullopt;
  if (s.resume != "auto") {
    if (!fs::is_directory(s.resume))
      throw lodestone::config_error("no such checkpoint", s.resume, "give resume = auto, never, or a folder step_...");
    return fs::path(s.resume);
  }
  std::vector<lodestone::skipped_state> damaged;
  std::optional<fs::path> newest = lodestone::latest_training_state(folder.checkpoints(), &damaged);
  for (const lodestone::skipped_state& one : damaged)
    note("warning: the checkpoint " + one.folder.string() + " is damaged and passed over: " + one.reason);
  return newest;
}

/// Writes the settings when the run really begins: a run that is refused changes nothing in the folder.
struct start_recorder {
  const settings* values = nullptr;
  const lodestone::run_folder* folder = nullptr;
  bool* has_started = nullptr;
  void record(const lodestone::run_started& event) {
    save_settings(*values, folder->settings());
    if (event.resumed_step > 0) folder->forget_after(event.resumed_step);
    *has_started = true;
  }
};

/// Passes on, once all recorders have heard of the run, what was noticed about the data.
struct data_recorder {
  lodestone::recorder_list* all = nullptr;
  std::vector<std::string> warnings;
  void record(const lodestone::run_started& event) {
    if (event.resumed_step > 0) return;  // they stand in the records already
    for (const std::string& text : warnings)
      all->record(lodestone::message{lodestone::message_level::warning, text, 0});
  }
};

void add_recorders(lodestone::recorder_list& recorders, const settings& s, const lodestone::run_folder& folder,
                   std::vector<std::string> warnings, bool& has_started) {
  recorders.add(start_recorder{&s, &folder, &has_started});
  if (s.progress) recorders.add(lodestone::progress_recorder());
  if (s.metrics) recorders.add(lodestone::jsonl_recorder(folder.metrics()));
  if (s.tensorboard) recorders.add(lodestone::tensorboard_recorder(folder.tensorboard()));
  if (s.report) recorders.add(lodestone::html_recorder(folder.report(), folder.metrics()));
  if (!s.progress)
    for (const std::string& text : warnings) note("warning: " + text);
  recorders.add(data_recorder{&recorders, std::move(warnings)});
}

}  // namespace

void require_groups(const any_store& examples, std::string_view what, const settings& s) {
  for (std::int64_t i = 0; i < examples.size(); ++i) {
    const lodestone::example_view example = examples[i];
    if (example.group == lodestone::no_group)
      throw lodestone::data_error("example " + std::to_string(i) + " has no chosen and rejected answers",
                                  std::string(what),
                                  "give records with prompt, chosen and rejected, or train with lodestone sft");
    if (s.loss == "dpo" && !std::isfinite(example.reference))
      throw lodestone::data_error("example " + std::to_string(i) + " has no log-probability under a reference model",
                                  std::string(what),
                                  "lodestone score prints those of a model; store them as reference_chosen and "
                                  "reference_rejected");
  }
}

lodestone::dtype export_type(const settings& s) {
  using lodestone::dtype;
  if (s.export_dtype != "same")
    return detail::pick<dtype>(s.export_dtype,
                               {{"f32", dtype::f32}, {"bf16", dtype::bf16}, {"f16", dtype::f16}, {"f64", dtype::f64}},
                               "export_dtype");
  const lodestone::tensor_source source(s.model);
  std::set<dtype> types;
  for (const std::string& name : source.names()) types.insert(source.at(name).type);
  return types.size() == 1 ? *types.begin() : dtype::f32;  // mixed: nothing may be lost
}

lodestone::run_finished run_training(const settings& s) {
  static_cast<void>(arithmetic_of(s));  // faults in the settings show before the data are read
  if (s.backend == "cuda" && s.ranks > 1)
    throw lodestone::config_error("ranks that share a GPU would wait for each other", "ranks", "use one rank");
  const lodestone::model_config config = read_config(s);
  static_cast<void>(make_optimizer(s));
  static_cast<void>(make_loss(s).coefficients({}, {}, {}, {}, {}));  // as above
  const answers wanted = s.command == "sft" ? answers::chosen : answers::all;
  const bool has_adapters = !make_trained(s, config).projections;
  const auto pool = std::make_shared<lodestone::thread_pool>(thread_count(s));
  any_store examples, held_out;
  std::vector<std::string> warnings;
  {
    const text_parts text(s, s.end_of_text);
    lodestone::data_summary summary;
    examples = load_examples(s.data, s, text, config.vocabulary, *pool, "data", &summary, wanted);
    warnings = summary.warnings();
    if (!s.held_out.empty()) held_out = load_examples(s.held_out, s, text, config.vocabulary, *pool, "held out", nullptr, wanted);
  }
  if (wanted == answers::all) {
    require_groups(examples, "data", s);
    require_groups(held_out, "held_out", s);
  }
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < examples.size(); ++i) longest = std::max(longest, examples.length(i));
  check_positions(s, examples);
  check_positions(s, held_out);
  if (const std::int64_t reached = positions_reached(s, longest);
      config.max_positions > 0 && reached > config.max_positions && !s.rope_base && s.rope_scaling == "keep")
    warnings.push_back((reached > longest ? "position ids span " + lodestone::format_count(reached)
                                          : "the longest example has " + lodestone::format_count(longest) + " tokens") +
                       ", the model knows " + lodestone::format_count(config.max_positions) +
                       " positions; raise rope_base or set rope_scaling, and max_positions");
  const lodestone::run_folder folder(
      s.output, s.resume == "never" ? lodestone::resume_from::never : lodestone::resume_from::automatic);
  const std::optional<fs::path> checkpoint = find_checkpoint(s, folder);
  if (checkpoint) note("resuming from " + checkpoint->string());

  bool has_started = false;
  lodestone::recorder_list recorders;
  add_recorders(recorders, s, folder, std::move(warnings), has_started);
  const lodestone::stop_signals signals;
  lodestone::run_finished done;
  try {
    lodestone::dist::threads::run(static_cast<int>(s.ranks), [&](lodestone::dist::threads::communicator& group) {
      const training_job job{s, config, examples, held_out, folder, checkpoint, recorders, signals, pool, export_type(s)};
      const lodestone::run_finished own = s.backend == "cuda" ? train_on_device(job, group) : train_on_host(job, group);
      if (group.rank() == 0) done = own;
    });
  } catch (const std::exception& failed) {
    try {
      if (has_started)
        recorders.record(lodestone::run_finished{.outcome = lodestone::run_outcome::failed, .text = failed.what()});
    } catch (...) {  // the first failure is the one to report
    }
    throw;
  }
  if (done.outcome == lodestone::run_outcome::interrupted)
    note("continue with the same command, or: lodestone " + s.command + " --config " + folder.settings().string());
  else if (has_adapters)
    note("a model folder with the adapter merged in: lodestone merge --model " + s.model + " --adapter " +
         folder.adapter().string() + " --output DIR");
  return done;
}

std::string trained_folder(const settings& s) {
  const bool has_adapters = s.lora_rank > 0 || !s.adapter.empty();
  return (fs::path(s.output) / (has_adapters ? "adapter" : "model")).string();
}

int run_sft(const settings& s) {
  if (run_training(s).outcome == lodestone::run_outcome::completed) print(trained_folder(s) + "\n");
  return success;
}

int run_prefer(const settings& s) { return run_sft(s); }

}  // namespace lodestone_cli
