// Separate batching of preference groups: the prompt again with each answer, one answer at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/groups.hpp>
#include <lodestone/batching/naive.hpp>

namespace lodestone::batching {

/// A micro-batch is a group, and each of its answers a stream of its own: a pass over all of them gives the
/// log-probabilities, then each goes forward and backward by itself. Memory is that of one answer with its prompt,
/// whatever the number of answers. Where the memory is there, shared_prefix computes the same in a fraction of the
/// operations; this one also serves models with sliding windows. The order is a new shuffle in every epoch.
struct separate {
  std::int64_t groups_per_step = 0;  ///< give one of the two; 64 groups, LOGO's batch, when none is given
  std::int64_t tokens_per_step = 0;  ///< a step closes with the group that reaches it; prompts count with each answer

  /// Throws what group_answers() throws, config_error for settings out of range.
  [[nodiscard]] epoch_plan plan(std::span<const example_shape> shapes, std::uint64_t seed, std::uint64_t epoch) const {
    const std::vector<answer_group> groups = group_answers(shapes);
    std::vector<std::int64_t> lengths;
    lengths.reserve(groups.size());
    for (const answer_group& group : groups) lengths.push_back(group.separate_tokens());
    const bool none = groups_per_step == 0 && tokens_per_step == 0;
    const naive alone{.sequences_per_step = none ? 64 : groups_per_step, .tokens_per_step = tokens_per_step};
    return detail::expand_groups(alone.plan(lengths, seed, epoch), groups, arrangement::one_by_one);
  }
};

static_assert(batching_strategy<separate>);

}  // namespace lodestone::batching
