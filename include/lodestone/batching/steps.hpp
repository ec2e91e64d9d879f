// Cutting a sequence of micro-batches into optimiser steps of a stated content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// How much one optimiser step holds, in exactly one unit; the number of ranks is not among them.
///
/// Micro-batches are never divided: a step closes with the micro-batch that reaches the stated content. The last step
/// of an epoch may hold less.
struct step_content {
  /// Exactly one of the three is positive, the others 0.
  ///@{
  std::int64_t micro_batches = 0;
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;
  ///@}
};

namespace detail {

/// Lengths as every strategy needs them: at least 1. Throws data_error naming the example.
void check_lengths(std::span<const std::int64_t> lengths);

/// Throws data_error for an example that no stream of `tokens` can hold.
void check_fits(std::span<const std::int64_t> lengths, std::int64_t tokens);

/// 0, 1, ..., n - 1 in the random order of (seed, epoch). `stream` separates the orders that one plan draws.
[[nodiscard]] std::vector<std::int64_t> shuffled_order(std::size_t n, std::uint64_t seed, std::uint64_t epoch,
                                                       std::uint64_t stream = 0);

}  // namespace detail

/// Cuts `stream`, in its order, into steps. Throws config_error unless exactly one field of `content` is positive and
/// the others are 0.
[[nodiscard]] epoch_plan cut_into_steps(std::vector<micro_batch> stream, std::span<const std::int64_t> lengths,
                                        const step_content& content);

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/steps.ipp>
#endif
