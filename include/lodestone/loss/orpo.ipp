// Definitions of orpo.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>

#include <lodestone/core/inline.hpp>
#include <lodestone/loss/orpo.hpp>

namespace lodestone::loss {

LODESTONE_INLINE double orpo::coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                           std::span<const scored_token> scored, std::span<const double> log_probs,
                                           std::span<double> c) const {
  return preference_sum("orpo", terms(), totals, sequences, scored, groups(sequences, scored, log_probs), c);
}

LODESTONE_INLINE std::vector<preference_outcome> orpo::outcomes(std::span<const sequence> sequences,
                                                                std::span<const scored_token> scored,
                                                                std::span<const double> log_probs) const {
  return preference_outcomes(terms(), groups(sequences, scored, log_probs));
}

LODESTONE_INLINE preference_terms orpo::terms() const {
  return {.penalty_weight = penalty_weight,
          .sft_weight = sft_weight,
          .sft = sft,
          .by = by,
          .label_smoothing = label_smoothing};
}

LODESTONE_INLINE std::vector<preference_group> orpo::groups(std::span<const sequence> sequences,
                                                            std::span<const scored_token> scored,
                                                            std::span<const double> log_probs) const {
  return rewarded_groups("orpo", sequences, scored, log_probs, [&](const scored_answer& answer) {
    const sloped_value mean = log_prob_reward(answer, length_normalised);
    const double log_prob = std::min(mean.value, largest_log_prob);
    const double missing = -std::expm1(log_prob);  // 1 - p
    return sloped_value{log_prob - std::log(missing), mean.slope / missing};
  });
}

}  // namespace lodestone::loss
