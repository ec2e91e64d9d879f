// The training loop: batch, forward, loss, backward, reduce, clip, step, record, over all epochs of a run.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorder.hpp>

namespace lodestone::train {

/// What a run does beside its steps.
struct loop_options {
  std::string title = "training";  ///< for recorders, one line
  std::int64_t epochs = 1;     ///< passes over the data
  std::int64_t max_steps = 0;  ///< 0: no limit but the epochs
  std::uint64_t seed = 42;            ///< of plans and positions; a resumed run must give the same
  std::int64_t evaluate_every = 0;    ///< steps between evaluations of the held-out set; 0: before and after only
  std::int64_t save_every = 0;        ///< steps between checkpoints; 0: at the end and on a signal only
  std::int64_t position_bucket = 0;   ///< tokens a bucket of the held-out loss by position; 0: none
  std::int64_t non_finite_limit = 5;  ///< so many skipped steps in a row end the run
  std::int64_t pack_capacity = 0;     ///< for the report: tokens that a pack may hold
  bool rehearse = true;               ///< run the longest micro-batch once before the first step
  std::vector<setting> settings;      ///< for the report: the resolved configuration
};

/// How far a run is: all that a resumed run needs besides weights and moments, which the saver keeps too.
///
/// The place in the data follows from `step`: plans depend on lengths, seed and epoch alone. `data_fingerprint` tells
/// whether the resumed run has the same examples.
struct progress {
  std::int64_t step = 0;  ///< steps done
  std::int64_t steps = 0;  ///< of the whole run
  std::uint64_t seed = 0;                                      ///< loop_options::seed of the run
  std::uint64_t data_fingerprint = 0;                          ///< fingerprint() of its training examples
  std::int64_t tokens = 0;                                     ///< trained so far
  double best_loss = std::numeric_limits<double>::infinity();  ///< of the held-out set
  std::int64_t best_step = 0;                                  ///< of best_loss; 0: before training or never
};

/// Keeps checkpoints. Requires `save(progress, is_best)`, called on every rank at the same step; it returns a sentence
/// for the log, or an empty string when there is nothing to say.
template <class S>
concept saver = requires(S& s, const progress& at) {
  { s.save(at, true) } -> std::convertible_to<std::string>;
};

/// Keeps nothing.
struct no_saver {
  [[nodiscard]] std::string save(const progress&, bool) const { return {}; }  ///< empty
};
static_assert(saver<no_saver>);

/// A number that changes when the examples' lengths or their order do (FNV-1a over the lengths).
[[nodiscard]] inline std::uint64_t fingerprint(std::span<const std::int64_t> lengths) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const std::int64_t length : lengths)
    for (int byte = 0; byte < 8; ++byte) {
      hash ^= static_cast<std::uint64_t>(length >> (8 * byte)) & 0xffU;
      hash *= 1099511628211ULL;
    }
  return hash;
}

namespace detail {

/// Runs `program` and keeps what one step after the other needs.
template <class Program, class Data, class HeldOut, class Recorder, class Saver, class Stop>
class loop {
 public:
  loop(Program& program, const Data& data, const HeldOut& held_out, const loop_options& options, Recorder& recorder,
       Saver& save, const Stop& stop)
      : program_(program),
        data_(data),
        held_out_(held_out),
        options_(options),
        recorder_(recorder),
        saver_(save),
        stop_(stop) {}

