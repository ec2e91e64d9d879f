// Blocked attention over slices on the host: online softmax over key tiles, backward by recomputation; linear memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/host/attention_rows.hpp>
#include <lodestone/host/attention_tiles.hpp>
#include <lodestone/host/simd.hpp>
#include <lodestone/host/tile_product.hpp>
#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

namespace attention {

/// Checks of forward and backward.
template <class T>
void check(const attention_shape& shape, std::span<const slice> slices, matrix<const T> q, matrix<const T> k,
           matrix<const T> v, matrix<const T> o, vector<const T> lse) {
  check_shapes(shape.heads > 0 && shape.kv_heads > 0 && shape.head_dim > 0 && shape.heads % shape.kv_heads == 0 &&
                   q.size(1) == shape.heads * shape.head_dim && k.size(1) == shape.kv_heads * shape.head_dim &&
                   v.shape() == k.shape() && o.shape() == q.shape() && lse.size(0) == q.size(0) * shape.heads &&
                   lse.is_contiguous(),
               "attention", "q[Tq,H*D], k[Tk,K*D], v[Tk,K*D], o[Tq,H*D], lse[Tq*H], H a multiple of K", q, k, v, o,
               lse);
  check_slices(slices, q.size(0), k.size(0));
}

/// The softmax of stacked rows so far: sums of values [rows, P] and of powers (one register a row, added up at the
/// end), both relative to each row's largest score. Scores are in units of ln 2.
template <class T>
struct online_softmax {
  /// A register of scores and its elements.
  ///@{
  using pack = typename simd<T, register_bytes>::type;
  static constexpr int lanes = simd<T, register_bytes>::lanes;
  ///@}
  static constexpr T hidden = -std::numeric_limits<T>::infinity();  ///< the score of a key that is not seen

  /// No key seen yet; `width` is P.
  online_softmax(std::int64_t rows, std::int64_t width)
      : maxima(extents<1>{{rows}}), powers(extents<2>{{rows, lanes}}), sums(extents<2>{{rows, width}}) {
    std::fill_n(maxima.data(), rows, hidden);
  }

  /// Turns the scores row[begin, end) of row r into powers and makes room for them in the sums.
  void absorb(std::int64_t r, T* row, std::int64_t begin, std::int64_t end) {
    const T before = maxima.data()[r];
    const T most = largest(row, begin, end);
    const T after = before < most ? most : before;
    pack& power = as_register(powers.data() + r * lanes);
    if (after == hidden) {  // the row sees no key yet
      for (std::int64_t j = begin; j < end; ++j) row[j] = T{0};
      return;
    }
    if (before < after) {
      maxima.data()[r] = after;
      const T shrink = std::exp2(before - after);
      power = power * shrink;
      T* to = sums.data() + r * sums.size(1);
      for (std::int64_t d = 0; d < sums.size(1); ++d) to[d] *= shrink;
    }
    pack added = power;
    for (std::int64_t j = begin; j < end; j += lanes) {
      pack x = as_register(row + j) - after;
      power_of_two<T>(x);
      as_register(row + j) = x;
      added = added + x;
    }
    power = added;
  }

  /// The powers of row r, summed over the lanes in a fixed order.
  [[nodiscard]] T power_sum(std::int64_t r) const {
    return lane_sum<T>(lanes, [from = powers.data() + r * lanes](std::int64_t i) { return from[i]; });
  }

  tensor<T, 1> maxima;  ///< [rows] largest scores, `hidden` before the first key
  tensor<T, 2> powers;  ///< [rows, lanes]
  tensor<T, 2> sums;    ///< [rows, P]
};

}  // namespace attention

