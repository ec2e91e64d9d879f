// A training program: its parts, named in one place and checked by the compiler.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/concept.hpp>
#include <lodestone/dist/concept.hpp>
#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/outcome.hpp>
#include <lodestone/model/cost.hpp>
#include <lodestone/optim/concept.hpp>
#include <lodestone/position/concept.hpp>
#include <lodestone/train/memory.hpp>
#include <lodestone/train/step.hpp>

namespace lodestone {

/// Mean losses of a set of examples without training on it. For a loss that compares answers the means over sequences
/// and targets are those of the chosen answers.
struct evaluation {
  double loss = 0.0;           ///< what training lowers: sequence_loss, or the program's loss where it compares answers
  double sequence_loss = 0.0;  ///< mean over sequences of the mean over targets (LongAlign equation 2)
  double token_loss = 0.0;     ///< mean over targets
  std::int64_t sequences = 0;  ///< all examples of the set, those without targets included
  std::int64_t targets = 0;    ///< scored tokens
  std::int64_t tokens = 0;     ///< of all examples
  std::vector<double> bucket_loss;           ///< unweighted mean over targets predicted from a row of the bucket
  std::vector<std::int64_t> bucket_targets;  ///< in each bucket; 0: its loss is 0 and means nothing
  preference_summary preference{};           ///< of the set's groups, where the loss compares answers
};

namespace detail {

/// What evaluate() adds up over sequences, in one vector for one reduction.
class evaluation_sums {
 public:
  template <example_store Data>
  evaluation_sums(const Data& data, std::int64_t bucket)
      : bucket_(bucket), sequences_(static_cast<std::int64_t>(data.size())), sums_(fixed, 0.0) {
    std::int64_t buckets = 0;
    for (std::int64_t i = 0; bucket > 0 && i < sequences_; ++i)
      buckets = std::max(buckets, (static_cast<std::int64_t>(data.length(i)) + bucket - 1) / bucket);
    sums_.resize(fixed + 2 * static_cast<std::size_t>(buckets), 0.0);
  }

  /// A sequence of `batch`, which holds `example`; one that is not `scored` counts with its tokens alone.
  void add(const example_view& example, const sequence& own, const token_batch& batch,
           std::span<const double> log_probs, bool scored) {
    sums_[tokens] += static_cast<double>(own.end - own.begin);
    if (!scored || own.target_weight == 0.0) return;
    const std::int64_t before = std::ssize(example.tokens) - (own.end - own.begin);  // tokens of a shared prompt
    double sum = 0.0;
    for (auto k = static_cast<std::size_t>(own.scored_begin); k < static_cast<std::size_t>(own.scored_end); ++k) {
      sum -= batch.scored[k].weight * log_probs[k];
      if (sums_.size() == fixed) continue;
      const std::int64_t row = std::max(before - 1, before + batch.scored[k].row - own.begin);  // in the example
      const auto at = fixed + 2 * static_cast<std::size_t>(row / bucket_);
      sums_[at] -= log_probs[k];
      sums_[at + 1] += 1.0;
    }
    sums_[sequence_losses] += own.weight * sum / own.target_weight;
    sums_[sequence_weights] += own.weight;
    sums_[token_losses] += own.weight * sum;
    sums_[token_weights] += own.weight * own.target_weight;
    sums_[targets] += static_cast<double>(own.scored_end - own.scored_begin);
  }

  /// The means over all ranks.
  template <class Communicator>
  [[nodiscard]] evaluation reduce(Communicator& group) {
    group.all_reduce(std::span<double>{sums_});
    evaluation result;
    const auto mean = [&](std::size_t sum, std::size_t weight) {
      return sums_[weight] > 0.0 ? sums_[sum] / sums_[weight] : 0.0;
    };
    result.sequence_loss = mean(sequence_losses, sequence_weights);
    result.token_loss = mean(token_losses, token_weights);
    result.sequences = sequences_;
    result.targets = static_cast<std::int64_t>(sums_[targets]);
    result.tokens = static_cast<std::int64_t>(sums_[tokens]);
    for (std::size_t at = fixed; at < sums_.size(); at += 2) {
      result.bucket_loss.push_back(mean(at, at + 1));
      result.bucket_targets.push_back(static_cast<std::int64_t>(sums_[at + 1]));
    }
    return result;
  }

