// One rank of a training run, assembled from the library's parts for one arithmetic.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/train/checkpoints.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/run_folder.hpp>
#include <lodestone/train/signals.hpp>

#include "arithmetic.hpp"
#include "commands.hpp"
#include "data_parts.hpp"
#include "program_parts.hpp"

namespace lodestone_cli {

/// What every rank of a run is given.
struct training_job {
  const settings& s;
  const lodestone::model_config& config;
  const any_store& examples;
  const any_store& held_out;
  const lodestone::run_folder& folder;
  const std::optional<std::filesystem::path>& checkpoint;  ///< to go on from
  lodestone::recorder_list& recorders;
  const lodestone::stop_signals& signals;
  const std::shared_ptr<lodestone::thread_pool>& pool;
  lodestone::dtype export_type;
};

/// One rank of a run on the host or on a GPU. Returns the outcome, the same on every rank.
lodestone::run_finished train_on_host(const training_job& job, lodestone::dist::threads::communicator& group);
lodestone::run_finished train_on_device(const training_job& job, lodestone::dist::threads::communicator& group);

inline lodestone::train::loop_options make_loop_options(const settings& s) {
  lodestone::train::loop_options options;
  std::filesystem::path model = s.model;
  if (!model.has_filename()) model = model.parent_path();
  options.title = (s.command == "sft" ? "Fine-tuning of " : "Preference optimisation of ") + model.filename().string();
  options.epochs = s.epochs;
  options.max_steps = s.max_steps;
  options.seed = static_cast<std::uint64_t>(s.seed);
  options.evaluate_every = s.evaluate_every;
  options.save_every = s.save_every;
  options.position_bucket = s.position_bucket;
  options.pack_capacity = capacity(s, s.batching);
  options.rehearse = s.rehearse;
  options.settings = to_pairs(s);
  return options;
}

/// Puts the weights of the best checkpoint into the store.
template <class Store>
void take_best(Store& weights, const lodestone::run_folder& folder) {
  const auto newest = lodestone::latest_training_state(folder.checkpoints());
  if (!newest) return;
  const lodestone::training_state last(*newest, lodestone::verification::sizes);
  const auto step = std::stoll(last.metadata("progress.best_step"));
  const std::filesystem::path best = lodestone::training_state_folder(folder.checkpoints(), step);
  if (step == 0 || !std::filesystem::exists(best)) {
    note("warning: no checkpoint was better than the start; the weights of the last step are written");
    return;
  }
  static_cast<void>(lodestone::train::read_state(weights, lodestone::training_state(best)));
  note("the model is that of step " + lodestone::format_count(step) + ", which had the lowest held-out loss");
}

template <class Arithmetic>
lodestone::run_finished train_rank(const training_job& job, lodestone::dist::threads::communicator& group) {
  using backend = typename Arithmetic::backend;
  const settings& s = job.s;
  namespace parameters = lodestone::parameters;
  parameters::replicated<backend> weights(job.config, Arithmetic::make(job.pool), parameters::purpose::training,
                                          lodestone::dist::any_communicator(group),
                                          make_trained(s, job.config));
  const bool has_adapters = weights.trained().adapters.rank > 0;
  lodestone::train::progress at;
  if (!job.checkpoint || has_adapters) load_model(weights, s);  // checkpoints hold what is trained
  if (job.checkpoint) {
    std::string warning;
    at = lodestone::train::read_state(weights, lodestone::training_state(*job.checkpoint), &warning);
    if (!warning.empty() && group.rank() == 0) note("warning: " + warning);
  }
  auto program = lodestone::program{
      lodestone::llama<backend, typename Arithmetic::attention>{job.config, weights},
      make_loss(s),
      make_batching(s, s.batching),
      make_position(s),
      make_activations(s),
      make_optimizer(s),
      group};
  program.set_assemble_options(make_assemble_options(s));
  const std::int64_t keep = s.keep_last == 0 ? std::numeric_limits<std::int64_t>::max() : s.keep_last;
  lodestone::train::checkpoints saver(weights, job.folder.checkpoints(), lodestone::dist::any_communicator(group), keep,
                                      s.keep_best, {{"settings", to_toml(s)}});
  const auto stop = [&] { return job.signals.requested(); };
  lodestone::run_finished done = lodestone::train::run(program, job.examples, job.held_out, make_loop_options(s),
                                                       job.recorders, saver, stop, at);
  if (done.outcome != lodestone::run_outcome::completed || group.rank() != 0) return done;
  if (s.export_model == "best") take_best(weights, job.folder);
  if (has_adapters) {
    const lodestone::dtype type = s.export_dtype == "same" ? lodestone::dtype::f32 : job.export_type;
    parameters::save_adapter(weights, job.folder.adapter(), s.model,
                             {.type = type, .existing = lodestone::existing_folder::replace});
    return done;
  }
  parameters::save_folder(weights, job.folder.model(), s.model,
                          {.type = job.export_type, .existing = lodestone::existing_folder::replace});
  return done;
}

}  // namespace lodestone_cli
