// Attention over slices as plain double loops: the semantics that every policy is compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <lodestone/attention/concept.hpp>
#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/tensor.hpp>

namespace lodestone {

/// An attention policy of three nested loops in double, for any shape and any list of slices; O(D) memory a row beyond
/// its keys. The meaning of the arguments is that of the concept attention_policy.
struct reference_attention {
  /// Time O(H D) for each pair of query row and key. Checks nothing.
  template <class Backend>
  void forward(Backend&, const attention_shape& shape, std::span<const slice> slices, attention_input<Backend> q,
               attention_input<Backend> k, attention_input<Backend> v, attention_output<Backend> o,
               attention_statistics<Backend> lse) const {
    using T = typename Backend::value_type;
    const std::int64_t size = shape.head_dim;
    for (std::int64_t row = 0; row < q.size(0); ++row)
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        const std::vector<key> keys = visible(shape, slices, q.row(row) + h * size, k, row, h);
        const double total = log_sum_exp(keys);
        lse(row * shape.heads + h) = static_cast<typename Backend::accumulate_type>(total);
        for (std::int64_t d = 0; d < size; ++d) {
          double sum = 0;
          for (const key& j : keys)
            sum += std::exp(j.score - total) * static_cast<double>(v(j.row, h / shape.group() * size + d));
          o(row, h * size + d) = static_cast<T>(sum);
        }
      }
  }

  /// Time O(H D) for each pair of query row and key; sums of the size of dk and dv in double. Checks nothing.
  template <class Backend>
  void backward(Backend&, const attention_shape& shape, std::span<const slice> slices, attention_input<Backend> q,
                attention_input<Backend> k, attention_input<Backend> v, attention_input<Backend> o,
                attention_statistics_input<Backend> lse, attention_input<Backend> d_o, attention_output<Backend> dq,
                attention_output<Backend> dk, attention_output<Backend> dv) const {
    using T = typename Backend::value_type;
    const std::int64_t size = shape.head_dim;
    tensor<double, 2> key_sums(k.shape());
    tensor<double, 2> value_sums(v.shape());
    std::vector<double> query_sum(static_cast<std::size_t>(size));
    for (std::int64_t row = 0; row < q.size(0); ++row)
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        const std::int64_t at = h * size;
        const std::int64_t kv_at = h / shape.group() * size;
        const auto dot = [size](const T* a, const T* b) {
          double sum = 0;
          for (std::int64_t d = 0; d < size; ++d) sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
          return sum;
        };
        const double centre = dot(d_o.row(row) + at, o.row(row) + at);
        std::fill(query_sum.begin(), query_sum.end(), 0.0);
        for (const key& j : visible(shape, slices, q.row(row) + at, k, row, h)) {
          const double p = std::exp(j.score - static_cast<double>(lse(row * shape.heads + h)));
          const double ds = p * (dot(d_o.row(row) + at, v.row(j.row) + kv_at) - centre) * shape.scale;
          for (std::int64_t d = 0; d < size; ++d) {
            value_sums.view()(j.row, kv_at + d) += p * static_cast<double>(d_o(row, at + d));
            key_sums.view()(j.row, kv_at + d) += ds * static_cast<double>(q(row, at + d));
            query_sum[static_cast<std::size_t>(d)] += ds * static_cast<double>(k(j.row, kv_at + d));
          }
        }
        for (std::int64_t d = 0; d < size; ++d)
          dq(row, at + d) = static_cast<T>(query_sum[static_cast<std::size_t>(d)]);
      }
    for (std::int64_t row = 0; row < k.size(0); ++row)
      for (std::int64_t j = 0; j < k.size(1); ++j) {
        dk(row, j) = static_cast<T>(key_sums.view()(row, j));
        dv(row, j) = static_cast<T>(value_sums.view()(row, j));
      }
  }

 private:
  struct key {
    std::int64_t row;
    double score;
  };

  template <class T>
  [[nodiscard]] static std::vector<key> visible(const attention_shape& shape, std::span<const slice> slices, const T* q,
                                                tensor_view<const T, 2> k, std::int64_t row, std::int64_t head) {
    std::vector<key> keys;
    for (const slice& s : slices) {
      if (row < s.q_begin || row >= s.q_end) continue;
      for (std::int64_t j = s.first_key(row); j < s.last_key(row); ++j) {
        const T* from = k.row(j) + head / shape.group() * shape.head_dim;
        double score = 0;
        for (std::int64_t d = 0; d < shape.head_dim; ++d)
          score += static_cast<double>(q[d]) * static_cast<double>(from[d]);
        keys.push_back({j, score * shape.scale});
      }
    }
    return keys;
  }

  [[nodiscard]] static double log_sum_exp(const std::vector<key>& keys) {
    double largest = -std::numeric_limits<double>::infinity();
    for (const key& j : keys) largest = std::max(largest, j.score);
    if (keys.empty()) return largest;
    double sum = 0;
    for (const key& j : keys) sum += std::exp(j.score - largest);
    return largest + std::log(sum);
  }
};

}  // namespace lodestone
