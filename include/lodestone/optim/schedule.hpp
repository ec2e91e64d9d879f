// Learning-rate schedules: constant, linear and cosine, with warm-up.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include <lodestone/core/error.hpp>

namespace lodestone::optim {

/// What the rate does after the warm-up.
enum class decline : std::uint8_t { constant, linear, cosine };

/// The factor on the learning rate: linear warm-up from 0, then constant, or a decline to `floor`.
///
/// curve(i, n) is the curve of transformers' get_{constant,linear,cosine}_schedule_with_warmup(n training steps) at
/// scheduler step i. Its point 0 is 0 with any warm-up, and its point n is 0 with any decline, so training on points
/// 0 .. n - 1 wastes the first update and training on 1 .. n the last. Steps here are counted from 1, and step s of T
/// stands at point s of a curve of T + 1: every update counts, and a warm-up of w steps reaches s / w in step s, as
/// transformers' trainer logs it.
struct schedule {
  decline after = decline::cosine;  ///< the curve after the warm-up
  double warmup_ratio = 0.0;        ///< of the steps of the run, rounded up; LongAlign uses 0.03
  std::int64_t warmup_steps = 0;    ///< wins over the ratio when positive
  double floor = 0.0;               ///< what the decline ends at, as a share of the full rate

  /// ceil(ratio T), or the given number.
  [[nodiscard]] std::int64_t warmup(std::int64_t total_steps) const {
    if (!(warmup_ratio >= 0.0 && warmup_ratio <= 1.0) || warmup_steps < 0)
      throw config_error("warm-up must be a ratio in [0, 1] or a number of steps", "optim.warmup");
    if (!(floor >= 0.0 && floor <= 1.0)) throw config_error("must lie in [0, 1]", "optim.floor");
    if (warmup_steps > 0) return warmup_steps;
    return static_cast<std::int64_t>(std::ceil(warmup_ratio * static_cast<double>(total_steps)));
  }

  /// The factor of optimiser step `step` in [1, total_steps].
  [[nodiscard]] double factor(std::int64_t step, std::int64_t total_steps) const {
    if (step < 1) throw config_error("steps are counted from 1", "optim.schedule");
    return curve(step, warmup(total_steps), total_steps + 1);
  }

  /// The curve itself: point i of `points` with `warmup` points of warm-up.
  [[nodiscard]] double curve(std::int64_t i, std::int64_t warmup, std::int64_t points) const {
    const auto at = static_cast<double>(i);
    if (i < warmup) return at / static_cast<double>(std::max<std::int64_t>(warmup, 1));
    if (after == decline::constant) return 1.0;
    const double rest = static_cast<double>(std::max<std::int64_t>(points - warmup, 1));
    const double progress = std::min((at - static_cast<double>(warmup)) / rest, 1.0);
    const double shape = after == decline::linear ? std::clamp((static_cast<double>(points) - at) / rest, 0.0, 1.0)
                                                  : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
    return floor + (1.0 - floor) * shape;
  }
};

/// schedule{decline::constant, ...} and its siblings by name.
[[nodiscard]] constexpr schedule constant(double warmup_ratio = 0.0) { return {decline::constant, warmup_ratio}; }
/// Warm-up, then a straight line down to 0.
[[nodiscard]] constexpr schedule linear(double warmup_ratio = 0.0) { return {decline::linear, warmup_ratio}; }
/// Warm-up, then half a cosine down to 0.
[[nodiscard]] constexpr schedule cosine(double warmup_ratio = 0.0) { return {decline::cosine, warmup_ratio}; }

}  // namespace lodestone::optim
