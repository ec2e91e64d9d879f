// Definitions of automatic.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::activations {

LODESTONE_INLINE fitted choose(const model_config& config, const pass_size& size, std::int64_t device_bytes,
                               std::int64_t host_bytes,
                               const std::function<measured(const activation_table& table)>& count) {
  struct step {
    std::int64_t layer;
    activation name;
    residence to;
    double density;  // price of a byte
  };
  const std::int64_t layers = config.layers;
  std::optional<fitted> best;
  std::optional<measured> least;  // the most frugal table seen
  const auto fits = [&](const activation_table& table) {
    const measured need = count(table);
    const bool is_good = need.device_bytes <= device_bytes && need.host_bytes <= host_bytes;
    if (need.host_bytes <= host_bytes && (!least || need.device_bytes < least->device_bytes)) least = need;
    if (is_good && (!best || need.price < best->need.price)) best = fitted{table, need};
    return is_good;
  };

  const auto set = [](activation_table& table, std::int64_t layer, activation name, residence where) {
    activation_table::row& row = table.layers[static_cast<std::size_t>(layer)];
    row[static_cast<std::size_t>(name)] = where;
    if (name == activation::qkv) row[static_cast<std::size_t>(activation::raw_qk)] = where;  // of the same product
  };

  if (fits(keep_all{}.table(layers))) return *std::move(best);
  // Which tensors may wait on the host: inputs and attention outputs, inputs, none.
  for (const int parks : {2, 1, 0}) {
    if (parks > 0 && host_bytes <= 0) continue;
    std::vector<step> steps;
    for (std::int64_t layer = 0; layer < layers; ++layer)
      for (std::size_t k = 0; k < activation_kinds; ++k) {
        const auto name = static_cast<activation>(k);
        const tensor_cost cost = cost_of(config, layer, name, size);
        const double bytes = std::max(cost.bytes, 1.0);
        const bool may_park = (name == activation::input && parks > 0) || (name == activation::attention && parks > 1);
        if (may_park && (name == activation::input || operations_per_parked_byte < cost.replay / bytes))
          steps.push_back({layer, name, residence::host, operations_per_parked_byte});
        else if (name != activation::input && name != activation::raw_qk)
          steps.push_back({layer, name, residence::recompute, cost.replay / bytes});
      }
    std::ranges::stable_sort(steps, {}, &step::density);
    const auto after = [&](std::size_t taken) {
      activation_table table = keep_all{}.table(layers);
      for (std::size_t i = 0; i < taken; ++i) set(table, steps[i].layer, steps[i].name, steps[i].to);
      return table;
    };
    std::size_t too_few = 0;  // the fewest steps that fit are more than these, and at most
    std::size_t enough = steps.size();
    if (!fits(after(enough))) continue;
    while (too_few + 1 < enough) {
      const std::size_t middle = (too_few + enough) / 2;
      (fits(after(middle)) ? enough : too_few) = middle;
    }
  }
  (void)fits(keep_attention{}.table(layers));
  (void)fits(checkpoint{}.table(layers));
  if (host_bytes > 0) {
    (void)fits(offload{}.table(layers));
    (void)fits(offload_inputs{}.table(layers));
  }
  if (best) {
    // What is left of the budget takes tensors back, the dearest to have again first.
    std::vector<step> given_up;
    for (std::int64_t layer = 0; layer < layers; ++layer)
      for (std::size_t k = 0; k < activation_kinds; ++k) {
        const auto name = static_cast<activation>(k);
        const tensor_cost cost = cost_of(config, layer, name, size);
        const residence now = best->table(layer, name);
        const double dear = now == residence::host ? operations_per_parked_byte : cost.replay / cost.bytes;
        if (now != residence::device && cost.bytes > 0.0) given_up.push_back({layer, name, residence::device, dear});
      }
    std::ranges::stable_sort(given_up, std::ranges::greater{}, &step::density);
    for (const step& back : given_up) {
      const double bytes = cost_of(config, back.layer, back.name, size).bytes;
      if (bytes > static_cast<double>(device_bytes - best->need.device_bytes)) continue;
      activation_table table = best->table;
      set(table, back.layer, back.name, back.to);
      (void)fits(table);
    }
    return *std::move(best);
  }
  const auto mebibytes = [](std::int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; };
  throw config_error("the activations of " + std::to_string(size.tokens) + " tokens need " +
                         mebibytes(least ? least->device_bytes : 0) + " at least, the budget leaves " +
                         mebibytes(std::max<std::int64_t>(device_bytes, 0)) + " for them (and " +
                         mebibytes(std::max<std::int64_t>(host_bytes, 0)) + " on the host)",
                     "activations", "raise memory_budget, or shorten the packs");
}

}  // namespace lodestone::activations
