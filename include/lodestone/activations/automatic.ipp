// Definitions of automatic.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
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
  // The host takes inputs first, which nothing replaces, then attention outputs where making them again is dearer; both
  // from the first layer on.
  const auto may_park = [&](std::int64_t layer, activation name, std::int64_t parked) {
    if (name == activation::input) return layer < parked;
    const tensor_cost cost = cost_of(config, layer, name, size);
    return name == activation::attention && layers + layer < parked &&
           operations_per_parked_byte < cost.replay / std::max(cost.bytes, 1.0);
  };
  const auto host_takes = [&](std::int64_t parked) {
    activation_table table = checkpoint{}.table(layers);
    for (std::int64_t layer = 0; layer < layers; ++layer)
      for (const activation name : {activation::input, activation::attention})
        if (may_park(layer, name, parked)) set(table, layer, name, residence::host);
    return count(table).host_bytes <= host_bytes;
  };
  std::int64_t most = 0;  // tensors that the host has room for
  for (std::int64_t too_many = host_bytes > 0 ? 2 * layers + 1 : 1; most + 1 < too_many;) {
    const std::int64_t middle = (most + too_many) / 2;
    (host_takes(middle) ? most : too_many) = middle;
  }
  std::vector<std::int64_t> choices{most};  // as many as it has room for, inputs alone, none
  if (most > layers) choices.push_back(layers);
  if (most > 0) choices.push_back(0);
  for (const std::int64_t parked : choices) {
    std::vector<step> steps;
    for (std::int64_t layer = 0; layer < layers; ++layer)
      for (std::size_t k = 0; k < activation_kinds; ++k) {
        const auto name = static_cast<activation>(k);
        const tensor_cost cost = cost_of(config, layer, name, size);
        if (may_park(layer, name, parked))
          steps.push_back({layer, name, residence::host, operations_per_parked_byte});
        else if (name != activation::input && name != activation::raw_qk)
          steps.push_back({layer, name, residence::recompute, cost.replay / std::max(cost.bytes, 1.0)});
      }
    std::stable_sort(steps.begin(), steps.end(), [](const step& a, const step& b) { return a.density < b.density; });
    const auto after = [&](std::size_t taken) {
      activation_table table = keep_all{}.table(layers);
      for (std::size_t i = 0; i < taken; ++i) set(table, steps[i].layer, steps[i].name, steps[i].to);
      return table;
    };
    std::size_t too_few = 0;  // the fewest steps that fit are more than these, and at most
    std::size_t enough = steps.size();
    // The last step gives up what is wanted first: making it again can take more than it does.
    if (!fits(after(enough)) && !fits(after(--enough))) continue;
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
    // What is left of the budgets takes tensors back, the dearest to have again first. What waits on the host of the
    // last three layers is tried even where it seems not to fit: when memory is fullest it is there, or on its way.
    for (double before = std::numeric_limits<double>::infinity(); best->need.price < before;) {
      before = best->need.price;
      std::vector<step> back;
      for (std::int64_t layer = 0; layer < layers; ++layer)
        for (std::size_t k = 0; k < activation_kinds; ++k) {
          const auto name = static_cast<activation>(k);
          const tensor_cost cost = cost_of(config, layer, name, size);
          const residence now = best->table(layer, name);
          if (now == residence::device || cost.bytes == 0.0) continue;
          const double dear = now == residence::host ? operations_per_parked_byte : cost.replay / cost.bytes;
          back.push_back({layer, name, residence::device, dear});
          if (now == residence::recompute && may_park(layer, name, 2 * layers))
            back.push_back({layer, name, residence::host, dear - operations_per_parked_byte});
        }
      std::stable_sort(back.begin(), back.end(), [](const step& a, const step& b) { return a.density > b.density; });
      for (const step& move : back) {
        const double bytes = cost_of(config, move.layer, move.name, size).bytes;
        const auto room = static_cast<double>(move.to == residence::host ? host_bytes - best->need.host_bytes
                                                                         : device_bytes - best->need.device_bytes);
        const bool is_back = best->table(move.layer, move.name) == residence::host && move.layer + 3 >= layers;
        if (bytes > room && !is_back) continue;
        activation_table table = best->table;
        set(table, move.layer, move.name, move.to);
        (void)fits(table);
      }
    }
    return *std::move(best);
  }
  const auto mebibytes = [](std::int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; };
  throw config_error("the activations of " + std::to_string(size.tokens) + " tokens need " +
                         mebibytes(least ? least->device_bytes : 0) + " at least, the budget leaves " +
                         mebibytes(std::max<std::int64_t>(device_bytes, 0)) + " for them (and " +
                         mebibytes(std::max<std::int64_t>(host_bytes, 0)) + " on the host)",
                     "activations", "raise memory_budget, on the device or the host, or shorten the packs");
}

}  // namespace lodestone::activations
