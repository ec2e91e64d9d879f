// Byte-pair merging: of the adjacent pairs with a merge, the one of lowest rank, leftmost first, until none is left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <lodestone/text/piece_table.hpp>

namespace lodestone::text {

/// Most symbols that merge_word() takes.
inline constexpr std::size_t merge_limit = 96;

/// Merges up to `merge_limit` symbols in place and returns how many are left: quadratic, and fastest on words.
[[nodiscard]] std::size_t merge_word(const merge_table& merges, std::span<std::int32_t> symbols);

/// The same for any number of symbols below 2^31: a linked list and a heap, O(n log n).
[[nodiscard]] std::size_t merge_text(const merge_table& merges, std::span<std::int32_t> symbols);

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/merge.ipp>
#endif
