// DPO (Rafailov et al., arXiv 2305.18290) from reference log-probabilities that are stored with the data.
#pragma once

#include <string_view>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// DPO's reward of an answer: r(y) = sum_t log p_t - sum_t log p_ref,t.
struct dpo_reward {
  static constexpr std::string_view name = "dpo";  ///< in messages
  static constexpr double sft_weight = 0.0;        ///< the paper has no supervised term; TRL's rpo_alpha
  /// r, divided by |y| when length normalised. Throws data_error, naming the example, for an answer without a reference
  /// log-probability.
  [[nodiscard]] static sloped_value of(const scored_answer& answer, bool length_normalised);
};

/// DPO's loss. With r(y) = sum_t log p_t - sum_t log p_ref,t and rejected answers of weights w_j that sum to 1:
///
///     L = -log sigmoid(beta (r(y_w) - sum_j w_j r(y_j))) + lambda SFT(y_w)
///
/// and the loss of a step is the mean of L over its preference groups. The paper has one rejected answer and
/// lambda = 0. sequence::reference holds the second sum, over the same tokens with the same message weights as the
/// first; data_error names the example of an answer that has none.
using dpo = marginless<dpo_reward>;

static_assert(loss_function<dpo> && compares_answers<dpo>);

}  // namespace lodestone::loss

#ifndef LODESTONE_COMPILED
#include <lodestone/loss/dpo.ipp>
#endif
