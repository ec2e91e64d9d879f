// Single-thread matrix product of small tiles held in vector registers: the inner loop of host attention.
#pragma once

#include <cstdint>

#include <lodestone/host/simd.hpp>

namespace lodestone::on_host {

/// A left operand of a tile product: element (i, k) lies at data[i * row + k * depth].
template <class T>
struct left_operand {
  const T* data;       ///< element (0, 0), not owned
  std::int64_t row;    ///< elements from one row to the next
  std::int64_t depth;  ///< elements from one k to the next
};

namespace detail {

template <class T, int Bytes, int Rows, int Vectors>
inline void tile_kernel(std::int64_t depth, left_operand<T> a, const T* b, std::int64_t b_stride, T* c,
                        std::int64_t c_stride, bool accumulate) {
  using pack = typename simd<T, Bytes>::type;
  constexpr int lanes = simd<T, Bytes>::lanes;
  pack sum[Rows][Vectors] = {};
  for (std::int64_t k = 0; k < depth; ++k) {
    pack right[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) right[v] = *reinterpret_cast<const pack*>(b + k * b_stride + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const T left = a.data[r * a.row + k * a.depth];
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
      pack* to = reinterpret_cast<pack*>(c + r * c_stride + v * lanes);
      *to = accumulate ? *to + sum[r][v] : sum[r][v];
    }
}

// Rows and Vectors fill the register file: one register per sum, one per right vector, one for the left element.
template <class T, int Bytes, int Vectors>
inline void tile_panel(std::int64_t rows, std::int64_t depth, left_operand<T> a, const T* b, std::int64_t b_stride,
                       T* c, std::int64_t c_stride, bool accumulate) {
  constexpr int tall = register_count == 32 ? (Vectors == 4 ? 6 : 12) : (Vectors == 2 ? 6 : 12);
  constexpr int middle = tall / 3;
  std::int64_t i = 0;
  const auto step = [&]<int Rows>() {
    for (; i + Rows <= rows; i += Rows)
      tile_kernel<T, Bytes, Rows, Vectors>(depth, {a.data + i * a.row, a.row, a.depth}, b, b_stride, c + i * c_stride,
                                           c_stride, accumulate);
  };
  step.template operator()<tall>();
  step.template operator()<middle>();
  step.template operator()<1>();
}

}  // namespace detail

/// c[rows, columns] = a b (+ c when `accumulate`), with a[rows, depth], b[depth, columns] and c row-major; columns is a
/// multiple of Bytes / sizeof(T). Each element is one sum in the order of depth.
template <class T, int Bytes>
void tile_product(std::int64_t rows, std::int64_t columns, std::int64_t depth, left_operand<T> a, const T* b,
                  std::int64_t b_stride, T* c, std::int64_t c_stride, bool accumulate) {
  constexpr int lanes = simd<T, Bytes>::lanes;
  std::int64_t j = 0;
  const auto step = [&]<int Vectors>() {
    for (; j + Vectors * lanes <= columns; j += Vectors * lanes)
      detail::tile_panel<T, Bytes, Vectors>(rows, depth, a, b + j, b_stride, c + j, c_stride, accumulate);
  };
  if constexpr (register_count == 32) step.template operator()<4>();
  step.template operator()<2>();
  step.template operator()<1>();
}

}  // namespace lodestone::on_host
