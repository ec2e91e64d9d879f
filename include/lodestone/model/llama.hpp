// The Llama family, forward and backward, written once over the operations of a backend.
//
// Shapes: T tokens, m rows whose output is wanted, H query heads, K key-value heads, D head dimension, E hidden,
// F feed-forward, V vocabulary, L layers. A layer is
//     middle = x + O(attention(rope(QKV(norm(x)))))        y = middle + down(silu(gate) * up),  gate|up of norm(middle)
// Whatever the forward pass does not keep is made again by the same function, have(), when the backward pass asks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/gather.hpp>
#include <lodestone/attention/shape.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/head.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/projection.hpp>
#include <lodestone/model/scored_rows.hpp>
#include <lodestone/model/tape.hpp>

namespace lodestone {

/// A decoder of the Llama family over a backend, an attention policy, a projection policy and a parameter store.
///
/// The model owns no weights: it acquires and releases units of the store (model/parameters.hpp) and tells it when the
/// gradients of a unit are final. One model object is driven by one thread.
template <class Backend, class Attention, class Projection = projections::dense,
          class Store = parameters::replicated<Backend>>
class llama {
 public:
  using backend_type = Backend;
  using attention_type = Attention;
  using projection_type = Projection;
  using store_type = Store;
  using value_type = typename Backend::value_type;
  using accumulate_type = typename Backend::accumulate_type;
  using space = typename Backend::space;

  /// `weights` must outlive the model and must have been made for the same config.
  llama(model_config config, Store& weights, Attention attention = {}, Projection projection = {})
      : config_(std::move(config)), weights_(&weights), attention_(std::move(attention)), projection_(projection),
        head_(weights) {
    if (!(weights.config() == config_))
      throw config_error("the weights were loaded for another configuration", "llama", "pass weights.config()");
  }

  [[nodiscard]] const model_config& config() const { return config_; }
  [[nodiscard]] Store& weights() const { return *weights_; }
  [[nodiscard]] Backend& backend() const { return weights_->backend(); }
  [[nodiscard]] const Attention& attention() const { return attention_; }

  /// Bytes that one chunk of logits may take in the head; at least one row. Part of the results' bits.
  void set_head_chunk_bytes(std::int64_t bytes) { head_.set_chunk_bytes(bytes); }

  /// log p(label) of every scored token, in the order of batch.scored. Keeps nothing for a backward pass.
  [[nodiscard]] std::vector<double> log_probs(const token_batch& batch) {
    std::vector<double> result(batch.scored.size());
    if (result.empty()) return result;
    const scored_rows scored = scored_rows::group(batch.scored);
    pass p = forward(batch, scored.rows, nullptr);
    std::vector<double> grouped(result.size());
    head_.log_probs(const_view(p.output.view()), scored, grouped);
    for (std::size_t k = 0; k < grouped.size(); ++k) result[static_cast<std::size_t>(scored.entries[k])] = grouped[k];
    return result;
  }

  /// Logits [rows, V] of the given stream rows (ascending, unique). Keeps nothing for a backward pass.
  [[nodiscard]] block<value_type, 2, space> logits(const token_batch& batch, std::span<const std::int64_t> rows) {
    pass p = forward(batch, rows, nullptr);
    return head_.logits(const_view(p.output.view()));
  }