/// Forward pass of attention; arguments and laws at the concept attention_policy. Tiles are (query tile, key-value
/// head); few rows over many keys have a way of their own.
template <class T>
void attention_forward(thread_pool& pool, const attention_shape& shape, std::span<const slice> slices,
                       matrix<const T> q, matrix<const T> k, matrix<const T> v, matrix<T> o, vector<T> lse) {
  using namespace attention;
  attention::check<T>(shape, slices, q, k, v, o, lse);
  if (are_few_rows(slices, k.size(0))) return attention_forward_rows<T>(pool, shape, slices, q, k, v, o, lse);
  const std::int64_t group = shape.group();
  const std::int64_t step = query_tile(group);
  const std::int64_t size = shape.head_dim;
  const operands<T> pack(shape);
  const std::int64_t width = pack.padded();
  const auto factor = static_cast<T>(shape.scale * std::numbers::log2e);
  const tensor<T, 3> keys = pack.transpose(pool, k);
  const tensor<T, 3> values = pack.stack(pool, v, 1, T{1});
  pool.run(tile_count(q.size(0), step) * shape.kv_heads, [&](std::int64_t task) {
    const std::int64_t head = task % shape.kv_heads;
    const std::int64_t q_begin = task / shape.kv_heads * step;
    const std::int64_t q_end = std::min(q.size(0), q_begin + step);
    const std::int64_t rows = (q_end - q_begin) * group;
    tensor<T, 2> queries(extents<2>{{rows, size}});
    tensor<T, 2> scores(extents<2>{{rows, key_tile}});
    online_softmax<T> softmax(rows, width);
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* from = q.row(q_begin + r / group) + (head * group + r % group) * size;
      for (std::int64_t d = 0; d < size; ++d) queries.data()[r * size + d] = from[d] * factor;
    }
    for (const slice& s : slices) {
      const window reach = meet(s, q_begin, q_end, 0, k.size(0));
      if (reach.empty()) continue;
      for (std::int64_t tile = reach.k_begin / key_tile; tile * key_tile < reach.k_end; ++tile) {
        const std::int64_t origin = tile * key_tile;
        const window w = meet(s, q_begin, q_end, origin, origin + key_tile);
        if (w.empty()) continue;
        const columns<T> span(w, origin);
        const mask<T> hide(s, w, span, origin);
        const std::int64_t r_begin = (w.q_begin - q_begin) * group;
        const std::int64_t r_end = (w.q_end - q_begin) * group;
        tile_product<T, register_bytes>(r_end - r_begin, span.count(), size,
                                        {queries.data() + r_begin * size, size, 1},
                                        plane(keys, head) + tile * size * key_tile + span.begin, key_tile,
                                        scores.data() + r_begin * key_tile + span.begin, key_tile, false);
        for (std::int64_t r = r_begin; r < r_end; ++r) {
          T* row = scores.data() + r * key_tile;
          hide(q_begin + r / group, row);
          softmax.absorb(r, row, span.begin, span.end);
        }
        row_product<T>(pack.bytes(), r_end - r_begin, width, w.k_end - w.k_begin,
                       {scores.data() + r_begin * key_tile + (w.k_begin - origin), key_tile, 1},
                       plane(values, head) + w.k_begin * width, softmax.sums.data() + r_begin * width);
      }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* from = softmax.sums.data() + r * width;
      const T sum = softmax.power_sum(r);
      const bool seen = softmax.maxima.data()[r] != online_softmax<T>::hidden;
      const T inverse = seen ? T{1} / sum : T{0};
      T* to = o.row(q_begin + r / group) + (head * group + r % group) * size;
      for (std::int64_t d = 0; d < size; ++d) to[d] = from[d] * inverse;
      lse.data()[(q_begin + r / group) * shape.heads + head * group + r % group] =
          seen ? softmax.maxima.data()[r] * std::numbers::ln2_v<T> + std::log(sum) : online_softmax<T>::hidden;
    }
  });
}

namespace attention {

/// Slices that share a query row or a key row, directly or through others, and how their key tiles are dealt out.
struct component {
  std::vector<slice> slices;  ///< in the order of the list, those without pairs left out
  std::int64_t pairs = 0;   ///< (query, key) pairs of all slices: its cost
  std::int64_t shares = 1;  ///< tasks per key-value head: share i takes the key tiles i, i + shares, ...
};

/// The components of a list, largest first, so that no long document is left for the end.
[[nodiscard]] std::vector<component> components(std::span<const slice> slices, std::int64_t kv_heads);

}  // namespace attention

