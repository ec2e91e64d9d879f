// One layer of the decoder, forward and backward: what is not kept is made again by the same function, have().
//
// Shapes: T tokens, m rows whose output is wanted, H query heads, K key-value heads, D head dimension, E hidden,
// F feed-forward.
//
// More than 400 lines in one header: forward, its replay and backward share the tape and the table of what is kept, and
// a change to one is read beside the others.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/arena.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/projection.hpp>
#include <lodestone/model/tape.hpp>

namespace lodestone {

namespace detail {

/// What the attention calls of one micro-batch share: nothing, unless the policy says so (attention/concept.hpp).
template <class Attention, class Backend>
struct attention_of_batch {
  struct type {};
  static constexpr bool is_shared = false;
};
template <class Attention, class Backend>
  requires requires { typename Attention::template per_batch<Backend>; }
struct attention_of_batch<Attention, Backend> {
  using type = typename Attention::template per_batch<Backend>;
  static constexpr bool is_shared = true;
};

}  // namespace detail

/// The layers of a Llama over the units of a store:
///
///     middle = x + O(attention(rope(QKV(norm(x)))))
///     y = middle + down(silu(gate) * up),  gate|up of norm(middle)
///
/// The MLP runs over tiles of rows, forward and backward, whatever is kept: the bits do not depend on what that is, and
/// where its tensors are not kept none of T rows exists.
///
/// The last layer of a pass that gathers computes queries, output projection and MLP for the chosen rows only; keys and
/// values are made for all T.
template <class Backend, class Attention, class Projection, class Store>
class decoder_layers {
 public:
  /// The backend's types, and rows of its arena.
  ///@{
  using value_type = typename Backend::value_type;
  using accumulate_type = typename Backend::accumulate_type;
  using space = typename Backend::space;
  using value_block = block<value_type, 2, space>;
  ///@}
  /// What a pass over the layers shares.
  struct pass : forward_pass<Backend> {
    typename detail::attention_of_batch<Attention, Backend>::type attention;  ///< in place of the policy, if it shares
  };

  /// `weights` must have been made for `config` and outlive the layers.
  decoder_layers(const model_config& config, Store& weights, Attention attention, Projection projection)
      : config_(config), weights_(&weights), attention_(std::move(attention)), projection_(std::move(projection)) {}

  [[nodiscard]] const Attention& attention() const { return attention_; }  ///< the policy of every layer

  /// Makes what the attention of all layers shares, once the pass knows its slices.
  void prepare(const pass& p) const {
    if constexpr (shares_attention)
      for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
        const place where = at(p, layer);
        const std::vector<slice> slices = layer_slices(p, where);
        p.attention.prepare(backend(), shape(), std::span<const slice>{slices}, where.m, p.keys);
      }
  }

  /// The output [m, E] of a layer whose input lies in its tape; the tape then holds what the pass keeps. What it does
  /// not keep goes as soon as the layer has used it.
  [[nodiscard]] value_block forward(pass& p, std::int64_t layer) {
    layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
    const place where = at(p, layer);
    if constexpr (can_join)
      if (joins(p, where)) return forward_joined(p, where);
    have(p, layer, activation::attention);
    for (const activation name : {activation::normed_in, activation::raw_qk, activation::qkv})
      if (!p.keeps(layer, name)) tape.drop(name);
    have(p, layer, activation::middle);
    if (!p.keeps(layer, activation::attention)) tape.drop(activation::attention);
    if (p.keeps(layer, activation::normed_mid)) {
      tape.normed_mid = allocate(where.m, config_.hidden);
      tape.rstd_mid = allocate_statistic(where.m);
    }
    if (p.keeps(layer, activation::gate_up)) tape.gate_up = allocate(where.m, 2 * config_.feed_forward);
    if (p.keeps(layer, activation::activated)) tape.activated = allocate(where.m, config_.feed_forward);
    value_block y;  // starts as the middle: in its own memory where nobody asks for it again
    if (p.keeps(layer, activation::middle)) {
      y = allocate(where.m, config_.hidden);
      backend().copy(const_view(tape.middle.view()), y.view());
    } else {
      y = std::move(tape.middle);
    }
    for_each_tile(p, where, [&](std::int64_t begin, std::int64_t end) {
      const value_view rows = y.view().rows(begin, end);
      mlp_tile tile = tile_of(tape, begin, end, rows);
      make(tile, layer, activation::normed_mid);
      make(tile, layer, activation::gate_up);
      tile.own_normed.reset();
      make(tile, layer, activation::activated);
      projection_.forward(backend(), down(layer, false).p, const_view(tile.activated), rows, value_type{1});
    });
    return y;
  }

