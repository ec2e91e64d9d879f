// CPO (Xu et al., arXiv 2401.08417): contrastive preference optimisation, without a reference model.
#pragma once

#include <string_view>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// CPO's reward of an answer: r(y) = sum_t log p_t.
struct cpo_reward {
  static constexpr std::string_view name = "cpo";  ///< in messages
  static constexpr double sft_weight = 1.0;        ///< the paper's lambda; TRL's cpo_alpha
  /// r, divided by |y| when length normalised.
  [[nodiscard]] static sloped_value of(const scored_answer& answer, bool length_normalised) {
    return log_prob_reward(answer, length_normalised);
  }
};

/// CPO's loss. With r(y) = sum_t log p_t and rejected answers of weights w_j that sum to 1:
///
///     L = -log sigmoid(beta (r(y_w) - sum_j w_j r(y_j))) + lambda SFT(y_w)
///
/// and the loss of a step is the mean of L over its preference groups. The paper has one rejected answer and
/// lambda = 1.
using cpo = marginless<cpo_reward>;

static_assert(loss_function<cpo> && compares_answers<cpo>);

}  // namespace lodestone::loss
