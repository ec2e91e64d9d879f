// An evaluation as a page: a table of all tasks, a heat map where there are depths and lengths, plots over labels.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <lodestone/eval/table.hpp>
#include <lodestone/train/recorder.hpp>
#include <lodestone/train/recorders/html_report.hpp>

namespace lodestone::eval {

/// The heat map of a task's metric over depth (down) and length (across); perfect is the right end of the scale, 1 for
/// shares and 10 for ratings. Cells without records are empty.
[[nodiscard]] heat_map heat_map_of(const task_result& result, std::string_view metric);

/// Adds all results to a report: the table of whole tasks, then a section for each task. The first metric of a task
/// that is a share or a rating fills the heat map, and bars or lines over every other label with two values or more.
void add_to(html_report& report, std::span<const task_result> results);

/// A page of the results, with the settings that they were made with at its end.
[[nodiscard]] html_report report_of(const std::string& title, const std::string& subtitle,
                                    std::span<const task_result> results, const std::vector<setting>& settings = {});

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/report.ipp>
#endif
