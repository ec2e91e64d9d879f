// Low-rank adapters: which tensors have them, and that they are the merged model in values and in gradients.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/model/stored_tensors.hpp>
#include <lodestone/train/memory.hpp>

#include "model/small_model.hpp"

namespace {

using namespace lodestone;
using lodestone_test::small_batch;
using lodestone_test::small_config;
using lodestone_test::small_families;
using lodestone_test::small_store;
using backend = host<double>;
using model = llama<backend, blocked_attention>;

adapter_config low_rank(std::vector<std::string> targets = {}) {
  adapter_config adapters;
  adapters.rank = 3;
  adapters.alpha = 4.0;
  adapters.targets = std::move(targets);
  return adapters;
}

std::set<std::string> adapted_modules(const model_config& config, const adapter_config& adapters) {
  const parameters::replicated<count<backend>> store(config, std::make_unique<count<backend>>(),
                                                     parameters::purpose::training, {},
                                                     trained_parts::only(adapters));
  std::set<std::string> modules;
  for (const stored_tensor& tensor : stored_tensors(store))
    if (is_adapter_input(tensor.kind)) modules.emplace(module_of(module_of(tensor.name)));
  return modules;
}

/// A loss with fixed coefficients; gradients land in the store.
template <class Model>
double train_once(Model& m, const token_batch& batch, const activation_table& table) {
  m.weights().zero_gradients();
  const auto coefficients = [](std::span<const double>, std::span<double> c) {
    for (std::size_t k = 0; k < c.size(); ++k) c[k] = std::sin(1.0 + static_cast<double>(k));
    return 0.0;
  };
  return m.train(batch, table, true, coefficients, true);
}

struct matrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<double> values;
  [[nodiscard]] double operator()(std::int64_t i, std::int64_t j) const {
    return values[static_cast<std::size_t>(i * columns + j)];
  }
};

/// Weights, or gradients, of a store by tensor name.
template <class Store>
std::map<std::string, matrix> tensors_of(Store& store, bool gradients) {
  std::map<std::string, matrix> result;
  for (const stored_tensor& tensor : stored_tensors(store)) {
    if (gradients && !tensor.is_trained) continue;
    const auto flat = gradients ? const_view(store.gradient(tensor.unit)) : store.weights(tensor.unit);
    const std::int64_t begin = gradients ? tensor.gradient_offset : tensor.offset;
    const auto view = flat.rows(begin, begin + tensor.count);
    matrix& m = result[tensor.name];
    m.rows = tensor.shape[0];
    m.columns = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    m.values.assign(view.data(), view.data() + tensor.count);
  }
  return result;
}

/// A dense store whose weights are those of `store` with its adapters merged: W + scale B A.
std::unique_ptr<parameters::replicated<backend>> merged(parameters::replicated<backend>& store) {
  auto result = small_store<backend>(store.config());
  auto all = tensors_of(store, false);
  for (const stored_tensor& tensor : stored_tensors(*result)) {
    matrix m = all.at(tensor.name);
    const std::string module(module_of(tensor.name));
    if (const auto a = all.find(module + ".lora_A.weight"); a != all.end() && tensor.name.ends_with(".weight")) {
      const matrix& b = all.at(module + ".lora_B.weight");
      for (std::int64_t i = 0; i < m.rows; ++i)
        for (std::int64_t j = 0; j < m.columns; ++j)
          for (std::int64_t k = 0; k < b.columns; ++k)
            m.values[static_cast<std::size_t>(i * m.columns + j)] +=
                store.trained().adapters.scale() * b(i, k) * a->second(k, j);
    }
    result->set_weights(tensor, std::span<const double>{m.values});
  }
  return result;
}

double difference(const std::vector<double>& x, const std::vector<double>& y) {
  double d = 0.0, n = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    d += (x[i] - y[i]) * (x[i] - y[i]);
    n += y[i] * y[i];
  }
  return std::sqrt(d) / std::max(1e-30, std::sqrt(n));
}

model_config fused_config() {
  model_config config = small_config();
  config.family = model_family::chatglm;
  config.qkv_bias = true;
  return config;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_adapters)