  /// Forward and backward of one micro-batch; gradients are added to the store's.
  ///
  /// `coefficients(log_probs, c)` fills c[k] = d loss / d log p of scored token k and returns the loss; when `is_linear`
  /// it is called before the head with empty log_probs, and the loss returned here is sum_k c[k] log p[k]. With
  /// `is_last` the store is told of each unit's final gradients as the backward pass leaves it. `log_probs_out`, when
  /// not null, receives log p of every scored token.
  template <class Coefficients>
  double train(const token_batch& batch, const activation_table& table, bool is_linear,
               const Coefficients& coefficients, bool is_last, std::vector<double>* log_probs_out = nullptr) {
    if (log_probs_out != nullptr) log_probs_out->assign(batch.scored.size(), 0.0);
    if (batch.scored.empty()) {  // nothing to learn, but every rank still meets in the collectives
      join(is_linear, is_last);
      return 0.0;
    }
    table.check(config_.layers);
    const scored_rows scored = scored_rows::group(batch.scored);
    pass p = forward(batch, scored.rows, &table);
    double loss = 0.0;
    value_block gradient = head_.train(const_view(p.output.view()), scored, is_linear, coefficients, loss,
                                       log_probs_out);  // [m, E]
    p.output.reset();
    if (is_last) weights_->gradients_final(config_.layers + 1);  // a tied head's matrix is part of unit 0
    for (std::int64_t layer = config_.layers - 1; layer >= 0; --layer) {
      gradient = layer_backward(p, layer, std::move(gradient));
      p.tapes[static_cast<std::size_t>(layer)] = {};
      if (is_last) weights_->gradients_final(layer + 1);
    }
    const unit_layout& layout = weights_->layout(0);
    const auto table_gradient = layout.gradient_matrix(weights_->gradient(0), parameter::embedding);
    if (table_gradient.size(0) != 0) backend().embed_gradient(p.tokens, const_view(gradient.view()), table_gradient);
    if (is_last) weights_->gradients_final(0);
    return loss;
  }

  /// What train() does to the store, without a micro-batch: a rank that has none left joins the others' collectives.
  void join(bool is_linear, bool is_last) {
    const auto visit = [&](std::int64_t unit) {
      weights_->acquire(unit);
      weights_->release(unit);
    };
    const auto head = [&] {
      head_.acquire();
      head_.release();
    };
    for (std::int64_t unit = 0; unit <= config_.layers; ++unit) visit(unit);
    if (!is_linear) head();
    head();
    if (is_last) weights_->gradients_final(config_.layers + 1);
    for (std::int64_t unit = config_.layers; unit >= 1; --unit) {
      visit(unit);
      if (is_last) weights_->gradients_final(unit);
    }
    if (is_last) weights_->gradients_final(0);
  }

  /// An empty cache for `capacity` tokens.
  [[nodiscard]] kv_cache<Backend> make_cache(std::int64_t capacity) {
    kv_cache<Backend> cache;
    cache.capacity = capacity;
    for (std::int64_t layer = 0; layer < config_.layers; ++layer)
      cache.layers.push_back(allocate(capacity, 2 * config_.kv_size()));
    return cache;
  }

  /// Appends the tokens of `batch` (one sequence) to the cache and returns the logits [1, V] of its last row. The
  /// positions of the batch go on where the cache ends; its slices are ignored: the new rows see the whole cache.
  [[nodiscard]] block<value_type, 2, space> extend(kv_cache<Backend>& cache, const token_batch& batch) {
    if (cache.length + batch.size() > cache.capacity)
      throw shape_error("the cache holds " + std::to_string(cache.capacity) + " tokens", "generate",
                        "make it larger or generate fewer tokens");
    const std::int64_t last[] = {batch.size() - 1};
    pass p = forward(batch, last, nullptr, &cache);
    cache.length += batch.size();
    return head_.logits(const_view(p.output.view()));
  }

 private:
  using value_block = block<value_type, 2, space>;
  using value_view = tensor_view<value_type, 2, space>;
  using const_value_view = tensor_view<const value_type, 2, space>;
  using statistic_block = block<accumulate_type, 1, space>;
  using table_block = block<accumulate_type, 2, space>;
  using uploaded_tokens = uploaded<Backend, std::int32_t>;
  using uploaded_rows = uploaded<Backend, std::int64_t>;

