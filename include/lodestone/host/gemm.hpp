// The three matrix products of a linear layer on strided row-major views, on fixed tiles over all threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include <Eigen/Core>

#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

namespace detail {

template <class T>
using eigen_rows = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using eigen_matrix = Eigen::Map<eigen_rows<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
using eigen_constant = Eigen::Map<const eigen_rows<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
template <class T>
using eigen_row = Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>>;
template <class T>
using eigen_constant_row = Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>;

template <class T>
[[nodiscard]] eigen_matrix<T> map(matrix<T> view) {
  return {view.data(), view.size(0), view.size(1), Eigen::OuterStride<>(view.stride())};
}
template <class T>
[[nodiscard]] eigen_constant<T> map(matrix<const T> view) {
  return {view.data(), view.size(0), view.size(1), Eigen::OuterStride<>(view.stride())};
}

/// target = product + beta target, on the calling thread.
template <class Target, class Product, class T>
void assign(Target target, const Product& product, T beta) {
#if defined(_OPENMP) && !defined(EIGEN_DONT_PARALLELIZE)
  // A user's -fopenmp would let Eigen split tiles by the number of threads; this holds for the whole process.
  [[maybe_unused]] static const bool once = (Eigen::setNbThreads(1), true);
#endif
  if (beta == T{0})
    target.noalias() = product;
  else
    target.noalias() += product;
}

/// How a product is cut: tiles of the output and chunks of the reduction. It follows from the shape alone.
struct tiling {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t depth;
};

/// `size` in `parts` nearly equal pieces, whole vectors each.
[[nodiscard]] constexpr std::int64_t piece(std::int64_t size, std::int64_t parts) {
  return std::max<std::int64_t>(1, tile_count(tile_count(size, parts), 16) * 16);
}

[[nodiscard]] constexpr std::int64_t tiles_of(const tiling& tile, std::int64_t rows, std::int64_t columns,
                                              std::int64_t depth) {
  return tile_count(rows, tile.rows) * tile_count(columns, tile.columns) * tile_count(depth, tile.depth);
}

/// Cuts the longer side of the output tile until there are `enough` tiles or they get smaller than `least` elements.
constexpr void cut_output(tiling& tile, std::int64_t rows, std::int64_t columns, std::int64_t depth,
                          std::int64_t enough, std::int64_t least) {
  while (tiles_of(tile, rows, columns, depth) < enough && tile.rows * tile.columns > least) {
    if (tile.rows >= tile.columns)
      tile.rows = piece(rows, 2 * tile_count(rows, tile.rows));
    else
      tile.columns = piece(columns, 2 * tile_count(columns, tile.columns));
  }
}

/// The whole output in tiles of at most 1024 x 1024.
[[nodiscard]] constexpr tiling large_tiles(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  constexpr std::int64_t side = 1024;
  return {piece(rows, std::max<std::int64_t>(1, tile_count(rows, side))),
          piece(columns, std::max<std::int64_t>(1, tile_count(columns, side))), std::max<std::int64_t>(depth, 1)};
}

// Measured with Eigen 3.4 on an AVX-512 core in 2026: tiles of 512 x 512 run at 95 to 100% of the whole product's rate,
// 256 x 256 at 90 to 100%, 128 x 128 at 80 to 90%. So tiles shrink only while there are few of them.
[[nodiscard]] constexpr tiling choose_tiling(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  tiling tile = large_tiles(rows, columns, depth);
  cut_output(tile, rows, columns, depth, 8, 256 * 256);
  cut_output(tile, rows, columns, depth, 4, 128 * 128);
  return tile;
}

/// The same when the reduction is the long side, as in a weight gradient over all tokens: it is summed in chunks first,
/// which costs one partial output each (at most 16, of at most 2^20 elements).
[[nodiscard]] constexpr tiling choose_chunked_tiling(std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  tiling tile = large_tiles(rows, columns, depth);
  if (rows <= (std::int64_t{1} << 20) && columns <= (std::int64_t{1} << 20) &&
      rows * columns <= (std::int64_t{1} << 20))
    while (tiles_of(tile, rows, columns, depth) < 4 && tile.depth >= 2048)
      tile.depth = piece(depth, 2 * tile_count(depth, tile.depth));
  cut_output(tile, rows, columns, depth, 4, 128 * 128);
  return tile;
}

/// Runs work(row_begin, row_end, column_begin, column_end) over the tiles of an output [rows, columns].
template <class Work>
void for_output_tiles(thread_pool& pool, const tiling& tile, std::int64_t rows, std::int64_t columns,
                      const Work& work) {
  const std::int64_t across = tile_count(columns, tile.columns);
  pool.run(tile_count(rows, tile.rows) * across, [&](std::int64_t index) {
    const std::int64_t i = index / across * tile.rows;
    const std::int64_t j = index % across * tile.columns;
    work(i, std::min(rows, i + tile.rows), j, std::min(columns, j + tile.columns));
  });
}

}  // namespace detail

