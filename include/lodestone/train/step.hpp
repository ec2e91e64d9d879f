// One optimiser step: forward, loss, backward over this rank's micro-batches, then reduce, clip and update.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/assignment.hpp>
#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/outcome.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/names.hpp>
#include <lodestone/optim/clip.hpp>
#include <lodestone/optim/concept.hpp>
#include <lodestone/position/concept.hpp>

namespace lodestone::train {

/// What a step did; equal on every rank.
struct step_result {
  double loss = 0.0;                         ///< of the whole step, before the update
  double gradient_norm = 0.0;                ///< global, before clipping
  double learning_rate = 0.0;                ///< of this step, even when it was skipped
  bool clipped = false;                      ///< the gradient was scaled down to the clipping norm
  bool skipped = false;                      ///< loss or gradient was not finite: weights and moments are unchanged
  std::string not_finite;                    ///< name of the first tensor with such a gradient
  step_totals totals;                        ///< of the whole step, over all ranks
  std::vector<preference_outcome> outcomes;  ///< of its groups, in plan order, for losses that compare answers
};

/// Where in a run a step stands.
struct step_place {
  std::int64_t number = 1;  ///< 1 for the first
  std::int64_t total = 1;   ///< steps of the run, for the schedule
  std::uint64_t seed = 0;   ///< of the run, for position policies that draw
  std::uint64_t epoch = 0;  ///< 0 for the first
};

/// Calls visit(kind, place, name) for each trained tensor of a unit; `name` is that of its first Hugging Face tensor.
template <class Store, class Visit>
void for_each_trained(const Store& store, std::int64_t unit, const Visit& visit) {
  const unit_layout& layout = store.layout(unit);
  for (std::size_t k = 0; k < parameter_kinds; ++k) {
    const parameter_place& place = layout.places[k];
    const auto kind = static_cast<parameter>(k);
    if (place.rows == 0 || !place.is_trained) continue;
    visit(kind, place, row_blocks(store.config(), layout, kind, is_of_layer(kind) ? unit - 1 : 0).front().name);
  }
}

/// The outcomes of all micro-batches, in plan order and on every rank. `own` holds those of this rank, each beside its
/// micro-batch's place in the step.
template <class Communicator>
[[nodiscard]] std::vector<preference_outcome> gather_outcomes(
    std::span<const std::pair<std::int64_t, std::vector<preference_outcome>>> own, std::size_t micro_batches,
    Communicator& group) {
  std::vector<double> counts(micro_batches, 0.0);
  for (const auto& [place, outcomes] : own)
    counts[static_cast<std::size_t>(place)] = static_cast<double>(outcomes.size());
  group.all_reduce(std::span<double>{counts});
  std::vector<std::size_t> first(micro_batches + 1, 0);
  for (std::size_t i = 0; i < micro_batches; ++i) first[i + 1] = first[i] + static_cast<std::size_t>(counts[i]);
  constexpr std::array fields{&preference_outcome::chosen_reward,        &preference_outcome::rejected_reward,
                              &preference_outcome::best_rejected_reward, &preference_outcome::chosen_log_prob,
                              &preference_outcome::rejected_log_prob,    &preference_outcome::sft};
  std::vector<double> values(fields.size() * first.back(), 0.0);
  for (const auto& [place, outcomes] : own)
    for (std::size_t i = 0; i < outcomes.size(); ++i)
      for (std::size_t f = 0; f < fields.size(); ++f)
        values[fields.size() * (first[static_cast<std::size_t>(place)] + i) + f] = outcomes[i].*fields[f];
  group.all_reduce(std::span<double>{values});
  std::vector<preference_outcome> all(first.back());
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t f = 0; f < fields.size(); ++f) all[i].*fields[f] = values[fields.size() * i + f];
  return all;
}

/// How many times a rank runs the model for a micro-batch: once, or once for each answer.
[[nodiscard]] inline std::size_t passes(const micro_batch& plan) {
  return plan.arranged == arrangement::one_by_one ? plan.examples.size() : 1;
}