  run_finished run(progress at) {
    using clock = std::chrono::steady_clock;
    const auto begin = clock::now();
    const std::vector<std::int64_t> lengths = Program::lengths(data_);
    if (lengths.empty()) throw data_error("there are no examples to train on", "data");
    check_resumed(at, lengths);
    at.seed = options_.seed;
    at.data_fingerprint = fingerprint(lengths);
    at.steps = count_steps();
    epoch_plan plan = program_.plan(data_, options_.seed, 0);
    announce(at, plan, lengths);
    if (at.step < at.steps) {
      if (options_.rehearse)
        program_.rehearse(data_, whole_plan(at.steps));
      else
        program_.fit_activations(data_, whole_plan(at.steps));
    }
    if (at.step == 0) evaluate(at);

    run_finished finished{.outcome = run_outcome::completed, .steps = at.steps};
    const std::int64_t tokens_before = at.tokens;
    std::int64_t saved = at.step;
    std::int64_t skipped_in_a_row = 0;
    std::int64_t first = 0;  // steps of the epochs before this one
    for (std::int64_t epoch = 0; epoch < options_.epochs && at.step < at.steps; ++epoch) {
      if (epoch > 0) plan = program_.plan(data_, options_.seed, static_cast<std::uint64_t>(epoch));
      const auto in_epoch = static_cast<std::int64_t>(plan.steps.size());
      for (; at.step < std::min(first + in_epoch, at.steps); saved = after_step(at, saved)) {
        if (stop_requested()) {
          finished.outcome = run_outcome::interrupted;
          break;
        }
        const auto start = clock::now();
        const step_plan& step = plan.steps[static_cast<std::size_t>(at.step - first)];
        const step_result result =
            program_.step(data_, step, {at.step + 1, at.steps, options_.seed, static_cast<std::uint64_t>(epoch)});
        ++at.step;
        at.tokens += result.totals.tokens;
        finished.loss = result.loss;
        record(at, result, step,
               static_cast<double>(epoch) + static_cast<double>(at.step - first) / static_cast<double>(in_epoch),
               std::chrono::duration<double>(clock::now() - start).count());
        skipped_in_a_row = result.skipped ? skipped_in_a_row + 1 : 0;
        if (skipped_in_a_row >= options_.non_finite_limit)
          throw numeric_error(std::to_string(skipped_in_a_row) + " steps in a row had gradients that are not finite",
                              result.not_finite.empty() ? "loss" : result.not_finite,
                              "lower the learning rate, or look for broken data; the last checkpoint is unharmed");
      }
      if (finished.outcome == run_outcome::interrupted) break;
      first += in_epoch;
    }
    const bool is_best = finished.outcome == run_outcome::completed && evaluated_ != at.step && evaluate(at);
    if (saved != at.step || at.step == 0 || is_best) save(at, is_best);
    finished.step = at.step;
    finished.tokens = at.tokens - tokens_before;
    finished.seconds = std::chrono::duration<double>(clock::now() - begin).count();
    if (finished.outcome == run_outcome::interrupted)
      finished.text = "stopped by a signal after step " + std::to_string(at.step) + " of " + std::to_string(at.steps);
    tell(finished);
    return finished;
  }

 private:
  void check_resumed(const progress& at, std::span<const std::int64_t> lengths) const {
    if (at.step == 0) return;
    if (at.seed != options_.seed)
      throw config_error("the checkpoint was trained with seed " + std::to_string(at.seed), "seed",
                         "give the same seed, or start anew");
    if (at.data_fingerprint != fingerprint(lengths))
      throw config_error("the checkpoint was trained on other examples", "data",
                         "give the same data in the same order, or start anew");
  }

  /// The run's steps, of all epochs: packs differ from one to the next, and memory is reserved for all.
  [[nodiscard]] epoch_plan whole_plan(std::int64_t steps) const {
    epoch_plan whole;
    for (std::uint64_t epoch = 0; static_cast<std::int64_t>(whole.steps.size()) < steps; ++epoch)
      for (step_plan& step : program_.plan(data_, options_.seed, epoch).steps)
        whole.steps.push_back(std::move(step));
    return whole;
  }

  [[nodiscard]] std::int64_t count_steps() const {
    std::int64_t steps = 0;
    for (std::int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
      if (options_.max_steps > 0 && steps >= options_.max_steps) break;
      steps += static_cast<std::int64_t>(
          program_.plan(data_, options_.seed, static_cast<std::uint64_t>(epoch)).steps.size());
    }
    return options_.max_steps > 0 ? std::min(steps, options_.max_steps) : steps;
  }

  void announce(const progress& at, const epoch_plan& plan, std::span<const std::int64_t> lengths) {
    if (program_.group().rank() != 0) return;
    std::vector<std::int64_t> packs;
    const std::vector<example_shape> shapes = batching::shapes(data_);
    for (const step_plan& step : plan.steps)
      for (const micro_batch& batch : step.micro_batches) packs.push_back(stream_tokens(batch, shapes));
    run_started started;
    started.title = options_.title;
    started.steps = at.steps;
    started.resumed_step = at.step;
    started.epochs = static_cast<double>(options_.epochs);
    auto& store = program_.model().weights();
    for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit)
      started.parameters += store.layout(unit).gradient_count;
    started.ranks = program_.group().size();
    started.settings = options_.settings;
    started.lengths = lengths;
    started.packs = packs;
    started.pack_capacity = options_.pack_capacity;
    tell(started);
  }

