// Definitions of plot.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/plot.hpp>

namespace lodestone {

LODESTONE_INLINE std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

namespace plot {

LODESTONE_INLINE std::string text(double x, double y, std::string_view content, std::string_view anchor,
                                  std::string_view kind) {
  return "<text class=\"" + std::string(kind) + "\" x=\"" + px(x) + "\" y=\"" + px(y) + "\" text-anchor=\"" +
         std::string(anchor) + "\">" + html_escape(content) + "</text>";
}

LODESTONE_INLINE std::string frame(const axis& x, const axis& y, std::string_view x_label, std::string_view y_label,
                                   bool x_grid) {
  std::string out;
  for (std::size_t i = 0; i < y.ticks.size(); ++i) {
    const double at = y.pixel(y.ticks[i]);
    out += "<line class=\"grid\" x1=\"" + px(left) + "\" x2=\"" + px(width - right) + "\" y1=\"" + px(at) +
           "\" y2=\"" + px(at) + "\"/>" + text(left - 8, at + 4, y.labels[i], "end");
  }
  for (std::size_t i = 0; i < x.ticks.size(); ++i) {
    const double at = x.pixel(x.ticks[i]);
    if (x_grid)
      out += "<line class=\"mark\" x1=\"" + px(at) + "\" x2=\"" + px(at) + "\" y1=\"" + px(height - bottom) +
             "\" y2=\"" + px(height - bottom + 4) + "\"/>";
    out += text(at, height - bottom + 17, x.labels[i], "middle");
  }
  out += "<line class=\"base\" x1=\"" + px(left) + "\" x2=\"" + px(width - right) + "\" y1=\"" +
         px(height - bottom) + "\" y2=\"" + px(height - bottom) + "\"/>";
  const std::string unit = y.factor.empty() ? "" : "  (" + y.factor + ")";
  out += text(4, 13, std::string(y_label) + unit, "start", "label");
  const std::string x_unit = x.factor.empty() ? "" : " (" + x.factor + ")";
  out += text((left + width - right) / 2, height - 6, std::string(x_label) + x_unit, "middle", "label");
  return out;
}

LODESTONE_INLINE std::string figure(std::string_view title, std::string_view legend, std::string_view content,
                                    std::string_view caption) {
  std::string out = "<figure><div class=\"title\">" + html_escape(title) + "</div>";
  if (!legend.empty()) out += "<div class=\"legend\">" + std::string(legend) + "</div>";
  out += "<svg viewBox=\"0 0 " + px(width) + " " + px(height) + "\" role=\"img\" aria-label=\"" + html_escape(title) +
         "\">" + std::string(content) + "</svg>";
  if (!caption.empty()) out += "<figcaption>" + html_escape(caption) + "</figcaption>";
  return out + "</figure>\n";
}

LODESTONE_INLINE std::string swatch(std::size_t colour, std::string_view name, std::string_view kind) {
  return "<span><i class=\"" + std::string(kind) + " f" + std::to_string(colour % colours) + "\"></i>" +
         html_escape(name) + "</span>";
}

LODESTONE_INLINE std::string nothing() {
  return text(width / 2, height / 2, "no values", "middle", "label");
}

LODESTONE_INLINE std::vector<std::pair<double, double>> thin(const plot_series& s, std::size_t columns) {
  std::vector<std::pair<double, double>> out;
  const std::size_t count = std::min(s.x.size(), s.y.size());
  if (count <= 2 * columns) {
    for (std::size_t i = 0; i < count; ++i) out.emplace_back(s.x[i], s.y[i]);
    return out;
  }
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t begin = column * count / columns;
    const std::size_t end = (column + 1) * count / columns;
    std::size_t lowest = count, highest = count;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(s.y[i])) continue;
      if (lowest == count || s.y[i] < s.y[lowest]) lowest = i;
      if (highest == count || s.y[i] > s.y[highest]) highest = i;
    }
    if (lowest == count) {
      out.emplace_back(s.x[begin], std::numeric_limits<double>::quiet_NaN());
      continue;
    }
    out.emplace_back(s.x[std::min(lowest, highest)], s.y[std::min(lowest, highest)]);
    if (lowest != highest) out.emplace_back(s.x[std::max(lowest, highest)], s.y[std::max(lowest, highest)]);
  }
  return out;
}

LODESTONE_INLINE std::string column(double x, double wide, double y, double base, std::size_t colour,
                                    std::string_view hint) {
  return "<rect class=\"f" + std::to_string(colour % colours) + "\" x=\"" + px(x) + "\" y=\"" + px(y) +
         "\" width=\"" + px(wide) + "\" height=\"" + px(std::max(0.0, base - y)) + "\"><title>" + html_escape(hint) +
         "</title></rect>";
}

}  // namespace plot