/// log p(label) of every scored token of a batch that is arranged so, in the order of batch.scored.
template <class Model>
[[nodiscard]] std::vector<double> log_probs(Model& model, const token_batch& batch, arrangement arranged) {
  if (arranged != arrangement::one_by_one) return model.log_probs(batch);
  std::vector<double> all;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const std::vector<double> own = model.log_probs(batching::single(batch, s));
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

/// Forward and backward of examples that are computed one by one: a pass over all of them for the log-probabilities
/// that the loss wants, unless it is linear, then each by itself with its coefficients. Nothing of one example is kept
/// while another is computed. Returns this micro-batch's share of the loss.
///
/// Where ranks meet in every pass, a rank makes `passes` of each kind, also without examples left.
template <class Model, class Coefficients>
double train_one_by_one(Model& model, const token_batch& batch, const activation_table& table, bool is_linear,
                        const Coefficients& coefficients, bool is_last, std::size_t passes) {
  const std::size_t count = batch.sequences.size();
  const auto own = [&](std::size_t s, auto& values) {
    const sequence& place = batch.sequences[s];
    return std::span(values).subspan(static_cast<std::size_t>(place.scored_begin),
                                     static_cast<std::size_t>(place.scored_end - place.scored_begin));
  };
  std::vector<double> log_probs(is_linear ? 0 : batch.scored.size());
  for (std::size_t s = 0; !is_linear && s < passes; ++s) {
    if (s >= count || own(s, batch.scored).empty())
      model.join_log_probs();
    else
      std::ranges::copy(model.log_probs(batching::single(batch, s)), own(s, log_probs).begin());
  }
  std::vector<double> c(batch.scored.size());
  double loss = batch.scored.empty() ? 0.0 : coefficients(log_probs, c);
  for (std::size_t s = 0; s < passes; ++s) {
    const bool ends = is_last && s + 1 == passes;
    if (s >= count) {
      model.join(true, ends);
      continue;
    }
    const double value = model.train(
        batching::single(batch, s), table, true,
        [&](std::span<const double>, std::span<double> out) {
          std::ranges::copy(own(s, c), out.begin());
          return 0.0;
        },
        ends);
    if (is_linear) loss += value;
  }
  return loss;
}

/// Adds the gradients of this rank's micro-batches of `step` to the store and returns the loss summed over all ranks.
/// Every rank calls it with the same step; afterwards the store's owned gradients are those of the whole step.
/// `outcomes`, when not null, receives those of all groups of the step where the loss compares answers.
template <class Model, loss_function Loss, example_store Data, position_policy Position, class Communicator>
double accumulate(Model& model, const Loss& loss, const Data& data, const step_plan& step, const step_totals& totals,
                  const batching::assignment& ranks, const Position& position, const activation_table& table,
                  const step_place& where, Communicator& group, const batching::assemble_options& options = {},
                  std::vector<preference_outcome>* outcomes = nullptr) {
  double sum = 0.0;
  std::vector<std::pair<std::int64_t, std::vector<preference_outcome>>> own_outcomes;
  const auto& mine = ranks.of_rank[static_cast<std::size_t>(group.rank())];
  const auto plan_of = [&](std::int64_t place) -> const micro_batch& {
    return step.micro_batches[static_cast<std::size_t>(place)];
  };
  // Sharded weights are gathered in every pass, so ranks meet in each; replicated ones meet at the end only.
  const bool is_sharded = model.weights().is_sharded();
  const std::size_t rounds = is_sharded ? ranks.rounds() : std::max<std::size_t>(mine.size(), 1);
  for (std::size_t round = 0; round < rounds; ++round) {
    const bool is_last = round + 1 == rounds;
    std::size_t most = round < mine.size() ? passes(plan_of(mine[round])) : 1;
    bool one_by_one = round < mine.size() && plan_of(mine[round]).arranged == arrangement::one_by_one;
    for (const auto& others : ranks.of_rank) {
      if (!is_sharded || round >= others.size()) continue;
      most = std::max(most, passes(plan_of(others[round])));
      one_by_one = one_by_one || plan_of(others[round]).arranged == arrangement::one_by_one;
    }
    if (round >= mine.size() && !one_by_one) {
      model.join(loss.is_linear(), is_last);
      continue;
    }
    const token_batch batch = round < mine.size() ? batching::assemble(data, plan_of(mine[round]), position, where.seed,
                                                                       where.epoch, mine[round], options)
                                                  : token_batch{};
    const auto coefficients = [&](std::span<const double> log_probs, std::span<double> c) {
      if constexpr (compares_answers<Loss>)
        if (outcomes != nullptr && !batch.sequences.empty())
          own_outcomes.emplace_back(mine[round], loss.outcomes(batch.sequences, batch.scored, log_probs));
      return static_cast<double>(loss.coefficients(totals, batch.sequences, batch.scored, log_probs, c));
    };
    sum += one_by_one ? train_one_by_one(model, batch, table, loss.is_linear(), coefficients, is_last, most)
                      : model.train(batch, table, loss.is_linear(), coefficients, is_last);
  }
  group.all_reduce(std::span<double>{&sum, 1});
  if constexpr (compares_answers<Loss>)
    if (outcomes != nullptr) *outcomes = gather_outcomes(own_outcomes, step.micro_batches.size(), group);
  return sum;
}

/// The global norm's square of the gradients of a step, summed over shards where the store has them.
template <class Store, class Communicator>
[[nodiscard]] double gradient_sum_of_squares(Store& store, Communicator& group) {
  double sum = 0.0;
  for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit) {
    const auto part = store.owned(unit);
    if (part.begin < part.end) sum += store.backend().sum_of_squares(part.gradient);
  }
  if (store.is_sharded()) group.all_reduce(std::span<double>{&sum, 1});
  return sum;
}

