// What a communicator is: the collectives that a training step needs, and nothing else.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lodestone {

/// One rank's end of a group of `size()` ranks.
///
/// Requires, for T in {double, float, std::int64_t}; every rank calls the same collectives in the same order
///  1. `rank()`, `size()`.
///  2. `all_reduce(span<T>)`: every rank's span becomes the sum over ranks.
///  3. `all_gather(span<const T> mine, span<T> all)`: all = the ranks' `mine` in rank order.
///  4. `reduce_scatter(span<const T> all, span<T> mine)`: mine = this rank's part of the sum of `all`.
///  5. `broadcast(span<T>, root)` and `barrier()`.
/// Laws: all ranks see the same bits; reduce_scatter then all_gather equals all_reduce; size() == 1 changes nothing.
/// Errors: a rank that leaves by an exception makes the others' collectives throw instead of waiting for ever.
template <class C>
concept communicator = requires(C& group, std::span<double> values, std::span<const double> constants, int root) {
  { group.rank() } -> std::convertible_to<int>;
  { group.size() } -> std::convertible_to<int>;
  group.all_reduce(values);
  group.all_gather(constants, values);
  group.reduce_scatter(constants, values);
  group.broadcast(values, root);
  group.barrier();
};

}  // namespace lodestone
