// ORPO (Hong et al., arXiv 2403.07691): supervised fine-tuning with a penalty on the odds of rejected answers.
#pragma once

#include <span>
#include <vector>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// ORPO's loss. With p(y) = exp((1/|y|) sum_t log p_t) and rejected answers of weights w_j that sum to 1:
///
///     o(y) = log(p(y) / (1 - p(y)))
///     L    = SFT(y_w) - lambda log sigmoid(o(y_w) - sum_j w_j o(y_j))
///
/// and the loss of a step is the mean of L over its preference groups. The paper has one rejected answer. SFT is over
/// the scored tokens of the chosen answer; TRL's trainer takes those of the prompt into it as well.
struct orpo {
  double penalty_weight = 0.1;          ///< lambda, of the term of the odds; TRL calls it beta
  double sft_weight = 1.0;              ///< 1 in the paper
  sft_term sft = sft_term::token_mean;  ///< what SFT is
  penalty by = penalty::sigmoid;        ///< what stands for -log sigmoid
  double label_smoothing = 0.0;         ///< e of penalty::sigmoid
  bool length_normalised = true;        ///< the mean over |y| in p; false takes the probability of the whole answer

  /// The coefficients depend on the log-probabilities.
  ///@{
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }
  ///@}

  /// Above this log-probability an answer counts as if it had it: rounding can make certainty of what is nearly
  /// certain, and certainty has infinite odds.
  static constexpr double largest_log_prob = -1e-12;

  /// Fills c[k] = d loss / d log p_k and returns this micro-batch's share of the loss.
  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const;

  /// Rewards and log-probabilities of the groups of this micro-batch.
  [[nodiscard]] std::vector<preference_outcome> outcomes(std::span<const sequence> sequences,
                                                         std::span<const scored_token> scored,
                                                         std::span<const double> log_probs) const;

 private:
  [[nodiscard]] preference_terms terms() const;
  [[nodiscard]] std::vector<preference_group> groups(std::span<const sequence> sequences,
                                                     std::span<const scored_token> scored,
                                                     std::span<const double> log_probs) const;
};

static_assert(loss_function<orpo> && compares_answers<orpo>);

}  // namespace lodestone::loss

#ifndef LODESTONE_COMPILED
#include <lodestone/loss/orpo.ipp>
#endif
