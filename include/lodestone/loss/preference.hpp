// What preference losses share: the answers of a group, the penalty of a margin, and the coefficients of tokens.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/loss/concept.hpp>

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

/// One answer as a preference loss sees it, with message weights a_t (1 unless the data say otherwise).
struct scored_answer {
  std::size_t sequence = 0;         ///< its place among the sequences of the micro-batch
  std::int64_t example = 0;         ///< its index in the store, for messages
  double log_prob = 0.0;            ///< sum_t a_t log p_t
  double length = 0.0;              ///< |y| = sum_t a_t, positive
  double share = 1.0;               ///< w_j of a rejected answer, the shares of a group sum to 1; of a chosen one w_i
  double reference = no_reference;  ///< sum_t a_t log p_t under a reference model
};

/// The answers to one prompt.
struct preference_group {
  scored_answer chosen;                 ///< role 0
  std::vector<scored_answer> rejected;  ///< the other roles, at least one
};

/// A function of one answer's log-probability.
struct sloped_value {
  double value = 0.0;  ///< the function
  double slope = 0.0;  ///< its derivative
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

/// The settings that every preference loss hands to preference_loss(): for the reward R of an answer, a group costs
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
[[nodiscard]] inline double target_margin(std::string_view name, double beta, const std::optional<double>& gamma,
                                          const std::optional<double>& gamma_beta_ratio) {
  const std::string where = std::string(name) + ".gamma";
  if (gamma && gamma_beta_ratio) throw config_error("stands beside gamma_beta_ratio", where, "give one of the two");
  if (!gamma && !gamma_beta_ratio)
    throw config_error("is not given", where,
                       "give gamma, or gamma_beta_ratio = gamma / beta; 0 asks for no margin, the paper takes 3 for "
                       "Llama-3 with beta 10");
  return gamma ? *gamma : beta * *gamma_beta_ratio;
}

/// Throws config_error, naming the setting, for settings outside their range or without effect.
inline void check(const preference_terms& terms, std::string_view name) {
  const auto refuse = [&](std::string_view key, std::string_view what, std::string_view remedy) {
    throw config_error(what, std::string(name) + "." + std::string(key), remedy);
  };
  if (!(terms.beta > 0.0) || !std::isfinite(terms.beta)) refuse("beta", "must be positive", "TRL uses 0.1 for sums");
  if (!std::isfinite(terms.gamma)) refuse("gamma", "must be a number", "0 asks for no margin");
  if (!(terms.penalty_weight >= 0.0) || !std::isfinite(terms.penalty_weight))
    refuse("penalty_weight", "must be 0 or more", "ORPO uses 0.1");
  if (!(terms.sft_weight >= 0.0) || !std::isfinite(terms.sft_weight))
    refuse("sft_weight", "must be 0 or more", "LOGO uses 0.1");
  if (!(terms.label_smoothing >= 0.0 && terms.label_smoothing < 0.5))
    refuse("label_smoothing", "must be in [0, 0.5)", "0 trusts every label");
  if (terms.by == penalty::hinge && terms.label_smoothing != 0.0)
    refuse("label_smoothing", "does nothing with the hinge penalty", "set it to 0, or take the sigmoid");
}

/// The groups of a micro-batch, in the order of their numbers.
///
/// A rejected answer of weight 0 is left out, and so is a group whose chosen answer has weight 0. Throws data_error,
/// naming the example, for a group without a chosen answer, with two, or without a rejected one, and for an answer
/// without scored tokens; throws shape_error for sizes that do not fit.
[[nodiscard]] inline std::vector<preference_group> preference_groups(std::string_view name,
                                                                     std::span<const sequence> sequences,
                                                                     std::span<const scored_token> scored,
                                                                     std::span<const double> log_probs) {
  if (log_probs.size() != scored.size())
    throw shape_error(
        std::to_string(log_probs.size()) + " log-probabilities for " + std::to_string(scored.size()) + " scored tokens",
        name, "run the model first: this loss is not linear");
  const auto read = [&](std::size_t i) {
    const sequence& s = sequences[i];
    const std::string where = "example " + std::to_string(s.example);
    if (s.scored_begin < 0 || s.scored_end < s.scored_begin || s.scored_end > std::ssize(scored))
      throw shape_error("its scored tokens lie outside the batch", where);
    if (!(s.weight > 0.0) || !std::isfinite(s.weight))
      throw data_error("its weight is negative or not a number", where, "give weights of 0 or more");
    if (s.scored_begin == s.scored_end || !(s.target_weight > 0.0))
      throw data_error("the answer has no scored token", where,
                       "drop the answer when the data are prepared, or give it weight 0");
    scored_answer answer{.sequence = i, .example = s.example, .length = s.target_weight, .share = s.weight};
    answer.reference = s.reference;
    for (auto k = static_cast<std::size_t>(s.scored_begin); k < static_cast<std::size_t>(s.scored_end); ++k)
      answer.log_prob += scored[k].weight * log_probs[k];
    return answer;
  };

  std::vector<std::size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sequences[a].group < sequences[b].group; });
  std::vector<preference_group> groups;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && sequences[order[end]].group == sequences[order[begin]].group) ++end;
    const sequence& first = sequences[order[begin]];
    const std::string where = "example " + std::to_string(first.example);
    const auto members = std::span(order).subspan(begin, end - begin);
    const auto is_chosen = [&](std::size_t i) { return sequences[i].role == 0; };
    const auto chosen = std::find_if(members.begin(), members.end(), is_chosen);
    if (chosen == members.end())
      throw data_error("its preference group has no chosen answer in this micro-batch", where,
                       "keep the answers to a prompt in one micro-batch, with role 0 for the chosen one");
    if (std::count_if(members.begin(), members.end(), is_chosen) > 1)
      throw data_error("its preference group has more than one chosen answer in this micro-batch", where,
                       "give the rejected answers roles above 0, and no group twice to a micro-batch");
    if (sequences[*chosen].weight == 0.0) continue;
    preference_group group;
    group.chosen = read(*chosen);
    double weights = 0.0;
    for (const std::size_t i : members) {
      if (is_chosen(i) || sequences[i].weight == 0.0) continue;
      group.rejected.push_back(read(i));
      weights += group.rejected.back().share;
    }
    if (group.rejected.empty())
      throw data_error("its preference group has no rejected answer in this micro-batch", where,
                       "keep the answers to a prompt in one micro-batch, one of them rejected with a positive weight");
    for (scored_answer& answer : group.rejected) answer.share /= weights;
    groups.push_back(std::move(group));
  }
  return groups;
}

