// Line plots, bar plots and histograms as inline SVG in an HTML figure; colours come from the page's style sheet.
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/plot_axis.hpp>

namespace lodestone {

/// One line of a plot. Points that are not finite leave a gap.
struct plot_series {
  std::string name = {};       ///< in the legend, which only several series have, and in tooltips
  std::vector<double> x = {};  ///< ascending
  std::vector<double> y = {};  ///< as many
  bool faint = false;     ///< drawn thin and pale: raw values behind their average
  bool dashed = false;    ///< drawn as a broken line
};

/// Lines over a common axis.
struct line_plot {
  std::string title = {};    ///< above the plot
  std::string x_label = {};  ///< with its unit, e.g. "optimiser step"
  std::string y_label = {};  ///< with its unit, e.g. "loss (nats per target)"
  std::string caption = {};  ///< a sentence below, may be empty
  std::vector<plot_series> series = {};  ///< drawn in order; a faint one has the colour of the next
  bool from_zero = false;  ///< the y axis includes 0
};

/// One colour of bars: a value for each category; NaN leaves a gap.
struct bar_series {
  std::string name = {};            ///< in the legend and in tooltips
  std::vector<double> values = {};  ///< one a category; surplus ones are left out
};

/// Groups of bars.
struct bar_plot {
  /// As in line_plot.
  ///@{
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  std::string caption = {};
  ///@}
  /// Below the axis, from left to right; of more than 12 only some are labelled.
  std::vector<std::string> categories = {};
  std::vector<bar_series> series = {};  ///< side by side within each category
};

/// How often values occur.
struct histogram_plot {
  /// As in line_plot.
  ///@{
  std::string title = {};
  std::string x_label = {};
  std::string y_label = "count";
  std::string caption = {};
  ///@}
  std::vector<double> values = {};  ///< in any order; what is not finite is left out
  bool powers_of_two = false;  ///< axis by powers of two, two or four bins an octave: for lengths over a wide range
  bool percent = false;        ///< values are shares; the axis runs to 100 %
};

/// Text for HTML content and attributes: markup characters escaped, control characters dropped.
[[nodiscard]] std::string html_escape(std::string_view text);

namespace plot {

inline constexpr double width = 520.0;  ///< about what a figure is wide on the page, so 12 px of text stay 12 px
inline constexpr double height = 270.0;  ///< of a figure
inline constexpr double left = 50.0;     ///< margin, for the labels of the y axis
inline constexpr double right = 14.0;    ///< margin
inline constexpr double top = 26.0;      ///< margin
inline constexpr double bottom = 44.0;   ///< margin, for the labels of the x axis
inline constexpr int colours = 6;  ///< --c0 ... --c5 of the style sheet

/// A coordinate with one decimal.
[[nodiscard]] inline std::string px(double value) { return format_fixed(std::round(value * 10.0) / 10.0 + 0.0, 1); }

/// A label.
[[nodiscard]] std::string text(double x, double y, std::string_view content, std::string_view anchor,
                                           std::string_view kind = "tick");

/// Grid lines and labels of both axes. The y label stands above the axis, where it can be read without turning the
/// head.
[[nodiscard]] std::string frame(const axis& x, const axis& y, std::string_view x_label,
                                         std::string_view y_label, bool x_grid);

/// A plot with title, legend and caption, as HTML.
[[nodiscard]] std::string figure(std::string_view title, std::string_view legend, std::string_view content,
                                 std::string_view caption);

/// An entry of a legend.
[[nodiscard]] std::string swatch(std::size_t colour, std::string_view name, std::string_view kind);

/// The part of a figure that says there is nothing to draw.
[[nodiscard]] std::string nothing();

/// At most two points (lowest and highest) in each of `columns` columns: what a screen can show of a long run. Without
/// this a run of 100,000 steps makes a page of megabytes. A column without any finite
/// point is a gap.
[[nodiscard]] std::vector<std::pair<double, double>> thin(const plot_series& s, std::size_t columns = 520);

/// A bar with its tooltip.
[[nodiscard]] std::string column(double x, double wide, double y, double base, std::size_t colour,
                                 std::string_view hint);

}  // namespace plot

/// The plot as an HTML figure.
[[nodiscard]] std::string to_html(const line_plot& p);

/// The plot as an HTML figure. The y axis starts at 0: the area of a bar means something.
[[nodiscard]] std::string to_html(const bar_plot& p);

/// The plot as an HTML figure; the caption is followed by the number of values, their median and range.
[[nodiscard]] std::string to_html(const histogram_plot& p);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/plot.ipp>
#endif