LODESTONE_INLINE std::string to_html(const line_plot& p) {
  double x_low = std::numeric_limits<double>::infinity(), x_high = -x_low, y_low = x_low, y_high = -x_low;
  std::size_t points = 0;
  bool whole = true;
  for (const plot_series& s : p.series)
    for (std::size_t i = 0; i < std::min(s.x.size(), s.y.size()); ++i) {
      if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i])) continue;
      x_low = std::min(x_low, s.x[i]), x_high = std::max(x_high, s.x[i]);
      y_low = std::min(y_low, s.y[i]), y_high = std::max(y_high, s.y[i]);
      whole = whole && s.x[i] == std::round(s.x[i]);
      ++points;
    }
  if (points == 0) return plot::figure(p.title, "", plot::nothing(), p.caption);
  if (p.from_zero) y_low = std::min(0.0, y_low), y_high = std::max(0.0, y_high);
  if (x_low == x_high) x_low -= 0.5, x_high += 0.5;
  const int target = whole ? std::clamp(static_cast<int>(x_high - x_low), 1, 8) : 8;  // no step 1.5
  const plot::axis x = plot::linear_axis(x_low, x_high, plot::left + 4, plot::width - plot::right - 4, target, false);
  const plot::axis y =
      plot::linear_axis(y_low, y_high, plot::height - plot::bottom, plot::top, 6, true);
  std::string content = plot::frame(x, y, p.x_label, p.y_label, true);
  std::string legend;
  std::size_t colour = 0;
  for (std::size_t n = 0; n < p.series.size(); ++n) {
    const plot_series& s = p.series[n];
    const std::string kind =
        "s" + std::to_string(colour % plot::colours) + (s.faint ? " faint" : "") + (s.dashed ? " dashed" : "");
    std::string path;
    bool pen_down = false;
    for (const auto& [px_x, px_y] : plot::thin(s)) {
      if (!std::isfinite(px_x) || !std::isfinite(px_y)) {
        pen_down = false;
        continue;
      }
      path += (pen_down ? "L" : "M") + plot::px(x.pixel(px_x)) + " " + plot::px(y.pixel(px_y));
      pen_down = true;
    }
    content.append("<path class=\"line ").append(kind).append("\" d=\"").append(path).append("\"/>");
    if (!s.faint && s.x.size() <= 60)  // few enough to point at
      for (std::size_t i = 0; i < std::min(s.x.size(), s.y.size()); ++i)
        if (std::isfinite(s.x[i]) && std::isfinite(s.y[i]))
          content += "<circle class=\"f" + std::to_string(colour % plot::colours) + "\" cx=\"" +
                     plot::px(x.pixel(s.x[i])) + "\" cy=\"" + plot::px(y.pixel(s.y[i])) + "\" r=\"" +
                     (s.x.size() <= 25 ? "3" : "2") + "\"><title>" +
                     html_escape((s.name.empty() ? "" : s.name + ": ") + format_number(s.y[i], 5) + " at " +
                                 format_number(s.x[i], 7)) +
                     "</title></circle>";
    if (p.series.size() > 1) legend += plot::swatch(colour, s.name, s.faint ? "stroke pale" : "stroke");
    // A pale line shares the colour of the line that follows it: the same quantity, averaged.
    if (!s.faint) ++colour;
  }
  return plot::figure(p.title, legend, content, p.caption);
}

LODESTONE_INLINE std::string to_html(const bar_plot& p) {
  double low = 0.0, high = 0.0;
  bool any = false;
  for (const bar_series& s : p.series)
    for (const double value : s.values)
      if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value), any = true;
  if (!any || p.categories.empty()) return plot::figure(p.title, "", plot::nothing(), p.caption);
  const double base_left = plot::left, base_right = plot::width - plot::right;
  const plot::axis y = plot::linear_axis(low, high, plot::height - plot::bottom, plot::top + 6, 6, true);
  const auto count = static_cast<double>(p.categories.size());
  const double slot = (base_right - base_left) / count;
  plot::axis x;
  x.low = 0.0, x.high = count, x.pixel_low = base_left, x.pixel_high = base_right;
  const std::size_t stride = 1 + p.categories.size() / 13;  // more labels than this run into each other
  for (std::size_t c = 0; c < p.categories.size(); c += stride) {
    x.ticks.push_back(static_cast<double>(c) + 0.5);
    x.labels.push_back(p.categories[c]);
  }
  std::string content = plot::frame(x, y, p.x_label, p.y_label, false);
  const double group = slot * (p.categories.size() == 1 ? 0.5 : 0.78);
  const double wide = std::min(64.0, group / static_cast<double>(p.series.size()));
  const bool labelled = wide >= 24.0;
  const double base = y.pixel(0.0);
  std::string legend;
  for (std::size_t n = 0; n < p.series.size(); ++n) {
    if (p.series.size() > 1) legend += plot::swatch(n, p.series[n].name, "block");
    for (std::size_t c = 0; c < std::min(p.categories.size(), p.series[n].values.size()); ++c) {
      const double value = p.series[n].values[c];
      if (!std::isfinite(value)) continue;
      const double at = base_left + slot * (static_cast<double>(c) + 0.5) +
                        wide * (static_cast<double>(n) - 0.5 * static_cast<double>(p.series.size()));
      const std::string hint = (p.series[n].name.empty() ? "" : p.series[n].name + ", ") + p.categories[c] + ": " +
                               format_number(value, 5);
      const double end = y.pixel(value);
      content += plot::column(at + 0.75, wide - 1.5, std::min(end, base), std::max(end, base), n, hint);
      if (labelled)
        content +=
            plot::text(at + wide / 2, std::min(end, base) - 4,
                       std::abs(value) >= 1e4 ? format_short(value) : format_number(value, 3), "middle", "value");
    }
  }
  return plot::figure(p.title, legend, content, p.caption);
}

