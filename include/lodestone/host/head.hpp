// The language-model head after its product: label log-probabilities of logits rows and their gradient.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include <lodestone/host/exponential.hpp>
#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

/// Log-probabilities of the labels of each row, and each row's log-sum-exp for label_gradient.
///
/// logits[m,V], lse[m]. Row r has the labels labels[offsets[r]], ..., labels[offsets[r+1] - 1] (none, one or several),
/// and log_probs[k] = logits[r][labels[k]] - lse[r]. The exponentials are taken relative to the row's largest logit and
/// summed in double.
template <class T>
void label_log_probs(thread_pool& pool, matrix<const T> logits, std::span<const std::int64_t> offsets,
                     std::span<const std::int32_t> labels, vector<T> lse, std::span<double> log_probs) {
  check_labels(logits, lse, offsets, labels, log_probs.size(), "label_log_probs");
  const std::int64_t width = logits.size(1);
  for_row_tiles(pool, logits.size(0), width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = logits.row(r);
      constexpr int lanes = 16;
      T maxima[lanes];
      std::fill_n(maxima, lanes, -std::numeric_limits<T>::infinity());
      std::int64_t i = 0;
      for (; i + lanes <= width; i += lanes)
        for (int lane = 0; lane < lanes; ++lane)
          maxima[lane] = maxima[lane] < row[i + lane] ? row[i + lane] : maxima[lane];
      for (; i < width; ++i) maxima[0] = maxima[0] < row[i] ? row[i] : maxima[0];
      const T largest = *std::max_element(maxima, maxima + lanes);
      const double sum = lane_sum<double>(width, [=](std::int64_t j) { return exponential(row[j] - largest); });
      const double total = static_cast<double>(largest) + std::log(sum);
      lse.data()[r] = static_cast<T>(total);
      for (std::int64_t k = offsets[static_cast<std::size_t>(r)]; k < offsets[static_cast<std::size_t>(r) + 1]; ++k)
        log_probs[static_cast<std::size_t>(k)] =
            static_cast<double>(row[labels[static_cast<std::size_t>(k)]]) - total;
    }
  });
}

/// The gradient of logits[m,V]: row r of d_logits[m,V] = sum over its labels k of coefficients[k] (onehot(labels[k]) -
/// softmax), coefficients being d loss / d log p. lse comes from label_log_probs. d_logits may be logits itself.
template <class T>
void label_gradient(thread_pool& pool, matrix<const T> logits, vector<const T> lse,
                    std::span<const std::int64_t> offsets, std::span<const std::int32_t> labels,
                    std::span<const double> coefficients, matrix<T> d_logits) {
  checks::label_gradient(logits, lse, offsets, labels, coefficients.size(), d_logits);
  const std::int64_t width = logits.size(1);
  for_row_tiles(pool, logits.size(0), width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* from = logits.row(r);
      T* row = d_logits.row(r);
      const auto first = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r)]);
      const auto last = static_cast<std::size_t>(offsets[static_cast<std::size_t>(r) + 1]);
      double sum = 0;
      for (std::size_t k = first; k < last; ++k) sum += coefficients[k];
      const T factor = static_cast<T>(-sum);
      const T total = lse.data()[r];
      for (std::int64_t j = 0; j < width; ++j) row[j] = factor * exponential(from[j] - total);
      for (std::size_t k = first; k < last; ++k) row[labels[k]] += static_cast<T>(coefficients[k]);
    }
  });
}

}  // namespace lodestone::on_host
