// Rotary position embeddings: inverse frequencies with their scalings, and the cosine and sine tables of a batch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/position/rope_config.hpp>

namespace lodestone::position {

/// Throws config_error, naming the key, when a setting is missing or makes no sense for the chosen scaling.
inline void check(const rope_config& config) {
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

/// What multiplies cosine and sine: 1 except for YaRN, whose "attention factor" it is (Peng et al., arXiv 2309.00071,
/// equation 22: 0.1 ln(factor) + 1; with both mscale settings, their quotient).
[[nodiscard]] inline double attention_scaling(const rope_config& config) {
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

/// base^(-2i/R) for pair i of R rotated elements.
[[nodiscard]] inline std::vector<double> plain_frequencies(double base, std::int64_t dimensions) {
  std::vector<double> frequencies(static_cast<std::size_t>(dimensions / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dimensions));
  return frequencies;
}

/// YaRN (section 3.2): pairs that turn more than beta_fast times within the original context keep their frequency,
/// those that turn less than beta_slow times are divided by `factor`, and a linear ramp joins them.
inline void stretch_yarn(const rope_config& config, std::vector<double>& frequencies) {
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

/// Llama 3.1: wavelengths past original / low_frequency_factor are divided by `factor`, those below original /
/// high_frequency_factor stay, and between them the two are mixed.
inline void stretch_llama3(const rope_config& config, std::vector<double>& frequencies) {
  const auto original = static_cast<double>(config.original_max_positions);
  for (double& frequency : frequencies) {
    const double turns = original * frequency / (2.0 * std::numbers::pi);  // original context / wavelength
    const double smooth = std::clamp((turns - config.low_frequency_factor) /
                                         (config.high_frequency_factor - config.low_frequency_factor), 0.0, 1.0);
    frequency = (1.0 - smooth) * frequency / config.factor + smooth * frequency;
  }
}

}  // namespace detail

/// The angle per position of each of the R/2 pairs, in double.
///
/// `length` is the length of the sequence: only dynamic NTK looks at it, and only past max_positions. A pack must
/// therefore give each sequence its own length, or a sequence would rotate differently with its neighbours.
[[nodiscard]] inline std::vector<double> inverse_frequencies(const rope_config& config, std::int64_t length = 0) {
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

namespace lodestone {

/// cos and sin of every (row, pair), already multiplied by the attention scaling.
template <class T>
struct rope_table {
  tensor<T, 2> cosine;  ///< [T, R/2]
  tensor<T, 2> sine;    ///< [T, R/2]
};

/// The frequencies of a batch's rows: row t turns by the R/2 numbers that start at frequencies[row_of[t] * R/2].
struct rope_frequencies {
  std::vector<double> frequencies;   ///< [n, R/2], rounded to the table's type
  std::vector<std::int32_t> row_of;  ///< [T]
};

/// Frequencies for a table of T: pretrained models were trained with inverse frequencies rounded to float. Only dynamic
/// NTK gives sequences of different `lengths` [T] different ones.
template <class T>
[[nodiscard]] rope_frequencies frequencies_of(const rope_config& config, std::span<const std::int64_t> lengths) {
  rope_frequencies result;
  result.row_of.resize(lengths.size());
  std::int32_t rows = 0;
  for (std::size_t t = 0; t < lengths.size(); ++t) {
    const bool depends = config.scaling == rope_scaling_kind::dynamic_ntk && t > 0 && lengths[t] != lengths[t - 1];
    if (t == 0 || depends) {
      for (const double frequency : position::inverse_frequencies(config, lengths[t]))
        result.frequencies.push_back(static_cast<double>(static_cast<T>(frequency)));
      ++rows;
    }
    result.row_of[t] = rows - 1;
  }
  return result;
}

/// Fills cosine and sine [T, R/2] for the position ids [T] and sequence lengths [T] of a batch (token_batch fields).
///
/// Tables of float use inverse frequencies rounded to float, as pretrained models were trained with; the product with
/// the position and its reduction are in double, so an id of a million loses nothing more. Throws shape_error when the
/// sizes differ and config_error for settings that make no sense.
template <class T>
void fill_rope_table(const rope_config& config, std::span<const std::int32_t> positions,
                     std::span<const std::int64_t> lengths, tensor_view<T, 2> cosine, tensor_view<T, 2> sine) {
  const auto rows = static_cast<std::int64_t>(positions.size());
  if (lengths.size() != positions.size() || cosine.size(0) != rows || sine.size(0) != rows ||
      cosine.size(1) != config.dimensions / 2 || sine.size(1) != config.dimensions / 2)
    throw shape_error("tables " + to_string(cosine.shape()) + " and " + to_string(sine.shape()) + " do not fit " +
                          std::to_string(rows) + " positions, " + std::to_string(lengths.size()) + " lengths and " +
                          std::to_string(config.dimensions) + " rotated elements",
                      "rope table");
  const double scaling = position::attention_scaling(config);
  const rope_frequencies turns = frequencies_of<T>(config, lengths);
  const auto pairs = static_cast<std::size_t>(config.dimensions / 2);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto index = static_cast<std::size_t>(row);
    const double* const frequencies = turns.frequencies.data() + static_cast<std::size_t>(turns.row_of[index]) * pairs;
    T* const cosine_row = cosine.row(row);
    T* const sine_row = sine.row(row);
    for (std::size_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(positions[index]) * frequencies[i];
      cosine_row[i] = static_cast<T>(std::cos(angle) * scaling);
      sine_row[i] = static_cast<T>(std::sin(angle) * scaling);
    }
  }
}

/// Allocates and fills the table of a batch.
template <class T>
[[nodiscard]] rope_table<T> make_rope_table(const rope_config& config, std::span<const std::int32_t> positions,
                                            std::span<const std::int64_t> lengths) {
  const extents<2> shape{{static_cast<std::int64_t>(positions.size()), config.dimensions / 2}};
  rope_table<T> table{tensor<T, 2>(shape), tensor<T, 2>(shape)};
  fill_rope_table<T>(config, positions, lengths, table.cosine.view(), table.sine.view());
  return table;
}

}  // namespace lodestone
