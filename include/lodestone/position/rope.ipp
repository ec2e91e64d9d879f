// Definitions of rope.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/position/rope.hpp>

namespace lodestone::position {

LODESTONE_INLINE void check(const rope_config& config) {
  const auto refuse = [](const char* key, const std::string& what) {
    throw config_error(what, key, "compare rope_theta and rope_scaling with the model's config.json");
  };
  if (config.dimensions <= 0 || config.dimensions % 2 != 0)
    refuse("rope.dimensions", std::to_string(config.dimensions) + " rotated elements a head must be even and positive");
  if (!(config.base > 1.0)) refuse("rope_theta", "the base must be greater than 1");
  if (config.scaling == rope_scaling_kind::none) return;
  if (!(config.factor > 0.0)) refuse("rope_scaling.factor", "must be positive");
  if (config.scaling == rope_scaling_kind::dynamic_ntk) {
    if (config.max_positions <= 0) refuse("max_position_embeddings", "dynamic scaling needs it");
    if (config.dimensions <= 2) refuse("rope.dimensions", "dynamic scaling needs more than 2 rotated elements");
  }
  if (config.scaling == rope_scaling_kind::yarn || config.scaling == rope_scaling_kind::llama3) {
    if (config.original_max_positions <= 0)
      refuse("rope_scaling.original_max_position_embeddings", "this scaling needs it");
  }
  if (config.scaling == rope_scaling_kind::yarn && !(config.beta_fast > 0.0 && config.beta_slow > 0.0))
    refuse("rope_scaling.beta_fast", "beta_fast and beta_slow must be positive");
  if (config.scaling == rope_scaling_kind::llama3 &&
      !(config.low_frequency_factor > 0.0 && config.high_frequency_factor > config.low_frequency_factor))
    refuse("rope_scaling.high_freq_factor", "must be greater than low_freq_factor, which must be positive");
}

LODESTONE_INLINE double attention_scaling(const rope_config& config) {
  if (config.scaling != rope_scaling_kind::yarn) return 1.0;
  if (config.attention_factor) return *config.attention_factor;
  const auto stretched = [&](double mscale) {
    return config.factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(config.factor) + 1.0;
  };
  const double mscale = config.mscale.value_or(0.0);
  const double all = config.mscale_all_dimensions.value_or(0.0);
  return mscale != 0.0 && all != 0.0 ? stretched(mscale) / stretched(all) : stretched(1.0);
}

namespace detail {

// base^(-2i/R) for pair i of R rotated elements.
LODESTONE_INLINE std::vector<double> plain_frequencies(double base, std::int64_t dimensions) {
  std::vector<double> frequencies(static_cast<std::size_t>(dimensions / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dimensions));
  return frequencies;
}

// YaRN (section 3.2): pairs that turn more than beta_fast times within the original context keep their frequency,
// those that turn less than beta_slow times are divided by `factor`, and a linear ramp joins them.
LODESTONE_INLINE void stretch_yarn(const rope_config& config, std::vector<double>& frequencies) {
  const auto dimensions = static_cast<double>(config.dimensions);
  const auto pair_that_turns = [&](double times) {
    const double positions = static_cast<double>(config.original_max_positions);
    return dimensions * std::log(positions / (times * 2.0 * std::numbers::pi)) / (2.0 * std::log(config.base));
  };
  double low = pair_that_turns(config.beta_fast);
  double high = pair_that_turns(config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dimensions - 1.0);
  if (low == high) high += 0.001;  // a step instead of a ramp
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / config.factor * ramp + frequencies[i] * (1.0 - ramp);
  }
}

// Llama 3.1: wavelengths past original / low_frequency_factor are divided by `factor`, those below original /
// high_frequency_factor stay, and between them the two are mixed.
LODESTONE_INLINE void stretch_llama3(const rope_config& config, std::vector<double>& frequencies) {
  const auto original = static_cast<double>(config.original_max_positions);
  for (double& frequency : frequencies) {
    const double turns = original * frequency / (2.0 * std::numbers::pi);  // original context / wavelength
    const double smooth = std::clamp(
        (turns - config.low_frequency_factor) / (config.high_frequency_factor - config.low_frequency_factor), 0.0, 1.0);
    frequency = (1.0 - smooth) * frequency / config.factor + smooth * frequency;
  }
}

}  // namespace detail

LODESTONE_INLINE std::vector<double> inverse_frequencies(const rope_config& config, std::int64_t length) {
  check(config);
  double base = config.base;
  if (config.scaling == rope_scaling_kind::dynamic_ntk) {
    const auto trained = static_cast<double>(config.max_positions);
    const auto dimensions = static_cast<double>(config.dimensions);
    const double reach = std::max(static_cast<double>(length), trained);
    base *= std::pow(config.factor * reach / trained - (config.factor - 1.0), dimensions / (dimensions - 2.0));
  }
  std::vector<double> frequencies = detail::plain_frequencies(base, config.dimensions);
  if (config.scaling == rope_scaling_kind::linear)
    for (double& frequency : frequencies) frequency /= config.factor;
  if (config.scaling == rope_scaling_kind::yarn) detail::stretch_yarn(config, frequencies);
  if (config.scaling == rope_scaling_kind::llama3) detail::stretch_llama3(config, frequencies);
  return frequencies;
}

}  // namespace lodestone::position
