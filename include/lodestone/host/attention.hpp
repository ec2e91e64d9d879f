// Blocked attention over slices on the host: online softmax over key tiles, backward by recomputation; linear memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/host/exponential.hpp>
#include <lodestone/host/tile_product.hpp>
#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

namespace attention {

// Alphabet: Tq query rows, Tk key rows, H heads, K key-value heads, G = H / K, D head dimension, P = D padded to vectors.
// A "stacked" row r = i * G + g is query i of head g within one key-value head: all heads that share K and V pass
// through one product.

inline constexpr std::int64_t key_tile = 64;      ///< keys of one tile of scores, on a fixed grid over the key stream
inline constexpr std::int64_t stacked_tile = 96;  ///< stacked rows of one tile: a multiple of the kernel's 6 and 12

/// Queries of one tile.
[[nodiscard]] constexpr std::int64_t query_tile(std::int64_t group) {
  return std::max<std::int64_t>(8, stacked_tile / group);
}

/// Bytes of the widest vector that holds rows of `size` elements with least padding.
template <class T>
[[nodiscard]] constexpr int row_bytes(std::int64_t size) {
  int best = 16;
  const auto padded = [size](int bytes) {
    const std::int64_t lanes = bytes / static_cast<int>(sizeof(T));
    return tile_count(size, lanes) * lanes;
  };
  for (int bytes = 32; bytes <= register_bytes; bytes *= 2)
    if (padded(bytes) <= padded(best)) best = bytes;
  return best;
}

/// Product whose columns are the D elements of a head, with the vector width that row_bytes chose.
template <class T>
void row_product(int bytes, std::int64_t rows, std::int64_t columns, std::int64_t depth, left_operand<T> a, const T* b,
                 T* c) {
  if constexpr (register_bytes >= 64)
    if (bytes == 64) return tile_product<T, 64>(rows, columns, depth, a, b, columns, c, columns, true);
  if constexpr (register_bytes >= 32)
    if (bytes == 32) return tile_product<T, 32>(rows, columns, depth, a, b, columns, c, columns, true);
  tile_product<T, 16>(rows, columns, depth, a, b, columns, c, columns, true);
}

/// The operands of one call, repacked once: stacked rows [K][T*group][P] and transposed key tiles [K][tiles][D][64].
template <class T>
class operands {
 public:
  operands(const attention_shape& shape)  // NOLINT(google-explicit-constructor): used in this file only
      : size_(shape.head_dim), kv_heads_(shape.kv_heads), bytes_(row_bytes<T>(size_)) {
    const std::int64_t lanes = bytes_ / static_cast<int>(sizeof(T));
    padded_ = tile_count(size_, lanes) * lanes;
  }

  [[nodiscard]] int bytes() const { return bytes_; }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t padded() const { return padded_; }

  /// x[rows, K*group*D] times `factor` as [K][rows*group][P].
  [[nodiscard]] tensor<T, 3> stack(thread_pool& pool, matrix<const T> x, std::int64_t group, T factor) const {
    tensor<T, 3> packed(extents<3>{{kv_heads_, x.size(0) * group, padded_}});
    for_row_tiles(pool, x.size(0), x.size(1), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t)
        for (std::int64_t h = 0; h < kv_heads_ * group; ++h) {
          const T* from = x.row(t) + h * size_;
          T* to = packed.data() + ((h / group * x.size(0) + t) * group + h % group) * padded_;
          for (std::int64_t d = 0; d < size_; ++d) to[d] = from[d] * factor;
        }
    });
    return packed;
  }

  /// x[Tk, K*D] as [K][tiles][D*64], zero past the last row.
  [[nodiscard]] tensor<T, 3> transpose(thread_pool& pool, matrix<const T> x) const {
    const std::int64_t tiles = tile_count(x.size(0), key_tile);
    tensor<T, 3> packed(extents<3>{{kv_heads_, tiles, size_ * key_tile}});
    pool.run(tiles * kv_heads_, [&](std::int64_t task) {
      const std::int64_t tile = task / kv_heads_;
      const std::int64_t h = task % kv_heads_;
      T* to = packed.data() + (h * tiles + tile) * size_ * key_tile;
      const std::int64_t begin = tile * key_tile;
      for (std::int64_t j = 0; j < std::min(key_tile, x.size(0) - begin); ++j) {
        const T* from = x.row(begin + j) + h * size_;
        for (std::int64_t d = 0; d < size_; ++d) to[d * key_tile + j] = from[d];
      }
    });
    return packed;
  }

 private:
  std::int64_t size_;
  std::int64_t kv_heads_;
  std::int64_t padded_ = 0;
  int bytes_;
};

