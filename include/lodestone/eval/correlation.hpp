// Rank correlations of two lists of ratings: how far a judge orders answers as people do.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::eval {

/// Ranks from 1; equal values share the mean of their ranks.
[[nodiscard]] inline std::vector<double> mean_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end + 1) / 2;
    begin = end;
  }
  return ranks;
}

namespace detail {

inline void check_pairs(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size()) {
    throw shape_error("ratings of " + std::to_string(a.size()) + " and of " + std::to_string(b.size()) +
                      " answers cannot be compared");
  }
  for (const std::span<const double> values : {a, b})
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i])) throw numeric_error("rating " + std::to_string(i) + " is not a finite number");
}

}  // namespace detail

/// The correlation coefficient of two lists of finite numbers; nothing where one of them does not vary.
[[nodiscard]] inline std::optional<double> pearson(std::span<const double> a, std::span<const double> b) {
  detail::check_pairs(a, b);
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0.0;
  double aa = 0.0;
  double bb = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a;
    const double y = b[i] - mean_b;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (!(aa > 0) || !(bb > 0)) return std::nullopt;
  return std::clamp(ab / std::sqrt(aa * bb), -1.0, 1.0);
}

/// Spearman's rho: the correlation of mean_ranks(). Nothing where all values of a list are equal.
[[nodiscard]] inline std::optional<double> spearman(std::span<const double> a, std::span<const double> b) {
  detail::check_pairs(a, b);
  return pearson(mean_ranks(a), mean_ranks(b));
}

/// Kendall's tau-b: (pairs in the same order - pairs in opposite order) / sqrt((pairs not tied in a) (pairs not tied in
/// b)). Nothing where all values of a list are equal. Time: the square of the length.
[[nodiscard]] inline std::optional<double> kendall(std::span<const double> a, std::span<const double> b) {
  detail::check_pairs(a, b);
  std::int64_t difference = 0;
  std::int64_t untied_a = 0;
  std::int64_t untied_b = 0;
  const auto order = [](double x, double y) { return (x > y ? 1 : 0) - (x < y ? 1 : 0); };
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = i + 1; j < a.size(); ++j) {
      const int in_a = order(a[i], a[j]);
      const int in_b = order(b[i], b[j]);
      difference += in_a * in_b;
      untied_a += in_a != 0 ? 1 : 0;
      untied_b += in_b != 0 ? 1 : 0;
    }
  }
  if (untied_a == 0 || untied_b == 0) return std::nullopt;
  return static_cast<double>(difference) / std::sqrt(static_cast<double>(untied_a) * static_cast<double>(untied_b));
}

}  // namespace lodestone::eval
