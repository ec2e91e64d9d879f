// Supervised fine-tuning with LongAlign's loss weighting and its alternatives: one normaliser to choose.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/loss/concept.hpp>

namespace lodestone {

/// What the loss is a mean of. With l_t = -log p(label_t), message weight a_t and example weight w_i:
enum class normalize : std::uint8_t {
  sequence,  ///< sum_i w_i (sum_t a_t l_t / sum_t a_t) / sum_i w_i: LongAlign equations 2 and 4
  token,     ///< sum_i w_i sum_t a_t l_t / sum_i w_i sum_t a_t
  pack,      ///< (1/K) sum_k (token mean of pack k): plain packing, equation 3; depends on the packs
  constant,  ///< (1/K) sum_k (token mean of pack k) n_k / c, n_k sequences in it: LongWriter; depends on the packs
  user,      ///< sum_i w_i sum_t a_t l_t / c: every weight is the caller's
};

}  // namespace lodestone

namespace lodestone::loss {

/// Negative log-likelihood of the targets, weighted and normalised over the whole optimiser step.
///
/// M, K and the sums of weights are those of the step (step_totals), so the loss and its gradient do not depend on how
/// sequences share micro-batches, ranks or accumulation steps: exactly for sequence, token and user. `pack` and
/// `constant` are defined by the packs themselves; a pack must lie within one micro-batch. Sequences whose weight or
/// whose target weight is 0 change nothing.
struct weighted_sft {
  normalize per = normalize::sequence;  ///< which mean the loss is
  double divisor = 1.0;                 ///< c of `constant` and `user`

  /// The coefficients never depend on the log-probabilities.
  ///@{
  static constexpr bool is_always_linear = true;
  [[nodiscard]] static constexpr bool is_linear() { return true; }
  ///@}

  /// Fills c[k] = d loss / d log p_k and returns sum_k c[k] log_probs[k], this micro-batch's share of the loss; returns
  /// 0 for empty log_probs.
  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const;

  /// d loss / d (a_t l_t) for each sequence; 0 for one that contributes nothing.
  [[nodiscard]] std::vector<double> sequence_scales(const step_totals& totals,
                                                    std::span<const sequence> sequences) const;

 private:
  struct pack_sum {
    std::int32_t pack = 0;
    double token_weight = 0.0;  // sum of w_i a_t
    double sequences = 0.0;     // n_k
  };

  [[nodiscard]] static bool contributes(const sequence& s) { return s.weight > 0.0 && s.target_weight > 0.0; }

  [[nodiscard]] static std::vector<pack_sum> sum_packs(std::span<const sequence> sequences);

  [[nodiscard]] static const pack_sum& find(const std::vector<pack_sum>& packs, std::int32_t pack);
};

static_assert(loss_function<weighted_sft>);

}  // namespace lodestone::loss

#ifndef LODESTONE_COMPILED
#include <lodestone/loss/weighted_sft.ipp>
#endif
