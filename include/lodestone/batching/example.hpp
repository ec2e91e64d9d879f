// One tokenised training example, as a view: what a token store hands out and a batch is assembled from.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>

namespace lodestone {

/// No target: the row predicts nothing.
inline constexpr std::int32_t no_label = -1;

/// No preference group: the example stands alone.
inline constexpr std::int64_t no_group = -1;

/// No reference log-probability is known; losses that need one refuse it.
inline constexpr double no_reference = std::numeric_limits<double>::quiet_NaN();

/// A tokenised sequence of n tokens with its targets.
///
/// `labels[r]` is the token that row r predicts, usually tokens[r + 1], or no_label. Labels are stored shifted, so a
/// pack can never leak the first token of one sequence into the last row of another. `weights[r]` is the weight a_t of
/// that target (message weight); it is 0 where there is no label.
struct example_view {
  std::span<const std::int32_t> tokens;  ///< [n]
  std::span<const std::int32_t> labels;  ///< [n]
  std::span<const float> weights;        ///< [n]
  double weight = 1.0;                   ///< w, the weight of the example
  std::int64_t index = 0;                ///< place in the store: the key of its random numbers
  std::int64_t group = no_group;         ///< preference group, numbered over the store: the answers to one prompt
  std::int32_t role = 0;                 ///< 0 chosen, j > 0 rejected answer j of its group
  std::int64_t prompt = 0;  ///< its first tokens, which all answers of its group share; 0: unknown
  double reference = no_reference;       ///< sum_t a_t log p_t under a reference model, for losses that want one
  std::span<const std::int64_t> chunks{};  ///< chunk j of the context is [chunks[j], chunks[j + 1]); empty: unknown
};

/// Anything that hands out examples by index. Requires: size() is constant, operator[] is pure and safe to call from
/// several threads. length(i) == (*this)[i].tokens.size(). Not required: that views outlive the store.
template <class S>
concept example_store = requires(const S& store, std::int64_t i) {
  { store.size() } -> std::convertible_to<std::int64_t>;
  { store.length(i) } -> std::convertible_to<std::int64_t>;
  { store[i] } -> std::convertible_to<example_view>;
};

}  // namespace lodestone