 private:
  enum : std::size_t { sequence_losses, sequence_weights, token_losses, token_weights, targets, tokens, fixed };

  std::int64_t bucket_;
  std::int64_t sequences_;
  std::vector<double> sums_;  // the fixed ones, then loss and targets of each bucket
};

}  // namespace detail

/// The seven parts of a training program.
///
///     auto program = lodestone::program{model, loss, batching, position, activations, optimizer, communicator};
///
/// Each part models the concept of its folder. The constructor and its deduction guide are written out, because
/// aggregate deduction fails with move-only parts and on clang 14. The communicator is referred to, the rest is owned.
template <class Model, class Loss, class Batching, class Position, class Activations, class Optimizer,
          class Communicator>
class program {
  static_assert(loss_function<Loss>,
                "the loss must fill one coefficient per scored token: see loss/concept.hpp for what it must have");
  static_assert(batching_strategy<Batching>,
                "the batching strategy must have plan(lengths or shapes, seed, epoch) -> epoch_plan: see "
                "batching/concept.hpp");
  static_assert(position_policy<Position>,
                "the position policy must have fill(example, seed, epoch, out): see position/concept.hpp");
  static_assert(activations::activation_policy<Activations>,
                "the activation policy must have table(layers) -> activation_table: see activations/table.hpp");
  static_assert(lodestone::optimiser<Optimizer>,
                "the optimiser must model lodestone::optimiser: see optim/concept.hpp");
  static_assert(communicator<Communicator>, "the communicator must model communicator: see dist/concept.hpp");

 public:
  /// `group` must outlive the program. Throws config_error when the activation table does not fit the model.
  program(Model model, Loss loss, Batching batching, Position position, Activations activations, Optimizer optimizer,
          Communicator& group)
      : model_(std::move(model)),
        loss_(std::move(loss)),
        batching_(std::move(batching)),
        position_(std::move(position)),
        table_(activations.table(model_.config().layers)),
        optimizer_(std::move(optimizer)),
        group_(&group),
        cost_(training_cost(model_.config())) {
    table_.check(model_.config().layers);
    if constexpr (activations::fits_memory<Activations>) budget_ = activations.budget();
  }

  /// The parts of the program; activations() is the table that the policy made for this model.
  ///@{
  [[nodiscard]] Model& model() { return model_; }
  [[nodiscard]] const Loss& loss() const { return loss_; }
  [[nodiscard]] const Batching& batching() const { return batching_; }
  [[nodiscard]] const Position& position() const { return position_; }
  [[nodiscard]] const Optimizer& optimizer() const { return optimizer_; }
  [[nodiscard]] const activation_table& activations() const { return table_; }
  [[nodiscard]] Communicator& group() { return *group_; }
  ///@}

  /// Parity with LongAlign's trainer: position ids run on through a pack.
  void set_assemble_options(const lodestone::batching::assemble_options& options) { options_ = options; }

  /// The plan of an epoch over `data`; the same on every rank.
  template <example_store Data>
  [[nodiscard]] epoch_plan plan(const Data& data, std::uint64_t seed, std::uint64_t epoch) const {
    if constexpr (plans_shapes<Batching>)
      return batching_.plan(std::span<const example_shape>{lodestone::batching::shapes(data)}, seed, epoch);
    else
      return batching_.plan(std::span<const std::int64_t>{lengths(data)}, seed, epoch);
  }