template <class T>
[[nodiscard]] T* plane(tensor<T, 3>& x, std::int64_t head) {
  return x.data() + head * x.size(1) * x.size(2);
}
template <class T>
[[nodiscard]] const T* plane(const tensor<T, 3>& x, std::int64_t head) {
  return x.data() + head * x.size(1) * x.size(2);
}

/// The part of a slice that one tile of scores covers: queries [q_begin, q_end), and the union of the keys they see
/// within the tile, [k_begin, k_end).
struct window {
  std::int64_t q_begin;
  std::int64_t q_end;
  std::int64_t k_begin;
  std::int64_t k_end;
  [[nodiscard]] bool empty() const { return q_begin >= q_end || k_begin >= k_end; }
};

/// Queries [q_begin, q_end) against keys [k_begin, k_end): rows and keys of `s` that have a pair there.
[[nodiscard]] inline window meet(const slice& s, std::int64_t q_begin, std::int64_t q_end, std::int64_t k_begin,
                                 std::int64_t k_end) {
  window w{std::max(q_begin, s.q_begin), std::min(q_end, s.q_end), std::max(k_begin, s.k_begin),
           std::min(k_end, s.k_end)};
  if (w.empty() || s.kind == slice_kind::full) return w;
  // Row q sees keys below k_end - (q_end - 1 - q): the first row that reaches w.k_begin, and what the last row reaches.
  w.q_begin = std::max(w.q_begin, w.k_begin - s.k_end + s.q_end);
  if (s.window > 0) w.q_end = std::min(w.q_end, w.k_end + s.window - 1 - s.k_end + s.q_end);
  if (w.q_begin >= w.q_end) return w;
  w.k_end = std::min(w.k_end, s.last_key(w.q_end - 1));
  w.k_begin = std::max(w.k_begin, s.first_key(w.q_begin));
  return w;
}

/// Sets the scores of keys that query q does not see to `hidden`; columns of `row` are keys from k_origin on.
template <class T>
void mask(const slice& s, std::int64_t q, std::int64_t k_origin, std::int64_t begin, std::int64_t end, T hidden, T* row) {
  const std::int64_t first = std::clamp(s.first_key(q) - k_origin, begin, end);
  const std::int64_t last = std::clamp(s.last_key(q) - k_origin, first, end);
  for (std::int64_t j = begin; j < first; ++j) row[j] = hidden;
  for (std::int64_t j = last; j < end; ++j) row[j] = hidden;
}

/// Largest of row[begin, end); the length is a multiple of the lanes of a register.
template <class T>
[[nodiscard]] T largest(const T* row, std::int64_t begin, std::int64_t end) {
  constexpr int lanes = simd<T, register_bytes>::lanes;
  T maxima[lanes];
  for (int lane = 0; lane < lanes; ++lane) maxima[lane] = row[begin + lane];
  for (std::int64_t j = begin + lanes; j < end; j += lanes)
    for (int lane = 0; lane < lanes; ++lane) maxima[lane] = maxima[lane] < row[j + lane] ? row[j + lane] : maxima[lane];
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      maxima[lane] = maxima[lane] < maxima[lane + half] ? maxima[lane + half] : maxima[lane];
  return maxima[0];
}

