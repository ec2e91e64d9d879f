// Definitions of scoring.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/scoring.hpp>

namespace lodestone::eval {

namespace detail {

/// What sequences of this model may share: a full slice cannot follow a window, so with one they stand alone.
[[nodiscard]] inline batching::prefixes sharing_of(const model_config& config) {
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    if (config.window(layer) > 0) return batching::prefixes::separate;
  return batching::prefixes::shared;
}

/// The scores of a batch, one list for each of its sequences.
[[nodiscard]] inline std::vector<std::vector<double>> scores_of(const any_scoring_model& model,
                                                                const token_batch& batch) {
  std::vector<double> all;
  if (!batch.scored.empty()) all = model.log_probs(batch);
  std::vector<std::vector<double>> result;
  result.reserve(batch.sequences.size());
  for (const lodestone::sequence& own : batch.sequences)
    result.emplace_back(all.begin() + own.scored_begin, all.begin() + own.scored_end);
  return result;
}

}  // namespace detail

LODESTONE_INLINE void score_groups(const any_scoring_model& model,
                                   const std::function<bool(std::size_t, scored_group&)>& next, std::int64_t tokens,
                                   const group_listener& each) {
  if (tokens < 1) throw config_error("must be at least 1", "tokens per batch");
  const batching::prefixes sharing = detail::sharing_of(model.config());
  std::size_t heard = 0;
  std::vector<std::size_t> sizes;  // sequences of each group in the tree
  batching::prefix_tree tree(sharing);
  const auto flush = [&] {
    const std::vector<std::vector<double>> scores = detail::scores_of(model, tree.batch());
    auto from = scores.begin();
    for (const std::size_t size : sizes) {
      const auto end = from + static_cast<std::ptrdiff_t>(size);
      each(heard++, std::vector<std::vector<double>>(from, end));
      from = end;
    }
    sizes.clear();
    tree = batching::prefix_tree(sharing);
  };
  scored_group group;
  for (std::size_t i = 0; next(i, group); ++i) {
    tree.add(group);
    if (tree.size() > tokens && !sizes.empty()) {
      tree.drop_last();
      flush();
      tree.add(group);
    }
    sizes.push_back(group.size());
  }
  if (!sizes.empty()) flush();
}

LODESTONE_INLINE std::vector<double> score_tail(const any_scoring_model& model, std::span<const std::int32_t> tokens,
                                                std::int64_t first) {
  batching::prefix_tree one(batching::prefixes::separate);
  const batching::scored_tail whole{tokens, first};
  one.add({&whole, 1});
  return std::move(detail::scores_of(model, one.batch()).front());
}

}  // namespace lodestone::eval
