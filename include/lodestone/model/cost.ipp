// Definitions of cost.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/core/inline.hpp>
#include <lodestone/model/cost.hpp>

namespace lodestone {

LODESTONE_INLINE batching::cost_model training_cost(const model_config& config, double recomputed_forwards) {
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
