// Streams the records of a JSONL file or of a JSON array: bounded memory, and the line of every record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// The text of one JSON value and where it begins.
struct json_record {
  std::string text;        ///< one JSON value, UTF-8; not yet known to be valid JSON
  std::int64_t line = 0;   ///< line of its first byte, from 1
  std::int64_t index = 0;  ///< number of the record in the file, from 0
};

/// The offset of the first byte that is not well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms), or
/// std::string_view::npos.
[[nodiscard]] std::size_t find_broken_utf8(std::string_view text);

/// "file:line", the place that every error about a record names.
[[nodiscard]] std::string source_line(std::string_view file, std::int64_t line);

/// Throws data_error at the line of the first byte of a record that is not UTF-8.
void require_utf8(const json_record& record, std::string_view file);

/// Reads JSONL (one value a line) or one JSON array, whichever the first byte tells, one record at a time.
///
/// A byte-order mark, CRLF line ends and blank lines are accepted. Memory: one buffer of 1 MiB and the record itself.
/// Throws io_error when the file cannot be read; data_error with "file:line" for broken UTF-8, a record beyond the
/// limit, an array that is not closed or is followed by more; format_error for Parquet, compressed files, UTF-16 and
/// Git LFS pointers, with the command that converts them.
class jsonl_reader {
 public:
  static constexpr std::int64_t default_record_limit = std::int64_t{1} << 30;  ///< bytes: 1 GiB

  /// `check_utf8` false leaves require_utf8 to the caller, who may want to do it on other threads.
  explicit jsonl_reader(const std::filesystem::path& file, std::int64_t record_limit = default_record_limit,
                        bool check_utf8 = true);

  /// Puts the next record in `record` (its memory is reused); false at the end of the file.
  bool next(json_record& record);

  [[nodiscard]] const std::string& name() const { return name_; }  ///< the path, as messages name it
  [[nodiscard]] bool is_array() const { return is_array_; }        ///< a JSON array, not JSONL
  [[nodiscard]] std::int64_t count() const { return count_; }      ///< records handed out so far
  /// "file:line", for messages about a record of this file.
  [[nodiscard]] std::string where(std::int64_t line) const { return source_line(name_, line); }

 private:
  struct closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  [[nodiscard]] std::string_view window() const { return {buffer_.data() + begin_, end_ - begin_}; }

  bool refill();

  bool available() { return begin_ < end_ || refill(); }

  /// White space between records; blank lines go here.
  void skip_blanks();

  void append(json_record& record, std::size_t count);

  bool next_line(json_record& record);

  bool next_element(json_record& record);

  [[noreturn]] void unclosed() const;

  [[noreturn]] void refuse_parquet() const;

  void refuse_other_formats() const;

  std::string name_;
  std::size_t limit_;
  bool is_checked_;
  std::unique_ptr<std::FILE, closer> stream_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::int64_t line_ = 1;
  std::int64_t count_ = 0;
  bool is_array_ = false;
  bool is_closed_ = false;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/text/jsonl.ipp>
#endif