  /// One forward pass: what all layers share, and their tapes.
  struct pass {
    std::int64_t T = 0;
    std::int64_t m = 0;  ///< rows of the last layer's output
    uploaded_tokens tokens;
    uploaded_rows rows;               ///< [m] when gathered
    bool gathers = false;             ///< the last layer computes the chosen rows only
    table_block cosine, sine;         ///< [T, R / 2]
    table_block row_cosine, row_sine; ///< [m, R / 2] when gathered
    std::vector<slice> slices;
    std::vector<slice> row_slices;    ///< when gathered
    std::vector<layer_tape<Backend>> tapes;
    value_block output;               ///< [m, E] before the final norm
    kv_cache<Backend>* cache = nullptr;
  };

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

  [[nodiscard]] value_block allocate(std::int64_t rows, std::int64_t columns) {
    return backend().template allocate<value_type>(extents<2>{{rows, columns}});
  }
  [[nodiscard]] statistic_block allocate_statistic(std::int64_t count) {
    return backend().template allocate<accumulate_type>(extents<1>{{count}});
  }
  [[nodiscard]] attention_shape shape() const {
    return {config_.heads, config_.kv_heads, config_.head_dim, 1.0 / std::sqrt(static_cast<double>(config_.head_dim))};
  }

  // ---- parameters of the unit in hand -------------------------------------------------------------------------------

  struct linear {
    linear_parameters<value_type, space> p;
    linear_gradients<accumulate_type, space> g;
  };

