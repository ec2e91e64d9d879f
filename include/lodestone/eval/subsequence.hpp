// The longest common subsequence of two sequences, 64 cells at a time and without their table in memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lodestone::eval {

/// Rows of the table L[i][j] = length of the longest common subsequence of outer[0, i) and inner[0, j), one bit a cell:
/// bit j - 1 of row i is 0 where L[i][j] = L[i][j - 1] + 1 (Hyyro, Bit-parallel LCS-length computation revisited,
/// 2004). Symbols are numbers in [0, alphabet).
class subsequence_rows {
 public:
  using row = std::vector<std::uint64_t>;  ///< one bit for each element of the inner sequence

  /// Remembers where each symbol stands in `inner`: memory grows with its length and the alphabet.
  subsequence_rows(std::span<const std::int32_t> inner, std::size_t alphabet)
      : first_(alphabet + 1, 0), places_(inner.size()), matches_((inner.size() + 63) / 64, 0) {
    for (const std::int32_t symbol : inner) ++first_[static_cast<std::size_t>(symbol) + 1];
    for (std::size_t i = 0; i < alphabet; ++i) first_[i + 1] += first_[i];
    std::vector<std::size_t> next(first_.begin(), first_.end() - 1);
    for (std::size_t j = 0; j < inner.size(); ++j) places_[next[static_cast<std::size_t>(inner[j])]++] = j;
  }

  /// Row 0: every bit is 1.
  [[nodiscard]] row start() const { return row(matches_.size(), ~std::uint64_t{0}); }

  /// Turns row i into row i + 1, where `symbol` is outer[i].
  void advance(row& bits, std::int32_t symbol) {
    const auto s = static_cast<std::size_t>(symbol);
    const std::span<const std::size_t> places(places_.data() + first_[s], first_[s + 1] - first_[s]);
    if (places.empty()) return;  // nothing matches: the row stays
    for (const std::size_t j : places) matches_[j / 64] |= std::uint64_t{1} << (j % 64);
    std::uint64_t carry = 0;
    for (std::size_t w = 0; w < bits.size(); ++w) {
      const std::uint64_t v = bits[w];
      const std::uint64_t hits = v & matches_[w];
      const std::uint64_t partial = v + hits;
      const std::uint64_t sum = partial + carry;
      carry = (partial < v || sum < partial) ? 1 : 0;
      bits[w] = sum | (v & ~matches_[w]);
    }
    for (const std::size_t j : places) matches_[j / 64] = 0;
  }

 private:
  std::vector<std::size_t> first_;   // of each symbol's places, and the end
  std::vector<std::size_t> places_;  // in the inner sequence, by symbol
  row matches_;                      // all 0 between calls
};

/// The length of the longest common subsequence of two sequences of symbols in [0, alphabet). Time: their lengths'
/// product / 64; memory: their lengths.
[[nodiscard]] inline std::size_t common_subsequence_length(std::span<const std::int32_t> a,
                                                           std::span<const std::int32_t> b, std::size_t alphabet) {
  subsequence_rows table(b, alphabet);
  subsequence_rows::row bits = table.start();
  for (const std::int32_t symbol : a) table.advance(bits, symbol);
  std::size_t length = 0;
  for (std::size_t j = 0; j < b.size(); ++j) length += (bits[j / 64] >> (j % 64) & 1U) == 0 ? 1 : 0;
  return length;
}

/// Calls hit(i, j) for the pairs of one longest common subsequence, from the end: equal elements are taken; otherwise
/// the walk steps back in `outer` where that keeps the length and a step in `inner` would not, else in `inner`. Scorers
/// differ in this choice when several subsequences are longest, and in what they call outer.
/// Memory: sqrt(outer) rows of inner / 64 words, kept at every sqrt(outer)-th row and computed again between them.
template <class Hit>
void walk_common_subsequence(std::span<const std::int32_t> outer, std::span<const std::int32_t> inner,
                             std::size_t alphabet, const Hit& hit) {
  subsequence_rows table(inner, alphabet);
  const auto root = static_cast<std::size_t>(std::sqrt(static_cast<double>(outer.size())));
  const std::size_t block = std::max<std::size_t>(root, 32);
  std::vector<subsequence_rows::row> kept;
  subsequence_rows::row bits = table.start();
  for (std::size_t i = 0; i < outer.size(); ++i) {
    if (i % block == 0) kept.push_back(bits);
    table.advance(bits, outer[i]);
  }
  std::size_t i = outer.size();
  std::size_t j = inner.size();
  std::vector<subsequence_rows::row> rows;  // rows[k]: row begin + 1 + k
  while (i > 0 && j > 0) {
    const std::size_t begin = (i - 1) / block * block;
    bits = kept[begin / block];
    rows.clear();
    for (std::size_t k = begin; k < i; ++k) {
      table.advance(bits, outer[k]);
      rows.push_back(bits);
    }
    while (i > begin && j > 0) {
      if (outer[i - 1] == inner[j - 1]) {
        hit(--i, --j);
        continue;
      }
      const std::uint64_t word = rows[i - 1 - begin][(j - 1) / 64];
      ((word >> ((j - 1) % 64) & 1U) == 0 ? i : j) -= 1;
    }
  }
}

}  // namespace lodestone::eval
