// Definitions of mixture.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/data/mixture.hpp>

namespace lodestone {

LODESTONE_INLINE std::vector<std::int64_t> mixture_counts(std::span<const mixture_part> parts,
                                                          std::optional<std::int64_t> total) {
  const auto where = [](std::size_t i) { return "data[" + std::to_string(i) + "]"; };
  std::size_t weighted = 0;
  double sum = 0.0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const mixture_part& part = parts[i];
    if (part.count && part.weight) throw config_error("has both a count and a weight", where(i), "keep one of them");
    if (part.count && *part.count < 0) throw config_error("the count is negative", where(i), "use 0 to leave it out");
    if (part.weight && !(std::isfinite(*part.weight) && *part.weight >= 0.0)) {
      throw config_error("the weight must be finite and not negative", where(i), "use 0 to leave it out");
    }
    if (part.size == 0 && (part.count.value_or(0) > 0 || part.weight.value_or(0.0) > 0.0)) {
      throw config_error("the source has no examples", where(i), "check its file");
    }
    if (part.weight) {
      ++weighted;
      sum += *part.weight;
    }
  }
  std::vector<std::int64_t> counts(parts.size());
  if (weighted == 0) {
    if (total) throw config_error("a total needs a weight for every source", "data", "give each source a weight");
    for (std::size_t i = 0; i < parts.size(); ++i) counts[i] = parts[i].count.value_or(parts[i].size);
    return counts;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].weight) {
      throw config_error("has no weight, but other sources have one", where(i), "weigh all sources, or count them");
    }
  }
  if (sum <= 0.0) throw config_error("all weights are 0", "data", "give a source a positive weight");
  double scale = std::numeric_limits<double>::infinity();
  for (const mixture_part& part : parts) {
    if (*part.weight > 0.0) scale = std::min(scale, static_cast<double>(part.size) / *part.weight);
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double weight = *parts[i].weight;
    // The slack keeps size / weight * weight from losing an example to rounding.
    counts[i] = total ? std::llround(static_cast<double>(*total) * weight / sum)
                      : static_cast<std::int64_t>(std::floor(scale * weight * (1.0 + 1e-12)));
  }
  return counts;
}

LODESTONE_INLINE std::vector<std::int32_t> choose_examples(std::int64_t size, std::int64_t count, std::uint64_t seed,
                                                           std::uint64_t part) {
  std::vector<std::int32_t> times(static_cast<std::size_t>(size), 0);
  if (size == 0) return times;
  std::fill(times.begin(), times.end(), static_cast<std::int32_t>(count / size));
  std::int64_t wanted = count % size;
  random_stream random(seed, random_purpose::mixture, 0, part);
  for (std::int64_t i = 0; i < size && wanted > 0; ++i) {
    if (static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size - i))) >= wanted) continue;
    ++times[static_cast<std::size_t>(i)];
    --wanted;
  }
  return times;
}

LODESTONE_INLINE std::vector<std::int64_t> mixture_indices(std::span<const mixture_part> parts, std::uint64_t seed,
                                                           std::optional<std::int64_t> total) {
  const std::vector<std::int64_t> counts = mixture_counts(parts, total);
  std::vector<std::int64_t> indices;
  std::int64_t base = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const std::vector<std::int32_t> times = choose_examples(parts[p].size, counts[p], seed, p);
    for (std::size_t i = 0; i < times.size(); ++i) {
      indices.insert(indices.end(), static_cast<std::size_t>(times[i]), base + static_cast<std::int64_t>(i));
    }
    base += parts[p].size;
  }
  return indices;
}

}  // namespace lodestone

