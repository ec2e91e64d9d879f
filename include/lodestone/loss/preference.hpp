// What preference losses share: the answers of a group, the penalty of a margin, and the coefficients of tokens.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/outcome.hpp>

namespace lodestone::loss {

/// How a margin u is punished.
enum class penalty : std::uint8_t {
  sigmoid,  ///< -log sigmoid(u), or with label smoothing e: -(1 - e) log sigmoid(u) - e log sigmoid(-u)
  hinge,    ///< max(0, 1 - u)
};

/// The supervised term of a group, the negative log-likelihood of its chosen answer y_w of |y_w| tokens.
enum class sft_term : std::uint8_t {
  token_mean,  ///< -(1/|y_w|) sum_t log p_t: what CPO's, ORPO's and LOGO's code computes for a batch of one group
  token_sum,   ///< -sum_t log p_t: what the equations of CPO and LOGO print
};

/// A function of one answer's log-probability.
struct sloped_value {
  double value = 0.0;  ///< the function
  double slope = 0.0;  ///< its derivative
};

/// One answer as a preference loss sees it, with message weights a_t (1 unless the data say otherwise).
struct scored_answer {
  std::size_t sequence = 0;         ///< its place among the sequences of the micro-batch
  std::int64_t example = 0;         ///< its index in the store, for messages
  double log_prob = 0.0;            ///< sum_t a_t log p_t
  double length = 0.0;              ///< |y| = sum_t a_t, positive
  double share = 1.0;               ///< w_j of a rejected answer, the shares of a group sum to 1; of a chosen one w_i
  double reference = no_reference;  ///< sum_t a_t log p_t under a reference model
  sloped_value reward{};            ///< R(y), which the loss fills in
};

/// The answers to one prompt.
struct preference_group {
  scored_answer chosen;                 ///< role 0
  std::vector<scored_answer> rejected;  ///< the other roles, at least one
};

/// log(1 + e^x), exact for every x.
[[nodiscard]] inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

/// 1 / (1 + e^-x), exact for every x.
[[nodiscard]] inline double sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

/// The penalty of a margin u and its derivative.
[[nodiscard]] inline sloped_value punish(penalty kind, double label_smoothing, double u) {
  if (kind == penalty::hinge) return {std::max(0.0, 1.0 - u), u < 1.0 ? -1.0 : 0.0};
  const double e = label_smoothing;
  return {(1.0 - e) * softplus(-u) + e * softplus(u), e * sigmoid(u) - (1.0 - e) * sigmoid(-u)};
}

/// The settings that every preference loss hands to preference_sum(): for the reward R of an answer, a group costs
///
///     u = beta (R(y_w) - sum_j w_j R(y_j)) - gamma
///     L = penalty_weight penalty(u) + sft_weight SFT(y_w)
struct preference_terms {
  double beta = 1.0;                    ///< scale of the rewards, positive
  double gamma = 0.0;                   ///< margin that the chosen answer must win by
  double penalty_weight = 1.0;          ///< 0 or more
  double sft_weight = 0.0;              ///< of the supervised term; 0 or more
  sft_term sft = sft_term::token_mean;  ///< what the supervised term is
  penalty by = penalty::sigmoid;        ///< how u is punished
  double label_smoothing = 0.0;         ///< e, in [0, 0.5); probability that an answer pair is labelled wrongly
};

/// gamma from the one of two settings that is given; throws config_error for both, or for neither.
[[nodiscard]] double target_margin(std::string_view name, double beta, const std::optional<double>& gamma,
                                   const std::optional<double>& gamma_beta_ratio);

/// Throws config_error, naming the setting, for settings outside their range or without effect.
void check(const preference_terms& terms, std::string_view name);

/// The groups of a micro-batch, in the order of their numbers.
///
/// A rejected answer of weight 0 is left out, and so is a group whose chosen answer has weight 0. Throws data_error,
/// naming the example, for a group without a chosen answer, with two, or without a rejected one, and for an answer
/// without scored tokens; throws shape_error for sizes that do not fit.
[[nodiscard]] std::vector<preference_group> preference_groups(std::string_view name,
                                                              std::span<const sequence> sequences,
                                                              std::span<const scored_token> scored,
                                                              std::span<const double> log_probs);

/// Fills c and returns this micro-batch's share of (1/G) sum_i w_i L_i over the G groups of the step, whose rewards are
/// already in `groups`; `name` stands in messages. Throws as check() does, and shape_error for totals that count too
/// few groups.
[[nodiscard]] double preference_sum(std::string_view name, const preference_terms& terms, const step_totals& totals,
                                    std::span<const sequence> sequences, std::span<const scored_token> scored,
                                    std::span<const preference_group> groups, std::span<double> c);

/// What a loss of these terms makes of each group, whose rewards are already in it.
[[nodiscard]] std::vector<preference_outcome> preference_outcomes(const preference_terms& terms,
                                                                  std::span<const preference_group> groups);

/// preference_groups(), after `reward(answer)` gave R of each scored_answer and dR / d log_prob as a sloped_value.
template <class Reward>
[[nodiscard]] std::vector<preference_group> rewarded_groups(std::string_view name, std::span<const sequence> sequences,
                                                            std::span<const scored_token> scored,
                                                            std::span<const double> log_probs, const Reward& reward) {
  std::vector<preference_group> groups = preference_groups(name, sequences, scored, log_probs);
  for (preference_group& group : groups) {
    group.chosen.reward = reward(group.chosen);
    for (scored_answer& answer : group.rejected) answer.reward = reward(answer);
  }
  return groups;
}

/// R(y) = sum_t a_t log p_t, divided by |y| when length normalised.
[[nodiscard]] inline sloped_value log_prob_reward(const scored_answer& answer, bool length_normalised) {
  const double slope = length_normalised ? 1.0 / answer.length : 1.0;
  return {slope * answer.log_prob, slope};
}

/// A loss without a target margin, such as CPO and DPO: L = -log sigmoid(beta (r(y_w) - sum_j w_j r(y_j))) + lambda
/// SFT(y_w), where Reward tells what r is.
///
/// `Reward::name` stands in messages, `Reward::sft_weight` is the usual lambda, and `Reward::of(answer,
/// length_normalised)` gives r as a sloped_value.
template <class Reward>
struct marginless {
  double beta = 0.1;                       ///< scale of the rewards
  double sft_weight = Reward::sft_weight;  ///< lambda
  sft_term sft = sft_term::token_mean;     ///< what SFT is
  penalty by = penalty::sigmoid;           ///< what stands for -log sigmoid
  double label_smoothing = 0.0;            ///< e of penalty::sigmoid
  bool length_normalised = false;          ///< divide r by |y|

