// The three matrix products of a linear layer on strided row-major views, on fixed tiles over all threads.
#pragma once

#include <cstdint>

#include <Eigen/Core>

#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

namespace detail {

template <class T>
using eigen_matrix =
    Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, Eigen::Unaligned,
               Eigen::OuterStride<>>;
template <class T>
using eigen_constant =
    Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, Eigen::Unaligned,
               Eigen::OuterStride<>>;

template <class T>
[[nodiscard]] eigen_matrix<T> map(matrix<T> view) {
  return {view.data(), view.size(0), view.size(1), Eigen::OuterStride<>(view.stride())};
}
template <class T>
[[nodiscard]] eigen_constant<T> map(matrix<const T> view) {
  return {view.data(), view.size(0), view.size(1), Eigen::OuterStride<>(view.stride())};
}

template <class Target, class Product, class T>
void assign(Target target, const Product& product, T beta) {
  if (beta == T{0})
    target.noalias() = product;
  else
    target.noalias() += product;
}

inline constexpr std::int64_t tile_rows = 256;
inline constexpr std::int64_t tile_columns = 512;

/// Runs work(row_begin, row_end, column_begin, column_end) over the fixed tiles of an output [rows, columns].
template <class Work>
void for_output_tiles(thread_pool& pool, std::int64_t rows, std::int64_t columns, const Work& work) {
  const std::int64_t across = tile_count(columns, tile_columns);
  pool.run(tile_count(rows, tile_rows) * across, [&](std::int64_t tile) {
    const std::int64_t i = tile / across * tile_rows;
    const std::int64_t j = tile % across * tile_columns;
    work(i, std::min(rows, i + tile_rows), j, std::min(columns, j + tile_columns));
  });
}

}  // namespace detail

/// y[M,N] = x[M,C] w[N,C]^T + beta y: the forward pass of a linear layer. beta is 0 (y is not read) or 1.
template <class T>
void gemm_nt(thread_pool& pool, matrix<const T> x, matrix<const T> w, matrix<T> y, T beta) {
  check_shapes(x.size(1) == w.size(1) && y.size(0) == x.size(0) && y.size(1) == w.size(0), "gemm_nt",
               "x[M,C], w[N,C], y[M,N]", x, w, y);
  detail::for_output_tiles(pool, y.size(0), y.size(1), [&](auto i, auto i_end, auto j, auto j_end) {
    detail::assign(detail::map(y.rows(i, i_end).columns(j, j_end)),
                   detail::map(x.rows(i, i_end)) * detail::map(w.rows(j, j_end)).transpose(), beta);
  });
}

/// dx[M,C] = dy[M,N] w[N,C] + beta dx: the input gradient of a linear layer.
template <class T>
void gemm_nn(thread_pool& pool, matrix<const T> dy, matrix<const T> w, matrix<T> dx, T beta) {
  check_shapes(dy.size(1) == w.size(0) && dx.size(0) == dy.size(0) && dx.size(1) == w.size(1), "gemm_nn",
               "dy[M,N], w[N,C], dx[M,C]", dy, w, dx);
  detail::for_output_tiles(pool, dx.size(0), dx.size(1), [&](auto i, auto i_end, auto j, auto j_end) {
    detail::assign(detail::map(dx.rows(i, i_end).columns(j, j_end)),
                   detail::map(dy.rows(i, i_end)) * detail::map(w.columns(j, j_end)), beta);
  });
}

/// dw[N,C] = dy[M,N]^T x[M,C] + beta dw: the weight gradient of a linear layer.
template <class T>
void gemm_tn(thread_pool& pool, matrix<const T> dy, matrix<const T> x, matrix<T> dw, T beta) {
  check_shapes(dy.size(0) == x.size(0) && dw.size(0) == dy.size(1) && dw.size(1) == x.size(1), "gemm_tn",
               "dy[M,N], x[M,C], dw[N,C]", dy, x, dw);
  detail::for_output_tiles(pool, dw.size(0), dw.size(1), [&](auto i, auto i_end, auto j, auto j_end) {
    detail::assign(detail::map(dw.rows(i, i_end).columns(j, j_end)),
                   detail::map(dy.columns(i, i_end)).transpose() * detail::map(x.columns(j, j_end)), beta);
  });
}

}  // namespace lodestone::on_host
