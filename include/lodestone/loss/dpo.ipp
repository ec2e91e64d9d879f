// Definitions of dpo.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cmath>
#include <string>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/loss/dpo.hpp>

namespace lodestone::loss {

LODESTONE_INLINE sloped_value dpo_reward::of(const scored_answer& answer, bool length_normalised) {
  if (!std::isfinite(answer.reference))
    throw data_error("has no reference log-probability", "example " + std::to_string(answer.example),
                     "score every answer with the reference model and store the sum with it");
  sloped_value ratio = log_prob_reward(answer, length_normalised);
  ratio.value -= ratio.slope * answer.reference;
  return ratio;
}

}  // namespace lodestone::loss
