// Sizes of a row-major tensor, 64-bit, with checked products.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// Product of two sizes; throws shape_error when negative or past 2^63.
[[nodiscard]] constexpr std::int64_t checked_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) throw shape_error("a size is negative or past 2^63");
  return product;
}

/// The sizes of a tensor, outermost first. All are non-negative.
template <std::size_t Rank>
struct extents {
  std::array<std::int64_t, Rank> sizes{};  ///< one for each axis, outermost first

  /// The size of an axis below Rank; not checked.
  [[nodiscard]] constexpr std::int64_t operator[](std::size_t axis) const { return sizes[axis]; }

  /// Number of elements; throws shape_error on overflow.
  [[nodiscard]] constexpr std::int64_t count() const {
    std::int64_t product = 1;
    for (const std::int64_t size : sizes) product = checked_product(product, size);
    return product;
  }

  /// Number of elements of one row, that is of everything but axis 0.
  [[nodiscard]] constexpr std::int64_t row_count() const {
    std::int64_t product = 1;
    for (std::size_t axis = 1; axis < Rank; ++axis) product = checked_product(product, sizes[axis]);
    return product;
  }

  friend constexpr bool operator==(const extents&, const extents&) = default;
};

/// As many axes as sizes are given.
template <class... Sizes>
extents(Sizes...) -> extents<sizeof...(Sizes)>;

/// "[2, 3]", for messages.
template <std::size_t Rank>
[[nodiscard]] std::string to_string(const extents<Rank>& shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < Rank; ++axis) text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  return text + "]";
}

}  // namespace lodestone
