// metrics.jsonl: every event of a run as one line of JSON, and reading it back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/core/file.hpp>
#include <lodestone/train/recorder.hpp>

namespace lodestone {

/// Steps and evaluations of a run so far.
struct metrics_history {
  std::vector<step_record> steps = {};              ///< in the order of the file
  std::vector<evaluation_record> evaluations = {};  ///< in the order of the file
};

/// Reads the steps and evaluations up to and including `last_step` from a metrics.jsonl. A last line without its
/// newline (a killed process) is left out; any other bad line throws format_error with its number. A missing file is
/// empty.
[[nodiscard]] metrics_history read_metrics(const std::filesystem::path& name,
                                           std::int64_t last_step = std::numeric_limits<std::int64_t>::max());

/// Appends each event to a file as one line of JSON, with one write per line, so a line is there whole or not at all.
///
/// A new run replaces the file. A resumed run first cuts it back: lines that belong to steps after the resumed one are
/// removed (they will happen again), as is an unfinished last line. Keys are those of the structs in recorder.hpp, and
/// "event" names the struct: run_started, step, evaluation, message, run_finished.
class jsonl_recorder {
 public:
  explicit jsonl_recorder(std::filesystem::path name) : name_(std::move(name)) {}  ///< opened by the first event

  /// Appends the event's line; run_started first replaces the file or cuts it back. Throws io_error.
  ///@{
  void record(const run_started& event);
  void record(const step_record& event);
  void record(const evaluation_record& event);
  void record(const message& event);
  void record(const run_finished& event);
  ///@}

 private:
  void open(int flags);

  /// Writes a line; its end is added here.
  void append(std::string line);

  void cut_back(std::int64_t step);

  std::filesystem::path name_;
  detail::descriptor handle_;
};

static_assert(recorder<jsonl_recorder>);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/jsonl.ipp>
#endif
