// Clipping by the global norm of all gradients.
#pragma once

#include <cmath>

#include <lodestone/core/error.hpp>

namespace lodestone::optim {

/// The factor on every gradient that brings their global norm to at most `limit`, as torch.nn.utils.clip_grad_norm_
/// has it: min(1, limit / (norm + 1e-6)). `sum_of_squares` runs over every gradient of every rank's shard, each counted
/// once, in double. limit == 0 never clips. Throws numeric_error for a sum that is not finite: such a step must not
/// reach the weights.
[[nodiscard]] inline double clip_factor(double sum_of_squares, double limit) {
  if (!std::isfinite(sum_of_squares))
    throw numeric_error("the norm of the gradients is not a finite number", "gradients",
                        "lower the learning rate, or look for broken data in the last step");
  if (!(limit >= 0.0)) throw config_error("must be 0 (off) or positive", "optim.clip");
  if (limit == 0.0) return 1.0;
  return std::fmin(1.0, limit / (std::sqrt(sum_of_squares) + 1e-6));
}

}  // namespace lodestone::optim
