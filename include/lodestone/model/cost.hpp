// The cost of training on a sequence of n tokens with a Llama-family model, for batching plans.
#pragma once

#include <algorithm>
#include <cstdint>

#include <lodestone/batching/cost.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone {

/// Floating-point operations of one forward and one backward pass.
///
/// Linear layers: 2 operations a weight and token forward, 4 backward. Attention: 4 D operations a head and pair
/// forward (scores and values), 10 D backward (five products, the scores computed anew). `recomputed_forwards` adds
/// forward passes: 1 when layers are recomputed in the backward pass. The head is left out: it runs on targets only,
/// and a plan knows lengths, not targets.
[[nodiscard]] inline batching::cost_model training_cost(const model_config& config, double recomputed_forwards = 0.0) {
  const auto e = static_cast<double>(config.hidden);
  const double weights = e * static_cast<double>(config.qkv_size()) + static_cast<double>(config.q_size()) * e +
                         3.0 * e * static_cast<double>(config.feed_forward);
  const double pair = (4.0 * (1.0 + recomputed_forwards) + 10.0) * static_cast<double>(config.q_size());
  batching::cost_model model{
      .per_token = (2.0 * (1.0 + recomputed_forwards) + 4.0) * weights * static_cast<double>(config.layers)};
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const std::int64_t window = config.window(layer);
    if (window == 0) {
      model.per_pair += pair;
      continue;
    }
    auto same = std::find_if(model.windows.begin(), model.windows.end(),
                             [&](const auto& layers) { return layers.window == window; });
    if (same == model.windows.end()) same = model.windows.insert(same, {.window = window});
    same->per_pair += pair;
  }
  return model;
}

}  // namespace lodestone