  /// From the gradient of a layer's output [m, E] to that of its input [T, E]; parameter gradients are added up.
  [[nodiscard]] value_block backward(pass& p, std::int64_t layer, value_block d) {
    Backend& b = backend();
    layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
    const place where = at(p, layer);
    const std::int64_t unit = layer + 1;
    weights_->acquire(unit);

    // d: output -> middle, each tile in place
    have(p, layer, activation::middle);
    if (!p.keeps(layer, activation::normed_in)) tape.drop(activation::normed_in);  // cheap to make again
    for_each_tile(p, where, [&](std::int64_t begin, std::int64_t end) {
      const value_view rows = d.view().rows(begin, end);
      mlp_tile tile = tile_of(tape, begin, end, tape.middle.view().rows(begin, end));
      have(tile, layer, activation::activated);
      value_block d_gate_up = allocate(end - begin, 2 * config_.feed_forward);
      {
        const linear l = down(layer, true);
        const value_block d_activated = allocate(end - begin, config_.feed_forward);
        projection_.backward(b, l.p, l.g, const_view(tile.activated), const_view(rows), d_activated.view(),
                             value_type{0});
        tile.own_activated.reset();
        have(tile, layer, activation::gate_up);
        b.swiglu_gradient(const_view(tile.gate_up), const_view(d_activated.view()), d_gate_up.view());
        tile.own_gate_up.reset();
      }
      have(tile, layer, activation::normed_mid);
      const value_block d_normed = allocate(end - begin, config_.hidden);
      const linear l = gate_up(layer, true);
      projection_.backward(b, l.p, l.g, const_view(tile.normed), const_view(d_gate_up.view()), d_normed.view(),
                           value_type{0});
      b.rmsnorm_gradient(const_view(tile.middle), norm(unit, parameter::post_norm), const_view(tile.rstd),
                         const_view(d_normed.view()), rows, norm_gradient(unit, parameter::post_norm), value_type{1});
    });
    for (const activation name :
         {activation::activated, activation::gate_up, activation::normed_mid, activation::middle})
      tape.drop(name);

    // d: middle -> queries, keys, values
    have(p, layer, activation::attention);
    have(p, layer, activation::qkv);
    if (!p.keeps(layer, activation::normed_in)) tape.drop(activation::normed_in);
    layer_tape<Backend> d_tape;  // holds d_qkv, or d_q and d_kv, in the layout of the tape
    if (where.gathers) {
      d_tape.q = allocate(where.m, config_.q_size());
      d_tape.kv = allocate(p.T, 2 * config_.kv_size());
    } else {
      d_tape.qkv = allocate(p.T, config_.qkv_size());
    }
    const value_view d_q = queries(d_tape);
    const value_view d_k = keys(d_tape);
    {
      const linear l = output(layer, true);
      const value_block d_attention = allocate(where.m, config_.q_size());
      projection_.backward(b, l.p, l.g, const_view(tape.attention.view()), const_view(d.view()), d_attention.view(),
                           value_type{0});
      const std::vector<slice> slices = layer_slices(p, where);
      b.attend_backward(attention_of(p), shape(), std::span<const slice>{slices}, const_view(queries(tape)),
                        const_view(keys(tape)), const_view(values(tape)), const_view(tape.attention.view()),
                        const_view(tape.lse.view()), const_view(d_attention.view()), d_q, d_k, values(d_tape));
    }
    tape.drop(activation::attention);
    rotate(p, where, d_tape, true);
    if (config_.qk_norm) {
      if (!tape.has(activation::raw_qk)) {
        have(p, layer, activation::normed_in);
        project_qkv(p, where, tape);
      }
      b.rmsnorm_gradient(const_view(tape.raw_q.view()), norm(unit, parameter::q_norm), const_view(tape.rstd_q.view()),
                         const_view(d_q), d_q, norm_gradient(unit, parameter::q_norm), value_type{0});
      b.rmsnorm_gradient(const_view(tape.raw_k.view()), norm(unit, parameter::k_norm), const_view(tape.rstd_k.view()),
                         const_view(d_k), d_k, norm_gradient(unit, parameter::k_norm), value_type{0});
    }
    tape.drop(activation::qkv);
    tape.drop(activation::raw_qk);

    // d: queries, keys, values -> input
    have(p, layer, activation::normed_in);
    const value_block d_normed = allocate(p.T, config_.hidden);
    const const_value_view n = tape.normed_in.view();
    const linear l = qkv(layer, true);
    if (!where.gathers) {
      projection_.backward(b, l.p, l.g, n, const_view(d_tape.qkv.view()), d_normed.view(), value_type{0});
    } else {
      const std::int64_t split = config_.q_size();
      const std::int64_t end = config_.qkv_size();
      projection_.backward(b, l.p.rows(split, end), l.g.rows(split, end), n, const_view(d_tape.kv.view()),
                           d_normed.view(), value_type{0});
      const value_block chosen = allocate(where.m, config_.hidden);
      const value_block d_chosen = allocate(where.m, config_.hidden);
      b.gather_rows(n, p.rows, chosen.view());
      projection_.backward(b, l.p.rows(0, split), l.g.rows(0, split), const_view(chosen.view()), const_view(d_q),
                           d_chosen.view(), value_type{0});
      b.scatter_add_rows(const_view(d_chosen.view()), p.rows, d_normed.view());
      value_block d_input = allocate(p.T, config_.hidden);
      b.fill(d_input.view(), value_type{0});
      b.scatter_add_rows(const_view(d.view()), p.rows, d_input.view());
      d = std::move(d_input);
    }
    b.rmsnorm_gradient(const_view(tape.input.view()), norm(unit, parameter::input_norm),
                       const_view(tape.rstd_in.view()), const_view(d_normed.view()), d.view(),
                       norm_gradient(unit, parameter::input_norm), value_type{1});
    weights_->release(unit);
    return d;
  }