  /// The weight and bias of a linear layer; gradients only when `with_gradients`.
  [[nodiscard]] linear linear_of(std::int64_t unit, parameter weight, parameter bias, bool with_gradients) const {
    const unit_layout& layout = weights_->layout(unit);
    const auto flat = weights_->weights(unit);
    linear result;
    result.p = {layout.matrix(flat, weight), layout.vector(flat, bias)};
    if (with_gradients) {
      const auto gradient = weights_->gradient(unit);
      result.g = {layout.gradient_matrix(gradient, weight), layout.gradient_vector(gradient, bias)};
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

  // ---- forward ------------------------------------------------------------------------------------------------------

  /// Runs all layers; `rows` are the stream rows whose output is wanted. Without a table nothing is kept.
  [[nodiscard]] pass forward(const token_batch& batch, std::span<const std::int64_t> rows,
                             const activation_table* table, kv_cache<Backend>* cache = nullptr) {
    Backend& b = backend();
    pass p{};
    p.T = batch.size();
    p.m = static_cast<std::int64_t>(rows.size());
    p.gathers = p.m != p.T;
    p.cache = cache;
    p.tokens = b.upload(std::span<const std::int32_t>{batch.tokens});
    for (const std::int32_t token : batch.tokens)
      if (token < 0 || token >= config_.vocabulary)
        throw data_error("token " + std::to_string(token) + " is outside the model's vocabulary of " +
                             std::to_string(config_.vocabulary), "batch", "use the tokenizer that belongs to the model");
    if (cache != nullptr) {
      p.slices = {slice{0, p.T, 0, cache->length + p.T, slice_kind::causal, 0}};
    } else {
      p.slices = batch.slices;
      check_slices(p.slices, p.T, p.T);
    }
    fill_rope(batch.positions, batch.lengths, p.cosine, p.sine);
    if (p.gathers) {
      p.rows = b.upload(rows);
      p.row_slices = gather_slices(p.slices, rows);
      std::vector<std::int32_t> positions;
      std::vector<std::int64_t> lengths;
      for (const std::int64_t row : rows) {
        positions.push_back(batch.positions[static_cast<std::size_t>(row)]);
        lengths.push_back(batch.lengths[static_cast<std::size_t>(row)]);
      }
      fill_rope(positions, lengths, p.row_cosine, p.row_sine);
    }
    p.tapes.resize(static_cast<std::size_t>(config_.layers));

    value_block x = allocate(p.T, config_.hidden);
    weights_->acquire(0);
    b.embed(p.tokens, weights_->layout(0).matrix(weights_->weights(0), parameter::embedding), x.view());
    weights_->release(0);
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
      layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
      tape.input = std::move(x);
      weights_->acquire(layer + 1);
      x = layer_forward(p, layer);
      weights_->release(layer + 1);
      if (table != nullptr)
        tape.keep_only(*table, layer);
      else
        tape = {};
    }
    p.output = std::move(x);
    return p;
  }

  void fill_rope(std::span<const std::int32_t> positions, std::span<const std::int64_t> lengths, table_block& cosine,
                 table_block& sine) {
    const extents<2> shape{{static_cast<std::int64_t>(positions.size()), config_.rope.dimensions / 2}};
    cosine = backend().template allocate<accumulate_type>(shape);
    sine = backend().template allocate<accumulate_type>(shape);
    backend().rope_table(config_.rope, positions, lengths, cosine.view(), sine.view());
  }

  [[nodiscard]] value_block layer_forward(pass& p, std::int64_t layer) {
    layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
    have(p, layer, activation::activated);
    value_block y = allocate(at(p, layer).m, config_.hidden);
    have(p, layer, activation::middle);
    backend().copy(const_view(tape.middle.view()), y.view());
    projection_.forward(backend(), down(layer, false).p, const_view(tape.activated.view()), y.view(), value_type{1});
    return y;
  }

  [[nodiscard]] value_view queries(const layer_tape<Backend>& tape) const {
    return tape.qkv ? tape.qkv.view().columns(0, config_.q_size()) : tape.q.view();
  }
  [[nodiscard]] value_view keys(const layer_tape<Backend>& tape) const {
    const std::int64_t begin = tape.qkv ? config_.q_size() : 0;
    return (tape.qkv ? tape.qkv : tape.kv).view().columns(begin, begin + config_.kv_size());
  }
  [[nodiscard]] value_view values(const layer_tape<Backend>& tape) const {
    const std::int64_t begin = (tape.qkv ? config_.q_size() : 0) + config_.kv_size();
    return (tape.qkv ? tape.qkv : tape.kv).view().columns(begin, begin + config_.kv_size());
  }

  /// The slices that a layer uses: those of the batch, narrowed by the layer's sliding window.
  [[nodiscard]] std::vector<slice> layer_slices(const pass& p, place where) const {
    std::vector<slice> slices = where.gathers ? p.row_slices : p.slices;
    if (const std::int64_t window = config_.window(where.layer); window > 0)
      for (slice& s : slices) {
        if (s.kind == slice_kind::full)
          throw shape_error("layer " + std::to_string(where.layer) + " has a sliding window, which a full slice cannot "
                            "follow", "attention", "use a model without a window, or batches without shared prefixes");
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
        b.rmsnorm(const_view(tape.input.view()), norm(layer + 1, parameter::input_norm), epsilon,
                  tape.normed_in.view(), tape.rstd_in.view());
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
          const value_view fresh = cached.rows(p.cache->length, p.cache->length + p.T);
          b.copy(k, fresh.columns(0, config_.kv_size()));
          b.copy(v, fresh.columns(config_.kv_size(), 2 * config_.kv_size()));
          const value_view seen = cached.rows(0, p.cache->length + p.T);
          k = seen.columns(0, config_.kv_size());
          v = seen.columns(config_.kv_size(), 2 * config_.kv_size());
        }
        const std::vector<slice> slices = layer_slices(p, where);
        b.attend(attention_, shape(), std::span<const slice>{slices}, const_view(queries(tape)), k, v,
                 tape.attention.view(), tape.lse.view());
        break;
      }
      case activation::middle:
        have(p, layer, activation::attention);
        tape.middle = allocate(where.m, config_.hidden);
        if (where.gathers)
          b.gather_rows(const_view(tape.input.view()), p.rows, tape.middle.view());
        else
          b.copy(const_view(tape.input.view()), tape.middle.view());
        projection_.forward(b, output(layer, false).p, const_view(tape.attention.view()), tape.middle.view(),
                            value_type{1});
        break;
      case activation::normed_mid:
        have(p, layer, activation::middle);
        tape.normed_mid = allocate(where.m, config_.hidden);
        tape.rstd_mid = allocate_statistic(where.m);
        b.rmsnorm(const_view(tape.middle.view()), norm(layer + 1, parameter::post_norm), epsilon,
                  tape.normed_mid.view(), tape.rstd_mid.view());
        break;
      case activation::gate_up:
        have(p, layer, activation::normed_mid);
        tape.gate_up = allocate(where.m, 2 * config_.feed_forward);
        projection_.forward(b, gate_up(layer, false).p, const_view(tape.normed_mid.view()), tape.gate_up.view(),
                            value_type{0});
        break;
      case activation::activated:
        have(p, layer, activation::gate_up);
        tape.activated = allocate(where.m, config_.feed_forward);
        b.swiglu(const_view(tape.gate_up.view()), tape.activated.view());
        break;
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
    rotate(p, where, queries(tape), keys(tape), false);
  }

