// Which ids of the target window a position policy visits: the histogram that `lodestone plan` prints.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/position/concept.hpp>

namespace lodestone::position {

/// Ids [low, high) of the window.
struct coverage_bucket {
  std::int64_t low = 0;      ///< first id
  std::int64_t high = 0;     ///< one past the last id
  std::int64_t tokens = 0;   ///< tokens of the samples with an id in the bucket
  std::int64_t targets = 0;  ///< of these, tokens from which a target is predicted
  std::int64_t seen = 0;     ///< different ids that some token had
};

/// What the ids of a number of samples cover.
struct coverage {
  std::int64_t window = 0;               ///< K
  std::int64_t samples = 0;              ///< examples times epochs that were measured
  std::int64_t tokens = 0;               ///< of these samples
  std::int64_t seen = 0;                 ///< different ids within the window
  std::int64_t beyond = 0;               ///< tokens with ids outside the window; 0 for policies that keep to it
  std::vector<coverage_bucket> buckets;  ///< of equal width, ascending; the last may be narrower

  /// Share of the window's ids that some token had.
  [[nodiscard]] double share() const {
    return window > 0 ? static_cast<double>(seen) / static_cast<double>(window) : 0.0;
  }
};

/// How coverage is measured.
struct coverage_options {
  std::int64_t epochs = 1;     ///< ids are drawn anew in each
  std::int64_t limit = 1'000;  ///< samples at most, spread evenly over examples and epochs; 0: no limit
  std::int64_t buckets = 16;   ///< of the histogram
};

/// Draws the ids of the examples of `store` as training with `seed` does, and counts them over [0, window). Throws
/// config_error for a window or options below 1, and what the policy throws.
template <example_store Store, position_policy Policy>
[[nodiscard]] coverage measure_coverage(const Store& store, const Policy& policy, std::int64_t window,
                                        std::uint64_t seed, const coverage_options& options = {}) {
  if (window < 1 || options.epochs < 1 || options.limit < 0 || options.buckets < 1)
    throw config_error("the coverage of " + std::to_string(window) + " ids in " + std::to_string(options.epochs) +
                           " epochs and " + std::to_string(options.buckets) + " buckets",
                       "coverage", "choose 1 or more of each");
  coverage result;
  result.window = window;
  const std::int64_t width = (window - 1) / options.buckets + 1;
  for (std::int64_t low = 0; low < window; low += width)
    result.buckets.push_back({.low = low, .high = std::min(low + width, window)});
  std::vector<bool> seen(static_cast<std::size_t>(window), false);
  std::vector<std::int32_t> ids;
  const auto size = static_cast<std::int64_t>(store.size());
  const std::int64_t all = size * options.epochs;
  result.samples = options.limit > 0 ? std::min(all, options.limit) : all;
  for (std::int64_t k = 0; k < result.samples; ++k) {
    // k all / samples, without a product that could pass 2^63
    const std::int64_t sample = all / result.samples * k + all % result.samples * k / result.samples;
    const example_view example = store[sample % size];
    ids.resize(example.tokens.size());
    policy.fill(example, seed, static_cast<std::uint64_t>(sample / size), ids);
    result.tokens += static_cast<std::int64_t>(ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || ids[i] >= window) {
        ++result.beyond;
        continue;
      }
      coverage_bucket& bucket = result.buckets[static_cast<std::size_t>(ids[i] / width)];
      ++bucket.tokens;
      bucket.targets += i < example.labels.size() && example.labels[i] != no_label && example.weights[i] > 0.0F;
      if (const auto id = static_cast<std::size_t>(ids[i]); !seen[id]) {
        seen[id] = true;
        ++bucket.seen;
        ++result.seen;
      }
    }
  }
  return result;
}

/// The histogram as text: one line for each bucket with its tokens, their share as a bar, the targets, and the share of
/// its ids that were seen.
[[nodiscard]] std::string to_text(const coverage& measured);

}  // namespace lodestone::position

#ifndef LODESTONE_COMPILED
#include <lodestone/position/coverage.ipp>
#endif
