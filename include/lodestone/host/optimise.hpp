// AdamW on flat tensors, and the reductions that clipping and overflow checks need.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <lodestone/host/tiles.hpp>
#include <lodestone/optim/adamw.hpp>

namespace lodestone::on_host {

/// One AdamW update (equations at optim::adamw_step) of weights[n] and their moments[n] by gradient[n]. Elementwise, so
/// any split of a tensor gives the same bits. The scalars are rounded from double to T once.
template <class T>
void adamw(thread_pool& pool, vector<T> weights, vector<T> first_moment, vector<T> second_moment,
           vector<const T> gradient, const optim::adamw_step& step) {
  checks::adamw(weights, first_moment, second_moment, gradient);
  const T keep = static_cast<T>(1.0 - step.learning_rate * step.weight_decay);
  const T beta1 = static_cast<T>(step.beta1);
  const T beta2 = static_cast<T>(step.beta2);
  const T rest1 = static_cast<T>(1.0 - step.beta1);
  const T rest2 = static_cast<T>(1.0 - step.beta2);
  const T rate = static_cast<T>(step.learning_rate / step.bias_correction1);
  const T correction = static_cast<T>(1.0 / std::sqrt(step.bias_correction2));
  const T epsilon = static_cast<T>(step.epsilon);
  const T gradient_scale = static_cast<T>(step.gradient_scale);
  for_row_tiles(pool, weights.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    T* w = weights.data();
    T* m = first_moment.data();
    T* v = second_moment.data();
    for (std::int64_t i = begin; i < end; ++i) {
      const T g = gradient.data()[i] * gradient_scale;
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      w[i] = w[i] * keep - rate * m[i] / (std::sqrt(v[i]) * correction + epsilon);
    }
  });
}

/// Sum of the squares of values[n] in double: fixed tiles, combined in tile order.
template <class T>
[[nodiscard]] double sum_of_squares(thread_pool& pool, vector<const T> values) {
  check_shapes(values.is_contiguous(), "sum_of_squares", "a contiguous view", values);
  const std::int64_t step = rows_per_tile(1);
  std::vector<double> partial(static_cast<std::size_t>(tile_count(values.size(0), step)));
  for_tiles(pool, values.size(0), step, [&](std::int64_t begin, std::int64_t end) {
    const T* from = values.data() + begin;
    partial[static_cast<std::size_t>(begin / step)] = lane_sum<double>(end - begin, [from](std::int64_t i) {
      const auto value = static_cast<double>(from[i]);
      return value * value;
    });
  });
  return lane_sum<double>(static_cast<std::int64_t>(partial.size()),
                          [&](std::int64_t i) { return partial[static_cast<std::size_t>(i)]; });
}

/// Whether no element of values[n] is infinite or NaN.
template <class T>
[[nodiscard]] bool all_finite(thread_pool& pool, vector<const T> values) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>, "all_finite reads float or double");
  using word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr word exponent = sizeof(T) == 4 ? word{0x7f80'0000U} : static_cast<word>(0x7ff0'0000'0000'0000ULL);
  check_shapes(values.is_contiguous(), "all_finite", "a contiguous view", values);
  const std::int64_t step = rows_per_tile(1);
  std::vector<std::uint8_t> bad(static_cast<std::size_t>(tile_count(values.size(0), step)));
  for_tiles(pool, values.size(0), step, [&](std::int64_t begin, std::int64_t end) {
    word found = 0;
    for (std::int64_t i = begin; i < end; ++i)
      found |= static_cast<word>((std::bit_cast<word>(values.data()[i]) & exponent) == exponent);
    bad[static_cast<std::size_t>(begin / step)] = found != 0;
  });
  for (const std::uint8_t tile : bad)
    if (tile != 0) return false;
  return true;
}

}  // namespace lodestone::on_host
