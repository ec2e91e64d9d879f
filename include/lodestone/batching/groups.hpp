// The answers to one prompt, found among all examples: what preference batching plans with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// A prompt of P tokens with its answers of A_j tokens.
struct answer_group {
  std::vector<std::int64_t> examples;  ///< the chosen answer, then the rejected ones by role
  std::int64_t prompt = 0;             ///< P
  std::int64_t answers = 0;            ///< sum of A_j

  /// Tokens of a stream that holds the prompt once: P + sum of A_j.
  [[nodiscard]] std::int64_t shared_tokens() const { return prompt + answers; }
  /// Tokens of streams that hold it with each answer: sum of P + A_j.
  [[nodiscard]] std::int64_t separate_tokens() const {
    return prompt * static_cast<std::int64_t>(examples.size()) + answers;
  }
};

/// The groups, in the order of their first examples. Throws data_error, naming the example, for one that belongs to no
/// group or has no answer behind its prompt, and for a group whose prompts differ in length, that has no chosen answer,
/// more than one, or none to reject.
[[nodiscard]] std::vector<answer_group> group_answers(std::span<const example_shape> shapes);

namespace detail {

/// `groups`, a plan whose examples are places in `of`, as a plan of the examples themselves.
[[nodiscard]] epoch_plan expand_groups(const epoch_plan& groups, std::span<const answer_group> of,
                                       arrangement arranged);

}  // namespace detail

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/groups.ipp>
#endif
