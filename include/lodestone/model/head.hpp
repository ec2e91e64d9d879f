// The scored-row head: log p(label) for chosen rows only, in chunks; the logits never exist beyond one chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/scored_rows.hpp>
#include <lodestone/model/tape.hpp>

namespace lodestone {

/// Final norm, output matrix [V, E] (the embedding when tied) and log-softmax of m output rows [m, E].
///
/// Extra memory is the normed rows, their gradient and one chunk of logits, whatever m and V. Backward, for every loss:
/// d logits = c (onehot(label) - softmax), summed over the labels of a row.
template <class Backend, class Store>
class scored_head {
 public:
  /// The backend's types, and rows of its arena.
  ///@{
  using value_type = typename Backend::value_type;
  using accumulate_type = typename Backend::accumulate_type;
  using space = typename Backend::space;
  using value_block = block<value_type, 2, space>;
  ///@}
  using logits_block = block<accumulate_type, 2, space>;      ///< bf16 logits near 30 would be off by 0.06 nats
  using rows_view = tensor_view<const value_type, 2, space>;  ///< [m, E], before the final norm

  explicit scored_head(Store& weights) : weights_(&weights) {}  ///< `weights` must outlive the head

  /// Bytes that one chunk of logits may take; at least one row. Part of the results' bits.
  void set_chunk_bytes(std::int64_t bytes) { chunk_bytes_ = bytes; }

  /// Acquires and releases the units that the head reads: the last and, when tied, the first. The methods below do so
  /// themselves; only a rank without rows calls these (llama::join).
  ///@{
  void acquire() {
    weights_->acquire(norm_unit());
    if (config().tied_head) weights_->acquire(0);
  }
  void release() {
    if (config().tied_head) weights_->release(0);
    weights_->release(norm_unit());
  }
  ///@}

  /// Logits [m, V] of few rows.
  [[nodiscard]] logits_block logits(rows_view rows) {
    acquire();
    const normed n = normalise(rows);
    logits_block result = allocate_logits(rows.size(0));
    backend().gemm_nt(const_view(n.rows.view()), weight(), result.view(), accumulate_type{0});
    release();
    return result;
  }

  /// log p of every label of `scored`, in its grouped order.
  void log_probs(rows_view rows, const scored_rows& scored, std::span<double> log_probs) {
    acquire();
    const normed n = normalise(rows);
    for (std::int64_t begin = 0; begin < rows.size(0);) begin = make_chunk(n, scored, begin, log_probs).end;
    release();
  }

  /// Head forward, loss and head backward; returns the gradient of the rows [m, E] and adds those of the parameters.
  ///
  /// A linear loss knows its coefficients before the logits exist, so each chunk of logits is made once and turned into
  /// its gradient in place; any other loss takes a pass for the log-probabilities first.
  template <class Coefficients>
  [[nodiscard]] value_block train(rows_view rows, const scored_rows& scored, bool is_linear,
                                  const Coefficients& coefficients, double& loss, std::vector<double>* log_probs_out) {
    const std::size_t count = scored.entries.size();
    std::vector<double> grouped(count);  // log p in grouped order
    std::vector<double> c(count);        // in the order of token_batch::scored
    const auto ungroup = [&] {
      std::vector<double> result(count);
      for (std::size_t k = 0; k < count; ++k) result[static_cast<std::size_t>(scored.entries[k])] = grouped[k];
      return result;
    };
    if (is_linear) {
      loss = coefficients(std::span<const double>{}, std::span<double>{c});
    } else {
      log_probs(rows, scored, grouped);
      const std::vector<double> in_order = ungroup();
      loss = coefficients(std::span<const double>{in_order}, std::span<double>{c});
    }
    std::vector<double> grouped_c(count);
    for (std::size_t k = 0; k < count; ++k) grouped_c[k] = c[static_cast<std::size_t>(scored.entries[k])];

    acquire();
    Backend& b = backend();
    const normed n = normalise(rows);
    const value_block d_normed = allocate(rows.size(0), config().hidden);
    const auto weight_gradient =
        weights_->layout(weight_unit()).gradient_matrix(weights_->gradient(weight_unit()), weight_parameter());
    for (std::int64_t begin = 0; begin < rows.size(0);) {
      const chunk part = make_chunk(n, scored, begin, grouped);
      const value_block narrow = narrow_logits(part.end - begin);
      const auto d_logits = gradient_of(part.logits, narrow);
      b.label_gradient(const_view(part.logits.view()), const_view(part.lse.view()), part.offsets, part.labels,
                       std::span<const double>{grouped_c}, d_logits);
      b.gemm_nn(const_view(d_logits), weight(), d_normed.view().rows(begin, part.end), value_type{0});
      if (weight_gradient.size(0) != 0)
        b.gemm_tn(const_view(d_logits), const_view(n.rows.view()).rows(begin, part.end), weight_gradient,
                  accumulate_type{1});
      begin = part.end;
    }
    value_block d = allocate(rows.size(0), config().hidden);
    const unit_layout& layout = weights_->layout(norm_unit());
    b.rmsnorm_gradient(rows, norm(), const_view(n.rstd.view()), const_view(d_normed.view()), d.view(),
                       layout.gradient_vector(weights_->gradient(norm_unit()), parameter::final_norm), value_type{0});
    release();
    if (is_linear)
      for (std::size_t k = 0; k < count; ++k) loss += grouped_c[k] * grouped[k];
    if (log_probs_out != nullptr) *log_probs_out = ungroup();
    return d;
  }

