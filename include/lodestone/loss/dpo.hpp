// DPO (Rafailov et al., arXiv 2305.18290) from reference log-probabilities that are stored with the data.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include <lodestone/core/error.hpp>
#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// DPO's loss. With r(y) = sum_t log p_t - sum_t log p_ref,t and rejected answers of weights w_j that sum to 1:
///
///     L = -log sigmoid(beta (r(y_w) - sum_j w_j r(y_j))) + lambda SFT(y_w)
///
/// and the loss of a step is the mean of L over its preference groups. The paper has one rejected answer and
/// lambda = 0. sequence::reference holds the second sum, over the same tokens with the same message weights as the
/// first; data_error names the example of an answer that has none.
struct dpo {
  double beta = 0.1;                    ///< scale of the rewards
  double sft_weight = 0.0;              ///< lambda; TRL's rpo_alpha
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
    return preference_loss("dpo", terms, totals, sequences, scored, log_probs, c, [&](const scored_answer& answer) {
      if (!std::isfinite(answer.reference))
        throw data_error("has no reference log-probability", "example " + std::to_string(answer.example),
                         "score every answer with the reference model and store the sum with it");
      sloped_value ratio = log_prob_reward(answer, length_normalised);
      ratio.value -= ratio.slope * answer.reference;
      return ratio;
    });
  }
};

static_assert(loss_function<dpo>);

}  // namespace lodestone::loss
