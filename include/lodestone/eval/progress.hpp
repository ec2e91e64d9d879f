// How far an evaluation is, on a terminal as one line that is redrawn, elsewhere as a few lines.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

#include <lodestone/eval/runner.hpp>

namespace lodestone::eval {

/// Hears a run (run_options::hears): task, questions done, their rate, time left, failures.
class progress_line {
 public:
  /// The stream is borrowed. `lines` is how many a task gets where there is no terminal, besides its first.
  explicit progress_line(std::FILE* stream = stderr, std::size_t lines = 10);

  /// One event; errors of the stream are ignored.
  void operator()(const run_progress& event);

  /// What a line says.
  [[nodiscard]] static std::string text_of(const run_progress& event, std::size_t reused);

 private:
  std::FILE* stream_;
  std::size_t lines_;
  bool is_terminal_;
  std::string task_;
  std::size_t reused_ = 0;    ///< done when the task began
  std::size_t reported_ = 0;  ///< done when the last line was written
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/progress.ipp>
#endif
