// Shared-prefix batching: the prompt of a preference group once, then all its answers; several groups share a stream.
#pragma once

#include <cstdint>
#include <span>

#include <lodestone/batching/groups.hpp>
#include <lodestone/batching/packed.hpp>

namespace lodestone::batching {

/// A group of P prompt tokens and answers of A_j tokens takes P + sum A_j tokens, not sum (P + A_j): nearly M + 1 times
/// fewer for M rejected answers of a long prompt. Loss and gradients are those of `separate`, since an answer sees the
/// prompt and itself, with the ids it would have alone. One pass computes it; memory grows by the answers' own tokens.
///
/// Groups are shuffled by (seed, epoch) and packed into streams, the streams shuffled. A group is never divided.
struct shared_prefix {
  std::int64_t tokens = 65'536;                      ///< most tokens of a stream
  std::int64_t streams_per_step = 0;                 ///< give one of these three; 64 groups when none is given
  std::int64_t groups_per_step = 0;                  ///< a step closes with the stream that reaches it
  std::int64_t tokens_per_step = 0;                  ///< likewise, in tokens of streams
  packing algorithm = packing::best_fit_decreasing;  ///< how streams are filled

  /// Throws what group_answers() throws, data_error for a group that no stream holds, config_error for settings out of
  /// range.
  [[nodiscard]] epoch_plan plan(std::span<const example_shape> shapes, std::uint64_t seed, std::uint64_t epoch) const;
};

static_assert(batching_strategy<shared_prefix>);

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/shared_prefix.ipp>
#endif
