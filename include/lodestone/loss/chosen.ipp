// Definitions of chosen.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <lodestone/core/inline.hpp>
#include <lodestone/loss/chosen.hpp>

namespace lodestone::loss {

LODESTONE_INLINE double chosen::coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                             std::span<const scored_token> scored, std::span<const double> log_probs,
                                             std::span<double> c) const {
  return preference_sum("chosen", terms(), totals, sequences, scored, groups(sequences, scored, log_probs), c);
}

LODESTONE_INLINE std::vector<preference_outcome> chosen::outcomes(std::span<const sequence> sequences,
                                                                  std::span<const scored_token> scored,
                                                                  std::span<const double> log_probs) const {
  return preference_outcomes(terms(), groups(sequences, scored, log_probs));
}

LODESTONE_INLINE preference_terms chosen::terms() const {
  return {.beta = beta, .penalty_weight = 0.0, .sft_weight = 1.0, .sft = sft};
}

LODESTONE_INLINE std::vector<preference_group> chosen::groups(std::span<const sequence> sequences,
                                                              std::span<const scored_token> scored,
                                                              std::span<const double> log_probs) {
  return rewarded_groups("chosen", sequences, scored, log_probs,
                         [](const scored_answer& answer) { return log_prob_reward(answer, true); });
}

}  // namespace lodestone::loss
