// Rotary position embeddings: inverse frequencies with their scalings, and the cosine and sine tables of a batch.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/position/rope_config.hpp>

namespace lodestone::position {

/// Throws config_error, naming the key, when a setting is missing or makes no sense for the chosen scaling.
void check(const rope_config& config);

/// What multiplies cosine and sine: 1 except for YaRN, whose "attention factor" it is (Peng et al., arXiv 2309.00071,
/// equation 22: 0.1 ln(factor) + 1; with both mscale settings, their quotient).
[[nodiscard]] double attention_scaling(const rope_config& config);

/// The angle per position of each of the R/2 pairs, in double.
///
/// `length` is the length of the sequence: only dynamic NTK looks at it, and only past max_positions. A pack must
/// therefore give each sequence its own length, or a sequence would rotate differently with its neighbours.
[[nodiscard]] std::vector<double> inverse_frequencies(const rope_config& config, std::int64_t length = 0);

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

#ifndef LODESTONE_COMPILED
#include <lodestone/position/rope.ipp>
#endif
