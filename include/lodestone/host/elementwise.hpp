// Host operations without a reduction over features: bias, embedding, SwiGLU, additions, row gathers, copies.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include <lodestone/core/dtype.hpp>
#include <lodestone/host/exponential.hpp>
#include <lodestone/host/tiles.hpp>

namespace lodestone::on_host {

/// y[M,N] += bias[N] in every row.
template <class T>
void add_bias(thread_pool& pool, matrix<T> y, vector<const T> bias) {
  checks::add_bias(y, bias);
  for_row_tiles(pool, y.size(0), y.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T* row = y.row(i);
      for (std::int64_t j = 0; j < y.size(1); ++j) row[j] += bias.data()[j];
    }
  });
}

/// db[N] += column sums of dy[M,N].
template <class T>
void bias_gradient(thread_pool& pool, matrix<const T> dy, vector<T> db) {
  checks::bias_gradient(dy, db);
  add_column_sums(pool, dy.size(0), dy.size(1), db.data(), [&](std::int64_t begin, std::int64_t end, T* partial) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* row = dy.row(i);
      for (std::int64_t j = 0; j < dy.size(1); ++j) partial[j] += row[j];
    }
  });
}

/// out[T,E] = rows of table[V,E] chosen by tokens[T].
template <class T>
void embed(thread_pool& pool, std::span<const std::int32_t> tokens, matrix<const T> table, matrix<T> out) {
  checks::embed(tokens, table, out);
  for_row_tiles(pool, out.size(0), out.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      std::copy_n(table.row(tokens[static_cast<std::size_t>(i)]), out.size(1), out.row(i));
  });
}

/// dtable[V,E] += dout[T,E] scattered by tokens[T]. A token may occur many times, so tiles split the columns and each
/// adds its columns in token order.
template <class T>
void embed_gradient(thread_pool& pool, std::span<const std::int32_t> tokens, matrix<const T> dout, matrix<T> dtable) {
  checks::embed_gradient(tokens, dout, dtable);
  constexpr std::int64_t columns_per_tile = 64;
  for_tiles(pool, dout.size(1), columns_per_tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < dout.size(0); ++i) {
      const T* from = dout.row(i);
      T* to = dtable.row(tokens[static_cast<std::size_t>(i)]);
      for (std::int64_t j = begin; j < end; ++j) to[j] += from[j];
    }
  });
}

/// out[T,F] = silu(gate) * up, where gate_up[T,2F] holds the gate in its first F columns; silu(g) = g / (1 + exp(-g)).
template <class T>
void swiglu(thread_pool& pool, matrix<const T> gate_up, matrix<T> out) {
  const std::int64_t width = out.size(1);
  checks::swiglu(gate_up, out);
  for_row_tiles(pool, out.size(0), 3 * width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* gate = gate_up.row(i);
      const T* up = gate + width;
      T* to = out.row(i);
      for (std::int64_t j = 0; j < width; ++j) to[j] = gate[j] / (T{1} + exponential(-gate[j])) * up[j];
    }
  });
}

/// dgate_up[T,2F] from dout[T,F] and the gate_up[T,2F] of the forward pass; dgate_up may be gate_up itself.
/// With s = sigmoid(g): d up = dout g s, d gate = dout up s (1 + g (1 - s)).
template <class T>
void swiglu_gradient(thread_pool& pool, matrix<const T> gate_up, matrix<const T> dout, matrix<T> dgate_up) {
  const std::int64_t width = dout.size(1);
  checks::swiglu_gradient(gate_up, dout, dgate_up);
  for_row_tiles(pool, dout.size(0), 5 * width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* gate = gate_up.row(i);
      const T* up = gate + width;
      const T* d = dout.row(i);
      T* dgate = dgate_up.row(i);
      T* dup = dgate + width;
      for (std::int64_t j = 0; j < width; ++j) {
        const T g = gate[j];
        const T u = up[j];
        const T sigmoid = T{1} / (T{1} + exponential(-g));
        dgate[j] = d[j] * u * sigmoid * (T{1} + g * (T{1} - sigmoid));
        dup[j] = d[j] * g * sigmoid;
      }
    }
  });
}