/// y[M,N] = x[M,C] w[N,C]^T + beta y: the forward pass of a linear layer. beta is 0 (y is not read) or 1.
template <class T>
void gemm_nt(thread_pool& pool, matrix<const T> x, matrix<const T> w, matrix<T> y, T beta) {
  checks::gemm_nt(x, w, y);
  if (y.size(0) == 1) {  // one token: a matrix-vector product, bound by reading w
    for_row_tiles(pool, y.size(1), x.size(1), [&](std::int64_t j, std::int64_t end) {
      detail::assign(detail::eigen_row<T>(y.data() + j, end - j),
                     detail::eigen_constant_row<T>(x.data(), x.size(1)) * detail::map(w.rows(j, end)).transpose(),
                     beta);
    });
    return;
  }
  const detail::tiling tile = detail::choose_tiling(y.size(0), y.size(1), x.size(1));
  detail::for_output_tiles(pool, tile, y.size(0), y.size(1), [&](auto i, auto i_end, auto j, auto j_end) {
    detail::assign(detail::map(y.rows(i, i_end).columns(j, j_end)),
                   detail::map(x.rows(i, i_end)) * detail::map(w.rows(j, j_end)).transpose(), beta);
  });
}

/// dx[M,C] = dy[M,N] w[N,C] + beta dx: the input gradient of a linear layer.
template <class T>
void gemm_nn(thread_pool& pool, matrix<const T> dy, matrix<const T> w, matrix<T> dx, T beta) {
  checks::gemm_nn(dy, w, dx);
  const detail::tiling tile = detail::choose_tiling(dx.size(0), dx.size(1), dy.size(1));
  detail::for_output_tiles(pool, tile, dx.size(0), dx.size(1), [&](auto i, auto i_end, auto j, auto j_end) {
    detail::assign(detail::map(dx.rows(i, i_end).columns(j, j_end)),
                   detail::map(dy.rows(i, i_end)) * detail::map(w.columns(j, j_end)), beta);
  });
}

/// dw[N,C] = dy[M,N]^T x[M,C] + beta dw: the weight gradient of a linear layer. A long M with a small dw is summed in
/// fixed chunks of rows, whose partial results are added in order.
template <class T>
void gemm_tn(thread_pool& pool, matrix<const T> dy, matrix<const T> x, matrix<T> dw, T beta) {
  checks::gemm_tn(dy, x, dw);
  const std::int64_t depth = dy.size(0);
  const detail::tiling tile = detail::choose_chunked_tiling(dw.size(0), dw.size(1), depth);
  const std::int64_t chunks = tile_count(depth, tile.depth);
  const auto multiply = [&](auto k, auto k_end, auto i, auto i_end, auto j, auto j_end, matrix<T> target, T keep) {
    detail::assign(detail::map(target.rows(i, i_end).columns(j, j_end)),
                   detail::map(dy.rows(k, k_end).columns(i, i_end)).transpose() *
                       detail::map(x.rows(k, k_end).columns(j, j_end)),
                   keep);
  };
  if (chunks <= 1) {
    detail::for_output_tiles(pool, tile, dw.size(0), dw.size(1), [&](auto i, auto i_end, auto j, auto j_end) {
      multiply(std::int64_t{0}, depth, i, i_end, j, j_end, dw, beta);
    });
    return;
  }
  tensor<T, 2> partial(extents<2>{{(chunks - 1) * dw.size(0), dw.size(1)}});  // chunk 0 goes to dw itself
  const std::int64_t across = tile_count(dw.size(1), tile.columns);
  const std::int64_t outputs = tile_count(dw.size(0), tile.rows) * across;
  pool.run(chunks * outputs, [&](std::int64_t index) {
    const std::int64_t chunk = index / outputs;
    const std::int64_t k = chunk * tile.depth;
    const std::int64_t i = index % outputs / across * tile.rows;
    const std::int64_t j = index % across * tile.columns;
    const matrix<T> target =
        chunk == 0 ? dw : partial.view().rows((chunk - 1) * dw.size(0), chunk * dw.size(0));
    multiply(k, std::min(depth, k + tile.depth), i, std::min(dw.size(0), i + tile.rows), j,
             std::min(dw.size(1), j + tile.columns), target, chunk == 0 ? beta : T{0});
  });
  for_row_tiles(pool, dw.size(0), dw.size(1) * chunks, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t chunk = 0; chunk + 1 < chunks; ++chunk) {
        const T* from = partial.data() + (chunk * dw.size(0) + i) * dw.size(1);
        T* to = dw.row(i);
        for (std::int64_t j = 0; j < dw.size(1); ++j) to[j] += from[j];
      }
  });
}

}  // namespace lodestone::on_host

#ifdef LODESTONE_COMPILED
#include <lodestone/host/compiled_products.hpp>
#endif