/// Columns of a score tile, rounded outwards to whole registers.
template <class T>
struct columns {
  static constexpr std::int64_t lanes = simd<T, register_bytes>::lanes;
  std::int64_t begin;
  std::int64_t end;
  columns(const window& w, std::int64_t k_origin)
      : begin((w.k_begin - k_origin) / lanes * lanes), end(tile_count(w.k_end - k_origin, lanes) * lanes) {}
};

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

}  // namespace attention

/// Forward pass of attention; arguments and laws at the concept attention_policy. Tiles are (query tile, key-value head).
template <class T>
void attention_forward(thread_pool& pool, const attention_shape& shape, std::span<const slice> slices,
                       matrix<const T> q, matrix<const T> k, matrix<const T> v, matrix<T> o, vector<T> lse) {
  using namespace attention;
  attention::check<T>(shape, slices, q, k, v, o, lse);
  constexpr T hidden = -std::numeric_limits<T>::infinity();
  const std::int64_t group = shape.group();
  const std::int64_t step = query_tile(group);
  const operands<T> pack(shape);
  const std::int64_t width = pack.padded();
  const tensor<T, 3> keys = pack.transpose(pool, k);
  const tensor<T, 3> values = pack.stack(pool, v, 1, T{1});
  pool.run(tile_count(q.size(0), step) * shape.kv_heads, [&](std::int64_t task) {
    const std::int64_t head = task % shape.kv_heads;
    const std::int64_t q_begin = task / shape.kv_heads * step;
    const std::int64_t q_end = std::min(q.size(0), q_begin + step);
    const std::int64_t rows = (q_end - q_begin) * group;
    tensor<T, 2> queries(extents<2>{{rows, width}});
    tensor<T, 2> sums(extents<2>{{rows, width}});
    tensor<T, 2> scores(extents<2>{{rows, key_tile}});
    tensor<T, 2> totals(extents<2>{{rows, 2}});  // running maximum and sum of exponentials
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* from = q.row(q_begin + r / group) + (head * group + r % group) * shape.head_dim;
      for (std::int64_t d = 0; d < shape.head_dim; ++d)
        queries.view()(r, d) = from[d] * static_cast<T>(shape.scale);
      totals.view()(r, 0) = hidden;
    }
    for (const slice& s : slices) {
      const window reach = meet(s, q_begin, q_end, 0, k.size(0));
      if (reach.empty()) continue;
      for (std::int64_t tile = reach.k_begin / key_tile; tile * key_tile < reach.k_end; ++tile) {
        const std::int64_t origin = tile * key_tile;
        const window w = meet(s, q_begin, q_end, origin, origin + key_tile);
        if (w.empty()) continue;
        const columns<T> span(w, origin);
        const std::int64_t r_begin = (w.q_begin - q_begin) * group;
        const std::int64_t r_end = (w.q_end - q_begin) * group;
        tile_product<T, register_bytes>(
            r_end - r_begin, span.end - span.begin, shape.head_dim, {queries.data() + r_begin * width, width, 1},
            plane(keys, head) + tile * shape.head_dim * key_tile + span.begin, key_tile,
            scores.data() + r_begin * key_tile + span.begin, key_tile, false);
        for (std::int64_t r = r_begin; r < r_end; ++r) {
          T* row = scores.data() + r * key_tile;
          mask(s, q_begin + r / group, origin, span.begin, span.end, hidden, row);
          T* total = totals.data() + 2 * r;
          const T before = total[0];
          const T most = largest(row, span.begin, span.end);
          const T after = before < most ? most : before;
          if (after == hidden) {  // nothing seen yet: the row has no key in this tile
            for (std::int64_t j = span.begin; j < span.end; ++j) row[j] = T{0};
            continue;
          }
          for (std::int64_t j = span.begin; j < span.end; ++j) row[j] = exponential(row[j] - after);
          const T sum = lane_sum<T>(span.end - span.begin, [from = row + span.begin](std::int64_t j) { return from[j]; });
          if (before < after) {
            const T shrink = exponential(before - after);
            total[0] = after;
            total[1] *= shrink;
            T* to = sums.data() + r * width;
            for (std::int64_t d = 0; d < width; ++d) to[d] *= shrink;
          }
          total[1] += sum;
        }
        row_product<T>(pack.bytes(), r_end - r_begin, width, w.k_end - w.k_begin,
                       {scores.data() + r_begin * key_tile + (w.k_begin - origin), key_tile, 1},
                       plane(values, head) + w.k_begin * width, sums.data() + r_begin * width);
      }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* from = sums.data() + r * width;
      const T sum = totals.view()(r, 1);
      const T inverse = sum > T{0} ? T{1} / sum : T{0};
      T* to = o.row(q_begin + r / group) + (head * group + r % group) * shape.head_dim;
      for (std::int64_t d = 0; d < shape.head_dim; ++d) to[d] = from[d] * inverse;
      lse.data()[(q_begin + r / group) * shape.heads + head * group + r % group] =
          sum > T{0} ? totals.view()(r, 0) + std::log(sum) : hidden;
    }
  });
}

