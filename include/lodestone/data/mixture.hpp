// Mixes sources by count or by weight: how often each example of each source is used, from a seed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// One source of a mixture. At most one of `count` and `weight` is set; neither means every example once.
struct mixture_part {
  std::int64_t size = 0;                ///< examples in the source
  std::optional<std::int64_t> count{};  ///< how often its examples are used in all
  std::optional<double> weight{};       ///< its share of the mixture, in any unit
};

/// How many examples each part gives.
///
/// A count is taken as it stands; beyond the size of the source its examples repeat. Weights are shares of the mixture:
/// without `total` the mixture is as large as it can be without repeating an example, with `total` part i gives
/// round(total * weight_i / sum of weights). Throws config_error for negative or non-finite values, for a count or a
/// weight of an empty source, for weights beside counts, and for weights that some sources lack.
[[nodiscard]] std::vector<std::int64_t> mixture_counts(std::span<const mixture_part> parts,
                                                       std::optional<std::int64_t> total = std::nullopt);

/// How often each of `size` examples is used so that `count` are used in all: count / size times each, and a random
/// choice once more, uniform over all choices (selection sampling, Knuth 3.4.2 algorithm S). Depends on the seed and
/// the number of the part only.
[[nodiscard]] std::vector<std::int32_t> choose_examples(std::int64_t size, std::int64_t count, std::uint64_t seed,
                                                        std::uint64_t part);

/// The indices of a mixture in the concatenation of its sources, in their order; repeated examples stand side by side.
/// For selected_store.
[[nodiscard]] std::vector<std::int64_t> mixture_indices(
                           std::span<const mixture_part> parts, std::uint64_t seed,
                           std::optional<std::int64_t> total = std::nullopt);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/mixture.ipp>
#endif