 private:
  using value_view = tensor_view<value_type, 2, space>;
  using const_value_view = tensor_view<const value_type, 2, space>;
  using statistic_block = block<accumulate_type, 1, space>;
  using statistic_view = tensor_view<accumulate_type, 1, space>;

  static constexpr bool shares_attention = detail::attention_of_batch<Attention, Backend>::is_shared;

  [[nodiscard]] Backend& backend() const { return weights_->backend(); }

  /// What evaluates the attention of a pass.
  [[nodiscard]] const auto& attention_of(const pass& p) const {
    if constexpr (shares_attention)
      return p.attention;
    else
      return attention_;
  }

  /// A layer within a pass.
  struct place {
    std::int64_t layer;
    bool gathers;
    std::int64_t m;
  };

  [[nodiscard]] place at(const pass& p, std::int64_t layer) const {
    const bool gathers = p.gathers && layer == config_.layers - 1;
    return {layer, gathers, gathers ? p.m : p.T};
  }

  /// Whether the backend joins operations of passes of few rows, and the policy's products are no more than products.
  static constexpr bool can_join = requires { &Backend::joins_operations; } &&
                                   (std::is_same_v<Projection, projections::dense> ||
                                    std::is_same_v<Projection, projections::frozen> ||
                                    std::is_same_v<Projection, projections::lora>);

