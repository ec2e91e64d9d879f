// CPO (Xu et al., arXiv 2401.08417): contrastive preference optimisation, without a reference model.
#pragma once

#include <span>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// CPO's loss. With r(y) = sum_t log p_t and rejected answers of weights w_j that sum to 1:
///
///     L = -log sigmoid(beta (r(y_w) - sum_j w_j r(y_j))) + lambda SFT(y_w)
///
/// and the loss of a step is the mean of L over its preference groups. The paper has one rejected answer and
/// lambda = 1.
struct cpo {
  double beta = 0.1;                    ///< scale of the rewards
  double sft_weight = 1.0;              ///< lambda; TRL's cpo_alpha
  sft_term sft = sft_term::token_mean;  ///< what SFT is
  penalty by = penalty::sigmoid;        ///< what stands for -log sigmoid
  double label_smoothing = 0.0;         ///< e of penalty::sigmoid
  bool length_normalised = false;       ///< divide r by |y|

  /// The coefficients depend on the log-probabilities.
  ///@{
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }
  ///@}

  /// Fills c[k] = d loss / d log p_k and returns this micro-batch's share of the loss.
  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const {
    const preference_terms terms{
        .beta = beta, .sft_weight = sft_weight, .sft = sft, .by = by, .label_smoothing = label_smoothing};
    return preference_loss("cpo", terms, totals, sequences, scored, log_probs, c,
                           [&](const scored_answer& answer) { return log_prob_reward(answer, length_normalised); });
  }
};

static_assert(loss_function<cpo>);

}  // namespace lodestone::loss
