// Turns the events of a run into report.html, kept up to date while the run goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <lodestone/train/recorder.hpp>
#include <lodestone/train/recorders/html_report.hpp>
#include <lodestone/train/recorders/jsonl.hpp>

namespace lodestone {

/// Running mean with a memory of about `memory` values, corrected for its start (as Adam's moments are). Values that
/// are not finite are passed over.
[[nodiscard]] std::vector<double> smoothed(const std::vector<double>& values, double memory);

/// Writes the page when the run starts, after each evaluation, at most every 20 seconds in between, and at the end,
/// each time whole. Given the metrics.jsonl of the run, a resumed run shows the steps before the resume too.
class html_recorder {
 public:
  /// `name` is the page. `metrics`, unless empty, is the run's metrics.jsonl, read when a resumed run starts.
  explicit html_recorder(std::filesystem::path name, std::filesystem::path metrics = {});

  /// Take an event in and write the page when it is due; a message waits for the next writing. Throw io_error, and
  /// format_error for a bad line of `metrics`.
  ///@{
  void record(const run_started& event);
  void record(const step_record& event);
  void record(const evaluation_record& event);
  void record(const message& event) { messages_.push_back(event); }
  void record(const run_finished& event);
  ///@}

  /// The page as it stands; more sections may be added before it is written elsewhere.
  [[nodiscard]] html_report report() const;

 private:
  using clock = std::chrono::steady_clock;

  void write();

  [[nodiscard]] std::string status() const;

  void add_summary(html_report& page) const;

  void add_training(html_report& page) const;

  void add_held_out(html_report& page) const;

  void add_preferences(html_report& page) const;

  void add_evaluation(html_report& page) const;

  void add_data(html_report& page) const;

  void add_tables(html_report& page) const;

  [[nodiscard]] static std::string short_position(std::int64_t position);
  [[nodiscard]] std::vector<double> column(double step_record::*member) const;
  [[nodiscard]] std::vector<double> step_numbers() const;
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] std::vector<const evaluation_record*> evaluations(const std::string& name) const;

  std::filesystem::path name_;
  std::filesystem::path metrics_;
  run_started started_;
  std::vector<std::int64_t> lengths_;
  std::vector<double> fills_;
  metrics_history history_;
  std::vector<message> messages_;
  run_finished finished_;
  bool is_finished_ = false;
  clock::time_point written_ = clock::now();
};

static_assert(recorder<html_recorder>);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/html_recorder.ipp>
#endif