  /// Whether a layer of a pass that continues sequences is computed by the operations that the backend joins.
  [[nodiscard]] bool joins(const pass& p, place where) const {
    if (p.cache == nullptr || p.activations != nullptr || where.gathers || config_.qk_norm ||
        !Backend::joins_operations(p.T, config_.hidden, config_.rope.dimensions == config_.head_dim))
      return false;
    for (const linear& l : {qkv(where.layer, false), gate_up(where.layer, false)})
      if (l.p.bias.size(0) != 0 || l.p.adapters.adapted.count != 0) return false;
    return true;
  }

  /// forward() of such a layer: the same operations on the same numbers, in half as many kernels.
  [[nodiscard]] value_block forward_joined(pass& p, place where) {
    Backend& b = backend();
    const auto epsilon = static_cast<accumulate_type>(config_.norm_epsilon);
    const std::int64_t unit = where.layer + 1;
    value_block x = std::move(p.tapes[static_cast<std::size_t>(where.layer)].input);
    {
      const value_block fused = allocate(p.T, config_.qkv_size());
      b.normed_product(const_view(x.view()), norm(unit, parameter::input_norm), epsilon,
                       qkv(where.layer, false).p.weight, fused.view());
      const value_view cached = p.cache->layers[static_cast<std::size_t>(where.layer)].view();
      b.rope_to_cache(fused.view(), shape(), const_view(p.cosine.view()), const_view(p.sine.view()),
                      config_.rope.interleaved, p.cache_rows, cached);
      const value_view seen = cached.rows(p.key_begin, p.key_begin + p.keys);
      const value_block attention = allocate(p.T, config_.q_size());
      const statistic_block lse = allocate_statistic(p.T * config_.heads);
      const std::vector<slice> slices = layer_slices(p, where);
      b.attend(attention_of(p), shape(), std::span<const slice>{slices},
               const_view(fused.view().columns(0, config_.q_size())),
               const_view(seen.columns(0, config_.kv_size())),
               const_view(seen.columns(config_.kv_size(), 2 * config_.kv_size())), attention.view(), lse.view());
      projection_.forward(b, output(where.layer, false).p, const_view(attention.view()), x.view(), value_type{1});
    }
    const value_block activated = allocate(p.T, config_.feed_forward);
    b.normed_gated_product(const_view(x.view()), norm(unit, parameter::post_norm), epsilon,
                           gate_up(where.layer, false).p.weight, activated.view());
    projection_.forward(b, down(where.layer, false).p, const_view(activated.view()), x.view(), value_type{1});
    return x;
  }

  [[nodiscard]] value_block allocate(std::int64_t rows, std::int64_t columns) {
    return backend().template allocate<value_type>(extents<2>{{rows, columns}});
  }
  [[nodiscard]] statistic_block allocate_statistic(std::int64_t count) {
    return backend().template allocate<accumulate_type>(extents<1>{{count}});
  }
  [[nodiscard]] attention_shape shape() const {
    return {config_.heads, config_.kv_heads, config_.head_dim, 1.0 / std::sqrt(static_cast<double>(config_.head_dim))};
  }

  struct linear {
    linear_parameters<value_type, space> p;
    linear_gradients<accumulate_type, space> g;
  };

  /// The weight, bias and adapters of a linear layer; gradients only when `with_gradients`.
  [[nodiscard]] linear linear_of(std::int64_t unit, parameter weight, parameter bias, bool with_gradients) const {
    const unit_layout& layout = weights_->layout(unit);
    const auto flat = weights_->weights(unit);
    linear result;
    const adapted_rows& adapted = layout.adapters.projections[projection_index(weight)];
    const parameter a = adapter_a(weight);
    const parameter b = adapter_b(weight);
    result.p = {layout.matrix(flat, weight), layout.vector(flat, bias),
                {layout.matrix(flat, a), layout.matrix(flat, b), adapted}, layout.adapters.scale};
    if (with_gradients) {
      const auto gradient = weights_->gradient(unit);
      result.g = {layout.gradient_matrix(gradient, weight), layout.gradient_vector(gradient, bias),
                  {layout.gradient_matrix(gradient, a), layout.gradient_matrix(gradient, b), adapted}};
    }
    return result;
  }
  [[nodiscard]] linear qkv(std::int64_t layer, bool with_gradients) const {
    return linear_of(layer + 1, parameter::qkv_weight, parameter::qkv_bias, with_gradients);
  }
  [[nodiscard]] linear output(std::int64_t layer, bool with_gradients) const {
    return linear_of(layer + 1, parameter::o_weight, parameter::o_bias, with_gradients);
  }
  [[nodiscard]] linear gate_up(std::int64_t layer, bool with_gradients) const {
    return linear_of(layer + 1, parameter::gate_up_weight, parameter::gate_up_bias, with_gradients);
  }
  [[nodiscard]] linear down(std::int64_t layer, bool with_gradients) const {
    return linear_of(layer + 1, parameter::down_weight, parameter::down_bias, with_gradients);
  }
  [[nodiscard]] auto norm(std::int64_t unit, parameter kind) const {
    return weights_->layout(unit).vector(weights_->weights(unit), kind);
  }
  [[nodiscard]] auto norm_gradient(std::int64_t unit, parameter kind) const {
    return weights_->layout(unit).gradient_vector(weights_->gradient(unit), kind);
  }

