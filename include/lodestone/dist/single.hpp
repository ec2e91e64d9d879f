// A world of one rank: every collective is an identity and compiles to nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <lodestone/core/error.hpp>
#include <lodestone/dist/concept.hpp>

namespace lodestone::dist {

/// The communicator of a program that runs alone.
struct single {
  [[nodiscard]] static constexpr int rank() { return 0; }  ///< the only rank
  [[nodiscard]] static constexpr int size() { return 1; }  ///< a world of one

  /// The sum over one rank: nothing changes.
  template <class T>
  constexpr void all_reduce(std::span<T>) const {}
  /// Copies `mine` to `all`; nothing to do when they are one span. Throws shape_error for unequal lengths.
  template <class T>
  constexpr void all_gather(std::span<const std::type_identity_t<T>> mine, std::span<T> all) const {
    copy(mine, all);
  }
  /// Copies `all` to `mine`; nothing to do when they are one span. Throws shape_error for unequal lengths.
  template <class T>
  constexpr void reduce_scatter(std::span<const std::type_identity_t<T>> all, std::span<T> mine) const {
    copy(all, mine);
  }
  /// Nothing changes. Throws shape_error for a root other than 0.
  template <class T>
  constexpr void broadcast(std::span<T>, int root) const {
    if (root != 0) throw shape_error("there is no rank " + std::to_string(root), "broadcast");
  }
  constexpr void barrier() const {}  ///< nobody to wait for

 private:
  template <class T>
  static constexpr void copy(std::span<const T> from, std::span<T> to) {
    if (from.size() != to.size()) throw shape_error("both sides must have one length", "dist::single");
    if (from.data() != to.data()) std::copy(from.begin(), from.end(), to.begin());
  }
};

static_assert(communicator<single>);

}  // namespace lodestone::dist