/// Backward pass of attention: overwrites dq[Tq,H*D], dk[Tk,K*D] and dv[Tk,K*D]. o and lse are those of whole rows, so
/// calls over disjoint key sets add up to one call over their union.
///
/// With p = exp(scale q.k - lse) and delta = dO.O of a row: dV = p^T dO, ds = p (dO V^T - delta), dQ = scale ds K, dK =
/// scale ds^T Q (Dao, "FlashAttention-2", 2023, algorithm 2). A task is a share of one component's key tiles for one
/// key-value head: it owns the gradients of its keys, and adds query gradients to the sums of its share.
template <class T>
void attention_backward(thread_pool& pool, const attention_shape& shape, std::span<const slice> slices,
                        matrix<const T> q, matrix<const T> k, matrix<const T> v, matrix<const T> o,
                        vector<const T> lse, matrix<const T> d_o, matrix<T> dq, matrix<T> dk, matrix<T> dv) {
  using namespace attention;
  attention::check<T>(shape, slices, q, k, v, o, lse);
  check_shapes(d_o.shape() == q.shape() && dq.shape() == q.shape() && dk.shape() == k.shape() &&
                   dv.shape() == k.shape(),
               "attention", "dO[Tq,H*D], dq[Tq,H*D], dk[Tk,K*D], dv[Tk,K*D]", d_o, dq, dk, dv);
  const std::int64_t group = shape.group();
  const std::int64_t step = query_tile(group);
  const std::int64_t size = shape.head_dim;
  const std::int64_t stacked = q.size(0) * group;
  const operands<T> pack(shape);
  const std::int64_t width = pack.padded();
  const tensor<T, 3> queries = pack.stack(pool, q, group, static_cast<T>(shape.scale * std::numbers::log2e));
  const tensor<T, 3> upstream = pack.stack(pool, d_o, group, T{1});
  const tensor<T, 3> key_rows = pack.stack(pool, k, 1, T{1});
  const tensor<T, 3> keys = pack.transpose(pool, k);
  const tensor<T, 3> values = pack.transpose(pool, v);
  tensor<T, 2> rows(extents<2>{{shape.kv_heads * stacked, 2}});  // per stacked row: lse in units of ln 2, and delta
  for_row_tiles(pool, q.size(0), 2 * q.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        const T* a = d_o.row(t) + h * size;
        const T* b = o.row(t) + h * size;
        T* to = rows.data() + 2 * (h / group * stacked + t * group + h % group);
        to[0] = lse.data()[t * shape.heads + h] * std::numbers::log2e_v<T>;
        to[1] = lane_sum<T>(size, [=](std::int64_t d) { return a[d] * b[d]; });
      }
  });

  struct assignment {
    const component* part;
    std::int64_t head;
    std::int64_t share;
  };
  const std::vector<component> parts = components(slices, shape.kv_heads);
  std::vector<assignment> tasks;
  std::int64_t shares = 1;
  for (const component& part : parts) {
    shares = std::max(shares, part.shares);
    for (std::int64_t share = 0; share < part.shares; ++share)
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) tasks.push_back({&part, head, share});
  }
  tensor<T, 3> query_sums(extents<3>{{shares * shape.kv_heads, stacked, width}});

  for_row_tiles(pool, k.size(0), 2 * k.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {  // keys that nobody sees belong to no task
      std::fill_n(dk.row(t), dk.size(1), T{0});
      std::fill_n(dv.row(t), dv.size(1), T{0});
    }
  });
  pool.run(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t index) {
    const auto& [part, head, share] = tasks[static_cast<std::size_t>(index)];
    tensor<T, 2> p(extents<2>{{step * group, key_tile}});
    tensor<T, 2> ds(extents<2>{{step * group, key_tile}});
    tensor<T, 2> key_sums(extents<2>{{key_tile, width}});
    tensor<T, 2> value_sums(extents<2>{{key_tile, width}});
    T* query_plane = plane(query_sums, share * shape.kv_heads + head);
    std::int64_t k_begin = k.size(0);
    std::int64_t k_end = 0;
    for (const slice& s : part->slices) {
      k_begin = std::min(k_begin, s.k_begin);
      k_end = std::max(k_end, s.k_end);
    }
    for (std::int64_t tile = k_begin / key_tile; tile * key_tile < k_end; ++tile) {
      if (tile % part->shares != share) continue;
      const std::int64_t origin = tile * key_tile;
      const std::int64_t tile_end = std::min(k.size(0), origin + key_tile);
      std::fill_n(key_sums.data(), key_sums.count(), T{0});
      std::fill_n(value_sums.data(), value_sums.count(), T{0});
      for (const slice& s : part->slices) {
        const window reach = meet(s, 0, q.size(0), origin, tile_end);
        if (reach.empty()) continue;
        for (std::int64_t q_begin = reach.q_begin; q_begin < reach.q_end; q_begin += step) {
          const window w = meet(s, q_begin, std::min(reach.q_end, q_begin + step), origin, tile_end);
          if (w.empty()) continue;
          const columns<T> span(w, origin);
          const mask<T> hide(s, w, span, origin);
          const std::int64_t count = (w.q_end - w.q_begin) * group;
          const std::int64_t first = w.q_begin * group * width;
          const std::int64_t tile_at = tile * size * key_tile + span.begin;
          tile_product<T, register_bytes>(count, span.count(), size, {plane(queries, head) + first, width, 1},
                                          plane(keys, head) + tile_at, key_tile, p.data() + span.begin, key_tile,
                                          false);
          tile_product<T, register_bytes>(count, span.count(), size, {plane(upstream, head) + first, width, 1},
                                          plane(values, head) + tile_at, key_tile, ds.data() + span.begin, key_tile,
                                          false);
          const T* statistics = rows.data() + 2 * (head * stacked + w.q_begin * group);
          for (std::int64_t r = 0; r < count; ++r) {
            T* p_row = p.data() + r * key_tile;
            T* ds_row = ds.data() + r * key_tile;
            hide(w.q_begin + r / group, p_row);
            const T total = statistics[2 * r];
            const T delta = statistics[2 * r + 1];
            for (std::int64_t j = span.begin; j < span.end; j += columns<T>::lanes) {
              auto x = as_register(p_row + j) - total;
              power_of_two<T>(x);
              as_register(p_row + j) = x;
              as_register(ds_row + j) = x * (as_register(ds_row + j) - delta);
            }
          }
          const std::int64_t j = w.k_begin - origin;
          const std::int64_t seen = w.k_end - w.k_begin;
          row_product<T>(pack.bytes(), seen, width, count, {p.data() + j, 1, key_tile}, plane(upstream, head) + first,
                         value_sums.data() + j * width);
          row_product<T>(pack.bytes(), seen, width, count, {ds.data() + j, 1, key_tile}, plane(queries, head) + first,
                         key_sums.data() + j * width);
          row_product<T>(pack.bytes(), count, width, seen, {ds.data() + j, key_tile, 1},
                         plane(key_rows, head) + w.k_begin * width, query_plane + first);
        }
      }
      for (const slice& s : part->slices)  // of the tile's keys, only those of this component
        for (std::int64_t j = std::max(origin, s.k_begin); j < std::min(tile_end, s.k_end); ++j) {
          const T* from = key_sums.data() + (j - origin) * width;
          T* to = dk.row(j) + head * size;
          for (std::int64_t d = 0; d < size; ++d) to[d] = from[d] * std::numbers::ln2_v<T>;  // log2(e) came with q
          std::copy_n(value_sums.data() + (j - origin) * width, size, dv.row(j) + head * size);
        }
    }
  });
  for_row_tiles(pool, q.size(0), q.size(1) * shares, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        T* to = dq.row(t) + h * size;
        std::fill_n(to, size, T{0});
        for (std::int64_t share = 0; share < shares; ++share) {
          const T* from = plane(query_sums, share * shape.kv_heads + h / group) + (t * group + h % group) * width;
          for (std::int64_t d = 0; d < size; ++d) to[d] += from[d] * static_cast<T>(shape.scale);
        }
      }
  });
}

}  // namespace lodestone::on_host

#ifndef LODESTONE_COMPILED
#include <lodestone/host/attention.ipp>
#endif
