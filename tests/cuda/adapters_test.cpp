// Low-rank adapters on the GPU: the host's gradients, counted memory, the same bits twice.
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/cuda.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/train/memory.hpp>

#include "cuda/gpu.hpp"
#include "model/small_model.hpp"

namespace {

using namespace lodestone;
using lodestone_test::device_store;
using lodestone_test::on_gpu;
using lodestone_test::small_batch;
using lodestone_test::small_config;
using lodestone_test::small_store;
using types = std::tuple<float, bf16>;

template <class T>
using device_model = llama<cuda<T>, attention_reference>;
using host_model = llama<host<double>, reference_attention>;

trained_parts adapters(std::vector<std::string> targets, bool others = false) {
  return trained_parts::only({.rank = 3, .alpha = 4.0, .targets = std::move(targets)}, others, others);
}

template <class Model>
double train_once(Model& model, const token_batch& batch, const activation_table& table) {
  const auto coefficients = [&](std::span<const double>, std::span<double> c) {
    for (std::size_t k = 0; k < c.size(); ++k) c[k] = -batch.scored[k].weight;
    return 0.0;
  };
  model.weights().zero_gradients();
  return model.train(batch, table, true, coefficients, true);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_adapters, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE_TEMPLATE(their_gradients_agree_with_the_host_in_double, T, types) {
  const model_config config = small_config();
  for (const trained_parts& trained : {adapters({}), adapters({"all-linear"}), adapters({"v_proj", "up_proj"}, true)})
    for (const double share : {0.3, 1.1}) {
      auto on_host = small_store<host<double>>(config, 1, trained);
      auto on_device = device_store<T>(*on_host);
      host_model expected(config, *on_host);
      device_model<T> model(config, *on_device);
      const token_batch batch = small_batch({5, 1, 7, 40}, config.vocabulary, 1, share);
      const activation_table table = activations::checkpoint{}.table(config.layers);
      const train::need need = train::count_micro_batch<device_model<T>>(config, batch, table, true, trained);
      on_device->backend().memory().reserve(need.activation_bytes);
      const double a = train_once(expected, batch, table);
      const double b = train_once(model, batch, table);
      const bool is_float = std::is_same_v<T, float>;
      BOOST_TEST(std::abs(a - b) < (is_float ? 2e-6 : 1e-2) * std::abs(a), "loss " << b << " for " << a);
      for (const stored_tensor& tensor : stored_tensors(*on_host)) {
        if (!tensor.is_trained) continue;
        const auto got = on_device->backend().to_host(
            on_device->gradient(tensor.unit).rows(tensor.gradient_offset, tensor.gradient_offset + tensor.count));
        const auto wanted =
            on_host->gradient(tensor.unit).rows(tensor.gradient_offset, tensor.gradient_offset + tensor.count);
        // In bf16 the rounding of x A^T and dy B adds to that of the activations, unaveraged at these few columns.
        double square = 0.0;
        double norm = 0.0;
        for (std::int64_t i = 0; i < tensor.count; ++i) {
          square += std::pow(static_cast<double>(got.view()(i)) - wanted(i), 2);
          norm += wanted(i) * wanted(i);
        }
        BOOST_TEST(std::sqrt(square / norm) < (is_float ? 3e-5 : 0.1), tensor.name << " " << std::sqrt(square / norm));
      }
      BOOST_TEST(on_device->backend().memory().peak() == need.activation_bytes);
      BOOST_TEST(on_device->backend().memory().outside() == 0);
      BOOST_TEST(on_device->weight_bytes() == need.weight_bytes);
      BOOST_TEST(on_device->training_bytes() == need.training_bytes);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(two_runs_give_the_same_bits, T, types) {
  const model_config config = small_config();
  const token_batch batch = small_batch({5, 1, 7, 40}, config.vocabulary);
  std::vector<std::vector<float>> runs;
  for (int run = 0; run < 2; ++run) {
    auto on_host = small_store<host<double>>(config, 1, adapters({"all-linear"}));
    auto store = device_store<T>(*on_host);
    device_model<T> model(config, *store);
    train_once(model, batch, activations::keep_all{}.table(config.layers));
    std::vector<float>& all = runs.emplace_back();
    for (std::int64_t unit = 0; unit < store->units(); ++unit) {
      const auto gradient = store->backend().to_host(store->gradient(unit));
      all.insert(all.end(), gradient.flat().begin(), gradient.flat().end());
    }
  }
  BOOST_TEST((runs[0] == runs[1]));
  BOOST_TEST(runs[0].size() > 100U);
}

BOOST_AUTO_TEST_SUITE_END()