  /// Who computes what in a step: balanced by attention and linear cost.
  template <example_store Data>
  [[nodiscard]] lodestone::batching::assignment assign(const Data& data, const step_plan& step) const {
    step_plan own = step;  // of examples that are numbered within the step: its cost does not grow with the data
    std::vector<example_shape> shapes;
    for (micro_batch& batch : own.micro_batches)
      for (std::int64_t& example : batch.examples) {
        shapes.push_back(lodestone::batching::shape_of(lodestone::batching::detail::checked_example(data, example)));
        example = std::ssize(shapes) - 1;
      }
    return lodestone::batching::assign(lodestone::batching::costs(own, shapes, cost_), group_->size());
  }

  /// Forward, loss, backward, reduce, clip, update.
  template <example_store Data>
  train::step_result step(const Data& data, const step_plan& step, const train::step_place& where) {
    return train::run_step(model_, loss_, data, step, assign(data, step), position_, table_, optimizer_, where, *group_,
                           options_);
  }

  /// The loss of a step and its gradients, left in the store, without an update: what laws are tested on.
  template <example_store Data>
  double gradients(const Data& data, const step_plan& step, const train::step_place& where) {
    model_.weights().zero_gradients();
    return train::accumulate(model_, loss_, data, step, lodestone::batching::totals(data, step), assign(data, step),
                             position_, table_, where, *group_, options_);
  }

  /// Memory and work of the micro-batch of `plan` that needs most, as counted over the largest ones.
  template <example_store Data>
  [[nodiscard]] train::need needs(const Data& data, const epoch_plan& plan) const {
    train::need most;
    std::int64_t parked = 0;
    for (const micro_batch* candidate : largest(data, plan)) {
      const token_batch batch = longest_stream(data, *candidate);
      const train::need need = train::count_micro_batch<Model>(model_.config(), batch, table_, is_linear(*candidate),
                                                               model_.weights().trained());
      if (need.activation_bytes >= most.activation_bytes) most = need;
      parked = std::max(parked, need.parked_bytes);
    }
    most.parked_bytes = parked;
    return most;
  }

  /// Where the activations are `automatic`: chooses their table for the micro-batches of `plan`, within the budget.
  /// Bits do not depend on the choice. Throws config_error when nothing fits. rehearse() does this too.
  template <example_store Data>
  void fit_activations(const Data& data, const epoch_plan& plan) {
    const std::vector<const micro_batch*> candidates = largest(data, plan);
    if (!budget_ || candidates.empty()) return;
    auto& weights = model_.weights();
    std::int64_t device_bytes = budget_->device_bytes - weights.weight_bytes() - weights.training_bytes();
    if (budget_->device_bytes == 0) device_bytes = model_.backend().available_memory() / group_->size();
    const std::int64_t host_bytes = budget_->parking(model_.backend().available_parking() / group_->size());
    const token_batch batch = longest_stream(data, *candidates.front());
    for (std::int64_t limit = device_bytes;;) {
      table_ = train::fit_activations<Model>(model_.config(), batch, limit, host_bytes, is_linear(*candidates.front()),
                                             weights.trained())
                   .table;
      const std::int64_t excess = needs(data, plan).activation_bytes - device_bytes;
      if (excess <= 0) return;
      limit -= excess;  // another micro-batch needs a little more than the one with the most tokens
    }
  }

  /// Chooses automatic activations and sets aside the memory that the micro-batches of `plan` need. rehearse() does
  /// this too. Throws config_error when nothing fits, and what reserving memory throws.
  template <example_store Data>
  train::need reserve(const Data& data, const epoch_plan& plan) {
    fit_activations(data, plan);
    const train::need need = needs(data, plan);
    model_.backend().reserve_parking(need.parked_bytes);
    model_.backend().memory().reserve(need.activation_bytes);
    return need;
  }

