// Definitions of weighted_sft.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/loss/weighted_sft.hpp>

namespace lodestone::loss {

LODESTONE_INLINE double weighted_sft::coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                                   std::span<const scored_token> scored,
                                                   std::span<const double> log_probs, std::span<double> c) const {
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

LODESTONE_INLINE std::vector<double> weighted_sft::sequence_scales(const step_totals& totals,
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

LODESTONE_INLINE std::vector<weighted_sft::pack_sum> weighted_sft::sum_packs(std::span<const sequence> sequences) {
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

LODESTONE_INLINE const weighted_sft::pack_sum& weighted_sft::find(const std::vector<pack_sum>& packs,
                                                                  std::int32_t pack) {
  return *std::find_if(packs.begin(), packs.end(), [&](const pack_sum& p) { return p.pack == pack; });
}

}  // namespace lodestone::loss
