// Definitions of plot_axis.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/plot_axis.hpp>

namespace lodestone::plot {

LODESTONE_INLINE std::vector<double> nice_ticks(double low, double high, int target) {
  if (!std::isfinite(low) || !std::isfinite(high) || !(high > low) || target < 1) return {low};
  const double rough = (high - low) / target;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double fraction = rough / power;
  // The multiple of the power of ten is kept as an integer ratio so that labels come out round.
  const double step = (fraction <= 1.0 + 1e-9   ? 1.0
                       : fraction <= 2.0 + 1e-9 ? 2.0
                       : fraction <= 5.0 + 1e-9 ? 5.0
                                                : 10.0) *
                      power;
  std::vector<double> ticks;
  const double slack = 1e-9 * (high - low);
  for (double i = std::ceil((low - slack) / step); i * step <= high + slack; ++i) {
    // Rounding to 12 digits removes the error of the product: 3 * 0.1 is printed 0.3.
    const double value = i * step;
    const double scale = std::pow(10.0, 12.0 - std::ceil(std::log10(std::max(std::abs(value), power))));
    ticks.push_back(value == 0.0 || !std::isfinite(scale) ? value + 0.0 : std::round(value * scale) / scale);
  }
  return ticks;
}

LODESTONE_INLINE double axis::pixel(double value) const {
  const double share = binary_log ? std::log2(value / low) / std::log2(high / low) : (value - low) / (high - low);
  return pixel_low + share * (pixel_high - pixel_low);
}

namespace detail {

[[nodiscard]] inline std::string superscript(int value) {
  static constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = value < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(value))) out += digits[c - '0'];
  return out;
}

LODESTONE_INLINE int places(double step) {
  int count = 0;
  while (count < 9 && std::abs(step - std::round(step)) > 1e-6 * std::abs(step)) {
    step *= 10.0;
    ++count;
  }
  return count;
}

}  // namespace detail

LODESTONE_INLINE void label_ticks(axis& a) {
  double largest = 0.0;
  for (const double tick : a.ticks) largest = std::max(largest, std::abs(tick));
  const double step = a.ticks.size() > 1 ? a.ticks[1] - a.ticks[0] : largest;
  double divisor = 1.0;
  std::string suffix;
  if (largest >= 1e4) {
    for (const char* prefix : {"k", "M", "B", "T"}) {
      if (largest / divisor < 1000.0 && divisor > 1.0) break;
      divisor *= 1000.0;
      suffix = prefix;
    }
  } else if (largest > 0.0 && largest < 1e-2) {
    const int exponent = static_cast<int>(std::floor(std::log10(largest)));
    divisor = std::pow(10.0, exponent);
    a.factor = "×10" + detail::superscript(exponent);
  }
  const int digits = detail::places(step / divisor);
  a.labels.clear();
  for (const double tick : a.ticks)
    a.labels.push_back(tick == 0.0 ? "0" : format_fixed(tick / divisor, digits) + suffix);
}

LODESTONE_INLINE axis linear_axis(double low, double high, double pixel_low, double pixel_high, int target,
                                  bool round_ends) {
  if (!std::isfinite(low) || !std::isfinite(high) || low > high) low = 0.0, high = 1.0;
  if (high - low < 1e-12 * std::max(std::abs(low), std::abs(high)) || high == low) {  // a constant gets some air
    const double air = low == 0.0 ? 1.0 : 0.1 * std::abs(low);
    low -= low > 0.0 ? std::min(air, low) : 0.0;
    high += air;
  }
  axis a;
  a.pixel_low = pixel_low;
  a.pixel_high = pixel_high;
  a.ticks = nice_ticks(low, high, target);
  if (round_ends && a.ticks.size() > 1) {
    const double step = a.ticks[1] - a.ticks[0];
    if (low < a.ticks.front() - 1e-9 * step) low = a.ticks.front() - step;
    if (high > a.ticks.back() + 1e-9 * step) high = a.ticks.back() + step;
    a.ticks = nice_ticks(low, high, static_cast<int>(std::lround((high - low) / step)));
  }
  a.low = low;
  a.high = high;
  label_ticks(a);
  return a;
}

LODESTONE_INLINE axis binary_axis(double low, double high, double pixel_low, double pixel_high) {
  axis a;
  a.binary_log = true;
  a.pixel_low = pixel_low;
  a.pixel_high = pixel_high;
  const int first = static_cast<int>(std::floor(std::log2(std::max(1.0, low)) + 1e-9));
  const int last = std::max(first + 1, static_cast<int>(std::ceil(std::log2(std::max(2.0, high)) - 1e-9)));
  a.low = std::ldexp(1.0, first);
  a.high = std::ldexp(1.0, last);
  const int stride = (last - first + 11) / 12;
  for (int i = first; i <= last; i += stride) {
    const auto value = std::int64_t{1} << i;
    a.ticks.push_back(static_cast<double>(value));
    a.labels.push_back(i >= 30   ? std::to_string(value >> 30) + "Gi"
                       : i >= 20 ? std::to_string(value >> 20) + "Mi"
                       : i >= 10 ? std::to_string(value >> 10) + "Ki"
                                 : std::to_string(value));
  }
  return a;
}

}  // namespace lodestone::plot