  void record(const progress& at, const step_result& result, const step_plan& step, double epoch, double seconds) {
    if (result.skipped)
      tell(message{message_level::warning,
                   "the step was skipped: " + (result.not_finite.empty()
                                                   ? std::string("the loss is not finite")
                                                   : "the gradient of " + result.not_finite + " is not finite"),
                   at.step});
    tell(step_record{.step = at.step,
                     .steps = at.steps,
                     .epoch = epoch,
                     .loss = result.loss,
                     .learning_rate = result.learning_rate,
                     .gradient_norm = result.gradient_norm,
                     .tokens = result.totals.tokens,
                     .targets = result.totals.targets,
                     .sequences = static_cast<std::int64_t>(result.totals.sequences),
                     .without_targets = result.totals.without_targets,
                     .packs = static_cast<std::int64_t>(step.micro_batches.size()),
                     .seconds = seconds,
                     .clipped = result.clipped,
                     .skipped = result.skipped,
                     .preference = summarise(result.outcomes)});
  }

  /// Evaluates and saves where they are due; returns the step of the last checkpoint.
  std::int64_t after_step(progress& at, std::int64_t saved) {
    bool is_best = false;
    if (options_.evaluate_every > 0 && at.step % options_.evaluate_every == 0) is_best = evaluate(at);
    const bool due = options_.save_every > 0 && at.step % options_.save_every == 0;
    if (!due && !is_best) return saved;
    save(at, is_best);
    return at.step;
  }

  /// Scores the held-out set; true when its loss is the best so far (the first evaluation sets the mark).
  bool evaluate(progress& at) {
    if (held_out_.size() == 0) return false;
    const auto start = std::chrono::steady_clock::now();
    const evaluation own = program_.evaluate(held_out_, options_.position_bucket, options_.seed);
    evaluated_ = at.step;
    const bool is_best = own.loss < at.best_loss;
    if (is_best) {
      at.best_loss = own.loss;
      at.best_step = at.step;
    }
    evaluation_record event;
    event.step = at.step;
    event.loss = own.loss;
    event.token_loss = own.token_loss;
    event.tokens = own.tokens;
    event.targets = own.targets;
    event.sequences = own.sequences;
    event.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    event.best = is_best;
    event.preference = own.preference;
    for (std::size_t k = 0; k < own.bucket_loss.size(); ++k)
      event.buckets.push_back({static_cast<std::int64_t>(k) * options_.position_bucket,
                               (static_cast<std::int64_t>(k) + 1) * options_.position_bucket, own.bucket_loss[k],
                               own.bucket_targets[k]});
    tell(event);
    return is_best && at.step > 0;
  }

  void save(const progress& at, bool is_best) {
    if (const std::string text = saver_.save(at, is_best); !text.empty())
      tell(message{message_level::note, text, at.step});
  }

  /// Ranks may hear a signal at different times: all stop when one does.
  [[nodiscard]] bool stop_requested() {
    double stop = stop_() ? 1.0 : 0.0;
    program_.group().all_reduce(std::span<double>{&stop, 1});
    return stop > 0.0;
  }

  template <class Event>
  void tell(const Event& event) {
    if constexpr (hears<Recorder, Event>)
      if (program_.group().rank() == 0) recorder_.record(event);
  }

  Program& program_;
  const Data& data_;
  const HeldOut& held_out_;
  const loop_options& options_;
  Recorder& recorder_;
  Saver& saver_;
  const Stop& stop_;
  std::int64_t evaluated_ = -1;
};

}  // namespace detail

/// Trains until the epochs or max_steps are done, or until `stop()` is true between two steps.
///
/// Every rank calls it with the same arguments; only rank 0 records. `held_out` may be empty. A run that continues from
/// `at` (a checkpoint's progress, with the weights and moments restored) equals an uninterrupted one in every bit.
/// Throws config_error when the checkpoint belongs to other data or another seed, numeric_error when gradients stay
/// not finite; recorders then hear no run_finished.
template <class Program, example_store Data, example_store HeldOut, recorder Recorder, saver Saver, class Stop>
run_finished run(Program& program, const Data& data, const HeldOut& held_out, const loop_options& options,
                 Recorder& recorder, Saver& save, const Stop& stop, const progress& at = {}) {
  return detail::loop<Program, Data, HeldOut, Recorder, Saver, Stop>(program, data, held_out, options, recorder, save,
                                                                     stop)
      .run(at);
}

}  // namespace lodestone::train
