// Supervised fine-tuning on the chosen answers of preference groups: the baseline that preference losses are held to.
#pragma once

#include <span>
#include <vector>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// The loss of a step is the mean of SFT(y_w) over its preference groups. The rejected answers are scored, so that
/// accuracy and margin can be watched, and not learnt from.
struct chosen {
  double beta = 1.0;                    ///< scale of the rewards that are reported, beta (1/|y|) sum_t log p_t
  sft_term sft = sft_term::token_mean;  ///< what SFT is

  /// The coefficients do not depend on the log-probabilities, but the outcomes do: they are computed first.
  ///@{
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }
  ///@}

  /// Fills c[k] = d loss / d log p_k and returns this micro-batch's share of the loss.
  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const {
    return preference_sum("chosen", terms(), totals, sequences, scored, groups(sequences, scored, log_probs), c);
  }

  /// Rewards and log-probabilities of the groups of this micro-batch.
  [[nodiscard]] std::vector<preference_outcome> outcomes(std::span<const sequence> sequences,
                                                         std::span<const scored_token> scored,
                                                         std::span<const double> log_probs) const {
    return preference_outcomes(terms(), groups(sequences, scored, log_probs));
  }

 private:
  [[nodiscard]] preference_terms terms() const {
    return {.beta = beta, .penalty_weight = 0.0, .sft_weight = 1.0, .sft = sft};
  }
  [[nodiscard]] static std::vector<preference_group> groups(std::span<const sequence> sequences,
                                                            std::span<const scored_token> scored,
                                                            std::span<const double> log_probs) {
    return rewarded_groups("chosen", sequences, scored, log_probs,
                           [](const scored_answer& answer) { return log_prob_reward(answer, true); });
  }
};

static_assert(loss_function<chosen> && compares_answers<chosen>);

}  // namespace lodestone::loss
