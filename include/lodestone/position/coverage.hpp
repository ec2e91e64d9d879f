// Which ids of the target window a position policy visits: the histogram that `lodestone plan` prints.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
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
[[nodiscard]] inline std::string to_text(const coverage& measured) {
  const auto grouped = [](std::int64_t value) {
    std::string digits = std::to_string(value);
    for (auto at = static_cast<std::int64_t>(digits.size()) - 3; at > 0; at -= 3)
      digits.insert(static_cast<std::size_t>(at), 1, ',');
    return digits;
  };
  const auto right = [](const std::string& text, std::size_t columns) {
    return std::string(text.size() < columns ? columns - text.size() : 0, ' ') + text;
  };
  const auto percent = [](std::int64_t part, std::int64_t whole) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f %%",
                  whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0);
    return std::string(text);
  };
  std::int64_t most = 1;
  for (const coverage_bucket& bucket : measured.buckets) most = std::max(most, bucket.tokens);
  std::string out = "position ids of " + grouped(measured.samples) + " samples in a window of " +
                    grouped(measured.window) + ": " + percent(measured.seen, measured.window) + " of the ids seen\n" +
                    "  ids from           tokens     targets   ids seen\n";
  for (const coverage_bucket& bucket : measured.buckets) {
    const std::int64_t bar = bucket.tokens > 0 ? 1 + (bucket.tokens * 30 - 1) / most : 0;
    out += right(grouped(bucket.low), 10) + right(grouped(bucket.tokens), 15) + right(grouped(bucket.targets), 12) +
           right(percent(bucket.seen, bucket.high - bucket.low), 11) + (bar > 0 ? "  " : "") +
           std::string(static_cast<std::size_t>(bar), '#') + "\n";
  }
  if (measured.beyond > 0) out += "  outside the window: " + grouped(measured.beyond) + " tokens\n";
  return out;
}

}  // namespace lodestone::position
