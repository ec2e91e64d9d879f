// From a plan to a batch: the flat stream of one micro-batch, and the totals of a step.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/example.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/loss/concept.hpp>
#include <lodestone/position/concept.hpp>

namespace lodestone::batching {

/// Choices of assemble() that are not the position policy's.
struct assemble_options {
  std::int64_t window = 0;          ///< sliding window of every causal slice; 0: unlimited
  bool absolute_positions = false;  ///< parity with LongAlign's trainer: ids run on through the pack (see docs/03)
};

namespace detail {

/// The example at `index`, checked: a store or a plan that is wrong shows here and not as a crash in a kernel.
template <example_store Store>
[[nodiscard]] example_view checked_example(const Store& store, std::int64_t index) {
  const std::string where = "example " + std::to_string(index);
  if (index < 0 || index >= static_cast<std::int64_t>(store.size()))
    throw shape_error("the plan names it, but the store holds " + std::to_string(store.size()) + " examples", where,
                      "make the plan from this store's lengths");
  const example_view example = store[index];
  if (example.tokens.empty()) throw data_error("has no tokens", where, "drop it when the data are prepared");
  if (example.labels.size() != example.tokens.size() || example.weights.size() != example.tokens.size())
    throw shape_error(std::to_string(example.tokens.size()) + " tokens, " + std::to_string(example.labels.size()) +
                          " labels and " + std::to_string(example.weights.size()) + " weights must be equally many",
                      where);
  if (!(example.weight >= 0.0) || std::isinf(example.weight))
    throw data_error("its weight is negative or not a number", where, "give weights of 0 or more");
  return example;
}

/// Calls each(row, label, a_t) for every row that is trained: it has a label, a positive weight, and the example's own
/// weight is positive.
template <class Each>
void for_each_target(const example_view& example, std::int64_t index, const Each& each) {
  if (example.weight == 0.0) return;
  for (std::size_t row = 0; row < example.labels.size(); ++row) {
    if (example.labels[row] == no_label || example.weights[row] == 0.0F) continue;
    const double weight = static_cast<double>(example.weights[row]);
    if (!(weight > 0.0) || std::isinf(weight))
      throw data_error("the weight of target " + std::to_string(row) + " is negative or not a number",
                       "example " + std::to_string(index), "give weights of 0 or more");
    each(static_cast<std::int64_t>(row), example.labels[row], weight);
  }
}

}  // namespace detail

/// The flat stream of one micro-batch: its examples end to end, one causal slice each.
///
/// Row r of the stream is scored when its example has a label there with positive weight. `lengths` holds, for every
/// row, the last position id of its sequence plus one: the number of tokens for contiguous positions, and the window
/// that synthetic positions span. `pack` is the micro-batch's place in the step, counted over all ranks; every sequence
/// carries it. Examples of one preference group get one group number, every other example a number of its own. Throws
/// data_error or shape_error, naming the example, for what cannot be trained on.
template <example_store Store, position_policy Position>
[[nodiscard]] token_batch assemble(const Store& store, const micro_batch& plan, const Position& position,
                                   std::uint64_t seed, std::uint64_t epoch, std::int64_t pack,
                                   const assemble_options& options = {}) {
  std::int64_t total = 0;
  for (const std::int64_t index : plan.examples) {
    if (index < 0 || index >= static_cast<std::int64_t>(store.size()))
      static_cast<void>(detail::checked_example(store, index));  // throws
    total += static_cast<std::int64_t>(store.length(index));
  }
  if (options.absolute_positions && total > std::numeric_limits<std::int32_t>::max())
    throw shape_error("absolute positions of " + std::to_string(total) + " tokens pass 2^31", "micro-batch");
  token_batch batch;
  batch.tokens.reserve(static_cast<std::size_t>(total));
  batch.positions.reserve(static_cast<std::size_t>(total));
  batch.lengths.reserve(static_cast<std::size_t>(total));
  std::vector<std::int64_t> groups;  // the store's number of each group of the batch
  for (const std::int64_t index : plan.examples) {
    const example_view example = detail::checked_example(store, index);
    const std::int64_t begin = batch.size();
    const auto length = static_cast<std::int64_t>(example.tokens.size());
    const auto first = static_cast<std::size_t>(begin);

    batch.tokens.insert(batch.tokens.end(), example.tokens.begin(), example.tokens.end());
    batch.positions.resize(batch.tokens.size());
    position.fill(example, seed, epoch, std::span(batch.positions).subspan(first));
    batch.lengths.resize(batch.tokens.size(), std::int64_t{batch.positions.back()} + 1);
    if (options.absolute_positions)
      for (std::size_t row = first; row < batch.tokens.size(); ++row)
        batch.positions[row] += static_cast<std::int32_t>(begin);
    batch.slices.push_back({begin, begin + length, begin, begin + length, slice_kind::causal, options.window});

    sequence own{.begin = begin, .end = begin + length, .example = index};
    own.scored_begin = own.scored_end = static_cast<std::int64_t>(batch.scored.size());
    own.pack = static_cast<std::int32_t>(pack);
    auto group = example.group == no_group ? groups.end() : std::find(groups.begin(), groups.end(), example.group);
    if (group == groups.end()) group = groups.insert(group, example.group);
    own.group = static_cast<std::int32_t>(group - groups.begin());
    own.role = example.role;
    own.reference = example.reference;
    own.weight = example.weight;
    detail::for_each_target(example, index, [&](std::int64_t row, std::int32_t label, double weight) {
      batch.scored.push_back({begin + row, label, static_cast<std::int32_t>(batch.sequences.size()), weight});
      own.target_weight += weight;
      ++own.scored_end;
    });
    batch.sequences.push_back(own);
  }
  return batch;
}

/// Totals of a whole step, over all its micro-batches and therefore over all ranks: the same numbers on every rank.
///
/// A sequence counts when it has a target of positive weight and a positive weight of its own; a pack counts when one
/// of its sequences does, a preference group in every micro-batch where its chosen answer does. The rest is counted in
/// `without_targets` and `tokens`.
template <example_store Store>
[[nodiscard]] step_totals totals(const Store& store, const step_plan& step) {
  step_totals sum;
  for (const micro_batch& plan : step.micro_batches) {
    bool has_target = false;
    for (const std::int64_t index : plan.examples) {
      const example_view example = detail::checked_example(store, index);
      double target_weight = 0.0;
      detail::for_each_target(example, index, [&](std::int64_t, std::int32_t, double weight) {
        target_weight += weight;
        ++sum.targets;
      });
      sum.tokens += static_cast<std::int64_t>(example.tokens.size());
      if (target_weight > 0.0) {
        has_target = true;
        sum.sequences += 1.0;
        sum.sequence_weight += example.weight;
        sum.token_weight += example.weight * target_weight;
        if (example.group != no_group && example.role == 0) sum.groups += 1.0;
      } else {
        ++sum.without_targets;
      }
    }
    if (has_target) sum.packs += 1.0;
  }
  return sum;
}

}  // namespace lodestone::batching
