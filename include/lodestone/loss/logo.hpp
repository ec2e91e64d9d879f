// LOGO (Tang et al., arXiv 2410.18533) and SimPO (Meng et al., arXiv 2405.14734): no reference model.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

/// LOGO's loss, its equations 2 and 3. With r(y) = (1/|y|) sum_t log p_t and M rejected answers of weights w_j:
///
///     u = beta (r(y_w) - sum_j w_j r(y_j)) - gamma          w_j = 1/M unless the data say otherwise
///     L = -log sigmoid(u) + lambda SFT(y_w)
///
/// and the loss of a step is the mean of L over its preference groups. The mean over j is inside the sigmoid. w_j are
/// the weights of the rejected sequences, divided by their sum; the weight of the chosen one multiplies L. Errors are
/// those of preference_groups() and check().
struct logo {
  double beta = 10.0;                           ///< scale of the rewards; the paper: 10 Llama-3, 3 Llama-2, 2.5 Mistral
  std::optional<double> gamma = {};             ///< target margin; the paper: 3, 0.6, 0.25 for the same models
  std::optional<double> gamma_beta_ratio = {};  ///< gamma / beta, instead of gamma; the released code: 0.3, 0.2, 0.1
  double sft_weight = 0.1;                      ///< lambda
  sft_term sft = sft_term::token_mean;          ///< what SFT is
  penalty by = penalty::sigmoid;                ///< what stands for -log sigmoid
  double label_smoothing = 0.0;                 ///< e of penalty::sigmoid
  bool length_normalised = true;                ///< divide by |y| in r; false compares sums

  /// The coefficients depend on the log-probabilities.
  ///@{
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }
  ///@}

  /// Fills c[k] = d loss / d log p_k and returns this micro-batch's share of the loss.
  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const;

  /// Rewards and log-probabilities of the groups of this micro-batch.
  [[nodiscard]] std::vector<preference_outcome> outcomes(std::span<const sequence> sequences,
                                                         std::span<const scored_token> scored,
                                                         std::span<const double> log_probs) const;

  /// The settings with gamma worked out; throws config_error unless exactly one of its two forms is given.
  [[nodiscard]] preference_terms terms(std::string_view name = "logo") const;

 private:
  [[nodiscard]] std::vector<preference_group> groups(std::span<const sequence> sequences,
                                                     std::span<const scored_token> scored,
                                                     std::span<const double> log_probs) const;
};

static_assert(loss_function<logo> && compares_answers<logo>);

/// SimPO's loss: LOGO with one rejected answer to a group and lambda = 0. A group with more throws data_error.
struct simpo {
  double beta = 2.0;                            ///< scale of the rewards
  std::optional<double> gamma = {};             ///< target margin
  std::optional<double> gamma_beta_ratio = {};  ///< gamma / beta, instead of gamma
  penalty by = penalty::sigmoid;                ///< how the margin is punished
  double label_smoothing = 0.0;                 ///< e of penalty::sigmoid
  bool length_normalised = true;                ///< divide by |y|; false compares sums

  /// The coefficients depend on the log-probabilities.
  ///@{
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }
  ///@}

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

static_assert(loss_function<simpo> && compares_answers<simpo>);

}  // namespace lodestone::loss

#ifndef LODESTONE_COMPILED
#include <lodestone/loss/logo.ipp>
#endif