LODESTONE_INLINE std::string to_html(const histogram_plot& p) {
  std::vector<double> values;
  for (const double value : p.values)
    if (std::isfinite(value)) values.push_back(value);
  if (values.empty()) return plot::figure(p.title, "", plot::nothing(), p.caption);
  std::ranges::sort(values);

  plot::axis x;
  std::vector<double> edges;
  const double x_left = plot::left + 4, x_right = plot::width - plot::right - 4;
  if (p.powers_of_two) {
    x = plot::binary_axis(values.front(), values.back(), x_left, x_right);
    const auto octaves = static_cast<int>(std::lround(std::log2(x.high / x.low)));
    const int bins = octaves * (octaves <= 6 ? 4 : 2);
    for (int i = 0; i <= bins; ++i) edges.push_back(x.low * std::exp2(static_cast<double>(i) * octaves / bins));
  } else {
    double low = p.percent ? 0.0 : values.front(), high = p.percent ? std::max(1.0, values.back()) : values.back();
    if (p.percent && values.front() >= 0.5 && values.back() <= 1.0) low = values.front() >= 0.9 ? 0.9 : 0.5;
    if (low == high) low = std::floor(low - 1.0), high = std::ceil(high + 1.0);
    if (low > 0.0 && low < 0.25 * high) low = 0.0;
    x = plot::linear_axis(low, high, x_left, x_right, 8, true);
    if (x.ticks.size() > 1) x.low = std::min(x.low, x.ticks.front()), x.high = std::max(x.high, x.ticks.back());
    if (p.percent)
      for (std::size_t i = 0; i < x.ticks.size(); ++i) x.labels[i] = format_number(100.0 * x.ticks[i], 4) + "%";
    // Each tick interval is cut into equal bins, so that bin edges are round numbers.
    const double step = x.ticks.size() > 1 ? x.ticks[1] - x.ticks[0] : x.high - x.low;
    const auto intervals = static_cast<int>(std::lround((x.high - x.low) / step));
    const int parts = intervals <= 5 ? 5 : 4;
    for (int i = 0; i <= intervals * parts; ++i) edges.push_back(x.low + step * i / parts);
  }
  std::vector<std::int64_t> counts(edges.size() - 1);
  for (const double value : values) {
    const auto after = std::upper_bound(edges.begin(), edges.end(), value) - edges.begin();
    ++counts[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(after - 1, 0, std::ssize(counts) - 1))];
  }
  const auto most = static_cast<double>(*std::ranges::max_element(counts));
  const int target = most < 6.0 ? static_cast<int>(most) : 6;  // counts are whole numbers
  const plot::axis y = plot::linear_axis(0.0, most, plot::height - plot::bottom, plot::top, target, true);
  std::string content = plot::frame(x, y, p.x_label, p.y_label, true);
  const double scale = p.percent ? 100.0 : 1.0;
  const auto value_text = [&](double value) {
    return p.percent ? format_number(100.0 * value, 4) + "%"
           : std::abs(value - std::round(value)) < 1e-9 * std::abs(value)
               ? format_count(static_cast<std::int64_t>(std::llround(value)))
               : format_number(value, 4);
  };
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const double begin = x.pixel(edges[i]), end = x.pixel(edges[i + 1]);
    content += plot::column(begin + 0.5, std::max(0.5, end - begin - 1.0),
                            y.pixel(static_cast<double>(counts[i])), y.pixel(0.0), 0,
                            format_count(counts[i]) + " in " + format_number(scale * edges[i], 5) + " to " +
                                format_number(scale * edges[i + 1], 5) + (p.percent ? "%" : ""));
  }
  const std::string facts = format_count(std::ssize(values)) + (values.size() == 1 ? " value" : " values") +
                            ", median " + value_text(values[values.size() / 2]) + ", from " +
                            value_text(values.front()) + " to " + value_text(values.back()) + ".";
  return plot::figure(p.title, "", content, p.caption.empty() ? facts : p.caption + " " + facts);
}

}  // namespace lodestone

