// Settings of rotary position embeddings, as config.json gives them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace lodestone {

/// How inverse frequencies are stretched for longer contexts.
enum class rope_scaling_kind : std::uint8_t { none, linear, dynamic_ntk, yarn, llama3 };

/// Rotary embedding of the first `dimensions` elements of each head.
struct rope_config {
  double base = 10'000.0;       ///< rope_theta, after any base override
  std::int64_t dimensions = 0;  ///< rotated elements of a head, even; the rest passes through
  bool interleaved = false;     ///< pairs (0,1), (2,3), ... (GLM) instead of (i, i + dimensions / 2) (Llama)

  rope_scaling_kind scaling = rope_scaling_kind::none;  ///< decides which of the settings below count
  double factor = 1.0;                                  ///< of the context length; linear, dynamic, yarn, llama3
  std::int64_t original_max_positions = 0;              ///< dynamic, yarn, llama3
  std::int64_t max_positions = 0;                       ///< max_position_embeddings; dynamic
  double low_frequency_factor = 1.0;                    ///< llama3
  double high_frequency_factor = 4.0;                   ///< llama3
  double beta_fast = 32.0;                              ///< yarn
  double beta_slow = 1.0;                               ///< yarn
  std::optional<double> attention_factor;               ///< yarn: an explicit value wins
  std::optional<double> mscale;                         ///< yarn (DeepSeek spelling)
  std::optional<double> mscale_all_dimensions;          ///< yarn: counts together with mscale, as their quotient
  bool truncate = true;                                 ///< yarn: floor and ceil of the correction range

  friend bool operator==(const rope_config&, const rope_config&) = default;
};

}  // namespace lodestone
