#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/train/memory.hpp>

#include "cuda/gpu.hpp"
#include "model/small_model.hpp"

namespace {

using namespace lodestone;
using lodestone_test::device_store;
using lodestone_test::on_gpu;
using lodestone_test::small_batch;
using lodestone_test::small_families;
using lodestone_test::small_store;
using types = std::tuple<float, bf16>;

template <class T>
using device_model = llama<cuda<T>, attention_reference>;
using host_model = llama<host<double>, reference_attention>;

/// A linear loss: coefficients from the entries' weights.
template <class Model>
double train_once(Model& model, const token_batch& batch, const activation_table& table, bool is_linear = true) {
  const auto coefficients = [&](std::span<const double> log_probs, std::span<double> c) {
    double loss = 0.0;
    for (std::size_t k = 0; k < c.size(); ++k) {
      c[k] = -batch.scored[k].weight;
      if (!log_probs.empty()) loss += c[k] * log_probs[k];
    }
    return loss;
  };
  model.weights().zero_gradients();
  return model.train(batch, table, is_linear, coefficients, true);
}

/// Largest relative difference of a parameter's gradient over all parameters.
template <class DeviceStore, class HostStore>
double worst_gradient(DeviceStore& device, HostStore& host) {
  double worst = 0.0;
  for (std::int64_t unit = 0; unit < host.units(); ++unit) {
    const auto got = device.backend().to_host(device.gradient(unit));
    const auto expected = host.gradient(unit).flat();
    for (const parameter_place& place : host.layout(unit).places) {
      if (place.rows == 0) continue;
      double square = 0.0;
      double norm = 0.0;
      for (std::int64_t i = place.gradient_offset; i < place.gradient_offset + place.count(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        square += std::pow(static_cast<double>(got.flat()[at]) - expected[at], 2);
        norm += expected[at] * expected[at];
      }
      worst = std::max(worst, std::sqrt(square / std::max(norm, 1e-30)));
    }
  }
  return worst;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_llama, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE_TEMPLATE(every_gradient_agrees_with_the_host_in_double, T, types) {
  for (const auto& [name, config] : small_families())
    for (const bool is_linear : {true, false}) {
      auto on_host = small_store<host<double>>(config);
      auto on_device = device_store<T>(*on_host);
      host_model expected(config, *on_host);
      device_model<T> model(config, *on_device);
      expected.set_head_chunk_bytes(3 * config.vocabulary * 8);
      model.set_head_chunk_bytes(3 * config.vocabulary * 4);  // several chunks, rows scored twice
      const token_batch batch = small_batch({5, 1, 7, 40}, config.vocabulary);
      const activation_table table = activations::checkpoint{}.table(config.layers);
      const double a = train_once(expected, batch, table, is_linear);
      const double b = train_once(model, batch, table, is_linear);
      const bool is_float = std::is_same_v<T, float>;
      BOOST_TEST(std::abs(a - b) < (is_float ? 2e-6 : 1e-2) * std::abs(a), name << ": loss " << b << " for " << a);
      const double worst = worst_gradient(*on_device, *on_host);
      BOOST_TEST(worst < (is_float ? 2e-5 : 4e-2), name << ": a gradient differs by " << worst);
      const std::vector<double> p = expected.log_probs(batch);
      const std::vector<double> q = model.log_probs(batch);
      for (std::size_t k = 0; k < p.size(); ++k) BOOST_TEST(std::abs(p[k] - q[k]) < (is_float ? 1e-5 : 6e-2));
    }
}

BOOST_AUTO_TEST_CASE(flash_mma_trains_as_the_host_does_in_memory_that_was_counted) {
  model_config config = lodestone_test::small_config();
  config.head_dim = 64;
  config.rope.dimensions = 64;
  config.windows = {33, 0};  // two schedules
  using model_type = llama<cuda<bf16>, flash_or_reference>;
  for (const double share : {0.2, 1.1}) {  // the last layer for some rows, and for all
    auto on_host = small_store<host<double>>(config);
    auto on_device = device_store<bf16>(*on_host);
    host_model expected(config, *on_host);
    model_type model(config, *on_device);
    const token_batch batch = small_batch({5, 1, 150, 40}, config.vocabulary, 1, share);
    const activation_table table = activations::keep_attention{}.table(config.layers);
    const train::need need = train::count_micro_batch<model_type>(config, batch, table);
    on_device->backend().memory().reserve(need.activation_bytes);
    const double a = train_once(expected, batch, table);
    const double b = train_once(model, batch, table);
    BOOST_TEST(std::abs(a - b) < 1e-2 * std::abs(a));
    BOOST_TEST(worst_gradient(*on_device, *on_host) < 4e-2);
    BOOST_TEST(on_device->backend().memory().peak() == need.activation_bytes);
    BOOST_TEST(on_device->backend().memory().outside() == 0);
    BOOST_TEST(on_device->backend().memory().in_use() == 0);  // schedules went with the micro-batch
    const std::vector<double> p = expected.log_probs(batch);
    const std::vector<double> q = model.log_probs(batch);
    for (std::size_t k = 0; k < p.size(); ++k) BOOST_TEST(std::abs(p[k] - q[k]) < 6e-2);
  }
  config.windows.clear();  // full slices cannot follow a window
  const token_batch shared = lodestone_test::shared_prefix_batch(70, {3, 1, 90}, config.vocabulary);
  auto on_host = small_store<host<double>>(config);
  auto on_device = device_store<bf16>(*on_host);
  host_model expected(config, *on_host);
  model_type model(config, *on_device);
  const activation_table table = activations::checkpoint{}.table(config.layers);
  train_once(expected, shared, table);
  train_once(model, shared, table);
  BOOST_TEST(worst_gradient(*on_device, *on_host) < 4e-2);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_counting_backend_predicts_the_arena_to_the_byte, T, types) {
  for (const auto& [name, config] : small_families())
    for (const activation_table& table : {activations::keep_all{}.table(2), activations::checkpoint{}.table(2),
                                          activations::keep_attention{}.table(2),
                                          activations::offload_inputs{}.table(2), activations::offload{}.table(2)}) {
      auto on_host = small_store<host<double>>(config);
      auto weights = device_store<T>(*on_host);
      device_model<T> model(config, *weights);
      const token_batch batch = small_batch({5, 1, 7, 40}, config.vocabulary);
      const train::need need = train::count_micro_batch<device_model<T>>(config, batch, table);
      weights->backend().reserve_parking(need.parked_bytes);
      weights->backend().memory().reserve(need.activation_bytes);
      for (int pass = 0; pass < 2; ++pass) {
        train_once(model, batch, table);
        BOOST_TEST(weights->backend().memory().peak() == need.activation_bytes, name);
        BOOST_TEST(weights->backend().memory().outside() == 0, name);
        BOOST_TEST(weights->backend().parking().peak() == need.parked_bytes, name);
        BOOST_TEST(weights->backend().parking().outside() == 0, name);
      }
      BOOST_TEST(weights->weight_bytes() == need.weight_bytes);
      BOOST_TEST(weights->training_bytes() == need.training_bytes);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(two_runs_and_every_activation_table_give_the_same_bits, T, types) {
  model_config config = lodestone_test::small_config();
  config.layers = 5;
  const token_batch batch = small_batch({5, 1, 7, 140, 60}, config.vocabulary);
  std::vector<std::vector<float>> first;
  activation_table everything_away = activations::keep_all{}.table(5);
  for (auto& row : everything_away.layers) row.fill(residence::host);
  for (activation_table table :
       {activations::keep_all{}.table(5), activations::keep_all{}.table(5), activations::checkpoint{}.table(5),
        activations::keep_attention{}.table(5), activations::offload_inputs{}.table(5),
        activations::offload{}.table(5), everything_away}) {
    table.mlp_rows = 128;  // two tiles, as aligned as a block of its own
    auto on_host = small_store<host<double>>(config);
    auto weights = device_store<T>(*on_host);
    device_model<T> model(config, *weights);
    train_once(model, batch, table);
    std::vector<std::vector<float>> all;
    for (std::int64_t unit = 0; unit < weights->units(); ++unit) {
      const auto gradient = weights->backend().to_host(weights->gradient(unit));
      all.emplace_back(gradient.flat().begin(), gradient.flat().end());
    }
    if (first.empty()) first = all;
    BOOST_TEST((all == first));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_changed_token_of_one_document_changes_no_other, T, types) {
  const model_config config = lodestone_test::small_config();
  auto on_host = small_store<host<double>>(config);
  auto weights = device_store<T>(*on_host);
  device_model<T> model(config, *weights);
  token_batch batch = small_batch({9, 6, 11}, config.vocabulary, 1, 1.1);
  const std::vector<double> before = model.log_probs(batch);
  batch.tokens[10] = (batch.tokens[10] + 1) % static_cast<std::int32_t>(config.vocabulary);  // in the second document
  const std::vector<double> after = model.log_probs(batch);
  bool changed = false;
  for (std::size_t k = 0; k < before.size(); ++k) {
    if (batch.scored[k].sequence == 1)
      changed = changed || before[k] != after[k];
    else
      BOOST_TEST(before[k] == after[k]);
  }
  BOOST_TEST(changed);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(packing_changes_neither_loss_nor_gradients, T, types) {
  const model_config config = lodestone_test::small_config();
  auto on_host = small_store<host<double>>(config);
  auto weights = device_store<T>(*on_host);
  device_model<T> model(config, *weights);
  const activation_table table = activations::keep_all{}.table(2);
  const token_batch pack = small_batch({9, 6, 11}, config.vocabulary, 1, 1.1);
  const double together = train_once(model, pack, table);
  std::vector<tensor<float, 1>> sums;
  for (std::int64_t unit = 0; unit < weights->units(); ++unit)
    sums.push_back(weights->backend().to_host(weights->gradient(unit)));
  weights->zero_gradients();
  double apart = 0.0;
  for (const sequence& own : pack.sequences) {
    token_batch alone;
    const auto cut = [&](const auto& from, auto& to) { to.assign(from.begin() + own.begin, from.begin() + own.end); };
    cut(pack.tokens, alone.tokens);
    cut(pack.positions, alone.positions);
    cut(pack.lengths, alone.lengths);
    alone.slices = {{0, own.end - own.begin, 0, own.end - own.begin}};
    for (std::int64_t k = own.scored_begin; k < own.scored_end; ++k) {
      alone.scored.push_back(pack.scored[static_cast<std::size_t>(k)]);
      alone.scored.back().row -= own.begin;
    }
    alone.sequences = {own};
    const auto coefficients = [&](std::span<const double>, std::span<double> c) {
      for (std::size_t k = 0; k < c.size(); ++k) c[k] = -alone.scored[k].weight;
      return 0.0;
    };
    apart += model.train(alone, table, true, coefficients, true);
  }
  const double limit = std::is_same_v<T, float> ? 2e-6 : 2e-2;
  BOOST_TEST(std::abs(together - apart) <= limit * std::abs(together));
  for (std::int64_t unit = 0; unit < weights->units(); ++unit) {
    const auto got = weights->backend().to_host(weights->gradient(unit));
    double square = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < got.flat().size(); ++i) {
      const double expected = static_cast<double>(sums[static_cast<std::size_t>(unit)].flat()[i]);
      square += std::pow(static_cast<double>(got.flat()[i]) - expected, 2);
      norm += expected * expected;
    }
    BOOST_TEST(std::sqrt(square / norm) < 10 * limit);
  }
}

BOOST_AUTO_TEST_CASE(the_cache_continues_as_the_whole_text_does) {
  const model_config config = lodestone_test::small_config();
  auto on_host = small_store<host<double>>(config);
  auto weights = device_store<float>(*on_host);
  device_model<float> model(config, *weights);
  const token_batch batch = small_batch({12}, config.vocabulary);
  const std::vector<std::int64_t> rows{11};
  const auto whole = weights->backend().to_host(model.logits(batch, rows).view());
  auto cache = model.make_cache(12);
  tensor<float, 2> last;
  for (std::size_t i = 0; i < 12; ++i) {
    token_batch one;
    one.tokens = {batch.tokens[i]};
    one.positions = {batch.positions[i]};
    one.lengths = {12};
    one.slices = {{0, 1, 0, 1}};
    last = weights->backend().to_host(model.extend(cache, one).view());
  }
  for (std::size_t i = 0; i < whole.flat().size(); ++i) BOOST_TEST(std::abs(whole.flat()[i] - last.flat()[i]) < 1e-4F);
}

BOOST_AUTO_TEST_SUITE_END()
