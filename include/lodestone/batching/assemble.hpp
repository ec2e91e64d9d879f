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
#include <lodestone/position/shared.hpp>

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

namespace detail {

/// What the answers to one prompt have in common within a micro-batch.
struct group_ids {
  std::int64_t group = no_group;     ///< the store's number; no_group: an example that stands alone
  std::vector<std::size_t> members;  ///< places in the micro-batch
  std::vector<std::int32_t> shared;  ///< position ids [prompt + longest answer]; empty: each example has its own
};

/// The examples of a micro-batch by preference group, in the order of their first ones; every other example alone.
[[nodiscard]] inline std::vector<group_ids> groups_of(std::span<const example_view> examples) {
  std::vector<group_ids> groups;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::int64_t number = examples[i].group;
    auto found = number == no_group ? groups.end() : std::find_if(groups.begin(), groups.end(), [&](const auto& group) {
      return group.group == number;
    });
    if (found == groups.end()) found = groups.insert(found, group_ids{number, {}, {}});
    found->members.push_back(i);
  }
  return groups;
}

/// Draws the ids that the answers of a group share, keyed by its first example in the store. Throws data_error unless
/// all of them begin with the same prompt.
template <position_policy Position>
void draw_shared_ids(group_ids& group, std::span<const example_view> examples, const Position& position,
                     std::uint64_t seed, std::uint64_t epoch) {
  const example_view& first = examples[group.members.front()];
  if (group.group == no_group || first.prompt == 0) return;
  const auto size = static_cast<std::size_t>(first.prompt);
  example_view prompt = first;
  std::int64_t longest = 0;
  for (const std::size_t member : group.members) {
    const example_view& answer = examples[member];
    const std::string where = "example " + std::to_string(answer.index);
    if (answer.prompt < 1 || answer.prompt >= std::ssize(answer.tokens))
      throw data_error("has no answer behind its prompt", where, "give prompt and answer at least one token each");
    if (answer.prompt != first.prompt ||
        !std::equal(first.tokens.begin(), first.tokens.begin() + first.prompt, answer.tokens.begin()))
      throw data_error("its prompt is not that of the other answers of its group", where,
                       "give all answers of a group the same prompt");
    longest = std::max(longest, std::ssize(answer.tokens) - answer.prompt);
    prompt.index = std::min(prompt.index, answer.index);
  }
  prompt.tokens = first.tokens.first(size);
  group.shared = position::prompt_ids(position, prompt, longest, seed, epoch);
}

/// Writes the stream of a micro-batch, sequence by sequence.
template <position_policy Position>
class stream_writer {
 public:
  stream_writer(const Position& position, std::uint64_t seed, std::uint64_t epoch, std::int64_t pack,
                const assemble_options& options, token_batch& out)
      : position_(position), seed_(seed), epoch_(epoch), pack_(pack), options_(options), out_(out) {}

  /// A whole example, a causal slice of its own; `shared` as in group_ids.
  void add(const example_view& example, std::int32_t group, std::span<const std::int32_t> shared) {
    const std::int64_t begin = out_.size();
    const auto first = static_cast<std::size_t>(begin);
    add_tokens(example.tokens);
    if (shared.empty()) {
      const std::span<std::int32_t> own{out_.positions.data() + first, out_.positions.size() - first};
      position_.fill(example, seed_, epoch_, own);
      add_lengths(std::int64_t{own.back()} + 1);
    } else {
      std::copy_n(shared.begin(), example.tokens.size(), out_.positions.begin() + begin);
      add_lengths(std::int64_t{shared.back()} + 1);
    }
    if (options_.absolute_positions)
      for (std::size_t row = first; row < out_.tokens.size(); ++row)
        out_.positions[row] += static_cast<std::int32_t>(begin);
    out_.slices.push_back({begin, out_.size(), begin, out_.size(), slice_kind::causal, options_.window});
    add_sequence(example, group, begin, [begin](std::int64_t row) { return begin + row; });
  }

