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
  [[nodiscard]] static constexpr int rank() { return 0; }
  [[nodiscard]] static constexpr int size() { return 1; }

  template <class T>
  constexpr void all_reduce(std::span<T>) const {}
  template <class T>
  constexpr void all_gather(std::span<const std::type_identity_t<T>> mine, std::span<T> all) const {
    copy(mine, all);
  }
  template <class T>
  constexpr void reduce_scatter(std::span<const std::type_identity_t<T>> all, std::span<T> mine) const {
    copy(all, mine);
  }
  template <class T>
  constexpr void broadcast(std::span<T>, int root) const {
    if (root != 0) throw shape_error("there is no rank " + std::to_string(root), "broadcast");
  }
  constexpr void barrier() const {}

 private:
  template <class T>
  static constexpr void copy(std::span<const T> from, std::span<T> to) {
    if (from.size() != to.size()) throw shape_error("both sides must have one length", "dist::single");
    if (from.data() != to.data()) std::copy(from.begin(), from.end(), to.begin());
  }
};

static_assert(communicator<single>);

}  // namespace lodestone::dist