  [[nodiscard]] value_view queries(const layer_tape<Backend>& tape) const {
    return tape.qkv ? tape.qkv.view().columns(0, config_.q_size()) : tape.q.view();
  }
  [[nodiscard]] value_view keys(const layer_tape<Backend>& tape) const {
    const std::int64_t begin = tape.qkv ? config_.q_size() : 0;
    return (tape.qkv ? tape.qkv : tape.kv).view().columns(begin, begin + config_.kv_size());
  }
  /// [T, 2 K D], as a cache keeps them.
  [[nodiscard]] value_view keys_and_values(const layer_tape<Backend>& tape) const {
    return tape.qkv ? tape.qkv.view().columns(config_.q_size(), config_.qkv_size()) : tape.kv.view();
  }
  [[nodiscard]] value_view values(const layer_tape<Backend>& tape) const {
    const std::int64_t begin = (tape.qkv ? config_.q_size() : 0) + config_.kv_size();
    return (tape.qkv ? tape.qkv : tape.kv).view().columns(begin, begin + config_.kv_size());
  }

  /// The slices that a layer uses: those of the batch, narrowed by the layer's sliding window.
  [[nodiscard]] std::vector<slice> layer_slices(const pass& p, place where) const {
    std::vector<slice> slices = where.gathers ? p.row_slices : p.slices;
    std::int64_t keys = 0;  // no row sees more: in a cache each sequence has one slice
    for (const slice& s : slices) keys = std::max(keys, p.cache != nullptr ? s.keys() : s.k_end);
    if (const std::int64_t window = config_.window(where.layer); window > 0 && window < keys)
      for (slice& s : slices) {
        if (s.kind == slice_kind::full)
          throw shape_error("layer " + std::to_string(where.layer) +
                                " has a sliding window, which a full slice cannot "
                                "follow",
                            "attention", "compute the answers to a prompt one by one (batching separate)");
        s.window = s.window == 0 ? window : std::min(s.window, window);
      }
    return slices;
  }

