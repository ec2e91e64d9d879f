#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/activations/cost.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/machine.hpp>
#include <lodestone/model/counting.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/train/memory.hpp>

#include "model/small_model.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

struct far_memory {};
struct near_memory {};
/// A backend with memory of its own, of which only the types exist: enough to be counted.
struct device {
  using value_type = bf16;
  using accumulate_type = float;
  using space = far_memory;
  using parking_space = near_memory;
  static constexpr std::int64_t head_chunk_bytes = std::int64_t{64} << 20;
};
using model = llama<device, blocked_attention>;

constexpr std::int64_t plenty = std::int64_t{1} << 60;

model_config middle_config() {
  model_config c = small_config();
  c.hidden = 256;
  c.layers = 6;
  c.heads = 8;
  c.kv_heads = 2;
  c.head_dim = 32;
  c.rope.dimensions = 32;
  c.feed_forward = 700;
  c.vocabulary = 64;
  return c;
}

struct preset {
  std::string name;
  activation_table table;
};
std::vector<preset> presets(std::int64_t layers) {
  return {{"keep_all", activations::keep_all{}.table(layers)},
          {"keep_attention", activations::keep_attention{}.table(layers)},
          {"checkpoint", activations::checkpoint{}.table(layers)},
          {"offload_inputs", activations::offload_inputs{}.table(layers)},
          {"offload", activations::offload{}.table(layers)}};
}

