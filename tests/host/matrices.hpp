// Random matrices, some of them strided, and comparisons for the tests of host operations.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>

namespace host_test {

/// Normal numbers, the same in every run.
template <class T, std::size_t Rank>
lodestone::tensor<T, Rank> normal(lodestone::extents<Rank> shape, std::uint64_t seed) {
  lodestone::tensor<T, Rank> values(shape);
  lodestone::random_stream random(seed, lodestone::random_purpose::user);
  for (T& value : values.flat()) value = static_cast<T>(random.normal());
  return values;
}

/// A matrix within a wider one, the rest of which holds NaN: reading or writing outside shows.
template <class T>
struct framed {
  framed(std::int64_t rows, std::int64_t columns, std::uint64_t seed)
      : memory(lodestone::extents<2>{{rows + 2, columns + 7}}) {
    std::ranges::fill(memory.flat(), std::numeric_limits<T>::quiet_NaN());
    view = lodestone::tensor_view<T, 2>(memory.data() + columns + 7 + 3, {{rows, columns}}, columns + 7);
    lodestone::random_stream random(seed, lodestone::random_purpose::user);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) view(i, j) = static_cast<T>(random.normal());
  }
  /// The frame still holds NaN everywhere.
  [[nodiscard]] bool intact() const {
    std::int64_t numbers = 0;
    for (const T value : memory.flat()) numbers += value == value ? 1 : 0;
    for (std::int64_t i = 0; i < view.size(0); ++i)
      for (std::int64_t j = 0; j < view.size(1); ++j) numbers -= view(i, j) == view(i, j) ? 1 : 0;
    return numbers == 0;
  }
  operator lodestone::tensor_view<T, 2>() const { return view; }
  operator lodestone::tensor_view<const T, 2>() const { return view; }
  T& operator()(std::int64_t i, std::int64_t j) const { return view(i, j); }

  lodestone::tensor<T, 2> memory;
  lodestone::tensor_view<T, 2> view;
};

/// Elements in row-major order, as double.
template <class T>
std::vector<double> elements(lodestone::tensor_view<T, 2> view) {
  std::vector<double> all;
  for (std::int64_t i = 0; i < view.size(0); ++i)
    for (std::int64_t j = 0; j < view.size(1); ++j) all.push_back(static_cast<double>(view(i, j)));
  return all;
}
template <class T>
std::vector<double> elements(lodestone::tensor_view<T, 1> view) {
  std::vector<double> all;
  for (std::int64_t i = 0; i < view.size(0); ++i) all.push_back(static_cast<double>(view(i)));
  return all;
}

/// max |a - b| / max(1, max |b|); infinity for a NaN on one side or sizes that differ. Equal infinities agree.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  double largest = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    const double difference = std::abs(a[i] - b[i]);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst / largest;
}

template <class T>
inline constexpr double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-13;

/// d sum(weights * f) / d x by central differences, in double.
template <class Function>
std::vector<double> slope(lodestone::tensor_view<double, 2> x, const Function& f, double step = 1e-5) {
  std::vector<double> all;
  for (std::int64_t i = 0; i < x.size(0); ++i)
    for (std::int64_t j = 0; j < x.size(1); ++j) {
      const double at = x(i, j);
      x(i, j) = at + step;
      const double above = f();
      x(i, j) = at - step;
      const double below = f();
      x(i, j) = at;
      all.push_back((above - below) / (2 * step));
    }
  return all;
}

/// A vector as a matrix of one row, for slope().
inline lodestone::tensor_view<double, 2> as_row(lodestone::tensor_view<double, 1> x) {
  return {x.data(), {{1, x.size(0)}}};
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// The bytes of a tensor, to compare bits.
template <class T, std::size_t Rank>
std::vector<unsigned char> bits(const lodestone::tensor<T, Rank>& values) {
  std::vector<unsigned char> all(values.flat().size_bytes());
  if (!all.empty()) std::memcpy(all.data(), values.data(), all.size());
  return all;
}

}  // namespace host_test