/// Backward pass of attention: overwrites dq[Tq,H*D], dk[Tk,K*D] and dv[Tk,K*D]. o and lse are those of whole rows, so
/// calls over disjoint key sets add up to one call over their union.
///
/// With p = exp(scale q.k - lse) and delta = dO.O of a row: dV = p^T dO, ds = p (dO V^T - delta), dQ = scale ds K, dK =
/// scale ds^T Q (Dao, "FlashAttention-2", 2023, algorithm 2). Two passes, by key tile for dK and dV and by query tile
/// for dQ, so that each output element belongs to one task.
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
  const operands<T> pack(shape);
  const std::int64_t width = pack.padded();
  const auto factor = static_cast<T>(shape.scale);
  const tensor<T, 3> queries = pack.stack(pool, q, group, factor);
  const tensor<T, 3> upstream = pack.stack(pool, d_o, group, T{1});
  const tensor<T, 3> key_rows = pack.stack(pool, k, 1, T{1});
  const tensor<T, 3> keys = pack.transpose(pool, k);
  const tensor<T, 3> values = pack.transpose(pool, v);
  tensor<T, 1> delta(extents<1>{{q.size(0) * shape.heads}});
  for_row_tiles(pool, q.size(0), 2 * q.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        const T* a = d_o.row(t) + h * size;
        const T* b = o.row(t) + h * size;
        delta.data()[t * shape.heads + h] = lane_sum<T>(size, [=](std::int64_t d) { return a[d] * b[d]; });
      }
  });

  // Fills p and ds of the window's stacked rows; row 0 of both belongs to query w.q_begin.
  const auto differentiate = [&](const slice& s, const window& w, std::int64_t head, std::int64_t tile, T* p, T* ds) {
    const std::int64_t origin = tile * key_tile;
    const columns<T> span(w, origin);
    const std::int64_t rows = (w.q_end - w.q_begin) * group;
    const std::int64_t first = w.q_begin * group * width;
    const std::int64_t tile_at = tile * size * key_tile + span.begin;
    tile_product<T, register_bytes>(rows, span.end - span.begin, size, {plane(queries, head) + first, width, 1},
                                    plane(keys, head) + tile_at, key_tile, p + span.begin, key_tile, false);
    tile_product<T, register_bytes>(rows, span.end - span.begin, size, {plane(upstream, head) + first, width, 1},
                                    plane(values, head) + tile_at, key_tile, ds + span.begin, key_tile, false);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t at = (w.q_begin + r / group) * shape.heads + head * group + r % group;
      const T total = lse.data()[at];
      const T centre = delta.data()[at];
      T* p_row = p + r * key_tile;
      T* ds_row = ds + r * key_tile;
      mask(s, w.q_begin + r / group, origin, span.begin, span.end, -std::numeric_limits<T>::infinity(), p_row);
      for (std::int64_t j = span.begin; j < span.end; ++j) {
        p_row[j] = exponential(p_row[j] - total);
        ds_row[j] = p_row[j] * (ds_row[j] - centre);
      }
    }
  };

  const std::int64_t key_tiles = tile_count(k.size(0), key_tile);
  pool.run(key_tiles * shape.kv_heads, [&](std::int64_t task) {
    const std::int64_t head = task % shape.kv_heads;
    const std::int64_t tile = task / shape.kv_heads;
    const std::int64_t origin = tile * key_tile;
    const std::int64_t k_end = std::min(k.size(0), origin + key_tile);
    tensor<T, 2> p(extents<2>{{step * group, key_tile}});
    tensor<T, 2> ds(extents<2>{{step * group, key_tile}});
    tensor<T, 2> key_sums(extents<2>{{key_tile, width}});
    tensor<T, 2> value_sums(extents<2>{{key_tile, width}});
    for (const slice& s : slices) {
      const window reach = meet(s, 0, q.size(0), origin, k_end);
      if (reach.empty()) continue;
      for (std::int64_t q_begin = reach.q_begin; q_begin < reach.q_end; q_begin += step) {
        const window w = meet(s, q_begin, std::min(reach.q_end, q_begin + step), origin, k_end);
        if (w.empty()) continue;
        differentiate(s, w, head, tile, p.data(), ds.data());
        const std::int64_t rows = (w.q_end - w.q_begin) * group;
        const std::int64_t first = w.q_begin * group * width;
        const std::int64_t j = w.k_begin - origin;
        row_product<T>(pack.bytes(), w.k_end - w.k_begin, width, rows, {p.data() + j, 1, key_tile},
                       plane(upstream, head) + first, value_sums.data() + j * width);
        row_product<T>(pack.bytes(), w.k_end - w.k_begin, width, rows, {ds.data() + j, 1, key_tile},
                       plane(queries, head) + first, key_sums.data() + j * width);
      }
    }
    for (std::int64_t j = origin; j < k_end; ++j) {
      std::copy_n(key_sums.data() + (j - origin) * width, size, dk.row(j) + head * size);
      std::copy_n(value_sums.data() + (j - origin) * width, size, dv.row(j) + head * size);
    }
  });

  pool.run(tile_count(q.size(0), step) * shape.kv_heads, [&](std::int64_t task) {
    const std::int64_t head = task % shape.kv_heads;
    const std::int64_t q_begin = task / shape.kv_heads * step;
    const std::int64_t q_end = std::min(q.size(0), q_begin + step);
    tensor<T, 2> p(extents<2>{{step * group, key_tile}});
    tensor<T, 2> ds(extents<2>{{step * group, key_tile}});
    tensor<T, 2> sums(extents<2>{{step * group, width}});
    for (const slice& s : slices) {
      const window reach = meet(s, q_begin, q_end, 0, k.size(0));
      if (reach.empty()) continue;
      for (std::int64_t tile = reach.k_begin / key_tile; tile * key_tile < reach.k_end; ++tile) {
        const window w = meet(s, q_begin, q_end, tile * key_tile, (tile + 1) * key_tile);
        if (w.empty()) continue;
        differentiate(s, w, head, tile, p.data(), ds.data());
        row_product<T>(pack.bytes(), (w.q_end - w.q_begin) * group, width, w.k_end - w.k_begin,
                       {ds.data() + (w.k_begin - tile * key_tile), key_tile, 1}, plane(key_rows, head) + w.k_begin * width,
                       sums.data() + (w.q_begin - q_begin) * group * width);
      }
    }
    for (std::int64_t r = 0; r < (q_end - q_begin) * group; ++r) {
      T* to = dq.row(q_begin + r / group) + (head * group + r % group) * size;
      for (std::int64_t d = 0; d < size; ++d) to[d] = sums.view()(r, d) * factor;
    }
  });
}

}  // namespace lodestone::on_host
