// What every backend checks before an operation: shapes, token ids, row indices and labels, with one message for each
// fault. A backend with memory of its own checks the host's copy of its lists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <lodestone/core/error.hpp>
#include <lodestone/core/extents.hpp>

namespace lodestone {

/// Throws shape_error unless `fits`; `expected` states the shapes in the alphabet of the documentation.
template <class... Views>
void check_shapes(bool fits, std::string_view operation, std::string_view expected, const Views&... views) {
  if (fits) [[likely]] return;
  std::string got;
  ((got.append(got.empty() ? "got " : ", ").append(to_string(views.shape()))), ...);
  throw shape_error(got, operation, std::string("it needs ").append(expected));
}

/// Throws shape_error unless every id is a row of a table of `vocabulary` rows.
inline void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocabulary, std::string_view operation) {
  for (const std::int32_t token : tokens)
    if (token < 0 || token >= vocabulary)
      throw shape_error("token " + std::to_string(token) + " lies outside the table of " + std::to_string(vocabulary) +
                            " rows",
                        operation, "check that the tokenizer belongs to this model");
}

/// Throws shape_error unless the indices ascend, differ and lie in [0, count).
inline void check_rows(std::span<const std::int64_t> rows, std::int64_t count, std::string_view operation) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] < 0 || rows[i] >= count || (i > 0 && rows[i] <= rows[i - 1]))
      throw shape_error("row indices must be ascending, unique and below " + std::to_string(count), operation);
}

/// Throws shape_error unless the labels labels[offsets[r]], ..., labels[offsets[r + 1] - 1] of each row r of
/// logits[m,V] lie in [0, V) and `values` elements reach as far as the last of them.
void check_labels(const auto& logits, const auto& lse, std::span<const std::int64_t> offsets,
                  std::span<const std::int32_t> labels, std::size_t values, std::string_view operation) {
  check_shapes(lse.size(0) == logits.size(0) && lse.is_contiguous() &&
                   static_cast<std::int64_t>(offsets.size()) == logits.size(0) + 1,
               operation, "logits[m,V], offsets[m+1], lse[m]", logits, lse);
  for (std::size_t r = 0; r + 1 < offsets.size(); ++r)
    if (offsets[r] < 0 || offsets[r + 1] < offsets[r])
      throw shape_error("offsets must be ascending and not negative", operation);
  const std::int64_t last = offsets.back();
  if (last > static_cast<std::int64_t>(labels.size()) || last > static_cast<std::int64_t>(values))
    throw shape_error("offsets end at " + std::to_string(last) + ", past " + std::to_string(labels.size()) +
                          " labels or " + std::to_string(values) + " values",
                      operation);
  for (std::int64_t k = offsets.front(); k < last; ++k)
    if (const std::int32_t label = labels[static_cast<std::size_t>(k)]; label < 0 || label >= logits.size(1))
      throw shape_error("label " + std::to_string(label) + " lies outside the vocabulary of " +
                            std::to_string(logits.size(1)),
                        operation, "check that the tokenizer belongs to this model");
}

