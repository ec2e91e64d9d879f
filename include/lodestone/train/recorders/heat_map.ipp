// Definitions of heat_map.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/heat_map.hpp>

namespace lodestone {

namespace plot {

LODESTONE_INLINE std::string heat_colour(double share) {
  constexpr std::array<std::array<double, 3>, 5> stops{
      {{178, 44, 38}, {232, 133, 78}, {246, 228, 168}, {133, 186, 217}, {34, 100, 170}}};
  const double at = std::clamp(share, 0.0, 1.0) * 4.0;
  const auto first = std::min<std::size_t>(static_cast<std::size_t>(at), 3);
  const double part = at - static_cast<double>(first);
  constexpr char digits[] = "0123456789abcdef";
  std::string text = "#";
  for (std::size_t k = 0; k < 3; ++k) {
    const auto value =
        static_cast<std::size_t>(std::lround(stops[first][k] + part * (stops[first + 1][k] - stops[first][k])));
    text += digits[value / 16];
    text += digits[value % 16];
  }
  return text;
}

}  // namespace plot

LODESTONE_INLINE std::string to_html(const heat_map& p) {
  if (p.values.size() != p.columns.size() * p.rows.size())
    throw shape_error(std::to_string(p.values.size()) + " values for " + std::to_string(p.rows.size()) + " x " +
                          std::to_string(p.columns.size()) + " cells",
                      "heat map " + p.title, "give one value a cell");
  if (std::none_of(p.values.begin(), p.values.end(), [](double v) { return std::isfinite(v); }))
    return plot::figure(p.title, "", plot::nothing(), p.caption);
  constexpr double bar_room = 58.0;  // at the right, for the scale
  const double left = plot::left, right = plot::width - plot::right - bar_room;
  const double top = plot::top, bottom = plot::height - plot::bottom;
  const double wide = (right - left) / static_cast<double>(p.columns.size());
  const double tall = (bottom - top) / static_cast<double>(p.rows.size());
  const auto share = [&](double value) { return (value - p.low) / (p.high - p.low); };
  const auto block = [](double x, double y, double w, double h, const std::string& fill, const std::string& hint) {
    return "<rect x=\"" + plot::px(x) + "\" y=\"" + plot::px(y) + "\" width=\"" + plot::px(w) + "\" height=\"" +
           plot::px(h) + "\" fill=\"" + fill + "\">" +
           (hint.empty() ? "" : "<title>" + html_escape(hint) + "</title>") + "</rect>";
  };
  std::string content;
  for (std::size_t r = 0; r < p.rows.size(); ++r)
    for (std::size_t c = 0; c < p.columns.size(); ++c) {
      const double value = p.values[r * p.columns.size() + c];
      if (!std::isfinite(value)) continue;
      const double x = left + wide * static_cast<double>(c), y = top + tall * static_cast<double>(r);
      content +=
          block(x + 0.5, y + 0.5, wide - 1.0, tall - 1.0, plot::heat_colour(share(value)),
                p.y_label + " " + p.rows[r] + ", " + p.x_label + " " + p.columns[c] + ": " + format_number(value, 3));
      if (wide < 30.0 || tall < 15.0) continue;
      const double s = share(value);
      const bool is_dark = s < 0.2 || s > 0.85;  // white on the dark ends of the scale
      content += "<text x=\"" + plot::px(x + wide / 2) + "\" y=\"" + plot::px(y + tall / 2 + 4) +
                 "\" text-anchor=\"middle\" style=\"font-size:11px;fill:" + (is_dark ? "#ffffff" : "#1b2430") + "\">" +
                 html_escape(format_number(value, 2)) + "</text>";
    }
  // More names than there is room for run into each other: every second, third, ... is written.
  const auto stride = [](double room, double need) {
    return static_cast<std::size_t>(std::max(1.0, std::ceil(need / room)));
  };
  std::size_t longest = 1;
  for (const std::string& name : p.columns) longest = std::max(longest, name.size());
  const std::size_t every = stride(wide, 7.0 * static_cast<double>(longest) + 8.0);
  for (std::size_t c = 0; c < p.columns.size(); c += every)
    content += plot::text(left + wide * (static_cast<double>(c) + 0.5), bottom + 17, p.columns[c], "middle");
  for (std::size_t r = 0; r < p.rows.size(); r += stride(tall, 13.0))
    content += plot::text(left - 8, top + tall * (static_cast<double>(r) + 0.5) + 4, p.rows[r], "end");
  content += plot::text(4, 13, p.y_label, "start", "label");
  content += plot::text((left + right) / 2, plot::height - 6, p.x_label, "middle", "label");

  constexpr int steps = 40;
  const double bar = right + 16.0;
  for (int k = 0; k < steps; ++k)
    content += block(bar, top + (bottom - top) * k / steps, 12.0, (bottom - top) / steps + 0.4,
                     plot::heat_colour(1.0 - (k + 0.5) / steps), "");
  for (const double s : {0.0, 0.5, 1.0})
    content += plot::text(bar + 18.0, bottom - (bottom - top) * s + 4, format_number(p.low + s * (p.high - p.low), 3),
                          "start");
  return plot::figure(p.title, "", content, p.caption);
}

}  // namespace lodestone
