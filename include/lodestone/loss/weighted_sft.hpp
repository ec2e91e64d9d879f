// Supervised fine-tuning with LongAlign's loss weighting and its alternatives: one normaliser to choose.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/core/error.hpp>
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
                                    std::span<double> c) const {
    if (c.size() != scored.size() || (!log_probs.empty() && log_probs.size() != scored.size()))
      throw shape_error("coefficients and log-probabilities must be as many as scored tokens", "weighted_sft");
    const std::vector<double> scale = sequence_scales(totals, sequences);
    double value = 0.0;
    for (std::size_t k = 0; k < scored.size(); ++k) {
      c[k] = -scale[static_cast<std::size_t>(scored[k].sequence)] * scored[k].weight;
      if (!log_probs.empty() && c[k] != 0.0) value += c[k] * log_probs[k];
    }
    return value;
  }

  /// d loss / d (a_t l_t) for each sequence; 0 for one that contributes nothing.
  [[nodiscard]] std::vector<double> sequence_scales(const step_totals& totals,
                                                    std::span<const sequence> sequences) const {
    if ((per == normalize::constant || per == normalize::user) && !(divisor > 0.0))
      throw config_error("must be positive", "loss.divisor", "LongWriter uses 30");
    const bool by_pack = per == normalize::pack || per == normalize::constant;
    const std::vector<pack_sum> packs = by_pack ? sum_packs(sequences) : std::vector<pack_sum>{};
    std::vector<double> scale(sequences.size(), 0.0);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const sequence& s = sequences[i];
      if (!contributes(s)) continue;
      switch (per) {
        case normalize::sequence: scale[i] = s.weight / (totals.sequence_weight * s.target_weight); break;
        case normalize::token: scale[i] = s.weight / totals.token_weight; break;
        case normalize::user: scale[i] = s.weight / divisor; break;
        case normalize::pack: scale[i] = s.weight / (totals.packs * find(packs, s.pack).token_weight); break;
        case normalize::constant: {
          const pack_sum& own = find(packs, s.pack);
          scale[i] = s.weight * own.sequences / (totals.packs * own.token_weight * divisor);
          break;
        }
      }
    }
    return scale;
  }

 private:
  struct pack_sum {
    std::int32_t pack = 0;
    double token_weight = 0.0;  // sum of w_i a_t
    double sequences = 0.0;     // n_k
  };

  [[nodiscard]] static bool contributes(const sequence& s) { return s.weight > 0.0 && s.target_weight > 0.0; }

  [[nodiscard]] static std::vector<pack_sum> sum_packs(std::span<const sequence> sequences) {
    std::vector<pack_sum> packs;
    for (const sequence& s : sequences) {
      if (!contributes(s)) continue;
      auto own = std::find_if(packs.begin(), packs.end(), [&](const pack_sum& p) { return p.pack == s.pack; });
      if (own == packs.end()) own = packs.insert(packs.end(), pack_sum{.pack = s.pack});
      own->token_weight += s.weight * s.target_weight;
      own->sequences += 1.0;
    }
    return packs;
  }

  [[nodiscard]] static const pack_sum& find(const std::vector<pack_sum>& packs, std::int32_t pack) {
    return *std::find_if(packs.begin(), packs.end(), [&](const pack_sum& p) { return p.pack == pack; });
  }
};

static_assert(loss_function<weighted_sft>);

}  // namespace lodestone::loss
