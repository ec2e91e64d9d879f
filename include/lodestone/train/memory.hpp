// How much memory and work a micro-batch needs, found by running the model on the counting backend.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/activations/cost.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/model/counting.hpp>
#include <lodestone/model/llama.hpp>

namespace lodestone::train {

/// The same model over the counting backend.
template <class Model>
struct counting_twin;
/// The twin of a Llama.
template <class Backend, class Attention, class Projection, class Store>
struct counting_twin<llama<Backend, Attention, Projection, Store>> {
  /// The same parts as the Llama's, over the counting backend; its store is always whole.
  ///@{
  using backend = count<Backend>;
  using store = parameters::replicated<backend>;
  using model = llama<backend, Attention, Projection, store>;
  ///@}
};

/// What one micro-batch takes, forward and backward.
struct need {
  std::int64_t activation_bytes = 0;  ///< peak of the arena
  std::int64_t parked_bytes = 0;      ///< peak of the host's memory that holds activations for the device
  std::int64_t weight_bytes = 0;      ///< in the compute type
  std::int64_t training_bytes = 0;    ///< gradients, masters and moments
  work done;                          ///< operations and traffic of the micro-batch

  /// Of the backend's own memory, at once.
  [[nodiscard]] std::int64_t total_bytes() const { return activation_bytes + weight_bytes + training_bytes; }
};

/// Counts a training micro-batch of a Model with this configuration and these trained parts. Nothing of the model's
/// size is allocated, so it also answers for models that do not fit this machine.
template <class Model>
[[nodiscard]] need count_micro_batch(const model_config& config, const token_batch& batch,
                                     const activation_table& table, bool linear_loss = true,
                                     const trained_parts& trained = {}) {
  using twin = counting_twin<Model>;
  typename twin::store store(config, std::make_unique<typename twin::backend>(), parameters::purpose::training, {},
                             trained);
  typename twin::model model(config, store);
  store.backend().reset_work();
  const auto no_coefficients = [](std::span<const double>, std::span<double>) { return 0.0; };
  model.train(batch, table, linear_loss, no_coefficients, true);
  auto& backend = store.backend();
  return {backend.memory().peak(), backend.parking().peak(), store.weight_bytes(), store.training_bytes(),
          backend.done()};
}

/// Work of the forward pass alone, the measure for work that is done again.
template <class Model>
[[nodiscard]] work count_forward(const model_config& config, const token_batch& batch,
                                 const trained_parts& trained = {}) {
  using twin = counting_twin<Model>;
  typename twin::store store(config, std::make_unique<typename twin::backend>(), parameters::purpose::training, {},
                             trained);
  typename twin::model model(config, store);
  store.backend().reset_work();
  (void)model.log_probs(batch);
  return store.backend().done();
}

/// The table with the least repeated work for this micro-batch whose activations take at most so many bytes on the
/// device and on the host, by counting. Throws config_error when there is none.
template <class Model>
[[nodiscard]] activations::fitted fit_activations(const model_config& config, const token_batch& batch,
                                                  std::int64_t device_bytes, std::int64_t host_bytes,
                                                  bool linear_loss = true, const trained_parts& trained = {}) {
  std::vector<std::int64_t> rows;
  for (const scored_token& token : batch.scored) rows.push_back(token.row);
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  const activations::pass_size size{
      .tokens = batch.size(),
      .last_rows = static_cast<std::int64_t>(rows.size()),
      .pairs = static_cast<double>(pairs(std::span<const slice>{batch.slices})),
      .value_bytes = sizeof(typename Model::value_type),
      .statistic_bytes = sizeof(typename Model::accumulate_type)};
  return activations::choose(config, size, device_bytes, host_bytes, [&](const activation_table& table) {
    const need own = count_micro_batch<Model>(config, batch, table, linear_loss, trained);
    return activations::measured{own.activation_bytes, own.parked_bytes,
                                 activations::price(own.done.flops(), own.done.bytes, own.done.parked_bytes)};
  });
}

}  // namespace lodestone::train
