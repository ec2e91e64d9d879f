// Axes of a plot: round tick values, their labels, and the map from values to pixels.
#pragma once

#include <string>
#include <vector>

namespace lodestone::plot {

/// Multiples of 1, 2 or 5 times a power of ten within [low, high]: between about `target` / 2 and `target` of them.
/// Values are exact multiples, so 0 is 0 and not 1e-17.
[[nodiscard]] std::vector<double> nice_ticks(double low, double high, int target = 6);

/// One axis: a range of values laid on a range of pixels.
struct axis {
  double low = 0.0;            ///< value at pixel_low
  double high = 1.0;           ///< value at pixel_high; above low
  double pixel_low = 0.0;      ///< left end of a horizontal axis
  double pixel_high = 1.0;     ///< of a vertical axis less than pixel_low: pixels count from the top
  bool binary_log = false;     ///< powers of two at equal distances; low and high are positive
  std::vector<double> ticks;        ///< ascending, within [low, high]
  std::vector<std::string> labels;  ///< one for each tick
  std::string factor;          ///< "×10⁻⁵" when labels stand for multiples of it, else empty

  /// Where a value lies; outside [low, high] the line goes on. With binary_log the value must be positive.
  [[nodiscard]] double pixel(double value) const;
};

namespace detail {

// Digits after the point that tell multiples of `step` apart.
[[nodiscard]] int places(double step);

}  // namespace detail

/// Fills labels and factor: plain numbers between 0.01 and 10,000, decimal prefixes above (20k), a common power of ten
/// below.
void label_ticks(axis& a);

/// An axis that covers [low, high], a little wider so that its ends are ticks when `round_ends`.
[[nodiscard]] axis linear_axis(double low, double high, double pixel_low, double pixel_high, int target,
                               bool round_ends);

/// Powers of two from at most `low` to at least `high` (both at least 1), labelled 256, 1Ki (= 1,024), 64Ki.
[[nodiscard]] axis binary_axis(double low, double high, double pixel_low, double pixel_high);

}  // namespace lodestone::plot

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/plot_axis.ipp>
#endif
