// From logits to the next token: penalties and filters in the order of transformers, then one draw.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/generate/concept.hpp>

namespace lodestone::generate {

/// Throws config_error, naming the member, for a value out of range.
void check(const sampling& how);

/// A token that may be drawn.
struct candidate {
  std::int32_t token = 0;    ///< its id
  double probability = 0.0;  ///< of all candidates together 1
};

/// Chooses the tokens of one answer.
///
/// The repetition penalty knows the tokens of the prompt and those drawn so far. Draw i depends on the seed, on i and
/// on the logits alone: it is the same beside other answers and on any number of threads.
///
/// Where transformers leaves the order of equal probabilities open: top_k keeps all that equal the k-th; top_p takes
/// the lower id first; temperature 0 gives the lowest id.
class sampler {
 public:
  /// For logits of `vocabulary` tokens behind `prompt`. Throws config_error for settings out of range.
  sampler(const sampling& how, std::int64_t vocabulary, std::span<const std::int32_t> prompt);

  /// The next token by its logits [V]; those of `forbidden` are never chosen. Throws numeric_error for logits that are
  /// not numbers, or when nothing is left to choose from.
  template <class T>
  [[nodiscard]] std::int32_t draw(std::span<const T> logits, std::span<const std::int32_t> forbidden = {}) {
    if (takes_the_largest() && forbidden.empty()) {
      const std::int32_t token = largest(logits);
      if (token < 0) refuse_logits();
      take(token);
      return token;
    }
    logits_.assign(logits.begin(), logits.end());
    return draw(forbidden);
  }

  /// What draw() chooses from, in the order of ids; draws nothing. With temperature 0 it is one token.
  template <class T>
  [[nodiscard]] std::vector<candidate> candidates(std::span<const T> logits,
                                                  std::span<const std::int32_t> forbidden = {}) {
    logits_.assign(logits.begin(), logits.end());
    choose(forbidden);
    return kept_;
  }

  /// Whether draw() takes the largest logit as it is: take() may stand for it where nothing is forbidden.
  [[nodiscard]] bool takes_the_largest() const { return how_.temperature == 0.0 && how_.repetition_penalty == 1.0; }
  /// Counts a token that was found elsewhere as drawn.
  void take(std::int32_t token) {
    ++drawn_;
    see(token);
  }

  [[nodiscard]] std::uint64_t drawn() const { return drawn_; }  ///< tokens so far

 private:
  /// The lowest id among the largest logits; -1 when one of them is not a number. Lanes side by side vectorise.
  template <class T>
  [[nodiscard]] static std::int32_t largest(std::span<const T> logits) {
    constexpr std::size_t lanes = 16;
    T most[lanes];
    bool is_odd[lanes] = {};
    for (T& lane : most) lane = -std::numeric_limits<T>::infinity();
    std::size_t i = 0;
    for (; i + lanes <= logits.size(); i += lanes)
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const T x = logits[i + lane];
        most[lane] = most[lane] < x ? x : most[lane];
        is_odd[lane] = is_odd[lane] || x != x;
      }
    for (; i < logits.size(); ++i) {
      most[0] = most[0] < logits[i] ? logits[i] : most[0];
      is_odd[0] = is_odd[0] || logits[i] != logits[i];
    }
    const T best = *std::max_element(most, most + lanes);
    if (std::any_of(is_odd, is_odd + lanes, [](bool odd) { return odd; }) || !std::isfinite(best)) return -1;
    return static_cast<std::int32_t>(std::find(logits.begin(), logits.end(), best) - logits.begin());
  }

  [[noreturn]] static void refuse_logits();
  std::int32_t draw(std::span<const std::int32_t> forbidden);
  void choose(std::span<const std::int32_t> forbidden);
  void penalise(std::span<const std::int32_t> forbidden);
  void keep_most_likely();
  void keep_nucleus();
  void see(std::int32_t token);

  sampling how_;
  std::vector<bool> is_seen_;       // [V]; empty without a penalty
  std::vector<std::int32_t> seen_;  // each once
  std::vector<double> logits_;      // [V]
  std::vector<candidate> kept_;     // unnormalised while filters act
  std::uint64_t drawn_ = 0;
};

}  // namespace lodestone::generate

#ifndef LODESTONE_COMPILED
#include <lodestone/generate/sampling.ipp>
#endif
