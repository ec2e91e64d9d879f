// Definitions of shared_prefix.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <string>
#include <vector>

#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::batching {

LODESTONE_INLINE epoch_plan shared_prefix::plan(std::span<const example_shape> shapes, std::uint64_t seed,
                                                std::uint64_t epoch) const {
  if (tokens < 1) throw config_error("must be at least 1", "batching.tokens");
  const std::vector<answer_group> groups = group_answers(shapes);
  std::vector<std::int64_t> lengths;
  for (const answer_group& group : groups) {
    lengths.push_back(group.shared_tokens());
    if (lengths.back() > tokens)
      throw data_error("its prompt and answers have " + std::to_string(lengths.back()) + " tokens, a stream holds " +
                           std::to_string(tokens),
                       "example " + std::to_string(group.examples.front()),
                       "raise batching.tokens, drop or truncate long prompts when the data are prepared, or compute "
                       "the answers one by one (batching separate)");
  }
  const bool none = streams_per_step == 0 && groups_per_step == 0 && tokens_per_step == 0;
  const packed streams{.tokens = tokens,
                       .packs_per_step = streams_per_step,
                       .sequences_per_step = none ? 64 : groups_per_step,
                       .tokens_per_step = tokens_per_step,
                       .algorithm = algorithm};
  return detail::expand_groups(streams.plan(lengths, seed, epoch), groups, arrangement::shared_prompt);
}

}  // namespace lodestone::batching
