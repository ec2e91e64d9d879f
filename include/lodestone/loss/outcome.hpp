// What a preference loss makes of one group of answers: rewards, margin, log-probabilities.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/token_batch.hpp>

namespace lodestone {

/// The chosen answer of a group against its rejected ones. Rewards are beta R(y) of the loss that measured them.
struct preference_outcome {
  double chosen_reward = 0.0;         ///< beta R(y_w)
  double rejected_reward = 0.0;       ///< sum_j w_j beta R(y_j), the mean over the rejected answers
  double best_rejected_reward = 0.0;  ///< max_j beta R(y_j)
  double chosen_log_prob = 0.0;       ///< (1/|y_w|) sum_t log p_t, nats per token
  double rejected_log_prob = 0.0;     ///< sum_j w_j (1/|y_j|) sum_t log p_t
  double sft = 0.0;                   ///< the supervised term before its weight: -log p of y_w, token mean or sum

  /// How much more the chosen answer is rewarded than the rejected ones, before the target margin gamma.
  [[nodiscard]] double margin() const { return chosen_reward - rejected_reward; }
  /// Whether the chosen answer is rewarded more than every rejected one.
  [[nodiscard]] bool is_right() const { return chosen_reward > best_rejected_reward; }
};

/// Means of outcomes.
struct preference_summary {
  std::int64_t groups = 0;  ///< 0: there are none, and the rest means nothing
  /// As in preference_outcome.
  ///@{
  double chosen_reward = 0.0;
  double rejected_reward = 0.0;
  double chosen_log_prob = 0.0;
  double rejected_log_prob = 0.0;
  double sft = 0.0;
  ///@}
  double margin = 0.0;            ///< mean
  double accuracy = 0.0;          ///< share of groups whose chosen answer is rewarded more than every rejected one
  std::vector<double> margins{};  ///< of each group
};

/// The means over `outcomes`, and the margin of each.
[[nodiscard]] inline preference_summary summarise(std::span<const preference_outcome> outcomes) {
  preference_summary sum;
  sum.groups = static_cast<std::int64_t>(outcomes.size());
  if (outcomes.empty()) return sum;
  const double share = 1.0 / static_cast<double>(outcomes.size());
  for (const preference_outcome& one : outcomes) {
    sum.chosen_reward += share * one.chosen_reward;
    sum.rejected_reward += share * one.rejected_reward;
    sum.chosen_log_prob += share * one.chosen_log_prob;
    sum.rejected_log_prob += share * one.rejected_log_prob;
    sum.sft += share * one.sft;
    sum.margin += share * one.margin();
    sum.accuracy += one.is_right() ? share : 0.0;
    sum.margins.push_back(one.margin());
  }
  return sum;
}

/// A loss that can say what it makes of the groups of a micro-batch: `outcomes(sequences, scored, log_probs)`, pure,
/// one for each group that counts in its loss.
template <class L>
concept compares_answers = requires(const L& loss, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs) {
  { loss.outcomes(sequences, scored, log_probs) } -> std::same_as<std::vector<preference_outcome>>;
};

}  // namespace lodestone
