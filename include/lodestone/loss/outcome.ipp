// Definitions of outcome.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <lodestone/core/inline.hpp>
#include <lodestone/loss/outcome.hpp>

namespace lodestone {

LODESTONE_INLINE preference_summary summarise(std::span<const preference_outcome> outcomes) {
  preference_summary sum;
  sum.groups = static_cast<std::int64_t>(outcomes.size());
  if (outcomes.empty()) return sum;
  const double share = 1.0 / static_cast<double>(outcomes.size());
  for (const preference_outcome& one : outcomes) {
    sum.chosen_reward += share * one.chosen_reward;
    sum.rejected_reward += share * one.rejected_reward;
    sum.chosen_log_prob += share * one.chosen_log_prob;
    sum.rejected_log_prob += share * one.rejected_log_prob;
    sum.sft += share * one.sft;
    sum.margin += share * one.margin();
    sum.accuracy += one.is_right() ? share : 0.0;
    sum.margins.push_back(one.margin());
  }
  return sum;
}

}  // namespace lodestone
