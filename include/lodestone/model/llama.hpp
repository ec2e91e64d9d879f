// The Llama family, forward and backward, written once over the operations of a backend.
//
// Shapes: T tokens, m rows whose output is wanted, E hidden, V vocabulary, L layers. A layer is in model/layer.hpp, the
// head in model/head.hpp; here they become a model that scores, trains and continues.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/gather.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/head.hpp>
#include <lodestone/model/kv_cache.hpp>
#include <lodestone/model/layer.hpp>
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
template <class Backend, class Attention, class Projection = projections::lora,
          class Store = parameters::replicated<Backend>>
class llama {
 public:
  /// The template's arguments, and the types of its backend.
  ///@{
  using backend_type = Backend;
  using attention_type = Attention;
  using projection_type = Projection;
  using store_type = Store;
  using value_type = typename Backend::value_type;
  using accumulate_type = typename Backend::accumulate_type;
  using space = typename Backend::space;
  ///@}

  /// `weights` must outlive the model and must have been made for the same config.
  llama(model_config config, Store& weights, Attention attention = {}, Projection projection = {})
      : config_(std::move(config)),
        weights_(&weights),
        layers_(config_, weights, std::move(attention), std::move(projection)),
        head_(weights) {
    if (!(weights.config() == config_))
      throw config_error("the weights were loaded for another configuration", "llama", "pass weights.config()");
    if (!Projection::has_adapters && weights.trained().adapters.rank != 0)
      throw config_error("the weights have adapters, which this projection policy ignores", "llama",
                         "use projections::lora");
    if (!Projection::trains_weight && weights.trained().projections)
      throw config_error("the weights of linear layers are to be trained, which this projection policy never does",
                         "llama", "use projections::dense, or a store with trained_parts{.projections = false}");
  }

  [[nodiscard]] const model_config& config() const { return config_; }              ///< equal to weights().config()
  [[nodiscard]] Store& weights() const { return *weights_; }                        ///< the caller's store
  [[nodiscard]] Backend& backend() const { return weights_->backend(); }            ///< the store's
  [[nodiscard]] const Attention& attention() const { return layers_.attention(); }  ///< the policy of every layer

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
  [[nodiscard]] block<accumulate_type, 2, space> logits(const token_batch& batch, std::span<const std::int64_t> rows) {
    pass p = forward(batch, rows, nullptr);
    return head_.logits(const_view(p.output.view()));
  }