  /// Makes the named tensor of a layer unless it is there: the forward pass and every replay of it.
  void have(pass& p, std::int64_t layer, activation name) {
    layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
    if (tape.has(name)) return;
    Backend& b = backend();
    const place where = at(p, layer);
    const auto epsilon = static_cast<accumulate_type>(config_.norm_epsilon);
    switch (name) {
      case activation::input: throw error("a layer's input was dropped", "layer " + std::to_string(layer));
      case activation::normed_in:
        tape.normed_in = allocate(p.T, config_.hidden);
        tape.rstd_in = allocate_statistic(p.T);
        b.rmsnorm(const_view(tape.input.view()), norm(layer + 1, parameter::input_norm), epsilon, tape.normed_in.view(),
                  tape.rstd_in.view());
        break;
      case activation::raw_qk:
      case activation::qkv:
        have(p, layer, activation::normed_in);
        project_qkv(p, where, tape);
        break;
      case activation::attention: {
        have(p, layer, activation::qkv);
        tape.attention = allocate(where.m, config_.q_size());
        tape.lse = allocate_statistic(where.m * config_.heads);
        const_value_view k = keys(tape);
        const_value_view v = values(tape);
        if (p.cache != nullptr) {
          const value_view cached = p.cache->layers[static_cast<std::size_t>(layer)].view();
          const const_value_view fresh = keys_and_values(tape);
          for (const cache_write& own : p.cache_writes)
            b.copy(fresh.rows(own.begin, own.end), cached.rows(own.row, own.row + own.end - own.begin));
          const value_view seen = cached.rows(p.key_begin, p.key_begin + p.keys);
          k = seen.columns(0, config_.kv_size());
          v = seen.columns(config_.kv_size(), 2 * config_.kv_size());
        }
        const std::vector<slice> slices = layer_slices(p, where);
        b.attend(attention_of(p), shape(), std::span<const slice>{slices}, const_view(queries(tape)), k, v,
                 tape.attention.view(), tape.lse.view());
        break;
      }
      case activation::middle:
        have(p, layer, activation::attention);
        if (!where.gathers && p.activations == nullptr) {
          tape.middle = std::move(tape.input);  // which nothing asks for again
        } else {
          tape.middle = allocate(where.m, config_.hidden);
          if (where.gathers)
            b.gather_rows(const_view(tape.input.view()), p.rows, tape.middle.view());
          else
            b.copy(const_view(tape.input.view()), tape.middle.view());
        }
        projection_.forward(b, output(layer, false).p, const_view(tape.attention.view()), tape.middle.view(),
                            value_type{1});
        break;
      case activation::normed_mid:
      case activation::gate_up:
      case activation::activated: throw error("the MLP is made in row tiles", "layer " + std::to_string(layer));
    }
  }

  /// Rows [begin, end) of a layer's MLP: rows of the tape's tensors where it has them, else blocks of the tile's own.
  struct mlp_tile {
    value_view middle;
    value_view normed;
    statistic_view rstd;
    value_view gate_up;
    value_view activated;
    value_block own_normed;
    statistic_block own_rstd;
    value_block own_gate_up;
    value_block own_activated;
  };

  [[nodiscard]] static mlp_tile tile_of(const layer_tape<Backend>& tape, std::int64_t begin, std::int64_t end,
                                        value_view middle) {
    mlp_tile tile;
    tile.middle = middle;
    if (tape.normed_mid) {
      tile.normed = tape.normed_mid.view().rows(begin, end);
      tile.rstd = tape.rstd_mid.view().rows(begin, end);
    }
    if (tape.gate_up) tile.gate_up = tape.gate_up.view().rows(begin, end);
    if (tape.activated) tile.activated = tape.activated.view().rows(begin, end);
    return tile;
  }

  /// Visits the m rows in tiles of about equal size, none larger than the pass allows.
  template <class Visit>
  void for_each_tile(const pass& p, place where, const Visit& visit) const {
    const std::int64_t rows = even_tile(where.m, p.mlp_rows > 0 ? p.mlp_rows : default_mlp_rows());
    for (std::int64_t begin = 0; begin < where.m; begin += rows) visit(begin, std::min(where.m, begin + rows));
  }

  /// Rows whose gate_up takes 512 MiB: enough for products at full speed, bounded whatever the batch.
  [[nodiscard]] std::int64_t default_mlp_rows() const {
    const std::int64_t bytes = 2 * config_.feed_forward * static_cast<std::int64_t>(sizeof(value_type));
    return std::max<std::int64_t>(1, (std::int64_t{512} << 20) / bytes / 128) * 128;
  }

  /// The named tensor of a tile, unless it is there.
  void have(mlp_tile& tile, std::int64_t layer, activation name) {
    if (name == activation::normed_mid && tile.normed.size(0) == 0) make(tile, layer, name);
    if (name == activation::gate_up && tile.gate_up.size(0) == 0) {
      have(tile, layer, activation::normed_mid);
      make(tile, layer, name);
    }
    if (name == activation::activated && tile.activated.size(0) == 0) {
      have(tile, layer, activation::gate_up);
      make(tile, layer, name);
    }
  }

