// RMSNorm over rows or over the heads of a row, forward and backward.
#pragma once

#include <cmath>
#include <cstdint>

#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

/// y = x * rstd * weight with rstd = 1 / sqrt(mean(x^2) + epsilon) over groups of D elements (Zhang and Sennrich, "Root
/// mean square layer normalization", 2019).
///
/// x[T,G*D], weight[D], y[T,G*D], rstd[T*G] (group g of row t at t*G + g). G = 1 is the ordinary norm of a layer; G =
/// heads normalises each head (Qwen3). y may be x itself.
template <class T>
void rmsnorm(thread_pool& pool, matrix<const T> x, vector<const T> weight, T epsilon, matrix<T> y, vector<T> rstd) {
  checks::rmsnorm(x, weight, y, rstd);
  const std::int64_t size = weight.size(0);
  const std::int64_t groups = x.size(1) / size;
  for_row_tiles(pool, x.size(0), x.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t g = 0; g < groups; ++g) {
        const T* from = x.row(t) + g * size;
        T* to = y.row(t) + g * size;
        const T squares = lane_sum<T>(size, [from](std::int64_t i) { return from[i] * from[i]; });
        const T inverse = T{1} / std::sqrt(squares / static_cast<T>(size) + epsilon);
        rstd.data()[t * groups + g] = inverse;
        for (std::int64_t i = 0; i < size; ++i) to[i] = from[i] * inverse * weight.data()[i];
      }
  });
}

/// Backward of rmsnorm: with n = x rstd, dx = rstd (dy w - n mean(dy w n)) + beta dx and dweight += sum over rows and
/// groups of dy n. An empty dweight is skipped. dx may be dy itself. beta is 0 (dx is not read) or 1.
template <class T>
void rmsnorm_gradient(thread_pool& pool, matrix<const T> x, vector<const T> weight, vector<const T> rstd,
                      matrix<const T> dy, matrix<T> dx, vector<T> dweight, T beta) {
  checks::rmsnorm_gradient(x, weight, rstd, dy, dx, dweight);
  const std::int64_t size = weight.size(0);
  const std::int64_t groups = x.size(1) / size;
  const auto rows = [&](std::int64_t begin, std::int64_t end, T* partial) {
    const T* w = weight.data();
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t g = 0; g < groups; ++g) {
        const T* from = x.row(t) + g * size;
        const T* d = dy.row(t) + g * size;
        T* to = dx.row(t) + g * size;
        const T inverse = rstd.data()[t * groups + g];
        const T dot = lane_sum<T>(size, [=](std::int64_t i) { return d[i] * w[i] * from[i]; });
        const T pull = dot * inverse * inverse / static_cast<T>(size);
        if (partial != nullptr)
          for (std::int64_t i = 0; i < size; ++i) partial[i] += d[i] * from[i] * inverse;
        if (beta == T{0})
          for (std::int64_t i = 0; i < size; ++i) to[i] = inverse * (d[i] * w[i] - from[i] * pull);
        else
          for (std::int64_t i = 0; i < size; ++i) to[i] += inverse * (d[i] * w[i] - from[i] * pull);
      }
  };
  if (dweight.size(0) == 0)
    for_row_tiles(pool, x.size(0), 3 * x.size(1),
                  [&](std::int64_t begin, std::int64_t end) { rows(begin, end, nullptr); });
  else
    add_column_sums(pool, x.size(0), size, dweight.data(), rows);
}

}  // namespace lodestone::on_host