/// Name of the first trained tensor whose gradient is not finite on this rank; empty when all are.
template <class Store>
[[nodiscard]] std::string first_not_finite(Store& store) {
  for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit) {
    const auto part = store.owned(unit);
    std::string found;
    for_each_trained(store, unit, [&](parameter, const parameter_place& place, const std::string& name) {
      const std::int64_t begin = std::max(part.begin, place.gradient_offset);
      const std::int64_t end = std::min(part.end, place.gradient_offset + place.count());
      if (found.empty() && begin < end &&
          !store.backend().all_finite(part.gradient.rows(begin - part.begin, end - part.begin)))
        found = name;
    });
    if (!found.empty()) return found;
  }
  return {};
}

/// Updates the weights that this rank owns. Elements are updated one by one, so sharding does not change their bits.
template <class Store, lodestone::optimiser Optimizer>
void update(Store& store, const Optimizer& optimizer, const step_place& where, double gradient_scale) {
  for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit) {
    const auto part = store.owned(unit);
    for_each_trained(store, unit, [&](parameter, const parameter_place& place, const std::string& name) {
      const std::int64_t begin = std::max(part.begin, place.gradient_offset);
      const std::int64_t end = std::min(part.end, place.gradient_offset + place.count());
      if (begin >= end) return;
      const auto cut = [&](auto view) { return view.rows(begin - part.begin, end - part.begin); };
      const tensor_facts facts{name, place.is_matrix ? std::size_t{2} : std::size_t{1}};
      const auto scalars = optimizer.step(where.number, where.total, facts, gradient_scale);
      const std::array state{cut(part.first), cut(part.second)};
      optimizer.update(store.backend(), cut(part.master), state, cut(part.gradient), scalars);
    });
    store.updated(unit);
  }
}

/// One whole step. A gradient or loss that is not finite leaves the weights alone and is reported, not thrown: the loop
/// decides how many of those in a row end the run.
template <class Model, loss_function Loss, example_store Data, position_policy Position, lodestone::optimiser Optimizer,
          class Communicator>
[[nodiscard]] step_result run_step(Model& model, const Loss& loss, const Data& data, const step_plan& step,
                                   const batching::assignment& ranks, const Position& position,
                                   const activation_table& table, const Optimizer& optimizer, const step_place& where,
                                   Communicator& group, const batching::assemble_options& options = {}) {
  auto& store = model.weights();
  step_result result;
  result.totals = batching::totals(data, step);
  store.zero_gradients();
  result.loss = accumulate(model, loss, data, step, result.totals, ranks, position, table, where, group, options,
                           &result.outcomes);
  const double squares = gradient_sum_of_squares(store, group);
  result.gradient_norm = std::sqrt(squares);
  const tensor_facts any{"", 2};
  result.learning_rate = optimizer.step(where.number, where.total, any, 1.0).learning_rate;
  if (!std::isfinite(squares) || !std::isfinite(result.loss)) {
    result.skipped = true;
    result.not_finite = first_not_finite(store);
    return result;
  }
  const double scale = optim::clip_factor(squares, optimizer.clip);
  result.clipped = scale < 1.0;
  update(store, optimizer, where, scale);
  return result;
}

}  // namespace lodestone::train