  /// Sizes the arena for the plan and runs its largest micro-batch once, so that running out of memory shows before the
  /// first step. Where the backend chooses between ways to compute a product (`choose_products()`), it does so now, for
  /// those of this micro-batch, while the arena's memory is free. Gradients are discarded; weights do not change.
  template <example_store Data>
  train::need rehearse(const Data& data, const epoch_plan& plan) {
    const train::need need = reserve(data, plan);
    const std::vector<const micro_batch*> candidates = largest(data, plan);
    if (!candidates.empty()) {
      const token_batch batch = longest_stream(data, *candidates.front());
      const auto no_coefficients = [](std::span<const double>, std::span<double> c) {
        std::fill(c.begin(), c.end(), 0.0);
        return 0.0;
      };
      model_.train(batch, table_, is_linear(*candidates.front()), no_coefficients, false);
      model_.weights().zero_gradients();
      if constexpr (requires { model_.backend().choose_products(); }) {
        model_.backend().memory().reserve(0);
        model_.backend().choose_products();
        model_.backend().memory().reserve(need.activation_bytes);
      }
    }
    return need;
  }

  /// Losses on `data`, with `bucket` tokens a position bucket (0: none): each example in a stream of its own or, where
  /// batching, loss and data are for preferences, each group as in training. The work is divided among the ranks; every
  /// rank returns the same numbers.
  template <example_store Data>
  [[nodiscard]] evaluation evaluate(const Data& data, std::int64_t bucket = 0, std::uint64_t seed = 0) {
    if constexpr (plans_shapes<Batching> && compares_answers<Loss>) {
      if (data.size() > 0 && data[0].group != no_group) return evaluate_groups(data, bucket, seed);
    }
    detail::evaluation_sums sums(data, bucket);
    for (std::int64_t i = group_->rank(); i < static_cast<std::int64_t>(data.size()); i += group_->size()) {
      const token_batch batch = lodestone::batching::assemble(data, micro_batch{{i}}, position_, seed, 0, 0, options_);
      sums.add(data[i], batch.sequences.front(), batch, model_.log_probs(batch), true);
    }
    evaluation result = sums.reduce(*group_);
    result.loss = result.sequence_loss;
    return result;
  }

  /// Tokens of every example, in the order of the store.
  template <example_store Data>
  [[nodiscard]] static std::vector<std::int64_t> lengths(const Data& data) {
    std::vector<std::int64_t> result(static_cast<std::size_t>(data.size()));
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = static_cast<std::int64_t>(data.length(static_cast<std::int64_t>(i)));
    return result;
  }

 private:
  /// evaluate() for examples that are answers of preference groups.
  template <example_store Data>
  [[nodiscard]] evaluation evaluate_groups(const Data& data, std::int64_t bucket, std::uint64_t seed) {
    step_plan step;  // all of the data
    for (step_plan& part : plan(data, seed, 0).steps)
      std::move(part.micro_batches.begin(), part.micro_batches.end(), std::back_inserter(step.micro_batches));
    const step_totals totals = lodestone::batching::totals(data, step);
    const lodestone::batching::assignment ranks = assign(data, step);
    detail::evaluation_sums sums(data, bucket);
    std::vector<std::pair<std::int64_t, std::vector<preference_outcome>>> outcomes;
    double loss = 0.0;
    for (const std::int64_t place : ranks.of_rank[static_cast<std::size_t>(group_->rank())]) {
      const micro_batch& own = step.micro_batches[static_cast<std::size_t>(place)];
      const token_batch batch = lodestone::batching::assemble(data, own, position_, seed, 0, place, options_);
      const std::vector<double> log_probs = train::log_probs(model_, batch, own.arranged);
      std::vector<double> c(log_probs.size());
      loss += loss_.coefficients(totals, batch.sequences, batch.scored, log_probs, c);
      outcomes.emplace_back(place, loss_.outcomes(batch.sequences, batch.scored, log_probs));
      for (const sequence& s : batch.sequences) sums.add(data[s.example], s, batch, log_probs, s.role == 0);
    }
    group_->all_reduce(std::span<double>{&loss, 1});
    evaluation result = sums.reduce(*group_);
    result.loss = loss;
    result.preference = summarise(train::gather_outcomes(outcomes, step.micro_batches.size(), *group_));
    return result;
  }

