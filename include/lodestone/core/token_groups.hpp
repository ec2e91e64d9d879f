// The rows of a token stream grouped by token, in pieces for a parallel sum over the rows of each token.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/list.hpp>

namespace lodestone {

/// A sum of neighbouring entries of a list: rows of one token, or partial sums of one token.
struct alignas(16) token_piece {
  std::int32_t token;    ///< whose rows these are
  std::int32_t begin;    ///< first entry: of token_groups::order, or for a join of the partial sums
  std::int32_t count;    ///< number of entries, at least 1
  std::int32_t partial;  ///< where the sum goes: the number of a partial sum, or -1 for the token's total
};

/// Which rows to add up for the gradient of an embedding, and in which order: fixed by the tokens alone, so the bits of
/// a sum do not depend on who computes it. A token with more rows than longest_piece() is cut into pieces whose partial
/// sums are joined afterwards, so that one frequent token does not hold up the rest.
struct token_groups {
  std::vector<std::int32_t> order;  ///< [T] rows by token, those of one token in stream order
  /// Sums of rows, longest first, then the sums of partial sums; together at most T.
  std::vector<token_piece> pieces;
  std::int64_t joins = 0;     ///< how many pieces, at the end, are sums of partial sums
  std::int64_t partials = 0;  ///< partial sums in all, fewer than most_partials

  static constexpr std::int64_t most_partials = 1024;  ///< bounds the memory of partial sums
  /// Rows that a piece of a stream of `tokens` may have: with 64 of bf16, writing and reading partial sums in float
  /// adds at most a sixteenth to the bytes.
  [[nodiscard]] static std::int64_t longest_piece(std::int64_t tokens) {
    constexpr std::int64_t pieces = most_partials / 2;  // a cut token has fewer than 2 rows / longest pieces
    return std::max<std::int64_t>(64, (tokens + pieces - 1) / pieces);
  }

  /// Groups a stream by radix sort, O(T).
  [[nodiscard]] static token_groups of(std::span<const std::int32_t> tokens);
};

/// The tokens of a stream in a backend's memory, and their groups where the embedding's gradient will be wanted.
template <class Space>
struct token_list : backend_list<std::int32_t, Space> {
  block<token_piece, 1, Space> pieces;  ///< [T], of which the first groups.pieces.size() are used
  block<std::int32_t, 1, Space> order;  ///< [T]
  token_groups groups;                  ///< the host's copy; empty when not asked for
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/core/token_groups.ipp>
#endif