namespace checks {

/// Throw shape_error, naming what is needed, unless the operands fit the operation of this name (its contract stands in
/// lodestone/host).
///@{
inline void gemm_nt(const auto& x, const auto& w, const auto& y) {
  check_shapes(x.size(1) == w.size(1) && y.size(0) == x.size(0) && y.size(1) == w.size(0), "gemm_nt",
               "x[M,C], w[N,C], y[M,N]", x, w, y);
}
inline void gemm_nn(const auto& dy, const auto& w, const auto& dx) {
  check_shapes(dy.size(1) == w.size(0) && dx.size(0) == dy.size(0) && dx.size(1) == w.size(1), "gemm_nn",
               "dy[M,N], w[N,C], dx[M,C]", dy, w, dx);
}
inline void gemm_tn(const auto& dy, const auto& x, const auto& dw) {
  check_shapes(dy.size(0) == x.size(0) && dw.size(0) == dy.size(1) && dw.size(1) == x.size(1), "gemm_tn",
               "dy[M,N], x[M,C], dw[N,C]", dy, x, dw);
}
inline void add_bias(const auto& y, const auto& bias) {
  check_shapes(bias.size(0) == y.size(1) && bias.is_contiguous(), "add_bias", "y[M,N], bias[N]", y, bias);
}
inline void bias_gradient(const auto& dy, const auto& db) {
  check_shapes(db.size(0) == dy.size(1) && db.is_contiguous(), "bias_gradient", "dy[M,N], db[N]", dy, db);
}

inline void embed(std::span<const std::int32_t> tokens, const auto& table, const auto& out) {
  check_shapes(out.size(0) == std::ssize(tokens) && out.size(1) == table.size(1), "embed",
               "tokens[T], table[V,E], out[T,E]", table, out);
  check_tokens(tokens, table.size(0), "embed");
}
inline void embed_gradient(std::span<const std::int32_t> tokens, const auto& dout, const auto& dtable) {
  check_shapes(dout.size(0) == std::ssize(tokens) && dout.size(1) == dtable.size(1), "embed_gradient",
               "tokens[T], dout[T,E], dtable[V,E]", dout, dtable);
  check_tokens(tokens, dtable.size(0), "embed_gradient");
}
inline void gather_rows(const auto& x, std::span<const std::int64_t> rows, const auto& y) {
  check_shapes(y.size(0) == std::ssize(rows) && y.size(1) == x.size(1), "gather_rows", "x[T,E], rows[m], y[m,E]", x,
               y);
  check_rows(rows, x.size(0), "gather_rows");
}
inline void scatter_add_rows(const auto& dy, std::span<const std::int64_t> rows, const auto& dx) {
  check_shapes(dy.size(0) == std::ssize(rows) && dy.size(1) == dx.size(1), "scatter_add_rows",
               "dy[m,E], rows[m], dx[T,E]", dy, dx);
  check_rows(rows, dx.size(0), "scatter_add_rows");
}

inline void rmsnorm(const auto& x, const auto& weight, const auto& y, const auto& rstd) {
  const std::int64_t size = weight.size(0);
  check_shapes(size > 0 && x.size(1) % size == 0 && y.shape() == x.shape() &&
                   rstd.size(0) == x.size(0) * (x.size(1) / size) && weight.is_contiguous() && rstd.is_contiguous(),
               "rmsnorm", "x[T,G*D], weight[D], y[T,G*D], rstd[T*G]", x, weight, y, rstd);
}
inline void rmsnorm_gradient(const auto& x, const auto& weight, const auto& rstd, const auto& dy, const auto& dx,
                             const auto& dweight) {
  const std::int64_t size = weight.size(0);
  check_shapes(size > 0 && x.size(1) % size == 0 && dy.shape() == x.shape() && dx.shape() == x.shape() &&
                   rstd.size(0) == x.size(0) * (x.size(1) / size) &&
                   (dweight.size(0) == 0 || dweight.size(0) == size) && weight.is_contiguous() &&
                   rstd.is_contiguous() && dweight.is_contiguous(),
               "rmsnorm_gradient", "x[T,G*D], weight[D], rstd[T*G], dy[T,G*D], dx[T,G*D], dweight[D] or empty", x,
               weight, rstd, dy, dx, dweight);
}
inline void rope(const auto& x, std::int64_t head_dim, const auto& cosine, const auto& sine) {
  check_shapes(head_dim > 0 && x.size(1) % head_dim == 0 && 2 * cosine.size(1) <= head_dim &&
                   cosine.size(0) == x.size(0) && sine.shape() == cosine.shape(),
               "rope", "x[T,heads*D], cosine[T,R/2], sine[T,R/2] with R <= D", x, cosine, sine);
}
inline void swiglu(const auto& gate_up, const auto& out) {
  check_shapes(gate_up.size(0) == out.size(0) && gate_up.size(1) == 2 * out.size(1), "swiglu",
               "gate_up[T,2F], out[T,F]", gate_up, out);
}
inline void swiglu_gradient(const auto& gate_up, const auto& dout, const auto& dgate_up) {
  check_shapes(gate_up.size(0) == dout.size(0) && gate_up.size(1) == 2 * dout.size(1) &&
                   dgate_up.shape() == gate_up.shape(),
               "swiglu_gradient", "gate_up[T,2F], dout[T,F], dgate_up[T,2F]", gate_up, dout, dgate_up);
}

inline void label_gradient(const auto& logits, const auto& lse, std::span<const std::int64_t> offsets,
                           std::span<const std::int32_t> labels, std::size_t values, const auto& d_logits) {
  check_shapes(d_logits.shape() == logits.shape(), "label_gradient", "logits[m,V], d_logits[m,V]", logits, d_logits);
  check_labels(logits, lse, offsets, labels, values, "label_gradient");
}
inline void adamw(const auto& weights, const auto& first_moment, const auto& second_moment, const auto& gradient) {
  check_shapes(first_moment.shape() == weights.shape() && second_moment.shape() == weights.shape() &&
                   gradient.shape() == weights.shape() && weights.is_contiguous() && first_moment.is_contiguous() &&
                   second_moment.is_contiguous() && gradient.is_contiguous(),
               "adamw", "contiguous weights[n], first moment[n], second moment[n], gradient[n]", weights, first_moment,
               second_moment, gradient);
}
///@}

}  // namespace checks
}  // namespace lodestone
