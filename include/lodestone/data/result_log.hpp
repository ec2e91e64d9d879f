// Results of a long job, one JSON object a line: a job that was killed goes on without repeating or losing one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>

namespace lodestone {

/// The results of a job that asks many questions, by their ids.
///
/// While the job runs, results are lines of NAME.partial in the order in which they came. Each goes out in one write; a
/// line that a killed writer left half done is cut off when the log is opened again. commit() makes NAME, complete, in
/// the order that the caller names. The first line of NAME.partial holds the job's settings, so that results of other
/// settings never mix; commit() leaves it out. Memory: ids and places of the lines, not the lines.
///
/// One process writes a log at a time: a second one is refused (an advisory lock). Not safe for several threads.
class result_log {
 public:
  /// Opens or begins the log of `final_name`; the folder must exist. `settings` is a JSON object.
  ///
  /// Throws config_error when NAME exists already, or when NAME.partial was begun with other settings (the message
  /// names them); data_error with file:line for a whole line that is not a result; io_error.
  result_log(std::filesystem::path final_name, std::string_view settings);

  /// Whether there is a result of that id.
  [[nodiscard]] bool contains(std::string_view id) const { return places_.find(id) != places_.end(); }
  /// The ids that begin with `prefix`, in the order in which their results came.
  [[nodiscard]] std::vector<std::string> ids(std::string_view prefix = {}) const;
  /// The result's line, without the line end. Throws data_error when there is none.
  [[nodiscard]] std::string read(std::string_view id) const;
  [[nodiscard]] std::size_t size() const { return places_.size(); }                     ///< results so far
  [[nodiscard]] const std::filesystem::path& name() const { return final_name_; }       ///< of the finished file
  [[nodiscard]] const std::filesystem::path& partial() const { return partial_name_; }  ///< of the growing one

  /// Adds a result: one JSON object on one line, whose "id" is `id`. Throws data_error when it is not that, or when
  /// the id has a result already; io_error, and then the log is as before.
  void append(std::string_view id, std::string_view line);

  /// Makes NAME of the results named in `order` and removes NAME.partial. The log takes nothing more. Throws data_error
  /// when an id has no result; io_error.
  void commit(std::span<const std::string> order);

 private:
  struct place {
    std::int64_t offset;
    std::int64_t length;  ///< without the line end
  };

  void begin(std::string_view settings);
  void resume(std::string_view settings);
  [[nodiscard]] std::string read(place where) const;

  std::filesystem::path final_name_;
  std::filesystem::path partial_name_;
  detail::descriptor file_;
  std::int64_t end_ = 0;
  std::map<std::string, place, std::less<>> places_;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/result_log.ipp>
#endif
