// What benchmarks of training steps on a GPU share: Llama shapes, random weights, activation tables by name, a clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/cuda.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/stored_tensors.hpp>

namespace lodestone_bench {

using namespace lodestone;

/// Since some moment before the program began.
[[nodiscard]] inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// An activation policy that a command line names; one that it does not know is keep-attention.
struct activation_choice {
  std::string_view name;
  std::int64_t mlp_rows = 0;
  std::int64_t host_bytes = -1;       // of automatic, as in memory_budget
  std::int64_t kept_attention = 0;    // layers before the last whose attention stays on the device all the same
  std::int64_t parked_attention = 0;  // layers before those, whose attention waits on the host
  [[nodiscard]] activation_table table(std::int64_t layers) const {
    activation_table result = named(layers);
    for (std::int64_t i = 1; i <= kept_attention + parked_attention && i < layers; ++i)
      result.layers[static_cast<std::size_t>(layers - 1 - i)][static_cast<std::size_t>(activation::attention)] =
          i <= kept_attention ? residence::device : residence::host;
    result.mlp_rows = mlp_rows;
    return result;
  }
  [[nodiscard]] std::optional<activations::memory_budget> budget() const {
    if (name != "automatic") return std::nullopt;
    return activations::memory_budget{.host_bytes = host_bytes};
  }
  [[nodiscard]] activation_table named(std::int64_t layers) const {
    if (name == "keep-all") return activations::keep_all{}.table(layers);
    if (name == "checkpoint") return activations::checkpoint{}.table(layers);
    if (name == "offload") return activations::offload{}.table(layers);
    if (name == "offload-inputs") return activations::offload_inputs{}.table(layers);
    return activations::keep_attention{}.table(layers);
  }
};

/// Those of Llama-3-8B (large) or Llama-3.2-1B; 0 layers: all.
[[nodiscard]] inline model_config shapes(bool large, std::int64_t layers) {
  model_config config;
  config.architecture = "LlamaForCausalLM";
  config.hidden = large ? 4096 : 2048;
  config.layers = layers > 0 ? layers : large ? 32 : 16;
  config.heads = 32;
  config.kv_heads = 8;
  config.head_dim = large ? 128 : 64;
  config.feed_forward = large ? 14'336 : 8192;
  config.vocabulary = 128'256;
  config.norm_epsilon = 1e-5;
  config.tied_head = !large;
  config.max_positions = 131'072;
  config.rope.dimensions = config.head_dim;
  config.rope.base = 5e5;
  config.rope.max_positions = 131'072;
  return config;
}

using store_type = parameters::replicated<cuda<bf16>>;

/// Weights of standard deviation 0.02, norms 1, copied from a pool on the device: 8 billion of them in a moment.
inline void randomise(store_type& weights) {
  cuda<bf16>& backend = weights.backend();
  random_stream random(1, random_purpose::initialise);
  std::vector<float> values(std::size_t{1} << 22);
  for (float& value : values) value = 0.02F * static_cast<float>(random.normal());
  const tensor<float, 1, device_memory> pool(extents<1>{{static_cast<std::int64_t>(values.size())}});
  const tensor_view<float, 1, device_memory> all{const_cast<float*>(pool.data()), pool.shape()};
  backend.from_host(std::span<const float>{values}, all);
  for (const stored_tensor& tensor : stored_tensors(weights)) {
    const bool is_large = tensor.count > (std::int64_t{1} << 16);
    if (!is_large || tensor.is_trained) {
      std::vector<float> elements(static_cast<std::size_t>(tensor.count), 1.0F);
      if (tensor.shape.size() == 2)
        for (std::size_t i = 0; i < elements.size(); ++i)
          elements[i] = values[(i + static_cast<std::size_t>(tensor.offset)) % values.size()];
      weights.set_weights(tensor, elements);
      continue;
    }
    const auto flat = weights.weights(tensor.unit);
    for (std::int64_t done = 0; done < tensor.count;) {
      const std::int64_t count = std::min(tensor.count - done, all.size(0));
      const tensor_view<bf16, 1, device_memory> target{const_cast<bf16*>(flat.data()) + tensor.offset + done,
                                                       extents<1>{{count}}};
      backend.copy(all.rows(0, count), target);
      done += count;
    }
  }
  backend.synchronize();
}

}  // namespace lodestone_bench
