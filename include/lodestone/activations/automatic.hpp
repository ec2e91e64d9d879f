// The activation table with the least repeated work that fits the memory: counted, not estimated.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/activations/cost.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone::activations {

/// Memory that a run may take.
struct memory_budget {
  std::int64_t device_bytes = 0;  ///< weights, training state and activations; 0: what the backend has free, less 1 GiB
  std::int64_t host_bytes = -1;   ///< for parked tensors, page-locked; -1: half of what the machine has free

  /// What parked tensors may take where the host has `free_bytes`: half of them, or up to all where host_bytes says so.
  [[nodiscard]] std::int64_t parking(std::int64_t free_bytes) const {
    return host_bytes < 0 ? free_bytes / 2 : std::min(host_bytes, free_bytes);
  }
};

/// Chosen by the program before its first step: the table with the least repeated work whose peak fits the budget, the
/// peak being counted on the largest micro-batch. Until then it is `checkpoint`.
struct automatic {
  memory_budget limit;  ///< what the run may take

  /// As `checkpoint`, until the program has chosen.
  [[nodiscard]] activation_table table(std::int64_t layers) const { return checkpoint{}.table(layers); }
  [[nodiscard]] std::optional<memory_budget> budget() const { return limit; }  ///< always there
};
static_assert(activation_policy<automatic>);

/// A policy whose table the program fits to a budget, when it has one.
template <class A>
concept fits_memory = activation_policy<A> && requires(const A& policy) {
  { policy.budget() } -> std::convertible_to<std::optional<memory_budget>>;
};

/// What a micro-batch takes under a table.
struct measured {
  std::int64_t device_bytes = 0;  ///< peak of the activations
  std::int64_t host_bytes = 0;    ///< peak of parked tensors
  double price = 0.0;             ///< of the whole pass, see price()
};

/// A table and what it takes.
struct fitted {
  activation_table table;  ///< the choice
  measured need;           ///< counted with it
};

/// Finds the cheapest table with device_bytes and host_bytes within the limits, `count(table)` telling what one takes.
/// Tensors are given up one by one, the cheapest to have again (a byte) first and the first layers before the last,
/// whose tensors are wanted when memory is fullest anyway; as many go to the host as it has room for, and what is left
/// of the budgets takes tensors back. The presets take part too. Throws config_error when nothing fits, with the bytes
/// that the most frugal table needs.
template <class Count>
[[nodiscard]] fitted choose(const model_config& config, const pass_size& size, std::int64_t device_bytes,
                            std::int64_t host_bytes, const Count& count) {
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
    std::ranges::stable_sort(steps, {}, &step::density);
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
      std::ranges::stable_sort(back, std::ranges::greater{}, &step::density);
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
