// Definitions of preference.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/loss/preference.hpp>

namespace lodestone::loss {

LODESTONE_INLINE double target_margin(std::string_view name, double beta, const std::optional<double>& gamma,
                                      const std::optional<double>& gamma_beta_ratio) {
  const std::string where = std::string(name) + ".gamma";
  if (gamma && gamma_beta_ratio) throw config_error("stands beside gamma_beta_ratio", where, "give one of the two");
  if (!gamma && !gamma_beta_ratio)
    throw config_error("is not given", where,
                       "give gamma, or gamma_beta_ratio = gamma / beta; 0 asks for no margin, the paper takes 3 for "
                       "Llama-3 with beta 10");
  return gamma ? *gamma : beta * *gamma_beta_ratio;
}

LODESTONE_INLINE void check(const preference_terms& terms, std::string_view name) {
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

LODESTONE_INLINE std::vector<preference_group> preference_groups(std::string_view name,
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
      throw data_error("its weight is negative or not finite", where, "give finite weights of 0 or more");
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

LODESTONE_INLINE std::vector<preference_outcome> preference_outcomes(const preference_terms& terms,
                                                                     std::span<const preference_group> groups) {
  std::vector<preference_outcome> outcomes;
  for (const preference_group& group : groups) {
    const scored_answer& chosen = group.chosen;
    preference_outcome& own = outcomes.emplace_back();
    own.chosen_reward = terms.beta * chosen.reward.value;
    own.chosen_log_prob = chosen.log_prob / chosen.length;
    own.sft = terms.sft == sft_term::token_mean ? -own.chosen_log_prob : -chosen.log_prob;
    own.best_rejected_reward = terms.beta * group.rejected.front().reward.value;
    for (const scored_answer& answer : group.rejected) {
      own.rejected_reward += answer.share * terms.beta * answer.reward.value;
      own.best_rejected_reward = std::max(own.best_rejected_reward, terms.beta * answer.reward.value);
      own.rejected_log_prob += answer.share * answer.log_prob / answer.length;
    }
  }
  return outcomes;
}

LODESTONE_INLINE double preference_sum(std::string_view name, const preference_terms& terms, const step_totals& totals,
                                       std::span<const sequence> sequences, std::span<const scored_token> scored,
                                       std::span<const preference_group> groups, std::span<double> c) {
  check(terms, name);
  if (c.size() != scored.size()) throw shape_error("coefficients must be as many as scored tokens", name);
  std::fill(c.begin(), c.end(), 0.0);
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
    double mean = 0.0;
    for (const scored_answer& answer : group.rejected) mean += answer.share * answer.reward.value;
    const double u = terms.beta * (group.chosen.reward.value - mean) - terms.gamma;
    const sloped_value cost = punish(terms.by, terms.label_smoothing, u);
    const double per_token = terms.sft == sft_term::token_mean ? 1.0 / group.chosen.length : 1.0;

    const double scale = group.chosen.share / totals.groups;
    const double pull = scale * terms.penalty_weight * cost.slope * terms.beta;
    sum += scale * terms.penalty_weight * cost.value - scale * terms.sft_weight * per_token * group.chosen.log_prob;
    add(group.chosen, pull * group.chosen.reward.slope - scale * terms.sft_weight * per_token);
    for (const scored_answer& answer : group.rejected) add(answer, -pull * answer.share * answer.reward.slope);
  }
  return sum;
}

}  // namespace lodestone::loss
