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
  return preference_loss("logo", terms("logo"), totals, sequences, scored, log_probs, c,
                         [&](const scored_answer& answer) { return log_prob_reward(answer, length_normalised); });
}

LODESTONE_INLINE preference_terms logo::terms(std::string_view name) const {
  return {.beta = beta,
          .gamma = target_margin(name, beta, gamma, gamma_beta_ratio),
          .sft_weight = sft_weight,
          .sft = sft,
          .by = by,
          .label_smoothing = label_smoothing};
}

LODESTONE_INLINE double simpo::coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                            std::span<const scored_token> scored, std::span<const double> log_probs,
                                            std::span<double> c) const {
  const preference_terms terms{.beta = beta,
                               .gamma = target_margin("simpo", beta, gamma, gamma_beta_ratio),
                               .by = by,
                               .label_smoothing = label_smoothing};
  std::vector<preference_group> groups = preference_groups("simpo", sequences, scored, log_probs);
  for (preference_group& group : groups) {
    if (group.rejected.size() > 1)
      throw data_error(std::to_string(group.rejected.size()) + " rejected answers, and SimPO compares with one",
                       "example " + std::to_string(group.chosen.example), "take LOGO, or one rejected answer");
    group.chosen.reward = log_prob_reward(group.chosen, length_normalised);
    group.rejected[0].reward = log_prob_reward(group.rejected[0], length_normalised);
  }
  return preference_sum("simpo", terms, totals, sequences, scored, groups, c);
}

}  // namespace lodestone::loss