  /// The coefficients depend on the log-probabilities.
  ///@{
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }
  ///@}

  /// Fills c[k] = d loss / d log p_k and returns this micro-batch's share of the loss.
  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const {
    return preference_sum(Reward::name, terms(), totals, sequences, scored, groups(sequences, scored, log_probs), c);
  }

  /// Rewards and log-probabilities of the groups of this micro-batch.
  [[nodiscard]] std::vector<preference_outcome> outcomes(std::span<const sequence> sequences,
                                                         std::span<const scored_token> scored,
                                                         std::span<const double> log_probs) const {
    return preference_outcomes(terms(), groups(sequences, scored, log_probs));
  }

 private:
  [[nodiscard]] preference_terms terms() const {
    return {.beta = beta, .sft_weight = sft_weight, .sft = sft, .by = by, .label_smoothing = label_smoothing};
  }
  [[nodiscard]] std::vector<preference_group> groups(std::span<const sequence> sequences,
                                                     std::span<const scored_token> scored,
                                                     std::span<const double> log_probs) const {
    return rewarded_groups(Reward::name, sequences, scored, log_probs,
                           [&](const scored_answer& answer) { return Reward::of(answer, length_normalised); });
  }
};

}  // namespace lodestone::loss

#ifndef LODESTONE_COMPILED
#include <lodestone/loss/preference.ipp>
#endif
