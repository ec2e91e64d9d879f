// Packed batching: several sequences share a stream of bounded length; nothing is dropped.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/steps.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::batching {

/// How sequences are put into packs.
enum class packing : std::uint8_t {
  next_fit,               ///< one open pack, examples in random order; O(n)
  first_fit_decreasing,   ///< longest first, into the first pack with room; O(n log n)
  best_fit_decreasing,    ///< longest first, into the fullest pack with room; O(n log n)
};

namespace detail {

/// `order`, in its order, into packs of at most `tokens`: a pack is closed when the next example does not fit.
[[nodiscard]] std::vector<micro_batch> next_fit(std::span<const std::int64_t> order,
                                                std::span<const std::int64_t> lengths, std::int64_t tokens);

/// Every example of `order` goes into the first pack that has room.
[[nodiscard]] std::vector<micro_batch> first_fit(std::span<const std::int64_t> order,
                                                 std::span<const std::int64_t> lengths, std::int64_t tokens);

/// Every example of `order` goes into the fullest pack that has room; of equally full ones, into the oldest.
[[nodiscard]] std::vector<micro_batch> best_fit(std::span<const std::int64_t> order,
                                                std::span<const std::int64_t> lengths, std::int64_t tokens);

}  // namespace detail

/// LongAlign section 3.3: concatenate sequences up to `tokens`, so that every micro-batch is of almost equal size.
///
/// Examples are shuffled by (seed, epoch), packed, and the packs shuffled. With `window` > 0, each run of that many
/// shuffled examples is packed by itself: the decreasing algorithms then put different sequences together in each
/// epoch, for a slightly lower fill. A pack may be filled exactly, the last one is kept, and an example longer than
/// `tokens` is a data_error that names it.
struct packed {
  std::int64_t tokens = 65'536;                      ///< most tokens of a pack
  std::int64_t packs_per_step = 0;                   ///< give one of these three; 8 packs when none is given
  std::int64_t sequences_per_step = 0;               ///< a step closes with the pack that reaches it
  std::int64_t tokens_per_step = 0;                  ///< likewise
  packing algorithm = packing::best_fit_decreasing;  ///< how packs are filled
  std::int64_t window = 0;                           ///< examples packed together; 0: all

  /// Throws data_error for an example without tokens or longer than a pack, config_error for settings out of range.
  [[nodiscard]] epoch_plan plan(std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) const;

 private:
  [[nodiscard]] std::vector<micro_batch> pack_examples(std::span<std::int64_t> order,
                                                       std::span<const std::int64_t> lengths) const;

  [[nodiscard]] step_content content() const;
};

static_assert(batching_strategy<packed>);

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/packed.ipp>
#endif
