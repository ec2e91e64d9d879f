// Files: memory-mapped reading, and writing that never leaves a partial file under its final name (POSIX).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include <lodestone/core/error.hpp>

namespace lodestone {

namespace detail {

/// Throws io_error for the current errno.
[[noreturn]] void throw_errno(std::string_view what, const std::filesystem::path& where);

/// A file descriptor that closes itself.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int number) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept;
  ~descriptor() { close(); }
  [[nodiscard]] int get() const { return number_; }
  [[nodiscard]] explicit operator bool() const { return number_ >= 0; }
  /// False when the system reports a late write error.
  bool close() noexcept { return number_ < 0 || ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_ = -1;
};

/// Writes all of `bytes` at `offset` (at the current place for offset < 0); short writes go on, errors throw io_error.
void write_all(int descriptor, std::span<const std::byte> bytes, std::int64_t offset,
               const std::filesystem::path& where);

/// A name in the same folder that no other process or thread uses: ".name.<pid>-<n>.partial".
[[nodiscard]] std::filesystem::path partial_name(const std::filesystem::path& final_name);

}  // namespace detail

/// Makes the names in a folder durable (fsync of the folder itself). Throws io_error.
void sync_folder(const std::filesystem::path& folder);

/// A whole file as read-only memory. Pages are read when touched, and shared with other processes.
///
/// Move-only; spans from bytes() stay valid when the object moves. A file that another process cuts short while it is
/// mapped raises SIGBUS on access: files written by atomic_file are replaced, never shortened.
class mapped_file {
 public:
  /// Throws io_error when the file cannot be opened, is not a regular file, or cannot be mapped.
  explicit mapped_file(const std::filesystem::path& name);
  /// Moves: the source then maps nothing.
  ///@{
  mapped_file(mapped_file&& other) noexcept;
  mapped_file& operator=(mapped_file&& other) noexcept;
  ///@}
  ~mapped_file() { unmap(); }

  /// The content; empty for an empty file. Valid as long as this object, or the one it was moved into, maps the file.
  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// The same bytes as characters.
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  /// The path it was opened by.
  [[nodiscard]] const std::filesystem::path& name() const { return name_; }

 private:
  void unmap() noexcept;

  std::filesystem::path name_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A file that appears under its final name complete, durable and at once, or not at all.
///
/// Bytes go to a temporary name in the same folder; commit() flushes, fsyncs, renames over the final name, and fsyncs
/// the folder. An object destroyed before commit() removes its temporary file; a killed process leaves at most a file
/// named ".NAME.<pid>-<n>.partial". Every member throws io_error when the system refuses (a full disk, a limit).
class atomic_file {
 public:
  /// Creates the temporary file; the folder must exist.
  explicit atomic_file(std::filesystem::path final_name);
  /// Moves: the source then has no file to write to or commit. Assignment discards what the target did not commit.
  ///@{
  atomic_file(atomic_file&& other) noexcept;
  atomic_file& operator=(atomic_file&& other) noexcept;
  ///@}
  ~atomic_file() { discard(); }

  /// Appends at the current place.
  ///@{
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  ///@}

  /// Moves the current place; a gap that is never written reads as zeros.
  void seek(std::uint64_t offset);

  /// Offset of the next byte to be written.
  [[nodiscard]] std::uint64_t position() const { return flushed_ + buffer_.size(); }

  /// The final name, also before commit().
  [[nodiscard]] const std::filesystem::path& name() const { return final_name_; }

  /// Publishes the file under its final name, replacing a file of that name.
  void commit();

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

  void require_open() const;
  void flush();
  void discard() noexcept;

  std::filesystem::path final_name_;
  std::filesystem::path partial_name_;  ///< empty once committed or moved from
  detail::descriptor handle_;
  std::vector<std::byte> buffer_;
  std::uint64_t flushed_ = 0;  ///< file offset of buffer_[0]
};

/// The whole content of a file, which need not be a regular one. Throws io_error.
[[nodiscard]] std::string read_text(const std::filesystem::path& name);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/core/file.ipp>
#endif
