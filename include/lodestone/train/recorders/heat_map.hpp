// A grid of values as coloured cells, as inline SVG in an HTML figure: depth x length of a look-up test.
#pragma once

#include <string>
#include <vector>

#include <lodestone/train/recorders/plot.hpp>

namespace lodestone {

/// Values over two lists of names.
struct heat_map {
  /// As in line_plot.
  ///@{
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  std::string caption = {};
  ///@}
  std::vector<std::string> columns = {};  ///< from left to right
  std::vector<std::string> rows = {};     ///< from top to bottom
  std::vector<double> values = {};        ///< [rows x columns]; one that is not finite leaves its cell empty
  double low = 0.0;                       ///< red, with everything below
  double high = 1.0;                      ///< blue, with everything above; above low
};

namespace plot {

/// The colour, as a number sign and six hexadecimal digits, of a share from 0 (red) over pale yellow to 1 (blue):
/// readers who do not tell red from green see it too, and the ends are darker than the middle.
[[nodiscard]] std::string heat_colour(double share);

}  // namespace plot

/// The figure. A cell shows its value where it is wide enough, and as a hint everywhere. Throws shape_error when the
/// values are not as many as the cells.
[[nodiscard]] std::string to_html(const heat_map& p);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/heat_map.ipp>
#endif