BOOST_AUTO_TEST_CASE(patterns_choose_modules_by_the_end_of_their_name) {
  const model_config config = small_config();
  const auto count = [&](std::vector<std::string> targets) {
    return adapted_modules(config, low_rank(std::move(targets))).size();
  };
  BOOST_TEST(count({}) == 8);  // q, k, v, o of two layers
  BOOST_TEST(count({"q_proj"}) == 2);
  BOOST_TEST(count({"self_attn.q_proj", "down_proj"}) == 4);
  BOOST_TEST(count({"model.layers.1.self_attn.q_proj"}) == 1);
  BOOST_TEST(count({"model.layers.1.*"}) == 7);
  BOOST_TEST(count({"*.mlp.*_proj"}) == 6);
  BOOST_TEST(count({"all-linear"}) == 14);
  BOOST_CHECK_THROW(count({"proj"}), config_error);  // part of a part is no match
  BOOST_CHECK_THROW(count({"q_proj", "lm_head"}), config_error);
  BOOST_CHECK_THROW(count({""}), config_error);
  BOOST_TEST(adapted_modules(config, low_rank({"v_proj"})).contains("model.layers.0.self_attn.v_proj"));
  BOOST_TEST(adapted_modules(fused_config(), low_rank())
                 .contains("transformer.encoder.layers.1.self_attention.query_key_value"));
}