/// Fills c and returns this micro-batch's share of (1/G) sum_i w_i L_i over the G groups of the step.
///
/// `reward(answer)` gives R of a scored_answer and dR / d log_prob as a sloped_value; `name` stands in messages.
template <class Reward>
double preference_loss(std::string_view name, const preference_terms& terms, const step_totals& totals,
                       std::span<const sequence> sequences, std::span<const scored_token> scored,
                       std::span<const double> log_probs, std::span<double> c, const Reward& reward) {
  check(terms, name);
  if (c.size() != scored.size()) throw shape_error("coefficients must be as many as scored tokens", name);
  std::fill(c.begin(), c.end(), 0.0);
  const std::vector<preference_group> groups = preference_groups(name, sequences, scored, log_probs);
  if (totals.groups < static_cast<double>(groups.size()))
    throw shape_error("the totals count fewer preference groups than one micro-batch holds", name,
                      "fill step_totals::groups for the whole step, as batching::totals does");

  const auto add = [&](const scored_answer& answer, double slope) {
    const sequence& s = sequences[answer.sequence];
    for (auto k = static_cast<std::size_t>(s.scored_begin); k < static_cast<std::size_t>(s.scored_end); ++k)
      c[k] = slope * scored[k].weight;
  };
  double sum = 0.0;
  for (const preference_group& group : groups) {
    const sloped_value chosen = reward(group.chosen);
    std::vector<sloped_value> rejected;
    double mean = 0.0;
    for (const scored_answer& answer : group.rejected) {
      rejected.push_back(reward(answer));
      mean += answer.share * rejected.back().value;
    }
    const double u = terms.beta * (chosen.value - mean) - terms.gamma;
    const sloped_value cost = punish(terms.by, terms.label_smoothing, u);
    const double per_token = terms.sft == sft_term::token_mean ? 1.0 / group.chosen.length : 1.0;

    const double scale = group.chosen.share / totals.groups;
    const double pull = scale * terms.penalty_weight * cost.slope * terms.beta;
    sum += scale * terms.penalty_weight * cost.value - scale * terms.sft_weight * per_token * group.chosen.log_prob;
    add(group.chosen, pull * chosen.slope - scale * terms.sft_weight * per_token);
    for (std::size_t j = 0; j < rejected.size(); ++j)
      add(group.rejected[j], -pull * group.rejected[j].share * rejected[j].slope);
  }
  return sum;
}

/// R(y) = sum_t a_t log p_t, divided by |y| when length normalised.
[[nodiscard]] inline sloped_value log_prob_reward(const scored_answer& answer, bool length_normalised) {
  const double slope = length_normalised ? 1.0 / answer.length : 1.0;
  return {slope * answer.log_prob, slope};
}

}  // namespace lodestone::loss
