// One prompt with several answers: the ids that all of them share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/position/concept.hpp>

namespace lodestone::position {

/// The ids of a prompt of P tokens and of an answer of `longest` tokens behind it: [P + longest].
///
/// Every answer of A_j <= longest tokens takes the first P + A_j of them. So the ids of the prompt are the same for all
/// answers, and all answers begin at the same id, whether the prompt stands in the stream once or once for each answer.
/// `prompt` needs tokens, index and, where known, chunks; its labels are not read, the answer is the target.
template <position_policy Policy>
[[nodiscard]] std::vector<std::int32_t> prompt_ids(const Policy& policy, const example_view& prompt,
                                                   std::int64_t longest, std::uint64_t seed, std::uint64_t epoch) {
  if (longest < 0 || prompt.tokens.empty())
    throw shape_error("a prompt of " + std::to_string(prompt.tokens.size()) + " tokens with answers of " +
                          std::to_string(longest),
                      "example " + std::to_string(prompt.index), "give at least one token of prompt");
  const std::size_t size = prompt.tokens.size() + static_cast<std::size_t>(longest);
  std::vector<std::int32_t> tokens(prompt.tokens.begin(), prompt.tokens.end());
  tokens.resize(size, 0);
  std::vector<std::int32_t> labels(size, no_label);
  std::vector<float> weights(size, 0.0F);
  // The last row of the prompt predicts the first token of the answer, the last row of the answer nothing.
  for (std::size_t row = prompt.tokens.size() - 1; row + 1 < size; ++row) labels[row] = 0, weights[row] = 1.0F;
  const example_view whole{.tokens = tokens,
                           .labels = labels,
                           .weights = weights,
                           .weight = prompt.weight,
                           .index = prompt.index,
                           .chunks = prompt.chunks};
  std::vector<std::int32_t> ids(size);
  policy.fill(whole, seed, epoch, ids);
  return ids;
}

}  // namespace lodestone::position
