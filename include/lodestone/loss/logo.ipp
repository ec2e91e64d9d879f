// Definitions of logo.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/loss/logo.hpp>

namespace lodestone::loss {

LODESTONE_INLINE double logo::coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                           std::span<const scored_token> scored, std::span<const double> log_probs,
                                           std::span<double> c) const {
  return preference_sum("logo", terms(), totals, sequences, scored, groups(sequences, scored, log_probs), c);
}

LODESTONE_INLINE std::vector<preference_outcome> logo::outcomes(std::span<const sequence> sequences,
                                                                std::span<const scored_token> scored,
                                                                std::span<const double> log_probs) const {
  return preference_outcomes(terms(), groups(sequences, scored, log_probs));
}

LODESTONE_INLINE preference_terms logo::terms(std::string_view name) const {
  return {.beta = beta,
          .gamma = target_margin(name, beta, gamma, gamma_beta_ratio),
          .sft_weight = sft_weight,
          .sft = sft,
          .by = by,
          .label_smoothing = label_smoothing};
}

LODESTONE_INLINE std::vector<preference_group> logo::groups(std::span<const sequence> sequences,
                                                            std::span<const scored_token> scored,
                                                            std::span<const double> log_probs) const {
  return rewarded_groups("logo", sequences, scored, log_probs,
                         [&](const scored_answer& answer) { return log_prob_reward(answer, length_normalised); });
}

LODESTONE_INLINE double simpo::coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                            std::span<const scored_token> scored, std::span<const double> log_probs,
                                            std::span<double> c) const {
  return preference_sum("simpo", terms(), totals, sequences, scored, groups(sequences, scored, log_probs), c);
}

LODESTONE_INLINE std::vector<preference_outcome> simpo::outcomes(std::span<const sequence> sequences,
                                                                 std::span<const scored_token> scored,
                                                                 std::span<const double> log_probs) const {
  return preference_outcomes(terms(), groups(sequences, scored, log_probs));
}

LODESTONE_INLINE preference_terms simpo::terms() const {
  return {.beta = beta,
          .gamma = target_margin("simpo", beta, gamma, gamma_beta_ratio),
          .by = by,
          .label_smoothing = label_smoothing};
}

LODESTONE_INLINE std::vector<preference_group> simpo::groups(std::span<const sequence> sequences,
                                                             std::span<const scored_token> scored,
                                                             std::span<const double> log_probs) const {
  std::vector<preference_group> all =
      rewarded_groups("simpo", sequences, scored, log_probs,
                      [&](const scored_answer& answer) { return log_prob_reward(answer, length_normalised); });
  for (const preference_group& group : all)
    if (group.rejected.size() > 1)
      throw data_error(std::to_string(group.rejected.size()) + " rejected answers, and SimPO compares with one",
                       "example " + std::to_string(group.chosen.example), "take LOGO, or one rejected answer");
  return all;
}

}  // namespace lodestone::loss
