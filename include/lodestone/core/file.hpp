// Files: memory-mapped reading, and writing that never leaves a partial file under its final name (POSIX).
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lodestone/core/error.hpp>

namespace lodestone {

namespace detail {

/// Throws io_error for the current errno.
[[noreturn]] inline void throw_errno(std::string_view what, const std::filesystem::path& where) {
  const int code = errno;
  std::string_view remedy;
  switch (code) {
    case ENOENT: remedy = "check the path"; break;
    case EACCES:
    case EPERM:
    case EROFS: remedy = "check the permissions, or choose another place"; break;
    case ENOSPC:
    case EDQUOT: remedy = "the disk is full: free some space, or choose another disk"; break;
    case EFBIG: remedy = "the limit on file sizes is reached (ulimit -f)"; break;
    default: break;
  }
  throw io_error(std::string(what) + ": " + std::strerror(code), where.string(), remedy);
}

/// A file descriptor that closes itself.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int number) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~descriptor() { close(); }
  [[nodiscard]] int get() const { return number_; }
  [[nodiscard]] explicit operator bool() const { return number_ >= 0; }
  /// False when the system reports a late write error.
  bool close() noexcept { return number_ < 0 || ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_ = -1;
};

/// Writes all of `bytes` at `offset` (at the current place for offset < 0); short writes go on, errors throw io_error.
inline void write_all(int descriptor, std::span<const std::byte> bytes, std::int64_t offset,
                      const std::filesystem::path& where) {
  while (!bytes.empty()) {
    const std::size_t piece = std::min(bytes.size(), std::size_t{1} << 30);
    const ssize_t written = offset < 0 ? ::write(descriptor, bytes.data(), piece)
                                       : ::pwrite(descriptor, bytes.data(), piece, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_errno("cannot write", where);
    }
    if (written == 0) {  // a device that takes nothing and reports nothing
      errno = ENOSPC;
      throw_errno("cannot write", where);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    if (offset >= 0) offset += written;
  }
}

/// A name in the same folder that no other process or thread uses: ".name.<pid>-<n>.partial".
[[nodiscard]] inline std::filesystem::path partial_name(const std::filesystem::path& final_name) {
  static std::atomic<std::uint64_t> counter{0};
  return final_name.parent_path() / ("." + final_name.filename().string() + "." + std::to_string(::getpid()) + "-" +
                                     std::to_string(counter.fetch_add(1)) + ".partial");
}

}  // namespace detail

/// Makes the names in a folder durable (fsync of the folder itself). Throws io_error.
inline void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path name = folder.empty() ? std::filesystem::path(".") : folder;
  const detail::descriptor handle(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle) detail::throw_errno("cannot open the folder", name);
  if (::fsync(handle.get()) != 0 && errno != EINVAL)  // some network file systems cannot sync folders
    detail::throw_errno("cannot flush the folder", name);
}

/// A whole file as read-only memory. Pages are read when touched, and shared with other processes.
///
/// Move-only; spans from bytes() stay valid when the object moves. A file that another process cuts short while it is
/// mapped raises SIGBUS on access: files written by atomic_file are replaced, never shortened.
class mapped_file {
 public:
  /// Throws io_error when the file cannot be opened, is not a regular file, or cannot be mapped.
  explicit mapped_file(const std::filesystem::path& name) : name_(name) {
    const detail::descriptor handle(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!handle) detail::throw_errno("cannot open", name);
    struct stat status {};
    if (::fstat(handle.get(), &status) != 0) detail::throw_errno("cannot examine", name);
    if (!S_ISREG(status.st_mode)) throw io_error("not a regular file", name.string(), "check the path");
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ == 0) return;  // mmap refuses empty ranges
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, handle.get(), 0);
    if (address == MAP_FAILED) detail::throw_errno("cannot map", name);
    data_ = static_cast<const std::byte*>(address);
  }
  mapped_file(mapped_file&& other) noexcept
      : name_(std::move(other.name_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  mapped_file& operator=(mapped_file&& other) noexcept {
    if (this != &other) {
      unmap();
      name_ = std::move(other.name_);
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~mapped_file() { unmap(); }

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// The same bytes as characters.
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  [[nodiscard]] const std::filesystem::path& name() const { return name_; }

 private:
  void unmap() noexcept {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
    data_ = nullptr;
  }

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
  explicit atomic_file(std::filesystem::path final_name)
      : final_name_(std::move(final_name)), partial_name_(detail::partial_name(final_name_)) {
    handle_ = detail::descriptor(::open(partial_name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!handle_) detail::throw_errno("cannot create", partial_name_);
  }
  atomic_file(atomic_file&& other) noexcept
      : final_name_(std::move(other.final_name_)),
        partial_name_(std::exchange(other.partial_name_, {})),
        handle_(std::move(other.handle_)),
        buffer_(std::move(other.buffer_)),
        flushed_(other.flushed_) {}
  atomic_file& operator=(atomic_file&& other) noexcept {
    if (this != &other) {
      discard();
      final_name_ = std::move(other.final_name_);
      partial_name_ = std::exchange(other.partial_name_, {});
      handle_ = std::move(other.handle_);
      buffer_ = std::move(other.buffer_);
      flushed_ = other.flushed_;
    }
    return *this;
  }
  ~atomic_file() { discard(); }

  /// Appends at the current place.
  void write(std::span<const std::byte> bytes) {
    require_open();
    if (buffer_.size() + bytes.size() <= buffer_bytes) {
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return;
    }
    flush();
    if (bytes.size() < buffer_bytes) {
      buffer_.assign(bytes.begin(), bytes.end());
    } else {
      detail::write_all(handle_.get(), bytes, static_cast<std::int64_t>(flushed_), final_name_);
      flushed_ += bytes.size();
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Moves the current place; a gap that is never written reads as zeros.
  void seek(std::uint64_t offset) {
    require_open();
    if (offset == position()) return;
    flush();
    flushed_ = offset;
  }

  /// Offset of the next byte to be written.
  [[nodiscard]] std::uint64_t position() const { return flushed_ + buffer_.size(); }

  [[nodiscard]] const std::filesystem::path& name() const { return final_name_; }

  /// Publishes the file under its final name, replacing a file of that name.
  void commit() {
    require_open();
    flush();
    if (::fsync(handle_.get()) != 0) detail::throw_errno("cannot flush", final_name_);
    if (!handle_.close()) detail::throw_errno("cannot close", final_name_);
    if (::rename(partial_name_.c_str(), final_name_.c_str()) != 0) detail::throw_errno("cannot rename", final_name_);
    partial_name_.clear();
    sync_folder(final_name_.parent_path());
  }

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

  void require_open() const {
    if (!handle_) throw io_error("written after commit", final_name_.string());
  }
  void flush() {
    detail::write_all(handle_.get(), buffer_, static_cast<std::int64_t>(flushed_), final_name_);
    flushed_ += buffer_.size();
    buffer_.clear();
  }
  void discard() noexcept {
    handle_.close();
    if (!partial_name_.empty()) ::unlink(partial_name_.c_str());
    partial_name_.clear();
  }

  std::filesystem::path final_name_;
  std::filesystem::path partial_name_;  ///< empty once committed or moved from
  detail::descriptor handle_;
  std::vector<std::byte> buffer_;
  std::uint64_t flushed_ = 0;  ///< file offset of buffer_[0]
};

/// The whole content of a file, which need not be a regular one. Throws io_error.
[[nodiscard]] inline std::string read_text(const std::filesystem::path& name) {
  const detail::descriptor handle(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!handle) detail::throw_errno("cannot open", name);
  std::string text;
  struct stat status {};
  if (::fstat(handle.get(), &status) == 0 && status.st_size > 0) text.reserve(static_cast<std::size_t>(status.st_size));
  for (char piece[65536];;) {
    const ssize_t count = ::read(handle.get(), piece, sizeof piece);
    if (count == 0) return text;
    if (count > 0)
      text.append(piece, static_cast<std::size_t>(count));
    else if (errno != EINTR)
      detail::throw_errno("cannot read", name);
  }
}

}  // namespace lodestone
