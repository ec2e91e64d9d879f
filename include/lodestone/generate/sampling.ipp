// Definitions of sampling.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/generate/sampling.hpp>

namespace lodestone::generate {

LODESTONE_INLINE void check(const sampling& how) {
  const auto refuse = [](const char* key, double value, const char* range) {
    throw config_error(std::to_string(value) + " is out of range", key, std::string("give ") + range);
  };
  if (!(how.repetition_penalty > 0.0) || !std::isfinite(how.repetition_penalty))
    refuse("repetition_penalty", how.repetition_penalty, "a number above 0; 1 changes nothing");
  if (!(how.temperature >= 0.0) || !std::isfinite(how.temperature))
    refuse("temperature", how.temperature, "0 for the most likely token, or more");
  if (how.top_k < 0) refuse("top_k", static_cast<double>(how.top_k), "a number of tokens; 0 takes all");
  if (!(how.top_p > 0.0 && how.top_p <= 1.0)) refuse("top_p", how.top_p, "a number in (0, 1]; 1 takes all");
  if (!(how.min_p >= 0.0 && how.min_p <= 1.0)) refuse("min_p", how.min_p, "a number in [0, 1]; 0 takes all");
}

LODESTONE_INLINE sampler::sampler(const sampling& how, std::int64_t vocabulary, std::span<const std::int32_t> prompt)
    : how_(how) {
  check(how);
  if (how.repetition_penalty == 1.0) return;
  is_seen_.resize(static_cast<std::size_t>(vocabulary));
  for (const std::int32_t token : prompt) see(token);
}

LODESTONE_INLINE void sampler::refuse_logits() {
  throw numeric_error("the model's logits are not numbers", "sampling", "look at the model's weights");
}

LODESTONE_INLINE void sampler::see(std::int32_t token) {
  const auto at = static_cast<std::size_t>(token);
  if (token < 0 || at >= is_seen_.size() || is_seen_[at]) return;
  is_seen_[at] = true;
  seen_.push_back(token);
}

LODESTONE_INLINE std::int32_t sampler::draw(std::span<const std::int32_t> forbidden) {
  choose(forbidden);
  std::int32_t token = kept_.back().token;  // where rounding leaves the sum below the draw
  if (kept_.size() > 1) {
    random_stream random(how_.seed, random_purpose::sampling, 0, drawn_);
    const double u = random.uniform();
    double sum = 0.0;
    for (const candidate& c : kept_)
      if ((sum += c.probability) > u) {
        token = c.token;
        break;
      }
  }
  ++drawn_;
  see(token);
  return token;
}

LODESTONE_INLINE void sampler::choose(std::span<const std::int32_t> forbidden) {
  penalise(forbidden);
  kept_.clear();
  const auto best = std::max_element(logits_.begin(), logits_.end());
  if (best == logits_.end() || !std::isfinite(*best))
    throw numeric_error("no token is left to choose from", "sampling",
                        "look at the tokens that are forbidden, and at the model's weights");
  if (how_.temperature == 0.0) {
    kept_.push_back({static_cast<std::int32_t>(best - logits_.begin()), 1.0});
    return;
  }
  const double most = *best / how_.temperature;
  double least = -std::numeric_limits<double>::infinity();
  if (how_.top_k > 0 && static_cast<std::size_t>(how_.top_k) < logits_.size()) {
    std::vector<double> order(logits_);
    const auto kth = order.begin() + (how_.top_k - 1);
    std::nth_element(order.begin(), kth, order.end(), std::greater<>());
    least = *kth;
  }
  double sum = 0.0;
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] < least) continue;
    const double weight = std::exp(logits_[i] / how_.temperature - most);
    if (weight == 0.0) continue;
    kept_.push_back({static_cast<std::int32_t>(i), weight});
    sum += weight;
  }
  for (candidate& c : kept_) c.probability /= sum;
  if (how_.top_p < 1.0) keep_nucleus();
  if (how_.min_p > 0.0) keep_most_likely();
  sum = 0.0;
  for (const candidate& c : kept_) sum += c.probability;
  for (candidate& c : kept_) c.probability /= sum;
}

LODESTONE_INLINE void sampler::penalise(std::span<const std::int32_t> forbidden) {
  for (const std::int32_t token : seen_) {
    double& logit = logits_[static_cast<std::size_t>(token)];
    logit = logit > 0.0 ? logit / how_.repetition_penalty : logit * how_.repetition_penalty;
  }
  for (const std::int32_t token : forbidden)
    if (token >= 0 && static_cast<std::size_t>(token) < logits_.size())
      logits_[static_cast<std::size_t>(token)] = -std::numeric_limits<double>::infinity();
  // A comparison with a number that is none is false: the largest element would be found beside it.
  if (std::any_of(logits_.begin(), logits_.end(), [](double x) { return x != x; })) refuse_logits();
}

LODESTONE_INLINE void sampler::keep_nucleus() {
  const auto before = [](const candidate& a, const candidate& b) {
    return a.probability > b.probability || (a.probability == b.probability && a.token < b.token);
  };
  // Most of a large vocabulary is never in the nucleus: only as much of it is sorted as the sum asks for.
  double sum = 0.0;
  std::size_t count = 0;
  for (std::size_t sorted = 0; sorted < kept_.size() && sum < how_.top_p;) {
    const std::size_t end = std::min(kept_.size(), std::max<std::size_t>(64, 8 * sorted));
    const auto from = kept_.begin() + static_cast<std::ptrdiff_t>(sorted);
    std::partial_sort(from, kept_.begin() + static_cast<std::ptrdiff_t>(end), kept_.end(), before);
    for (; sorted < end && sum < how_.top_p; ++sorted) {
      sum += kept_[sorted].probability;
      count = sorted + 1;
    }
    sorted = end;
  }
  kept_.resize(std::max<std::size_t>(count, 1));
  std::sort(kept_.begin(), kept_.end(), [](const candidate& a, const candidate& b) { return a.token < b.token; });
}

LODESTONE_INLINE void sampler::keep_most_likely() {
  double most = 0.0;
  for (const candidate& c : kept_) most = std::max(most, c.probability);
  std::erase_if(kept_, [least = how_.min_p * most](const candidate& c) { return c.probability < least; });
}

}  // namespace lodestone::generate
