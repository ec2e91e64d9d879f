// Tiles of host attention: repacked operands, the part of a slice that a tile covers, masks and row maxima.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/host/tile_product.hpp>
#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

namespace attention {

// Alphabet: Tq query rows, Tk key rows, H heads, K key-value heads, G = H / K, D head dimension, P = D padded to
// vectors. A "stacked" row r = i * G + g is query i of head g within one key-value head: all heads that share K and V
// pass through one product.

inline constexpr std::int64_t key_tile = 64;      ///< keys of one tile of scores, on a fixed grid over the key stream
inline constexpr std::int64_t stacked_tile = 48;  ///< stacked rows of one tile: a multiple of the kernel's 6 and 12

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

/// The operands of one call, repacked once: stacked rows [K][T*group][P] and transposed key tiles
/// [K][tiles][D][key_tile].
template <class T>
class operands {
 public:
  /// Chooses the padding of rows from the head dimension.
  operands(const attention_shape& shape)  // NOLINT(google-explicit-constructor): used in this file only
      : size_(shape.head_dim), kv_heads_(shape.kv_heads), bytes_(row_bytes<T>(size_)) {
    const std::int64_t lanes = bytes_ / static_cast<int>(sizeof(T));
    padded_ = tile_count(size_, lanes) * lanes;
  }

  [[nodiscard]] int bytes() const { return bytes_; }             ///< of a vector in row_product, see row_bytes
  [[nodiscard]] std::int64_t size() const { return size_; }      ///< D
  [[nodiscard]] std::int64_t padded() const { return padded_; }  ///< P

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

  /// x[Tk, K*D] as [K][tiles][D*key_tile], zero past the last row.
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

/// The matrix of one head.
template <class T>
[[nodiscard]] T* plane(tensor<T, 3>& x, std::int64_t head) {
  return x.data() + head * x.size(1) * x.size(2);
}
/// The matrix of one head.
template <class T>
[[nodiscard]] const T* plane(const tensor<T, 3>& x, std::int64_t head) {
  return x.data() + head * x.size(1) * x.size(2);
}

/// The part of a slice that one tile of scores covers: queries [q_begin, q_end), and the union of the keys they see
/// within the tile, [k_begin, k_end).
struct window {
  /// In rows of the query stream and of the key stream.
  ///@{
  std::int64_t q_begin;
  std::int64_t q_end;
  std::int64_t k_begin;
  std::int64_t k_end;
  ///@}
  [[nodiscard]] bool empty() const { return q_begin >= q_end || k_begin >= k_end; }  ///< no pair of the slice lies here
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

/// Largest element of row[begin, end), whole registers.
template <class T>
[[nodiscard]] inline T largest(const T* row, std::int64_t begin, std::int64_t end) {
  using pack = typename simd<T, register_bytes>::type;
  constexpr int lanes = simd<T, register_bytes>::lanes;
  pack most = as_register(row + begin);
  for (std::int64_t j = begin + lanes; j < end; j += lanes) {
    const pack next = as_register(row + j);
    most = most < next ? next : most;
  }
  T maxima[lanes];
  as_register(maxima) = most;
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      maxima[lane] = maxima[lane] < maxima[lane + half] ? maxima[lane + half] : maxima[lane];
  return maxima[0];
}

/// Columns of a score tile, rounded outwards to whole registers.
template <class T>
struct columns {
  static constexpr std::int64_t lanes = simd<T, register_bytes>::lanes;  ///< elements of a register
  /// Columns of the tile, multiples of `lanes`.
  ///@{
  std::int64_t begin;
  std::int64_t end;
  ///@}
  /// The keys of `w` in a tile whose first column is key `k_origin`.
  columns(const window& w, std::int64_t k_origin)
      : begin((w.k_begin - k_origin) / lanes * lanes), end(tile_count(w.k_end - k_origin, lanes) * lanes) {}
  [[nodiscard]] std::int64_t count() const { return end - begin; }  ///< a multiple of `lanes`
};

/// Hides the scores of keys that a row does not see. Most tiles are seen whole by all their rows, which costs one test.
template <class T>
class mask {
 public:
  /// For the queries of `w`; keeps a reference to `s`.
  mask(const slice& s, const window& w, const columns<T>& span, std::int64_t k_origin)
      : slice_(s), span_(span), origin_(k_origin),
        idle_(s.last_key(w.q_begin) >= k_origin + span.end && s.first_key(w.q_end - 1) <= k_origin + span.begin) {}

  /// Sets the hidden scores of query q in row[span.begin, span.end) to minus infinity; `row` starts at key `k_origin`.
  void operator()(std::int64_t q, T* row) const {
    if (idle_) return;
    const std::int64_t first = std::clamp(slice_.first_key(q) - origin_, span_.begin, span_.end);
    const std::int64_t last = std::clamp(slice_.last_key(q) - origin_, first, span_.end);
    constexpr T hidden = -std::numeric_limits<T>::infinity();
    for (std::int64_t j = span_.begin; j < first; ++j) row[j] = hidden;
    for (std::int64_t j = last; j < span_.end; ++j) row[j] = hidden;
  }

 private:
  const slice& slice_;
  columns<T> span_;
  std::int64_t origin_;
  bool idle_;
};

}  // namespace attention

}  // namespace lodestone::on_host