  /// The prompt of `group` once, then its answers: each sees the prompt and, causally, itself.
  void add_shared(const group_ids& group, std::span<const example_view> examples, std::int32_t number) {
    const example_view& first = examples[group.members.front()];
    if (group.shared.empty())
      throw data_error("belongs to no preference group with a known prompt", "example " + std::to_string(first.index),
                       "share prompts among answers only; use packed for examples that stand alone");
    const std::int64_t begin = out_.size();
    const std::int64_t answers = begin + first.prompt;  // row of the first one
    const std::int64_t length = std::int64_t{group.shared.back()} + 1;
    const auto place = [&](std::span<const std::int32_t> tokens, std::int64_t from) {
      const std::int64_t row = out_.size();
      add_tokens(tokens);
      std::copy_n(group.shared.begin() + from, tokens.size(), out_.positions.begin() + row);
      add_lengths(length);
      out_.slices.push_back({row, out_.size(), row, out_.size(), slice_kind::causal, 0});
    };
    place(first.tokens.first(static_cast<std::size_t>(first.prompt)), 0);
    const std::size_t across = out_.slices.size();
    out_.slices.emplace_back();
    for (const std::size_t member : group.members) {
      const example_view& answer = examples[member];
      const std::int64_t own = out_.size();
      place(answer.tokens.subspan(static_cast<std::size_t>(answer.prompt)), answer.prompt);
      add_sequence(answer, number, own,
                   [&](std::int64_t row) { return row < answer.prompt ? begin + row : own + row - answer.prompt; });
    }
    out_.slices[across] = {answers, out_.size(), begin, answers, slice_kind::full, 0};
  }

 private:
  void add_tokens(std::span<const std::int32_t> tokens) {
    out_.tokens.insert(out_.tokens.end(), tokens.begin(), tokens.end());
    out_.positions.resize(out_.tokens.size());
  }
  void add_lengths(std::int64_t length) { out_.lengths.resize(out_.tokens.size(), length); }

  template <class RowOf>
  void add_sequence(const example_view& example, std::int32_t group, std::int64_t begin, const RowOf& row_of) {
    sequence own{.begin = begin, .end = out_.size(), .example = example.index};
    own.scored_begin = own.scored_end = static_cast<std::int64_t>(out_.scored.size());
    own.pack = static_cast<std::int32_t>(pack_);
    own.group = group;
    own.role = example.role;
    own.reference = example.reference;
    own.weight = example.weight;
    const auto number = static_cast<std::int32_t>(out_.sequences.size());
    for_each_target(example, example.index, [&](std::int64_t row, std::int32_t label, double weight) {
      out_.scored.push_back({row_of(row), label, number, weight});
      own.target_weight += weight;
      ++own.scored_end;
    });
    out_.sequences.push_back(own);
  }

  const Position& position_;
  std::uint64_t seed_;
  std::uint64_t epoch_;
  std::int64_t pack_;
  const assemble_options& options_;
  token_batch& out_;
};

}  // namespace detail

/// The flat stream of one micro-batch: its examples end to end, one causal slice each, or, where the plan says so, the
/// prompt of each preference group once with its answers behind it. For `one_by_one` the examples stand end to end too;
/// single() takes them apart.
///
/// Row r of the stream is scored when its example has a label there with positive weight; rows of a shared prompt once
/// for each answer. `lengths` holds, for every row, the last position id of its sequence plus one: the number of tokens
/// for contiguous positions, the window that synthetic positions span, and for answers that share a prompt that of the
/// longest. `pack` is the micro-batch's place in the step, counted over all ranks; every sequence carries it. Examples
/// of one preference group get one group number, every other example a number of its own; where their prompt is known
/// (example_view::prompt) they get the same position ids for it, drawn once, in whatever arrangement. Throws data_error
/// or shape_error, naming the example, for what cannot be trained on.
template <example_store Store, position_policy Position>
[[nodiscard]] token_batch assemble(const Store& store, const micro_batch& plan, const Position& position,
                                   std::uint64_t seed, std::uint64_t epoch, std::int64_t pack,
                                   const assemble_options& options = {}) {
  std::vector<example_view> examples;
  std::int64_t total = 0;
  for (const std::int64_t index : plan.examples) {
    examples.push_back(detail::checked_example(store, index));
    examples.back().index = index;
    total += std::ssize(examples.back().tokens);
  }
  const bool shares = plan.arranged == arrangement::shared_prompt;
  if (options.absolute_positions && total > std::numeric_limits<std::int32_t>::max())
    throw shape_error("absolute positions of " + std::to_string(total) + " tokens pass 2^31", "micro-batch");
  if (shares && (options.absolute_positions || options.window > 0))
    throw config_error("ids that run on through a stream, and a sliding window, need whole examples", "micro-batch",
                       "compute the answers one by one (batching separate)");
  std::vector<detail::group_ids> groups = detail::groups_of(examples);
  std::vector<std::size_t> group_of(examples.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    detail::draw_shared_ids(groups[g], examples, position, seed, epoch);
    for (const std::size_t member : groups[g].members) group_of[member] = g;
  }
  token_batch batch;
  if (!shares) {
    batch.tokens.reserve(static_cast<std::size_t>(total));
    batch.positions.reserve(static_cast<std::size_t>(total));
    batch.lengths.reserve(static_cast<std::size_t>(total));
  }
  detail::stream_writer<Position> writer(position, seed, epoch, pack, options, batch);
  if (shares)
    for (std::size_t g = 0; g < groups.size(); ++g)
      writer.add_shared(groups[g], examples, static_cast<std::int32_t>(g));
  else
    for (std::size_t i = 0; i < examples.size(); ++i)
      writer.add(examples[i], static_cast<std::int32_t>(group_of[i]), groups[group_of[i]].shared);
  return batch;
}

