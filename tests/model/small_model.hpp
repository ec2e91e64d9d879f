// Small models with random weights and small random batches, for tests of the model and of training.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/parameters.hpp>

namespace lodestone_test {

/// Grouped queries, a head dimension apart from E / H, an untied head.
inline lodestone::model_config small_config() {
  lodestone::model_config c;
  c.architecture = "LlamaForCausalLM";
  c.hidden = 12;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 4;
  c.feed_forward = 10;
  c.vocabulary = 17;
  c.norm_epsilon = 1e-5;
  c.max_positions = 64;
  c.rope.dimensions = 4;
  c.rope.base = 100.0;
  c.rope.max_positions = 64;
  return c;
}

/// Every arithmetic that a family can ask for, by name.
inline std::vector<std::pair<std::string, lodestone::model_config>> small_families() {
  std::vector<std::pair<std::string, lodestone::model_config>> all{{"llama", small_config()}};
  lodestone::model_config c = small_config();
  c.tied_head = true;
  all.emplace_back("tied", c);
  c = small_config();
  c.qkv_bias = c.o_bias = c.mlp_bias = true;
  all.emplace_back("biases", c);
  c = small_config();
  c.qk_norm = true;
  all.emplace_back("qk_norm", c);
  c = small_config();
  c.rope.dimensions = 2;
  c.rope.interleaved = true;
  c.qkv_bias = true;
  all.emplace_back("glm", c);
  c = small_config();
  c.windows = {3, 0};
  all.emplace_back("window", c);
  return all;
}

/// Normal weights of standard deviation 0.3 (norm weights around 1), the same for every backend and rank.
template <class Store>
void randomise(Store& store, std::uint64_t seed = 1) {
  for (std::int64_t unit = 0; unit < lodestone::unit_count(store.config()); ++unit) {
    lodestone::random_stream random(seed, lodestone::random_purpose::initialise, 0, static_cast<std::uint64_t>(unit));
    const lodestone::unit_layout& layout = store.layout(unit);
    for (std::size_t k = 0; k < lodestone::parameter_kinds; ++k) {
      const auto kind = static_cast<lodestone::parameter>(k);
      const bool is_norm = kind == lodestone::parameter::input_norm || kind == lodestone::parameter::post_norm ||
                           kind == lodestone::parameter::q_norm || kind == lodestone::parameter::k_norm ||
                           kind == lodestone::parameter::final_norm;
      auto view = layout.vector(store.mutable_weights(unit), kind);
      for (std::int64_t i = 0; i < view.size(0); ++i)
        view(i) = static_cast<typename Store::value_type>((is_norm ? 1.0 : 0.0) + 0.3 * random.normal());
    }
  }
}

template <class Backend>
std::unique_ptr<lodestone::parameters::replicated<Backend>> small_store(const lodestone::model_config& config,
                                                                        int threads = 1,
                                                                        lodestone::trained_parts trained = {},
                                                                        lodestone::dist::any_communicator group = {}) {
  auto store = std::make_unique<lodestone::parameters::replicated<Backend>>(
      config, std::make_unique<Backend>(threads), lodestone::parameters::purpose::training, group,
      std::move(trained));
  randomise(*store);
  return store;
}

/// Sequences of the given lengths as one stream, some rows scored (one of them twice), positions from 0.
inline lodestone::token_batch small_batch(const std::vector<std::int64_t>& lengths, std::int64_t vocabulary,
                                          std::uint64_t seed = 1, double scored_share = 0.6) {
  lodestone::random_stream random(seed, lodestone::random_purpose::user);
  lodestone::token_batch batch;
  for (const std::int64_t length : lengths) {
    const std::int64_t begin = batch.size();
    lodestone::sequence own{.begin = begin, .end = begin + length};
    own.scored_begin = static_cast<std::int64_t>(batch.scored.size());
    for (std::int64_t i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
      batch.positions.push_back(static_cast<std::int32_t>(i));
      batch.lengths.push_back(length);
      if (random.uniform() < scored_share || (i == 0 && length == 1))
        batch.scored.push_back({begin + i,
                                static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))),
                                static_cast<std::int32_t>(batch.sequences.size()), 0.5 + random.uniform()});
    }
    own.scored_end = static_cast<std::int64_t>(batch.scored.size());
    for (std::int64_t k = own.scored_begin; k < own.scored_end; ++k)
      own.target_weight += batch.scored[static_cast<std::size_t>(k)].weight;
    batch.slices.push_back({begin, begin + length, begin, begin + length});
    batch.sequences.push_back(own);
  }
  return batch;
}

/// Prompt P once, then answers that see it and themselves: the last prompt row is scored once for each answer.
inline lodestone::token_batch shared_prefix_batch(std::int64_t prompt, const std::vector<std::int64_t>& answers,
                                                  std::int64_t vocabulary) {
  lodestone::token_batch batch = small_batch({prompt}, vocabulary, 5, 0.0);
  batch.scored.clear();
  batch.sequences.clear();
  lodestone::random_stream random(9, lodestone::random_purpose::user);
  std::int64_t total = prompt;
  for (const std::int64_t answer : answers) total += answer;
  batch.slices.push_back({prompt, total, 0, prompt, lodestone::slice_kind::full});
  for (const std::int64_t answer : answers) {
    const std::int64_t begin = batch.size();
    lodestone::sequence own{.begin = begin, .end = begin + answer};
    own.scored_begin = static_cast<std::int64_t>(batch.scored.size());
    own.role = static_cast<std::int32_t>(batch.sequences.size());
    for (std::int64_t i = 0; i < answer; ++i) {
      const auto token = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary)));
      batch.scored.push_back({i == 0 ? prompt - 1 : begin + i - 1, token, own.role, 1.0});
      own.target_weight += 1.0;
      batch.tokens.push_back(token);
      batch.positions.push_back(static_cast<std::int32_t>(prompt + i));
      batch.lengths.push_back(prompt + answer);
    }
    own.scored_end = static_cast<std::int64_t>(batch.scored.size());
    batch.slices.push_back({begin, begin + answer, begin, begin + answer});
    batch.sequences.push_back(own);
  }
  return batch;
}

}  // namespace lodestone_test
