// From logits to the next token: penalties and filters in the order of transformers, then one draw.
#pragma once

#include <cstddef>
#include <cstdint>
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
/// Where transformers leaves the order of equal probabilities open: top_k keeps all that equal the k-th; top_p takes the
/// lower id first; temperature 0 gives the lowest id.
class sampler {
 public:
  /// For logits of `vocabulary` tokens behind `prompt`. Throws config_error for settings out of range.
  sampler(const sampling& how, std::int64_t vocabulary, std::span<const std::int32_t> prompt);

  /// The next token by its logits [V]; those of `forbidden` are never chosen. Throws numeric_error for logits that are
  /// not numbers, or when nothing is left to choose from.
  template <class T>
  [[nodiscard]] std::int32_t draw(std::span<const T> logits, std::span<const std::int32_t> forbidden = {}) {
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