  /// Forward and backward of one micro-batch; gradients are added to the store's.
  ///
  /// `coefficients(log_probs, c)` fills c[k] = d loss / d log p of scored token k and returns the loss; when
  /// `is_linear` it is called before the head with empty log_probs, and the loss returned here is sum_k c[k] log p[k].
  /// With `is_last` the store is told of each unit's final gradients as the backward pass leaves it. `log_probs_out`,
  /// when not null, receives log p of every scored token.
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
      backend().await_copies();  // this layer's tensors are back
      if (const auto next = static_cast<std::size_t>(layer - 1); layer > 0)
        p.away[next].fetch(backend(), p.tapes[next], table, layer - 1);
      gradient = layers_.backward(p, layer, std::move(gradient));
      p.tapes[static_cast<std::size_t>(layer)] = {};
      if (is_last) weights_->gradients_final(layer + 1);
    }
    const unit_layout& layout = weights_->layout(0);
    const auto table_gradient = layout.gradient_matrix(weights_->gradient(0), parameter::embedding);
    if (table_gradient.size(0) != 0) backend().embed_gradient(p.tokens, const_view(gradient.view()), table_gradient);
    if (is_last) weights_->gradients_final(0);
    return loss;
  }

  /// What log_probs() does to the store, without a batch: a rank that has none joins the others' collectives.
  void join_log_probs() {
    for (std::int64_t unit = 0; unit <= config_.layers; ++unit) visit(unit);
    visit_head();
  }

  /// What train() does to the store, without a micro-batch: a rank that has none left joins the others' collectives.
  void join(bool is_linear, bool is_last) {
    join_log_probs();
    if (!is_linear) visit_head();
    if (is_last) weights_->gradients_final(config_.layers + 1);
    for (std::int64_t unit = config_.layers; unit >= 1; --unit) {
      visit(unit);
      if (is_last) weights_->gradients_final(unit);
    }
    if (is_last) weights_->gradients_final(0);
  }

  /// An empty cache of `capacity` rows, for as many tokens of all its sequences together.
  [[nodiscard]] kv_cache<Backend> make_cache(std::int64_t capacity) {
    kv_cache<Backend> cache{{}, cache_rooms(capacity)};
    for (std::int64_t layer = 0; layer < config_.layers; ++layer)
      cache.layers.push_back(allocate(capacity, 2 * config_.kv_size()));
    return cache;
  }

  /// Appends the tokens of `batch` to sequences of the cache, part by part, and returns the logits [n, V] of the last
  /// row of each of the n parts. The positions of each part go on where its sequence ends; the slices of the batch are
  /// ignored: new rows see all that their sequence has in the cache and the new rows before them.
  [[nodiscard]] block<accumulate_type, 2, space> extend(kv_cache<Backend>& cache, std::span<const cache_part> parts,
                                                        const token_batch& batch) {
    cache.rooms.check(parts);
    std::vector<std::int64_t> last;
    std::int64_t rows = 0;
    for (const cache_part& part : parts) last.push_back((rows += part.tokens) - 1);
    if (rows != batch.size())
      throw shape_error("the parts have " + std::to_string(rows) + " tokens, the batch " +
                            std::to_string(batch.size()),
                        "cache", "name a part for every token");
    pass p = forward(batch, last, nullptr, &cache, parts);
    for (const cache_part& part : parts) cache.rooms.grow(part.sequence, part.tokens);
    return head_.logits(const_view(p.output.view()));
  }

  /// The same for the one sequence of a cache, which takes all its rows; returns the logits [1, V].
  [[nodiscard]] block<accumulate_type, 2, space> extend(kv_cache<Backend>& cache, const token_batch& batch) {
    if (cache.rooms.count() == 0) static_cast<void>(cache.rooms.open(cache.rooms.capacity()));
    const cache_part all{0, batch.size()};
    return extend(cache, {&all, 1}, batch);
  }

 private:
  using value_block = block<value_type, 2, space>;
  using table_block = block<accumulate_type, 2, space>;
  using pass = typename decoder_layers<Backend, Attention, Projection, Store>::pass;

  [[nodiscard]] value_block allocate(std::int64_t rows, std::int64_t columns) {
    return backend().template allocate<value_type>(extents<2>{{rows, columns}});
  }

  void visit(std::int64_t unit) {
    weights_->acquire(unit);
    weights_->release(unit);
  }
  void visit_head() {
    head_.acquire();
    head_.release();
  }

  /// Runs all layers; `rows` are the stream rows whose output is wanted. Without a table nothing is kept.
  [[nodiscard]] pass forward(const token_batch& batch, std::span<const std::int64_t> rows,
                             const activation_table* table, kv_cache<Backend>* cache = nullptr,
                             std::span<const cache_part> parts = {}) {
    Backend& b = backend();
    b.await_copies();  // of a pass that an exception ended
    pass p{};
    p.T = batch.size();
    p.m = static_cast<std::int64_t>(rows.size());
    p.gathers = p.m != p.T;
    p.cache = cache;
    p.activations = table;
    p.mlp_rows = table != nullptr ? table->mlp_rows : 0;
    p.tokens = b.upload_tokens(std::span<const std::int32_t>{batch.tokens},
                               table != nullptr && weights_->layout(0)[parameter::embedding].is_trained);
    for (const std::int32_t token : batch.tokens)
      if (token < 0 || token >= config_.vocabulary)
        throw data_error("token " + std::to_string(token) + " is outside the model's vocabulary of " +
                             std::to_string(config_.vocabulary),
                         "batch", "use the tokenizer that belongs to the model");
    if (cache != nullptr) {
      place_in_cache(p, parts);
      if constexpr (requires { &Backend::joins_operations; })
        if (Backend::joins_operations(p.T, config_.hidden, true)) {
          std::vector<std::int64_t> rows;
          for (const cache_write& own : p.cache_writes)
            for (std::int64_t i = own.begin; i < own.end; ++i) rows.push_back(own.row + i - own.begin);
          p.cache_rows = b.upload(std::span<const std::int64_t>{rows});
        }
    } else {
      p.slices = batch.slices;
      p.keys = p.T;
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
    layers_.prepare(p);
    p.tapes.resize(static_cast<std::size_t>(config_.layers));
    p.away.resize(static_cast<std::size_t>(config_.layers));

    value_block x = allocate(p.T, config_.hidden);
    weights_->acquire(0);
    b.embed(p.tokens, weights_->layout(0).matrix(weights_->weights(0), parameter::embedding), x.view());
    weights_->release(0);
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
      layer_tape<Backend>& tape = p.tapes[static_cast<std::size_t>(layer)];
      tape.input = std::move(x);
      weights_->acquire(layer + 1);
      x = layers_.forward(p, layer);
      weights_->release(layer + 1);
      if (table == nullptr) {
        tape = {};
        continue;
      }
      b.await_copies();  // of the layer before: they had this layer's time
      // The last layer's tensors are wanted again at once.
      if (layer + 1 < config_.layers) p.away[static_cast<std::size_t>(layer)].park(b, tape, *table, layer);
    }
    p.output = std::move(x);
    return p;
  }

  /// The rows of the cache that each part of a pass writes and sees. Keys are counted from the first row that any sees.
  static void place_in_cache(pass& p, std::span<const cache_part> parts) {
    std::int64_t end = 0;
    p.key_begin = p.cache->rooms.capacity();
    for (const cache_part& part : parts) {
      const cache_room& room = p.cache->rooms[part.sequence];
      p.key_begin = std::min(p.key_begin, room.begin);
      end = std::max(end, room.begin + room.length + part.tokens);
    }
    p.keys = end - p.key_begin;
    std::int64_t row = 0;
    for (const cache_part& part : parts) {
      const cache_room& room = p.cache->rooms[part.sequence];
      const std::int64_t begin = room.begin - p.key_begin;
      p.cache_writes.push_back({row, row + part.tokens, room.begin + room.length});
      p.slices.push_back({row, row + part.tokens, begin, begin + room.length + part.tokens});
      row += part.tokens;
    }
  }

  void fill_rope(std::span<const std::int32_t> positions, std::span<const std::int64_t> lengths, table_block& cosine,
                 table_block& sine) {
    const extents<2> shape{{static_cast<std::int64_t>(positions.size()), config_.rope.dimensions / 2}};
    cosine = backend().template allocate<accumulate_type>(shape);
    sine = backend().template allocate<accumulate_type>(shape);
    backend().rope_table(config_.rope, positions, lengths, cosine.view(), sine.view());
  }

  model_config config_;
  Store* weights_;
  decoder_layers<Backend, Attention, Projection, Store> layers_;
  scored_head<Backend, Store> head_;
};

}  // namespace lodestone
