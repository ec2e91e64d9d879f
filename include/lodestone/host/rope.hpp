// Rotary position embedding applied in place to the heads of a query or key matrix.
#pragma once

#include <cstdint>

#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

/// Rotates the first R elements of every head of x[T,heads*D] by the angles of cosine[T,R/2] and sine[T,R/2] (Su et
/// al., "RoFormer", 2021, equation 34). Pair i is (i, i + R/2), or (2i, 2i + 1) when `interleaved`. `inverse` rotates
/// back, which is the transpose and so the backward pass.
template <class T>
void rope(thread_pool& pool, matrix<T> x, std::int64_t head_dim, matrix<const T> cosine, matrix<const T> sine,
          bool interleaved, bool inverse) {
  const std::int64_t half = cosine.size(1);
  checks::rope(x, head_dim, cosine, sine);
  const T sign = inverse ? T{-1} : T{1};
  for_row_tiles(pool, x.size(0), x.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const T* c = cosine.row(t);
      const T* s = sine.row(t);
      for (std::int64_t h = 0; h < x.size(1); h += head_dim) {
        T* first = x.row(t) + h;
        if (interleaved) {
          for (std::int64_t i = 0; i < half; ++i) {
            const T a = first[2 * i];
            const T b = first[2 * i + 1];
            first[2 * i] = a * c[i] - b * (sign * s[i]);
            first[2 * i + 1] = b * c[i] + a * (sign * s[i]);
          }
        } else {
          T* second = first + half;
          for (std::int64_t i = 0; i < half; ++i) {
            const T a = first[i];
            const T b = second[i];
            first[i] = a * c[i] - b * (sign * s[i]);
            second[i] = b * c[i] + a * (sign * s[i]);
          }
        }
      }
    }
  });
}

}  // namespace lodestone::on_host
