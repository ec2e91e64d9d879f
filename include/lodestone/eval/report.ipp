// Definitions of report.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/report.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] LODESTONE_INLINE double mean_of(const table_row& row, std::string_view metric) {
  for (const mean_score& s : row.scores)
    if (s.metric == metric) return s.mean;
  return std::numeric_limits<double>::quiet_NaN();
}

[[nodiscard]] LODESTONE_INLINE std::string with_error(const mean_score& s) {
  return format_number(s.mean, 4) + (s.records > 1 ? " ± " + format_number(s.standard_error, 2) : "");
}

/// Rows of means: label values down, metrics across.
[[nodiscard]] LODESTONE_INLINE report_table table_over(std::span<const table_row> rows, const std::string& first,
                                                       const auto& name_of) {
  report_table table{.header = {first}};
  std::vector<std::string> metrics;
  for (const table_row& row : rows)
    for (const mean_score& s : row.scores)
      if (std::find(metrics.begin(), metrics.end(), s.metric) == metrics.end()) metrics.push_back(s.metric);
  for (const char* name : {"records", "failed"}) table.header.emplace_back(name);
  table.header.insert(table.header.end(), metrics.begin(), metrics.end());
  for (const table_row& row : rows) {
    table.rows.push_back({name_of(row), std::to_string(row.records), std::to_string(row.failed)});
    for (const std::string& metric : metrics) {
      const auto found =
          std::find_if(row.scores.begin(), row.scores.end(), [&](const mean_score& s) { return s.metric == metric; });
      table.rows.back().push_back(found == row.scores.end() ? "–" : with_error(*found));
    }
  }
  return table;
}

}  // namespace detail

LODESTONE_INLINE heat_map heat_map_of(const task_result& result, std::string_view metric) {
  heat_map map{.title = result.task + ": " + std::string(metric) + " by depth and length",
               .x_label = "length (tokens)",
               .y_label = "depth (%)",
               .columns = values_of(result, "length"),
               .rows = values_of(result, "depth"),
               .high = metric == "rating" ? 10.0 : 1.0};
  if (metric == "rating") map.low = 1.0;
  map.values.assign(map.rows.size() * map.columns.size(), std::numeric_limits<double>::quiet_NaN());
  for (const table_row& row : cross_table(result, "depth", "length")) {
    const auto place = [](const std::vector<std::string>& names, const std::string& name) {
      return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    map.values[place(map.rows, row.labels[0].value) * map.columns.size() + place(map.columns, row.labels[1].value)] =
        detail::mean_of(row, metric);
  }
  std::int64_t failed = 0;
  for (const record& r : result.records) failed += r.scores.empty() ? 1 : 0;
  map.caption = "Mean over the questions of each cell." +
                (failed > 0 ? " Without an answer, and in no cell: " + std::to_string(failed) + "." : std::string());
  return map;
}

LODESTONE_INLINE void add_to(html_report& report, std::span<const task_result> results) {
  const std::vector<table_row> rows = table_of(results);
  std::vector<table_row> whole;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(whole),
               [](const table_row& r) { return r.labels.empty(); });
  report.add_heading("Results");
  report_table all = detail::table_over(whole, "task", [](const table_row& r) { return r.task; });
  all.caption = "Weighted means with their standard errors. Failed questions count in no mean.";
  report.add_table(all);
  for (const task_result& result : results) {
    report.add_heading(result.task);
    std::vector<std::string> names;
    for (const table_row& row : rows)
      if (row.task == result.task && row.labels.size() == 1 &&
          std::find(names.begin(), names.end(), row.labels[0].name) == names.end())
        names.push_back(row.labels[0].name);
    const auto own = std::find_if(whole.begin(), whole.end(), [&](const auto& r) { return r.task == result.task; });
    if (own->scores.empty()) {
      report.add_text("No question has an answer.");
      continue;
    }
    const std::string metric = own->scores.front().metric;
    if (values_of(result, "depth").size() > 1 && values_of(result, "length").size() > 1)
      report.add_heat_map(heat_map_of(result, metric));
    std::vector<report_table> tables;
    for (const std::string& name : names) {
      std::vector<table_row> values;
      std::copy_if(rows.begin(), rows.end(), std::back_inserter(values), [&](const table_row& r) {
        return r.task == result.task && r.labels.size() == 1 && r.labels[0].name == name;
      });
      if (values.size() > 1) {
        bar_plot plot{.title = result.task + " by " + name, .x_label = name, .y_label = metric};
        plot.series.emplace_back();
        for (const table_row& row : values) {
          plot.categories.push_back(row.labels[0].value);
          plot.series[0].values.push_back(detail::mean_of(row, metric));
        }
        report.add_bar_plot(plot);
      }
      tables.push_back(detail::table_over(values, name, [](const table_row& r) { return r.labels[0].value; }));
    }
    for (const report_table& table : tables) report.add_table(table);
  }
}

LODESTONE_INLINE html_report report_of(const std::string& title, const std::string& subtitle,
                                       std::span<const task_result> results, const std::vector<setting>& settings) {
  html_report report(title, subtitle);
  std::vector<key_number> numbers;
  for (const task_result& result : results) {
    const std::vector<mean_score> means = mean_scores(result.records);
    if (!means.empty() && numbers.size() < 8)
      numbers.push_back({format_number(means.front().mean, 3), result.task + " " + means.front().metric,
                         std::to_string(result.records.size()) + " records"});
  }
  if (!numbers.empty()) report.add_key_numbers(numbers);
  add_to(report, results);
  if (!settings.empty()) {
    report.add_heading("Settings");
    report_table table{.header = {"setting", "value"}};
    for (const setting& s : settings) table.rows.push_back({s.key, s.value});
    report.add_table(table);
  }
  return report;
}

}  // namespace lodestone::eval
