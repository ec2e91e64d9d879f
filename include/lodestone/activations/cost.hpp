// What a layer's tensors take, and what it costs to have them without keeping them: the prices behind `automatic`.
#pragma once

#include <algorithm>
#include <cstdint>

#include <lodestone/activations/table.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone::activations {

/// Operations that a device does in the time in which it reads or writes a byte: the price of what memory bounds.
inline constexpr double operations_per_byte = 200.0;
/// Operations that a byte is worth which goes to the host's memory and back. Copies run beside the operations, but the
/// lanes between device and host are narrow: this lies above the products of common models (E operations a byte) and
/// below the attention of sequences from about 8,000 tokens on (as many operations a byte as a row sees keys, twice).
inline constexpr double operations_per_parked_byte = 8000.0;

/// One number for work of three kinds: floating-point operations, bytes read and written, bytes parked.
[[nodiscard]] constexpr double price(double operations, double moved_bytes, double parked_bytes) {
  return operations + operations_per_byte * moved_bytes + operations_per_parked_byte * parked_bytes;
}

/// Sizes of a micro-batch that the prices depend on.
struct pass_size {
  std::int64_t tokens = 0;           ///< T
  std::int64_t last_rows = 0;        ///< rows that the last layer computes after keys and values
  double pairs = 0.0;                ///< (query, key) pairs of the attention slices
  std::int64_t value_bytes = 2;      ///< of an element
  std::int64_t statistic_bytes = 4;  ///< of an element of rstd and log-sum-exp
};

/// A tensor of one layer.
struct tensor_cost {
  double bytes = 0.0;   ///< that it takes while it is kept
  double replay = 0.0;  ///< price() of making it again from the tensor before it
};

/// Costs of a named tensor. With q/k norms raw_qk and qkv come from one product: their costs stand together under qkv,
/// and raw_qk has none.
[[nodiscard]] tensor_cost cost_of(const model_config& c, std::int64_t layer, activation name,
                                         const pass_size& size);

}  // namespace lodestone::activations

#ifndef LODESTONE_COMPILED
#include <lodestone/activations/cost.ipp>
#endif