  /// Makes a tensor of a tile from the one before it, in the tape's rows or in a block of the tile.
  void make(mlp_tile& tile, std::int64_t layer, activation name) {
    Backend& b = backend();
    const std::int64_t rows = tile.middle.size(0);
    const auto place_of = [&](value_view& view, value_block& own, std::int64_t columns) {
      if (view.size(0) == 0) view = (own = allocate(rows, columns)).view();
    };
    if (name == activation::normed_mid) {
      place_of(tile.normed, tile.own_normed, config_.hidden);
      if (tile.rstd.size(0) == 0) tile.rstd = (tile.own_rstd = allocate_statistic(rows)).view();
      b.rmsnorm(const_view(tile.middle), norm(layer + 1, parameter::post_norm),
                static_cast<accumulate_type>(config_.norm_epsilon), tile.normed, tile.rstd);
    } else if (name == activation::gate_up) {
      place_of(tile.gate_up, tile.own_gate_up, 2 * config_.feed_forward);
      projection_.forward(b, gate_up(layer, false).p, const_view(tile.normed), tile.gate_up, value_type{0});
    } else {
      place_of(tile.activated, tile.own_activated, config_.feed_forward);
      b.swiglu(const_view(tile.gate_up), tile.activated);
    }
  }

  /// qkv (or q and kv) from normed_in: projection, q/k norm, rotation. Makes raw_qk too where the model has q/k norms.
  void project_qkv(pass& p, place where, layer_tape<Backend>& tape) {
    Backend& b = backend();
    tape.drop(activation::qkv);
    tape.drop(activation::raw_qk);
    const linear layer = qkv(where.layer, false);
    const const_value_view n = tape.normed_in.view();
    if (!where.gathers) {
      tape.qkv = allocate(p.T, config_.qkv_size());
      projection_.forward(b, layer.p, n, tape.qkv.view(), value_type{0});
    } else {
      const value_block chosen = allocate(where.m, config_.hidden);
      b.gather_rows(n, p.rows, chosen.view());
      tape.q = allocate(where.m, config_.q_size());
      projection_.forward(b, layer.p.rows(0, config_.q_size()), const_view(chosen.view()), tape.q.view(),
                          value_type{0});
      tape.kv = allocate(p.T, 2 * config_.kv_size());
      projection_.forward(b, layer.p.rows(config_.q_size(), config_.qkv_size()), n, tape.kv.view(), value_type{0});
    }
    if (config_.qk_norm) {
      const auto normalise = [&](value_view x, parameter kind, value_block& raw, statistic_block& rstd) {
        raw = allocate(x.size(0), x.size(1));
        rstd = allocate_statistic(x.size(0) * x.size(1) / config_.head_dim);
        b.copy(const_view(x), raw.view());
        b.rmsnorm(const_view(raw.view()), norm(where.layer + 1, kind),
                  static_cast<accumulate_type>(config_.norm_epsilon), x, rstd.view());
      };
      normalise(queries(tape), parameter::q_norm, tape.raw_q, tape.rstd_q);
      normalise(keys(tape), parameter::k_norm, tape.raw_k, tape.rstd_k);
    }
    rotate(p, where, tape, false);
  }

  /// Queries and keys, which lie side by side unless the layer gathers.
  void rotate(pass& p, place where, const layer_tape<Backend>& tape, bool inverse) {
    const auto turn = [&](value_view x, const auto& cosine, const auto& sine) {
      backend().rope(x, config_.head_dim, const_view(cosine.view()), const_view(sine.view()), config_.rope.interleaved,
                     inverse);
    };
    if (where.gathers) {
      turn(queries(tape), p.row_cosine, p.row_sine);
      turn(keys(tape), p.cosine, p.sine);
    } else {
      turn(tape.qkv.view().columns(0, config_.q_size() + config_.kv_size()), p.cosine, p.sine);
    }
  }

  model_config config_;
  Store* weights_;
  Attention attention_;
  Projection projection_;
};

}  // namespace lodestone
