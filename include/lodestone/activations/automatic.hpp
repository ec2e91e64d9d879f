// The activation table with the least repeated work that fits the memory: counted, not estimated.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>

#include <lodestone/activations/cost.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone::activations {

/// Memory that a run may take.
struct memory_budget {
  std::int64_t device_bytes = 0;  ///< weights, training state and activations; 0: what the backend has free, less 1 GiB
  std::int64_t host_bytes = -1;   ///< for parked tensors; -1: half of what the machine has free
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
/// whose tensors are wanted when memory is fullest anyway; what is left of the budget takes tensors back. The presets
/// take part too. Throws config_error when nothing fits, with the bytes that the most frugal table needs.
[[nodiscard]] fitted choose(const model_config& config, const pass_size& size, std::int64_t device_bytes,
                            std::int64_t host_bytes,
                            const std::function<measured(const activation_table& table)>& count);

}  // namespace lodestone::activations

#ifndef LODESTONE_COMPILED
#include <lodestone/activations/automatic.ipp>
#endif
