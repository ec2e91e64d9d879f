// Attention of few query rows over many keys on the host, as in decoding: keys and values are read where they lie.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/host/attention_tiles.hpp>
#include <lodestone/host/simd.hpp>
#include <lodestone/host/tile_product.hpp>
#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

namespace attention {

/// Whether keys are seen by so few rows each that repacking them would cost more than it saves.
[[nodiscard]] inline bool are_few_rows(std::span<const slice> slices, std::int64_t keys) {
  return lodestone::pairs(slices) < 4 * keys;
}

/// Which slices each query row belongs to: those of row t are of[begin[t]], ..., of[begin[t + 1] - 1].
struct slices_of_rows {
  std::vector<std::size_t> begin;  ///< [rows + 1]
  std::vector<std::size_t> of;     ///< indices into the list of slices

  /// For `rows` query rows.
  slices_of_rows(std::span<const slice> slices, std::int64_t rows) : begin(static_cast<std::size_t>(rows) + 1) {
    const auto at = [](std::int64_t row) { return static_cast<std::size_t>(row); };
    for (const slice& s : slices)
      for (std::int64_t row = s.q_begin; row < s.q_end; ++row) ++begin[at(row) + 1];
    for (std::size_t row = 1; row < begin.size(); ++row) begin[row] += begin[row - 1];
    of.resize(begin.back());
    std::vector<std::size_t> next(begin.begin(), begin.end() - 1);
    for (std::size_t i = 0; i < slices.size(); ++i)
      for (std::int64_t row = slices[i].q_begin; row < slices[i].q_end; ++row) of[next[at(row)]++] = i;
  }
};

/// sums[group, D] += powers[group, keys] v[keys, D], with the widest vectors that divide D.
template <class T>
void add_values(std::int64_t group, std::int64_t size, std::int64_t keys, left_operand<T> powers, const T* v,
                std::int64_t stride, T* sums) {
  const auto fits = [size](int bytes) { return size % (bytes / static_cast<int>(sizeof(T))) == 0; };
  if constexpr (register_bytes >= 64)
    if (fits(64)) return tile_product<T, 64>(group, size, keys, powers, v, stride, sums, size, true);
  if constexpr (register_bytes >= 32)
    if (fits(32)) return tile_product<T, 32>(group, size, keys, powers, v, stride, sums, size, true);
  if (fits(16)) return tile_product<T, 16>(group, size, keys, powers, v, stride, sums, size, true);
  for (std::int64_t j = 0; j < keys; ++j)
    for (std::int64_t g = 0; g < group; ++g)
      for (std::int64_t d = 0; d < size; ++d)
        sums[g * size + d] += powers.data[g * powers.row + j * powers.depth] * v[j * stride + d];
}

}  // namespace attention

/// Forward pass of attention; arguments and laws at the concept attention_policy, which the caller has checked. A task
/// is one query row of one key-value head, with all heads that share it.
template <class T>
void attention_forward_rows(thread_pool& pool, const attention_shape& shape, std::span<const slice> slices,
                            matrix<const T> q, matrix<const T> k, matrix<const T> v, matrix<T> o, vector<T> lse) {
  using namespace attention;
  constexpr std::int64_t lanes = simd<T, register_bytes>::lanes;
  constexpr T hidden = -std::numeric_limits<T>::infinity();
  const std::int64_t group = shape.group();
  const std::int64_t size = shape.head_dim;
  const int bytes = row_bytes<T>(group);
  const std::int64_t group_lanes = bytes / static_cast<int>(sizeof(T));
  const std::int64_t padded = tile_count(group, group_lanes) * group_lanes;
  const auto factor = static_cast<T>(shape.scale * std::numbers::log2e);
  const slices_of_rows rows(slices, q.size(0));
  pool.run(q.size(0) * shape.kv_heads, [&](std::int64_t task) {
    const std::int64_t t = task / shape.kv_heads;
    const std::int64_t head = task % shape.kv_heads;
    const auto own = std::span(rows.of).subspan(rows.begin[static_cast<std::size_t>(t)],
                                                rows.begin[static_cast<std::size_t>(t) + 1] -
                                                    rows.begin[static_cast<std::size_t>(t)]);
    std::int64_t keys = 0;
    for (const std::size_t i : own) keys += std::max<std::int64_t>(0, slices[i].last_key(t) - slices[i].first_key(t));
    const std::int64_t row_size = tile_count(std::max<std::int64_t>(keys, 1), lanes) * lanes;
    tensor<T, 2> queries(extents<2>{{size, padded}});  // scaled, heads side by side
    for (std::int64_t g = 0; g < group; ++g)
      for (std::int64_t d = 0; d < size; ++d)
        queries.data()[d * padded + g] = q.row(t)[(head * group + g) * size + d] * factor;
    tensor<T, 2> scores(extents<2>{{keys, padded}});  // zero: the product adds
    std::int64_t at = 0;
    for (const std::size_t i : own) {
      const std::int64_t first = slices[i].first_key(t);
      const std::int64_t count = slices[i].last_key(t) - first;
      if (count <= 0) continue;
      const left_operand<T> left{k.row(first) + head * size, k.stride(), 1};
      T* const to = scores.data() + at * padded;
      row_product<T>(bytes, count, padded, size, left, queries.data(), to);
      at += count;
    }
    tensor<T, 2> powers(extents<2>{{group, row_size}});
    tensor<T, 2> sums(extents<2>{{group, size}});
    std::vector<T> total(static_cast<std::size_t>(group));
    for (std::int64_t g = 0; g < group; ++g) {
      T* const row = powers.data() + g * row_size;
      for (std::int64_t j = 0; j < keys; ++j) row[j] = scores.data()[j * padded + g];
      std::fill(row + keys, row + row_size, hidden);
      const T most = largest(row, 0, row_size);
      T sum = T{0};
      if (most != hidden) {
        typename simd<T, register_bytes>::type added{};
        for (std::int64_t j = 0; j < row_size; j += lanes) {
          auto x = as_register(row + j) - most;
          power_of_two<T>(x);
          as_register(row + j) = x;
          added = added + x;
        }
        sum = lane_sum<T>(lanes, [&added](std::int64_t i) { return added[i]; });
      }
      total[static_cast<std::size_t>(g)] = sum;
      lse.data()[t * shape.heads + head * group + g] =
          most == hidden ? hidden : most * std::numbers::ln2_v<T> + std::log(sum);
    }
    at = 0;
    for (const std::size_t i : own) {
      const std::int64_t first = slices[i].first_key(t);
      const std::int64_t count = slices[i].last_key(t) - first;
      if (count <= 0) continue;
      add_values<T>(group, size, count, {powers.data() + at, row_size, 1}, v.row(first) + head * size, v.stride(),
                    sums.data());
      at += count;
    }
    for (std::int64_t g = 0; g < group; ++g) {
      const T sum = total[static_cast<std::size_t>(g)];
      const T inverse = sum > T{0} ? T{1} / sum : T{0};
      for (std::int64_t d = 0; d < size; ++d)
        o.row(t)[(head * group + g) * size + d] = sums.data()[g * size + d] * inverse;
    }
  });
}

}  // namespace lodestone::on_host
