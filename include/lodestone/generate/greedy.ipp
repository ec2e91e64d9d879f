// Definitions of greedy.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <numeric>

#include <lodestone/core/inline.hpp>
#include <lodestone/generate/greedy.hpp>

namespace lodestone::generate {

LODESTONE_INLINE token_batch continuation(std::span<const std::int32_t> tokens, std::int64_t begin,
                                          std::int64_t length) {
  token_batch batch;
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.positions.resize(tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), static_cast<std::int32_t>(begin));
  batch.lengths.assign(tokens.size(), length);
  batch.slices = {{0, batch.size(), 0, batch.size()}};
  return batch;
}

}  // namespace lodestone::generate