/// y += x, both [M,N].
template <class T>
void add(thread_pool& pool, matrix<const T> x, matrix<T> y) {
  check_shapes(x.shape() == y.shape(), "add", "x[M,N], y[M,N]", x, y);
  for_row_tiles(pool, y.size(0), y.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* from = x.row(i);
      T* to = y.row(i);
      for (std::int64_t j = 0; j < y.size(1); ++j) to[j] += from[j];
    }
  });
}

/// y[m,E] = the rows of x[T,E] listed in rows[m], ascending and unique.
template <class T>
void gather_rows(thread_pool& pool, matrix<const T> x, std::span<const std::int64_t> rows, matrix<T> y) {
  checks::gather_rows(x, rows, y);
  for_row_tiles(pool, y.size(0), y.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      std::copy_n(x.row(rows[static_cast<std::size_t>(i)]), y.size(1), y.row(i));
  });
}

/// dx[T,E] at rows[m], ascending and unique, += dy[m,E].
template <class T>
void scatter_add_rows(thread_pool& pool, matrix<const T> dy, std::span<const std::int64_t> rows, matrix<T> dx) {
  checks::scatter_add_rows(dy, rows, dx);
  for_row_tiles(pool, dy.size(0), dx.size(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* from = dy.row(i);
      T* to = dx.row(rows[static_cast<std::size_t>(i)]);
      for (std::int64_t j = 0; j < dx.size(1); ++j) to[j] += from[j];
    }
  });
}

namespace detail {
/// Runs work(pointer, count) over contiguous pieces of a view of any rank.
template <class T, std::size_t Rank, class Work>
void for_pieces(thread_pool& pool, tensor_view<T, Rank> view, const Work& work) {
  if (view.count() == 0) return;
  if (view.is_contiguous()) {
    for_tiles(pool, view.count(), rows_per_tile(1),
              [&](std::int64_t begin, std::int64_t end) { work(view.data() + begin, begin, end - begin); });
    return;
  }
  const std::int64_t width = view.shape().row_count();
  for_row_tiles(pool, view.size(0), width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) work(view.row(i), i * width, width);
  });
}
}  // namespace detail

/// Every element = value.
template <class T, std::size_t Rank>
void fill(thread_pool& pool, tensor_view<T, Rank> view, std::type_identity_t<T> value) {
  detail::for_pieces(pool, view, [&](T* to, std::int64_t, std::int64_t count) { std::fill_n(to, count, value); });
}

/// Every element *= factor, rounded to T first.
template <class T, std::size_t Rank>
void scale(thread_pool& pool, tensor_view<T, Rank> view, double factor) {
  detail::for_pieces(pool, view, [by = static_cast<T>(factor)](T* to, std::int64_t, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] *= by;
  });
}

/// target = source, converted element by element (core/dtype.hpp); shapes are equal, strides need not be.
template <class From, class To, std::size_t Rank>
void copy(thread_pool& pool, tensor_view<From, Rank> source, tensor_view<To, Rank> target) {
  check_shapes(source.shape() == target.shape(), "copy", "equal shapes", source, target);
  if (source.count() == 0) return;
  const auto piece = [](const From* from, To* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = convert<To>(from[i]);
  };
  if (source.is_contiguous() && target.is_contiguous()) {
    for_tiles(pool, source.count(), rows_per_tile(1), [&](std::int64_t begin, std::int64_t end) {
      piece(source.data() + begin, target.data() + begin, end - begin);
    });
    return;
  }
  const std::int64_t width = source.shape().row_count();
  for_row_tiles(pool, source.size(0), width, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) piece(source.row(i), target.row(i), width);
  });
}

}  // namespace lodestone::on_host
