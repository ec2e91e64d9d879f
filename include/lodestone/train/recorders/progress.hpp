// A progress bar on a terminal, plain lines everywhere else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include <lodestone/train/recorder.hpp>

namespace lodestone {

/// Writes what happens to a stream, standard error by default (standard output is for results).
///
/// On a terminal one line is redrawn after every step: bar, loss, learning rate, gradient norm, tokens a second, time
/// left. Elsewhere (a file, a pipe, TERM=dumb) each report is a line of its own without control characters, and steps
/// that pass quickly are reported about `lines` times in a run, and every 30 seconds. The time left is what the
/// remaining steps take at the mean of the recent ones (an average whose memory is 20 steps).
class progress_recorder {
 public:
  /// How steps are shown; `automatic` is a bar on a terminal and lines elsewhere.
  enum class style : std::uint8_t { automatic, bar, lines };

  /// The stream is borrowed, not closed; `lines` below 1 counts as 1.
  explicit progress_recorder(std::FILE* stream = stderr, style look = style::automatic, std::int64_t lines = 100);

  /// Redraws the bar or prints a line; errors of the stream are ignored.
  ///@{
  void record(const run_started& event);

  void record(const step_record& event);

  void record(const evaluation_record& event);

  void record(const message& event);

  void record(const run_finished& event);
  ///@}

 private:
  [[nodiscard]] static bool is_terminal(std::FILE* stream);

  [[nodiscard]] double weight() const { return std::max(1.0 / 20.0, 1.0 / static_cast<double>(counted_)); }

  [[nodiscard]] std::string details(const step_record& event) const;

  [[nodiscard]] std::string bar_line(const step_record& event) const;

  // "\r" and "erase to the end of the line" are the only control codes.
  void draw(const std::string& text);
  void finish_line();
  void print(const std::string& text);
  void write(const std::string& text);

  std::FILE* stream_;
  std::int64_t lines_;
  bool bar_;
  bool line_open_ = false;
  std::int64_t first_ = 0;
  std::int64_t counted_ = 0;
  double mean_seconds_ = 0.0;
  double elapsed_ = 0.0;
  double reported_ = 0.0;
  std::int64_t unreported_tokens_ = 0;
  double unreported_seconds_ = 0.0;
};

static_assert(recorder<progress_recorder>);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/progress.ipp>
#endif