/// Sequence `number` of a batch whose sequences stand end to end, as a batch of its own.
[[nodiscard]] inline token_batch single(const token_batch& batch, std::size_t number) {
  const sequence& own = batch.sequences[number];
  const auto cut = [](const auto& values, std::int64_t begin, std::int64_t end) {
    return std::vector(values.begin() + begin, values.begin() + end);
  };
  token_batch result;
  result.tokens = cut(batch.tokens, own.begin, own.end);
  result.positions = cut(batch.positions, own.begin, own.end);
  result.lengths = cut(batch.lengths, own.begin, own.end);
  for (slice part : batch.slices) {
    if (part.q_begin != own.begin) continue;
    part.q_begin -= own.begin, part.q_end -= own.begin, part.k_begin -= own.begin, part.k_end -= own.begin;
    result.slices.push_back(part);
  }
  result.scored = cut(batch.scored, own.scored_begin, own.scored_end);
  for (scored_token& token : result.scored) token.row -= own.begin, token.sequence = 0;
  result.sequences = {own};
  sequence& alone = result.sequences.front();
  alone.end -= alone.begin, alone.begin = 0;
  alone.scored_end -= alone.scored_begin, alone.scored_begin = 0;
  return result;
}

/// What a strategy knows of an example.
[[nodiscard]] inline example_shape shape_of(const example_view& example) {
  return {std::ssize(example.tokens), example.prompt, example.group, example.role};
}

/// What a strategy knows of every example of a store.
template <example_store Store>
[[nodiscard]] std::vector<example_shape> shapes(const Store& store) {
  std::vector<example_shape> result;
  result.reserve(static_cast<std::size_t>(store.size()));
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(store.size()); ++i) result.push_back(shape_of(store[i]));
  return result;
}

/// Totals of a whole step, over all its micro-batches and therefore over all ranks: the same numbers on every rank.
///
/// A sequence counts when it has a target of positive weight and a positive weight of its own; a pack counts when one
/// of its sequences does, a preference group in every micro-batch where its chosen answer does. The rest is counted in
/// `without_targets` and `tokens`. Tokens are those of the streams: a shared prompt counts once.
template <example_store Store>
[[nodiscard]] step_totals totals(const Store& store, const step_plan& step) {
  step_totals sum;
  for (const micro_batch& plan : step.micro_batches) {
    bool has_target = false;
    std::vector<std::int64_t> prompts;  // groups whose prompt is counted
    for (const std::int64_t index : plan.examples) {
      const example_view example = detail::checked_example(store, index);
      double target_weight = 0.0;
      detail::for_each_target(example, index, [&](std::int64_t, std::int32_t, double weight) {
        target_weight += weight;
        ++sum.targets;
      });
      sum.tokens += std::ssize(example.tokens);
      if (plan.arranged == arrangement::shared_prompt) {
        const bool is_counted = std::find(prompts.begin(), prompts.end(), example.group) != prompts.end();
        if (is_counted) sum.tokens -= example.prompt;
        if (!is_counted) prompts.push_back(example.group);
      }
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