BOOST_AUTO_TEST_CASE(a_target_that_fits_nothing_is_named_with_what_there_is) {
  try {
    static_cast<void>(adapted_modules(small_config(), low_rank({"query_key_value"})));
    BOOST_ERROR("no error");
  } catch (const config_error& failure) {
    const std::string text = failure.what();
    BOOST_TEST(text.find("query_key_value") != std::string::npos);
    BOOST_TEST(text.find("model.layers.0.self_attn.q_proj") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(the_scale_is_alpha_over_the_rank_or_its_root) {
  adapter_config adapters = low_rank();
  BOOST_TEST(adapters.scale() == 4.0 / 3.0);
  adapters.is_rank_stabilised = true;
  BOOST_TEST(adapters.scale() == 4.0 / std::sqrt(3.0));
}

BOOST_AUTO_TEST_CASE(fresh_adapters_leave_the_model_as_it_is) {
  const model_config config = small_config();
  const token_batch batch = small_batch({7, 5}, config.vocabulary);
  auto plain = small_store<backend>(config);
  auto adapted = small_store<backend>(config, 1, trained_parts::only(low_rank({"all-linear"})));
  initialise_adapters(*adapted, 5);
  model a(config, *plain);
  model b(config, *adapted);
  BOOST_TEST(a.log_probs(batch) == b.log_probs(batch));
  double largest = 0.0;
  std::set<double> values;
  for (const auto& [name, m] : tensors_of(*adapted, false)) {
    if (name.ends_with("lora_B.weight")) BOOST_TEST(std::ranges::all_of(m.values, [](double x) { return x == 0.0; }));
    if (!name.ends_with("lora_A.weight")) continue;
    for (const double x : m.values) {
      largest = std::max(largest, std::abs(x) * std::sqrt(static_cast<double>(m.columns)));
      values.insert(x);
    }
  }
  BOOST_TEST(largest <= 1.0);
  BOOST_TEST(largest > 0.95);
  BOOST_TEST(values.size() == 2U * 3U * (3U * 12U + 16U + 2U * 12U + 10U));  // no two alike
}

// With W' = W + s B A: dB = s dW' A^T and dA = s B^T dW', so the dense model's gradients are the oracle.
BOOST_AUTO_TEST_CASE(adapters_have_the_values_and_gradients_of_the_merged_model) {
  auto families = small_families();
  families.emplace_back("fused", fused_config());
  for (const auto& [name, config] : families)
    for (const std::vector<std::string>& targets :
         {std::vector<std::string>{}, std::vector<std::string>{"all-linear"},
          config.family == model_family::llama ? std::vector<std::string>{"v_proj", "q_proj", "up_proj"}
                                               : std::vector<std::string>{"query_key_value"}})
      for (const double share : {1.1, 0.4}) {  // every row scored, and a gathered last layer
        const token_batch batch = small_batch({7, 5}, config.vocabulary, 3, share);
        auto store = small_store<backend>(config, 2, trained_parts::only(low_rank(targets), true, true));
        const auto dense = merged(*store);
        model a(config, *store);
        model b(config, *dense);
        for (const activation_table& table :
             {activations::keep_all{}.table(config.layers), activations::checkpoint{}.table(config.layers)}) {
          const double loss = train_once(a, batch, table);
          BOOST_TEST(std::abs(loss - train_once(b, batch, table)) < 1e-11, name);
          const auto weights = tensors_of(*store, false);
          const auto expected = tensors_of(*dense, true);
          std::size_t compared = 0;
          for (const auto& [tensor, own] : tensors_of(*store, true)) {
            ++compared;
            const std::string module(module_of(module_of(tensor)));
            if (!tensor.ends_with("lora_A.weight") && !tensor.ends_with("lora_B.weight")) {
              BOOST_TEST(difference(own.values, expected.at(tensor).values) < 1e-11, name << " " << tensor);
              continue;
            }
            const matrix& d_w = expected.at(module + ".weight");
            const matrix& lora_a = weights.at(module + ".lora_A.weight");
            const matrix& lora_b = weights.at(module + ".lora_B.weight");
            const double s = store->trained().adapters.scale();
            std::vector<double> wanted(own.values.size(), 0.0);
            for (std::int64_t i = 0; i < d_w.rows; ++i)
              for (std::int64_t j = 0; j < d_w.columns; ++j)
                for (std::int64_t k = 0; k < lora_b.columns; ++k) {
                  if (tensor.ends_with("lora_A.weight"))
                    wanted[static_cast<std::size_t>(k * d_w.columns + j)] += s * lora_b(i, k) * d_w(i, j);
                  else
                    wanted[static_cast<std::size_t>(i * lora_b.columns + k)] += s * d_w(i, j) * lora_a(k, j);
                }
            BOOST_TEST(difference(own.values, wanted) < 1e-11, name << " " << tensor);
          }
          BOOST_TEST(compared > 4U);
        }
      }
}

BOOST_AUTO_TEST_CASE(frozen_weights_keep_no_gradient_and_no_state) {
  const model_config config = small_config();
  auto full = small_store<backend>(config);
  auto store = small_store<backend>(config, 1, trained_parts::only(low_rank()));
  std::int64_t trained = 0;
  for (std::int64_t unit = 0; unit < unit_count(config); ++unit) trained += store->layout(unit).gradient_count;
  const std::int64_t of_a_layer = 3 * (3 * 12 + 16) + 3 * (16 + 8 + 8 + 12);  // A of q, k, v and o; B of the same
  BOOST_TEST(trained == 2 * of_a_layer);
  BOOST_TEST(store->training_bytes() == 4 * trained * 8);  // gradient, two moments, and a master beside frozen weights
  BOOST_TEST(store->weight_bytes() == full->weight_bytes() + trained * 8);
  const auto served = parameters::replicated<backend>(config, std::make_unique<backend>(1),
                                                      parameters::purpose::inference, {},
                                                      trained_parts::only(low_rank()));
  BOOST_TEST(served.training_bytes() == 0);
  BOOST_TEST(served.weight_bytes() == store->weight_bytes());
}

BOOST_AUTO_TEST_CASE(the_counting_backend_predicts_adapters_to_the_byte) {
  const model_config config = small_config();
  const trained_parts trained = trained_parts::only(low_rank({"all-linear"}));
  const token_batch batch = small_batch({50, 31}, config.vocabulary);
  for (const activation_table& table : {activations::keep_all{}.table(2), activations::checkpoint{}.table(2)}) {
    auto store = small_store<backend>(config, 1, trained);
    model m(config, *store);
    train_once(m, batch, table);
    const train::need need = train::count_micro_batch<model>(config, batch, table, true, trained);
    BOOST_TEST(need.activation_bytes == store->backend().memory().peak());
    BOOST_TEST(need.weight_bytes == store->weight_bytes());
    BOOST_TEST(need.training_bytes == store->training_bytes());
  }
}

BOOST_AUTO_TEST_CASE(a_policy_that_does_not_fit_the_store_is_refused) {
  const model_config config = small_config();
  auto adapted = small_store<backend>(config, 1, trained_parts::only(low_rank()));
  using dense = llama<backend, blocked_attention, projections::dense>;
  using frozen = llama<backend, blocked_attention, projections::frozen>;
  BOOST_CHECK_THROW(dense(config, *adapted), config_error);
  auto full = small_store<backend>(config);
  BOOST_CHECK_THROW(frozen(config, *full), config_error);
  adapter_config broken = low_rank();
  broken.rank = -1;
  BOOST_CHECK_THROW(adapted_modules(config, broken), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