  void rotate(pass& p, place where, value_view q, value_view k, bool inverse) {
    Backend& b = backend();
    const auto& cosine = where.gathers ? p.row_cosine : p.cosine;
    const auto& sine = where.gathers ? p.row_sine : p.sine;
    b.rope(q, config_.head_dim, const_view(cosine.view()), const_view(sine.view()), config_.rope.interleaved, inverse);
    b.rope(k, config_.head_dim, const_view(p.cosine.view()), const_view(p.sine.view()), config_.rope.interleaved,
           inverse);
  }

  // ---- backward -----------------------------------------------------------------------------------------------------

  /// From the gradient of a layer's output [m, E] to that of its input [T, E]; parameter gradients are added up.
  [[nodiscard]] value_block layer_backward(pass& p, std::int64_t layer, value_block d) {
    Backend& b = backend();
    layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
    const place where = at(p, layer);
    const std::int64_t unit = layer + 1;
    weights_->acquire(unit);

    {  // d: output -> middle
      have(p, layer, activation::activated);
      value_block d_gate_up = allocate(where.m, 2 * config_.feed_forward);
      {
        const linear l = down(layer, true);
        const value_block d_activated = allocate(where.m, config_.feed_forward);
        projection_.backward(b, l.p, l.g, const_view(tape.activated.view()), const_view(d.view()), d_activated.view(),
                             value_type{0});
        tape.drop(activation::activated);
        have(p, layer, activation::gate_up);
        b.swiglu_gradient(const_view(tape.gate_up.view()), const_view(d_activated.view()), d_gate_up.view());
        tape.drop(activation::gate_up);
      }
      have(p, layer, activation::normed_mid);
      const value_block d_normed = allocate(where.m, config_.hidden);
      const linear l = gate_up(layer, true);
      projection_.backward(b, l.p, l.g, const_view(tape.normed_mid.view()), const_view(d_gate_up.view()),
                           d_normed.view(), value_type{0});
      have(p, layer, activation::middle);
      b.rmsnorm_gradient(const_view(tape.middle.view()), norm(unit, parameter::post_norm),
                         const_view(tape.rstd_mid.view()), const_view(d_normed.view()), d.view(),
                         norm_gradient(unit, parameter::post_norm), value_type{1});
      tape.drop(activation::normed_mid);
      tape.drop(activation::middle);
    }

    // d: middle -> queries, keys, values
    have(p, layer, activation::attention);
    have(p, layer, activation::qkv);
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
      b.attend_backward(attention_, shape(), std::span<const slice>{slices}, const_view(queries(tape)),
                        const_view(keys(tape)), const_view(values(tape)), const_view(tape.attention.view()),
                        const_view(tape.lse.view()), const_view(d_attention.view()), d_q, d_k, values(d_tape));
    }
    tape.drop(activation::attention);
    rotate(p, where, d_q, d_k, true);
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

  model_config config_;
  Store* weights_;
  Attention attention_;
  Projection projection_;
  scored_head<Backend, Store> head_;
};

}  // namespace lodestone
