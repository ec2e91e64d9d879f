// The cost of training on a sequence of n tokens with a Llama-family model, for batching plans.
#pragma once

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
[[nodiscard]] batching::cost_model training_cost(const model_config& config, double recomputed_forwards = 0.0);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/cost.ipp>
#endif