  /// What the model is given of a micro-batch at once: its stream, or the longest one of those computed one by one.
  template <example_store Data>
  [[nodiscard]] token_batch longest_stream(const Data& data, const micro_batch& plan) const {
    token_batch batch = lodestone::batching::assemble(data, plan, position_, 0, 0, 0, options_);
    if (plan.arranged != arrangement::one_by_one) return batch;
    const auto is_shorter = [](const sequence& a, const sequence& b) {
      const std::int64_t difference = (a.end - a.begin) - (b.end - b.begin);
      return difference != 0 ? difference < 0 : a.scored_end - a.scored_begin < b.scored_end - b.scored_begin;
    };
    const auto longest = std::max_element(batch.sequences.begin(), batch.sequences.end(), is_shorter);
    return lodestone::batching::single(batch, static_cast<std::size_t>(longest - batch.sequences.begin()));
  }

  /// Whether the coefficients are known before the head runs; those of examples computed one by one are.
  [[nodiscard]] bool is_linear(const micro_batch& plan) const {
    return loss_.is_linear() || plan.arranged == arrangement::one_by_one;
  }

  /// The micro-batch with the most tokens, then the others that may need the most memory. Where blocks fall in the
  /// arena depends on all their sizes, so one with fewer tokens can need a little more: those near the most tokens or
  /// targets (three quarters of it, 32 of each at most) are candidates.
  template <example_store Data>
  [[nodiscard]] static std::vector<const micro_batch*> largest(const Data& data, const epoch_plan& plan) {
    struct sized {
      const micro_batch* batch;
      step_totals totals;
    };
    std::vector<sized> all;
    for (const step_plan& step : plan.steps)
      for (const micro_batch& batch : step.micro_batches) all.push_back({&batch, stream_totals(data, batch)});
    std::vector<const micro_batch*> result;
    for (const auto size : {&step_totals::tokens, &step_totals::targets}) {
      std::stable_sort(all.begin(), all.end(),
                       [&](const sized& a, const sized& b) { return a.totals.*size > b.totals.*size; });
      for (std::size_t i = 0; i < std::min<std::size_t>(all.size(), 32); ++i)
        if (4 * (all[i].totals.*size) >= 3 * (all.front().totals.*size) &&
            std::find(result.begin(), result.end(), all[i].batch) == result.end())
          result.push_back(all[i].batch);
    }
    return result;
  }

  /// Tokens and targets of what the model is given of a micro-batch at once, at most.
  template <example_store Data>
  [[nodiscard]] static step_totals stream_totals(const Data& data, const micro_batch& plan) {
    if (plan.arranged != arrangement::one_by_one) return lodestone::batching::totals(data, step_plan{{plan}});
    step_totals most;
    for (const std::int64_t example : plan.examples) {
      const step_totals own = lodestone::batching::totals(data, step_plan{{micro_batch{{example}}}});
      most.tokens = std::max(most.tokens, own.tokens);
      most.targets = std::max(most.targets, own.targets);
    }
    return most;
  }

  Model model_;
  Loss loss_;
  Batching batching_;
  Position position_;
  activation_table table_;
  std::optional<activations::memory_budget> budget_;
  Optimizer optimizer_;
  Communicator* group_;
  lodestone::batching::cost_model cost_;
  lodestone::batching::assemble_options options_;
};

template <class Model, class Loss, class Batching, class Position, class Activations, class Optimizer,
          class Communicator>
/// Parts by value, the communicator by reference.
program(Model, Loss, Batching, Position, Activations, Optimizer, Communicator&)
    ->program<Model, Loss, Batching, Position, Activations, Optimizer, Communicator>;

}  // namespace lodestone
