// What a loss is: a function of label log-probabilities, with one coefficient per scored token.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <lodestone/batching/token_batch.hpp>

namespace lodestone {

/// Totals over a whole optimiser step: every micro-batch of every rank. Known from the plan before the step starts.
struct step_totals {
  double sequences = 0.0;        ///< M, sequences with target weight > 0
  double sequence_weight = 0.0;  ///< sum of w_i over them
  double token_weight = 0.0;     ///< sum of w_i a_t
  double packs = 0.0;            ///< K, packs (micro-batches) with at least one target
  double groups = 0.0;           ///< preference groups whose chosen answer has a target; per micro-batch that holds it
  std::int64_t tokens = 0;       ///< all tokens of the step
  std::int64_t targets = 0;      ///< all scored tokens with weight > 0
  std::int64_t without_targets = 0;  ///< sequences that contribute nothing
};

/// A loss over label log-probabilities.
///
/// Requires
///  1. `coefficients(totals, sequences, scored, log_probs, c) -> double`: fills c[k] = d loss / d log_probs[k] for
///     every scored token and returns this micro-batch's share of the loss of the step. All spans but `sequences` have
///     the length of `scored`.
///  2. `is_always_linear` (static constexpr bool) and `is_linear()`: whether c does not depend on log_probs. A linear
///     loss may be given empty log_probs; it then fills c and returns 0, and the caller computes the value as
///     sum_k c[k] log_probs[k].
/// Laws: the loss of a step is the sum of its micro-batches' shares, however the step is divided, if the loss declares
/// no dependence on packs; c is the gradient (finite differences); sequences of weight 0 change nothing, nor do those
/// with target_weight 0, unless the loss refuses them by name.
/// Not required: knowledge of models, backends or ranks.
template <class L>
concept loss_function = requires(const L& loss, const step_totals& totals, std::span<const sequence> sequences,
                                 std::span<const scored_token> scored, std::span<const double> log_probs,
                                 std::span<double> c) {
  { loss.coefficients(totals, sequences, scored, log_probs, c) } -> std::convertible_to<double>;
  { L::is_always_linear } -> std::convertible_to<bool>;
  { loss.is_linear() } -> std::convertible_to<bool>;
};

}  // namespace lodestone