double price_of(const train::need& need) {
  return activations::price(need.done.flops(), need.done.bytes, need.done.parked_bytes);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(activations_automatic)

BOOST_AUTO_TEST_CASE(the_chosen_table_fits_and_is_never_worse_than_a_preset_that_fits) {
  for (const bool has_norms : {false, true})
    for (const std::int64_t tokens : {300, 1500}) {
      model_config config = middle_config();
      config.qk_norm = has_norms;
      const token_batch batch = small_batch({tokens, tokens / 3}, config.vocabulary, 1, 0.1);
      const auto count = [&](const activation_table& table) {
        return train::count_micro_batch<model>(config, batch, table);
      };
      std::vector<std::pair<preset, train::need>> known;
      for (const preset& p : presets(config.layers)) known.emplace_back(p, count(p.table));
      const std::int64_t most = known.front().second.activation_bytes;
      double last = std::numeric_limits<double>::infinity();
      int different = 0;
      for (int k = 4; k <= 40; ++k) {
        const std::int64_t limit = most * k / 40;
        activations::fitted chosen;
        try {
          chosen = train::fit_activations<model>(config, batch, limit, plenty);
        } catch (const config_error&) {
          for (const auto& [p, need] : known)
            BOOST_TEST(need.activation_bytes > limit, p.name << " fits " << limit << " bytes, and nothing was found");
          continue;
        }
        const train::need need = count(chosen.table);
        BOOST_TEST(need.activation_bytes <= limit);
        BOOST_TEST(need.activation_bytes == chosen.need.device_bytes);
        for (const auto& [p, own] : known)
          if (own.activation_bytes <= limit)
            BOOST_TEST(price_of(need) <= price_of(own), tokens << " tokens, " << limit << " bytes: " << p.name);
        // More memory, no more work, but for what the tensors' places in the arena make of it.
        BOOST_TEST(chosen.need.price <= 1.01 * last);
        different += chosen.need.price != last ? 1 : 0;
        last = chosen.need.price;
      }
      BOOST_TEST(different > 8);
      BOOST_TEST((train::fit_activations<model>(config, batch, most, 0).table == known.front().first.table));
    }
}

BOOST_AUTO_TEST_CASE(no_choice_of_tensors_equal_in_all_layers_is_cheaper) {
  model_config config = middle_config();
  config.layers = 16;
  config.hidden = 1024;  // products are dearer than norms a byte, as in real models
  const token_batch batch = small_batch({700}, config.vocabulary, 1, 0.5);
  std::vector<train::need> uniform;
  for (unsigned mask = 0; mask < 1U << (activation_kinds - 1); ++mask) {
    activation_table table = activations::checkpoint{}.table(config.layers);
    for (auto& row : table.layers)
      for (std::size_t k = 1; k < activation_kinds; ++k)
        if ((mask >> (k - 1) & 1U) != 0) row[k] = residence::device;
    if ((mask & 2U) == 0) uniform.push_back(train::count_micro_batch<model>(config, batch, table));  // no raw_qk
  }
  const auto [least, most] = std::ranges::minmax_element(uniform, {}, &train::need::activation_bytes);
  for (int k = 1; k < 10; ++k) {
    const std::int64_t limit = least->activation_bytes + k * (most->activation_bytes - least->activation_bytes) / 10;
    double best = std::numeric_limits<double>::infinity();
    for (const train::need& need : uniform)
      if (need.activation_bytes <= limit) best = std::min(best, price_of(need));
    const double own = train::fit_activations<model>(config, batch, limit, 0).need.price;
    BOOST_TEST(own <= 1.01 * best, "budget " << k << ": " << own / best << " of the best");
  }
}

BOOST_AUTO_TEST_CASE(what_parks_depends_on_the_length_and_on_the_hosts_memory) {
  const model_config config = middle_config();
  // In how many layers a tensor has a residence, where the budget is that of a preset.
  const auto kept = [&](std::int64_t tokens, const activation_table& budget, std::int64_t host_bytes, activation name,
                        residence where) {
    const token_batch batch = small_batch({tokens}, config.vocabulary, 1, 0.1);
    const std::int64_t limit = train::count_micro_batch<model>(config, batch, budget).activation_bytes;
    const activation_table table = train::fit_activations<model>(config, batch, limit, host_bytes).table;
    std::int64_t count = 0;
    for (std::int64_t layer = 0; layer < 6; ++layer) count += table(layer, name) == where ? 1 : 0;
    return count;
  };
  const activation_table offload = activations::offload{}.table(6);
  const activation_table inputs = activations::offload_inputs{}.table(6);
  const activation_table checkpoint = activations::checkpoint{}.table(6);
  BOOST_TEST(kept(3000, inputs, plenty, activation::input, residence::host) > 1);
  BOOST_TEST(kept(3000, checkpoint, plenty, activation::attention, residence::recompute) > 3);
  for (const std::int64_t host_bytes : {0, 1000}) {  // none, or too little to be of use
    BOOST_TEST(kept(3000, checkpoint, host_bytes, activation::input, residence::host) == 0);
    BOOST_TEST(kept(3000, checkpoint, host_bytes, activation::attention, residence::host) == 0);
    BOOST_TEST(kept(3000, checkpoint, host_bytes, activation::attention, residence::recompute) > 3);
  }
  BOOST_TEST(kept(20'000, offload, plenty, activation::attention, residence::host) > 3);  // dearer than the way
  BOOST_TEST(kept(20'000, offload, plenty, activation::attention, residence::recompute) == 0);
}

BOOST_AUTO_TEST_CASE(no_number_of_layers_on_the_host_is_cheaper) {
  // Against every table that has the inputs of the first n layers on the host and the others on the device, and the
  // attention outputs of p layers on the host, of q on the device and of the others nowhere.
  const model_config config = middle_config();
  const token_batch batch = small_batch({16'000}, config.vocabulary, 1, 0.1);  // attention is dearer than the way
  std::vector<train::need> tables;
  for (std::int64_t n = 0; n <= 6; ++n)
    for (std::int64_t p = 0; p <= 6; ++p)
      for (std::int64_t q = 0; p + q <= 6; ++q) {
        activation_table table = activations::checkpoint{}.table(6);
        for (std::int64_t layer = 0; layer < 6; ++layer) {
          auto& row = table.layers[static_cast<std::size_t>(layer)];
          if (layer < n) row[static_cast<std::size_t>(activation::input)] = residence::host;
          if (layer < p) row[static_cast<std::size_t>(activation::attention)] = residence::host;
          if (layer >= 6 - q) row[static_cast<std::size_t>(activation::attention)] = residence::device;
        }
        tables.push_back(train::count_micro_batch<model>(config, batch, table));
      }
  const auto [least, most] = std::ranges::minmax_element(tables, {}, &train::need::activation_bytes);
  const std::int64_t parked = std::ranges::max(tables, {}, &train::need::parked_bytes).parked_bytes;
  int found = 0;
  for (std::int64_t k = 0; k <= 8; ++k)
    for (std::int64_t h = 0; h <= 8; ++h) {
      const std::int64_t device_bytes =
          least->activation_bytes + k * (most->activation_bytes - least->activation_bytes) / 8;
      const std::int64_t host_bytes = h * parked / 8;
      double best = std::numeric_limits<double>::infinity();
      for (const train::need& need : tables)
        if (need.activation_bytes <= device_bytes && need.parked_bytes <= host_bytes)
          best = std::min(best, price_of(need));
      activations::fitted own;
      try {
        own = train::fit_activations<model>(config, batch, device_bytes, host_bytes);
      } catch (const config_error&) {
        BOOST_TEST(best == std::numeric_limits<double>::infinity(), "budgets " << k << " and " << h);
        continue;
      }
      const train::need need = train::count_micro_batch<model>(config, batch, own.table);
      BOOST_TEST(need.activation_bytes <= device_bytes);
      BOOST_TEST(need.parked_bytes <= host_bytes);
      BOOST_TEST(price_of(need) <= 1.03 * best, "budgets " << k << " and " << h << ": " << price_of(need) / best);
      ++found;
    }
  BOOST_TEST(found > 40);
}

BOOST_AUTO_TEST_CASE(the_longest_context_has_a_table) {
  // Llama-3-8B's shapes with adapters and 360,000 tokens, whose layer inputs alone are 88 GiB.
  model_config config;
  config.architecture = "LlamaForCausalLM";
  config.hidden = 4096;
  config.layers = 32;
  config.heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.feed_forward = 14'336;
  config.vocabulary = 128'256;
  config.rope.dimensions = 128;
  const token_batch batch = small_batch({360'000}, 1000, 1, 512.0 / 360'000);
  const trained_parts trained = trained_parts::only({.rank = 32, .alpha = 32.0});
  activation_table by_hand = activations::offload_inputs{}.table(32);
  for (std::size_t i = 13; i < 31; ++i)
    by_hand.layers[i][static_cast<std::size_t>(activation::attention)] = i < 17 ? residence::host : residence::device;
  const double known = price_of(train::count_micro_batch<model>(config, batch, by_hand, true, trained));
  constexpr std::int64_t gibibyte = std::int64_t{1} << 30;
  const std::int64_t device_bytes = 613 * gibibyte / 10;
  double last = std::numeric_limits<double>::infinity();
  for (const std::int64_t host_bytes : {60 * gibibyte, 125 * gibibyte / 2, 110 * gibibyte}) {
    const auto own = train::fit_activations<model>(config, batch, device_bytes, host_bytes, true, trained);
    const train::need need = train::count_micro_batch<model>(config, batch, own.table, true, trained);
    BOOST_TEST(need.activation_bytes <= device_bytes);
    BOOST_TEST(need.parked_bytes <= host_bytes);
    BOOST_TEST(need.parked_bytes > host_bytes - 3 * gibibyte);  // a tensor has 2.8
    BOOST_TEST(price_of(need) < last);
    last = price_of(need);
  }
  BOOST_TEST(last < known);
}

BOOST_AUTO_TEST_CASE(the_hosts_budget_is_half_of_what_is_free_or_what_is_asked_for) {
  constexpr std::int64_t unknown = std::numeric_limits<std::int64_t>::max();
  BOOST_TEST(activations::memory_budget{}.parking(100) == 50);
  BOOST_TEST(activations::memory_budget{}.parking(unknown) == unknown / 2);
  BOOST_TEST(activations::memory_budget{.host_bytes = 0}.parking(100) == 0);
  BOOST_TEST(activations::memory_budget{.host_bytes = 80}.parking(100) == 80);
  BOOST_TEST(activations::memory_budget{.host_bytes = 120}.parking(100) == 100);
}

BOOST_AUTO_TEST_CASE(a_budget_that_nothing_fits_is_an_error_with_both_numbers) {
  const model_config config = middle_config();
  const token_batch batch = small_batch({3000}, config.vocabulary);
  const auto least = train::count_micro_batch<model>(config, batch, activations::offload_inputs{}.table(6));
  BOOST_CHECK_EXCEPTION(
      static_cast<void>(train::fit_activations<model>(config, batch, 5 << 20, plenty)), config_error,
      [&](const config_error& e) {
        const std::string text = e.what();
        const std::string needed = std::to_string((least.activation_bytes + (1 << 20) - 1) >> 20) + " MiB at least";
        return text.find(needed) != std::string::npos && text.find("leaves 5 MiB") != std::string::npos &&
               text.find("memory_budget") != std::string::npos;
      });
}

BOOST_AUTO_TEST_CASE(prices_are_those_of_the_counted_work) {
  // Giving up one tensor of one layer costs what cost_of says, and saves as many bytes.
  for (const bool has_norms : {false, true}) {
    model_config config = middle_config();
    config.qk_norm = has_norms;
    const token_batch batch = small_batch({512}, config.vocabulary, 1, 1.1);
    const activations::pass_size size{.tokens = 512, .last_rows = 512, .pairs = 512.0 * 513.0 / 2.0};
    const auto all = train::count_micro_batch<model>(config, batch, activations::keep_all{}.table(6));
    for (std::size_t k = 1; k < activation_kinds; ++k) {
      const auto name = static_cast<activation>(k);
      if (name == activation::raw_qk) continue;
      activation_table table = activations::keep_all{}.table(6);
      for (std::size_t layer = 0; layer < 2; ++layer) {
        table.layers[layer][k] = residence::recompute;
        if (name == activation::qkv)
          table.layers[layer][static_cast<std::size_t>(activation::raw_qk)] = residence::recompute;
      }
      const auto own = train::count_micro_batch<model>(config, batch, table);
      const activations::tensor_cost cost = activations::cost_of(config, 0, name, size);
      const double operations = own.done.flops() - all.done.flops();
      const bool is_moved = name == activation::normed_in || name == activation::normed_mid ||
                            name == activation::activated;
      if (is_moved)
        BOOST_TEST(operations == 0.0);
      else
        BOOST_TEST(operations == 2.0 * cost.replay, boost::test_tools::tolerance(1e-9));
      // What two layers save, but for holes that nothing fills.
      const auto saved = static_cast<double>(all.activation_bytes - own.activation_bytes);
      BOOST_TEST(saved <= 2.0 * cost.bytes + 16 * 256);
      BOOST_TEST(saved >= 1.5 * cost.bytes, "activation " << k << " saves " << saved << " of " << 2.0 * cost.bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_forward_pass_is_a_third_of_the_products) {
  const model_config config = middle_config();
  const token_batch batch = small_batch({512}, config.vocabulary, 1, 1.1);
  const work forward = train::count_forward<model>(config, batch);
  const auto all = train::count_micro_batch<model>(config, batch, activations::keep_all{}.table(6));
  BOOST_TEST(3.0 * forward.matrix_flops == all.done.matrix_flops, boost::test_tools::tolerance(1e-9));
  BOOST_TEST(3.5 * forward.attention_flops == all.done.attention_flops, boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(the_machine_tells_how_much_memory_it_has_left) {
  const std::int64_t bytes = available_main_memory();
  BOOST_TEST(bytes > (1 << 20));
}

BOOST_AUTO_TEST_SUITE_END()
