// Which activations of each layer are kept between forward and backward, and which are computed again.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// The named tensors of a layer, in the order in which forward makes them (T rows each).
enum class activation : std::uint8_t {
  input,      ///< x [T, E]
  normed_in,  ///< RMSNorm(x) [T, E] and its rstd [T]
  raw_qk,     ///< queries and keys before their own norm [T, (H + K) D] and rstd; only with qk_norm
  qkv,        ///< after norm and RoPE [T, (H + 2K) D]
  attention,  ///< attention output [T, H D] and log-sum-exp [T, H]
  middle,     ///< x + output projection [T, E]
  normed_mid, ///< RMSNorm(middle) [T, E] and its rstd [T]
  gate_up,    ///< [T, 2F]
  activated,  ///< silu(gate) up [T, F]
};
/// Number of enumerators of activation.
inline constexpr std::size_t activation_kinds = 9;

/// Where a tensor is between forward and backward.
enum class residence : std::uint8_t { device, host, recompute };

/// The activation policy: one value, a residence for each tensor of each layer. Where a backend has memory of its own,
/// `host` tensors leave it after the layer's forward and come back one layer ahead of its backward, but for those of
/// the last layer, which are wanted at once; on the host backend `device` and `host` are the same memory. `input` is
/// what everything else is recomputed from and cannot be recomputed itself.
struct activation_table {
  using row = std::array<residence, activation_kinds>;  ///< a layer's residences, indexed by activation
  std::vector<row> layers;                              ///< [L]
  /// Rows of a tile of the MLP, forward and backward; 0 takes as many as 512 MiB of gate_up hold. Part of the results'
  /// bits: weight gradients are sums over tiles. A multiple of 128 keeps the rows of every tile aligned.
  std::int64_t mlp_rows = 0;

  /// Where tensor `name` of `layer` is; `layer` must be in [0, L), unchecked.
  [[nodiscard]] residence operator()(std::int64_t layer, activation name) const {
    return layers[static_cast<std::size_t>(layer)][static_cast<std::size_t>(name)];
  }

  /// Throws config_error unless there is a row for each of `count` layers and every input is kept.
  void check(std::int64_t count) const;

  friend bool operator==(const activation_table&, const activation_table&) = default;
};

/// Rows of each of the fewest tiles of about equal size that cover `rows` with none above `limit`; a multiple of 128
/// where the limit is one.
[[nodiscard]] constexpr std::int64_t even_tile(std::int64_t rows, std::int64_t limit) {
  const std::int64_t tiles = std::max<std::int64_t>(1, (rows + limit - 1) / limit);
  const std::int64_t even = (rows + tiles - 1) / tiles;
  const std::int64_t step = limit % 128 == 0 ? 128 : 1;
  return std::max<std::int64_t>(1, (even + step - 1) / step * step);
}

namespace activations {

/// A policy is anything with `table(layers)`; presets are such functions.
template <class A>
concept activation_policy = requires(const A& policy, std::int64_t layers) {
  { policy.table(layers) } -> std::same_as<activation_table>;
};

/// Keeps everything: no work is repeated; about (6E + 2(H + K)D + HD + 6F) elements a token and layer.
struct keep_all {
  /// Every tensor of every layer on the device.
  [[nodiscard]] activation_table table(std::int64_t layers) const;
};

/// Keeps layer inputs only (E elements a token and layer); the backward pass repeats each layer's forward.
struct checkpoint {
  /// Input on the device, everything else recomputed.
  [[nodiscard]] activation_table table(std::int64_t layers) const;
};

/// Keeps layer inputs, attention outputs and their log-sum-exp: the backward pass repeats the projections, never the
/// attention, which dominates on long sequences.
struct keep_attention {
  /// Input and attention on the device, everything else recomputed.
  [[nodiscard]] activation_table table(std::int64_t layers) const;
};

/// Layer inputs lie in the host's memory between forward and backward; the backward pass repeats each layer's forward.
struct offload_inputs {
  /// Input on the host, everything else recomputed.
  [[nodiscard]] activation_table table(std::int64_t layers) const;
};

/// As keep_attention, with everything that is kept in the host's memory.
struct offload {
  /// Input and attention on the host, everything else recomputed.
  [[nodiscard]] activation_table table(std::int64_t layers) const;
};

static_assert(activation_policy<keep_all> && activation_policy<checkpoint> && activation_policy<keep_attention> &&
              activation_policy<offload_inputs> && activation_policy<offload>);

}  // namespace activations
}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/activations/table.ipp>
#endif