 private:
  struct normed {
    value_block rows;                       ///< [m, E]
    block<accumulate_type, 1, space> rstd;  ///< [m]
  };

  /// Rows [begin, end): their logits, log-sum-exp and label log-probabilities.
  struct chunk {
    std::int64_t end;
    logits_block logits;                   ///< [end - begin, V]
    block<accumulate_type, 1, space> lse;  ///< [end - begin]
    uploaded<Backend, std::int64_t> offsets;
    uploaded<Backend, std::int32_t> labels;
  };

  [[nodiscard]] const model_config& config() const { return weights_->config(); }
  [[nodiscard]] Backend& backend() { return weights_->backend(); }
  [[nodiscard]] std::int64_t norm_unit() const { return config().layers + 1; }
  [[nodiscard]] std::int64_t weight_unit() const { return config().tied_head ? 0 : norm_unit(); }
  [[nodiscard]] parameter weight_parameter() const {
    return config().tied_head ? parameter::embedding : parameter::head_weight;
  }
  [[nodiscard]] rows_view weight() const {
    return weights_->layout(weight_unit()).matrix(weights_->weights(weight_unit()), weight_parameter());
  }
  [[nodiscard]] auto norm() const {
    return weights_->layout(norm_unit()).vector(weights_->weights(norm_unit()), parameter::final_norm);
  }
  [[nodiscard]] value_block allocate(std::int64_t rows, std::int64_t columns) {
    return backend().template allocate<value_type>(extents<2>{{rows, columns}});
  }

  [[nodiscard]] logits_block allocate_logits(std::int64_t rows) {
    return backend().template allocate<accumulate_type>(extents<2>{{rows, config().vocabulary}});
  }
  /// Where the gradient of a chunk of logits goes: its own memory, or a narrower chunk where products want that type.
  [[nodiscard]] value_block narrow_logits(std::int64_t rows) {
    if constexpr (std::is_same_v<value_type, accumulate_type>)
      return {};
    else
      return allocate(rows, config().vocabulary);
  }
  [[nodiscard]] static tensor_view<value_type, 2, space> gradient_of(const logits_block& logits,
                                                                     const value_block& narrow) {
    if constexpr (std::is_same_v<value_type, accumulate_type>)
      return logits.view();
    else
      return narrow.view();
  }

  [[nodiscard]] normed normalise(rows_view rows) {
    normed n{allocate(rows.size(0), config().hidden),
             backend().template allocate<accumulate_type>(extents<1>{{rows.size(0)}})};
    backend().rmsnorm(rows, norm(), static_cast<accumulate_type>(config().norm_epsilon), n.rows.view(), n.rstd.view());
    return n;
  }

  [[nodiscard]] chunk make_chunk(const normed& n, const scored_rows& scored, std::int64_t begin,
                                 std::span<double> log_probs) {
    Backend& b = backend();
    const std::int64_t row_bytes = config().vocabulary * static_cast<std::int64_t>(sizeof(accumulate_type));
    const std::int64_t end = std::min(begin + std::max<std::int64_t>(1, chunk_bytes_ / row_bytes),
                                      static_cast<std::int64_t>(scored.rows.size()));
    const auto offsets = std::span<const std::int64_t>{scored.offsets}.subspan(
        static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin) + 1);
    chunk c{end, allocate_logits(end - begin),
            b.template allocate<accumulate_type>(extents<1>{{end - begin}}), b.upload(offsets),
            b.upload(std::span<const std::int32_t>{scored.labels})};
    b.gemm_nt(const_view(n.rows.view()).rows(begin, end), weight(), c.logits.view(), accumulate_type{0});
    b.label_log_probs(const_view(c.logits.view()), c.offsets, c.labels, c.lse.view(), log_probs);
    return c;
  }

  Store* weights_;
  std::int64_t chunk_bytes_ = Backend::head_chunk_bytes;
};

}  // namespace lodestone
