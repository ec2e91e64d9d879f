// Definitions of token_groups.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/token_groups.hpp>

namespace lodestone {

namespace detail {

// Sorts items by digit, keeping the order of equal ones; `room` is as long as `items`.
template <class Item, class DigitOf>
void counting_sort(std::vector<Item>& items, std::vector<Item>& room, std::size_t digits, const DigitOf& digit_of) {
  std::vector<std::size_t> places(digits + 1);
  for (const Item& item : items) ++places[digit_of(item) + 1];
  std::partial_sum(places.begin(), places.end(), places.begin());
  for (const Item& item : items) room[places[digit_of(item)]++] = item;
  std::swap(items, room);
}

}  // namespace detail

LODESTONE_INLINE token_groups token_groups::of(std::span<const std::int32_t> tokens) {
  token_groups result;
  const auto token_of = [&](std::int32_t row) { return tokens[static_cast<std::size_t>(row)]; };
  result.order.resize(tokens.size());
  std::iota(result.order.begin(), result.order.end(), 0);
  std::uint32_t largest = 0;
  for (const std::int32_t token : tokens) largest = std::max(largest, static_cast<std::uint32_t>(token));
  constexpr unsigned bits = 11;
  std::vector<std::int32_t> rows(tokens.size());
  for (unsigned shift = 0; shift < 32 && (largest >> shift) != 0; shift += bits)
    detail::counting_sort(result.order, rows, std::size_t{1} << bits, [&](std::int32_t row) {
      return std::size_t{(static_cast<std::uint32_t>(token_of(row)) >> shift) & ((1U << bits) - 1)};
    });

  const auto count = static_cast<std::int32_t>(tokens.size());
  const auto longest = static_cast<std::int32_t>(longest_piece(count));
  std::vector<token_piece> sums;
  std::vector<token_piece> joins;
  std::int32_t partials = 0;
  for (std::int32_t begin = 0, end = 0; begin < count; begin = end) {
    const std::int32_t token = token_of(result.order[static_cast<std::size_t>(begin)]);
    while (end < count && token_of(result.order[static_cast<std::size_t>(end)]) == token) ++end;
    if (end - begin <= longest) {
      sums.push_back({token, begin, end - begin, -1});
      continue;
    }
    joins.push_back({token, partials, (end - begin + longest - 1) / longest, -1});
    for (std::int32_t at = begin; at < end; at += longest)
      sums.push_back({token, at, std::min(longest, end - at), partials++});
  }
  result.pieces.resize(sums.size());
  detail::counting_sort(sums, result.pieces, static_cast<std::size_t>(longest) + 1,
                        [&](const token_piece& piece) { return static_cast<std::size_t>(longest - piece.count); });
  result.pieces = std::move(sums);
  result.pieces.insert(result.pieces.end(), joins.begin(), joins.end());
  result.joins = static_cast<std::int64_t>(joins.size());
  result.partials = partials;
  return result;
}

}  // namespace lodestone
