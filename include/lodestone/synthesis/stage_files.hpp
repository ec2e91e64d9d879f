// The files of one synthesis: its output, its stages beside it, and the summary that says that it is complete.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/synthesis/ask.hpp>

namespace lodestone::synthesis {

/// Names and order of the files: stages and output appear first, the summary last. While it does not exist, a run goes
/// on from the logs of answers (NAME.STAGE.log.partial); once it does, the synthesis is done.
class stage_files {
 public:
  /// `output` is NAME.jsonl; `settings` is a JSON object of all that the result depends on. Throws config_error for an
  /// output with another ending.
  stage_files(std::filesystem::path output, std::string settings);

  /// True when the synthesis is done under these settings. Throws config_error when it was under others, naming one.
  [[nodiscard]] bool is_done() const;

  /// NAME.STAGE.jsonl.
  [[nodiscard]] std::filesystem::path stage(std::string_view name) const;
  /// NAME.summary.json.
  [[nodiscard]] std::filesystem::path summary() const;

  /// The log of a stage's answers, whatever an interrupted run left in it.
  [[nodiscard]] result_log open_log(std::string_view name) const;

  /// Writes a file of lines, whole: `next` gives one at a time, without its end, until an empty one.
  static void write_lines(const std::filesystem::path& file, const std::function<std::string()>& next);
  /// Writes a stage: the lines that `log` holds, in the order of `ids`; those it does not hold are left out.
  void write_stage(std::string_view name, const result_log& log, std::span<const std::string> ids) const;
  /// Writes NAME.failed.jsonl, or removes it when nothing failed.
  void write_failed(std::span<const failed_item> failed) const;
  /// Writes the summary with its settings and removes the logs of `stages`: the synthesis is done. `json` is an object.
  void finish(std::string_view json, std::span<const std::string_view> stages) const;

  /// The output.
  [[nodiscard]] const std::filesystem::path& output() const { return output_; }

 private:
  /// Of a log, which is never committed: the stage's own file is, and the log goes when all is done.
  [[nodiscard]] std::filesystem::path log_name(std::string_view name) const;

  std::filesystem::path output_;
  std::string stem_;
  std::string settings_;
};

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/stage_files.ipp>
#endif
