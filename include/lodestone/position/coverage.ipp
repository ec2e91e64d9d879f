// Definitions of coverage.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>

#include <lodestone/core/inline.hpp>
#include <lodestone/position/coverage.hpp>

namespace lodestone::position {

LODESTONE_INLINE std::string to_text(const coverage& measured) {
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
