// The batch: one flat stream of tokens with positions, attention slices, scored rows and sequences. No padding exists.
#pragma once

#include <cstdint>
#include <vector>

#include <lodestone/attention/slices.hpp>
#include <lodestone/batching/example.hpp>

namespace lodestone {

/// Hidden row `row` predicts `label`; the pair belongs to sequences[sequence] of its batch and has weight a_t.
/// A row may be scored several times (a shared prompt's last row predicts the first token of every answer).
struct scored_token {
  std::int64_t row = 0;       ///< in [0, T)
  std::int32_t label = 0;     ///< in [0, V)
  std::int32_t sequence = 0;  ///< in [0, sequences.size())
  double weight = 1.0;        ///< a_t
};

/// What a loss knows about a sequence of the batch.
struct sequence {
  std::int64_t begin = 0;           ///< first own token in the stream
  std::int64_t end = 0;             ///< one past its last own token
  std::int64_t example = 0;         ///< index in the store
  std::int64_t scored_begin = 0;    ///< its entries of token_batch::scored are contiguous: [scored_begin, scored_end)
  std::int64_t scored_end = 0;      ///< one past its last entry there
  std::int32_t pack = 0;            ///< which pack of the step holds it, counted over all micro-batches and ranks
  std::int32_t group = 0;           ///< preference group within the micro-batch
  std::int32_t role = 0;            ///< 0 chosen, j > 0 rejected answer j
  double weight = 1.0;              ///< w_i, the example weight
  double target_weight = 0.0;       ///< sum of a_t over its targets; 0 takes the sequence out of every total
  double reference = no_reference;  ///< sum_t a_t log p_t under a reference model, for losses that want one
};

/// T tokens end to end, whatever the batching strategy.
struct token_batch {
  std::vector<std::int32_t> tokens;            ///< [T]
  std::vector<std::int32_t> positions;         ///< [T] position ids for RoPE; causality follows the index, not these
  std::vector<std::int64_t> lengths;           ///< [T] last position id of its sequence + 1 (dynamic NTK scales by it)
  std::vector<slice> slices;                   ///< which rows see which; assemble() gives each example a causal one
  std::vector<scored_token> scored;            ///< those of a sequence side by side
  std::vector<lodestone::sequence> sequences;  ///< in stream order

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }  ///< T
};

}  // namespace lodestone
