// Which parameters of a model are trained, and the low-rank adapters that are trained in place of its weights.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/names.hpp>

namespace lodestone {

/// Low-rank adapters (LoRA, arXiv 2106.09685): y = x W^T + scale (x A^T) B^T with A [r, C], B [N, r] for each adapted
/// tensor W [N, C]. Without dropout.
struct adapter_config {
  std::int64_t rank = 0;            ///< r; 0: no adapters
  double alpha = 16.0;              ///< scale = alpha / r
  bool is_rank_stabilised = false;  ///< scale = alpha / sqrt(r) (rsLoRA, arXiv 2312.03732)
  /// Patterns of module names such as "model.layers.0.self_attn.q_proj": the last parts of a name ("q_proj",
  /// "self_attn.q_proj"), or with '*' (any characters) the whole name; "all-linear" is every linear layer but the head.
  /// Empty: the attention's queries, keys, values and output.
  std::vector<std::string> targets{};

  /// What multiplies (x A^T) B^T.
  [[nodiscard]] double scale() const {
    const auto r = static_cast<double>(rank);
    return rank == 0 ? 0.0 : alpha / (is_rank_stabilised ? std::sqrt(r) : r);
  }

  friend bool operator==(const adapter_config&, const adapter_config&) = default;  ///< member by member
};

/// The parameters that have a gradient and optimiser state. The default trains everything; with adapters usually
/// nothing else: trained_parts::only(adapters).
struct trained_parts {
  bool projections = true;    ///< weights and biases of linear layers
  bool embeddings = true;     ///< the embedding and the head
  bool norms = true;          ///< every RMSNorm
  adapter_config adapters{};  ///< always trained where they exist

  /// Adapters, and nothing else unless it is asked for.
  [[nodiscard]] static trained_parts only(adapter_config adapters, bool embeddings = false, bool norms = false) {
    return {false, embeddings, norms, std::move(adapters)};
  }

  /// Whether a parameter is trained.
  [[nodiscard]] bool trains(parameter kind) const;

  friend bool operator==(const trained_parts&, const trained_parts&) = default;  ///< member by member
};

/// The module that a tensor belongs to: its name without ".weight" or ".bias".
[[nodiscard]] std::string_view module_of(std::string_view tensor);

/// Whether one of the patterns of `adapters` fits the module `name`, which belongs to the parameter `kind`.
[[nodiscard]] bool is_adapted(const adapter_config& adapters, parameter kind, std::string_view name);

/// The adapters of a unit. Throws config_error for a rank below 0 or a scale that is no number.
[[nodiscard]] unit_adapters adapters_of(const model_config& config, const adapter_config& adapters, std::int64_t unit);

/// Throws config_error, naming the pattern and some of the modules, when a pattern fits no module of the model.
void check_targets(const model_config& config, const adapter_config& adapters);

/// The layout of unit `unit`, of [0, L + 2), with the adapters of `trained`. Nothing is trained for inference.
[[nodiscard]] unit_layout make_unit_layout(const model_config& config, std::int64_t unit, const trained_parts& trained,
                                           bool is_training = true);

/// Gives the adapters of a store their first values: A uniform in +-1 / sqrt(C), as PEFT draws it, and B zero, so that
/// the model is unchanged. The numbers depend on the seed and the tensor alone.
template <class Store>
void initialise_adapters(Store& store, std::uint64_t seed);

}  // namespace lodestone

#include <lodestone/model/stored_tensors.hpp>

namespace lodestone {

template <class Store>
void initialise_adapters(Store& store, std::uint64_t seed) {
  using element = typename Store::accumulate_type;
  std::uint64_t index = 0;
  for (const stored_tensor& tensor : stored_tensors(store)) {
    if (!is_adapter(tensor.kind)) continue;
    std::vector<element> values(static_cast<std::size_t>(tensor.count), element{0});
    if (is_adapter_input(tensor.kind)) {
      random_stream random(seed, random_purpose::initialise, 0, index++);
      const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.shape[1]));
      for (element& value : values) value = static_cast<element>(bound * (2.0 * random.uniform() - 1.0));
    }
    store.set_weights(tensor, std::span<const element>{values});
  }
}

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/adapters.ipp>
#endif
