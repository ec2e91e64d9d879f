// Definitions of file.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

namespace detail {

LODESTONE_INLINE void throw_errno(std::string_view what, const std::filesystem::path& where) {
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

LODESTONE_INLINE descriptor& descriptor::operator=(descriptor&& other) noexcept {
  if (this != &other) {
    close();
    number_ = std::exchange(other.number_, -1);
  }
  return *this;
}

LODESTONE_INLINE void write_all(int descriptor, std::span<const std::byte> bytes, std::int64_t offset,
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

LODESTONE_INLINE std::filesystem::path partial_name(const std::filesystem::path& final_name) {
  static std::atomic<std::uint64_t> counter{0};
  return final_name.parent_path() / ("." + final_name.filename().string() + "." + std::to_string(::getpid()) + "-" +
                                     std::to_string(counter.fetch_add(1)) + ".partial");
}

}  // namespace detail

LODESTONE_INLINE void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path name = folder.empty() ? std::filesystem::path(".") : folder;
  const detail::descriptor handle(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle) detail::throw_errno("cannot open the folder", name);
  if (::fsync(handle.get()) != 0 && errno != EINVAL)  // some network file systems cannot sync folders
    detail::throw_errno("cannot flush the folder", name);
}

LODESTONE_INLINE mapped_file::mapped_file(const std::filesystem::path& name) : name_(name) {
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

LODESTONE_INLINE mapped_file::mapped_file(mapped_file&& other) noexcept
    : name_(std::move(other.name_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

LODESTONE_INLINE mapped_file& mapped_file::operator=(mapped_file&& other) noexcept {
  if (this != &other) {
    unmap();
    name_ = std::move(other.name_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

LODESTONE_INLINE void mapped_file::unmap() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  data_ = nullptr;
}

LODESTONE_INLINE atomic_file::atomic_file(std::filesystem::path final_name)
    : final_name_(std::move(final_name)), partial_name_(detail::partial_name(final_name_)) {
  handle_ = detail::descriptor(::open(partial_name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!handle_) detail::throw_errno("cannot create", partial_name_);
}

LODESTONE_INLINE atomic_file::atomic_file(atomic_file&& other) noexcept
    : final_name_(std::move(other.final_name_)),
      partial_name_(std::exchange(other.partial_name_, {})),
      handle_(std::move(other.handle_)),
      buffer_(std::move(other.buffer_)),
      flushed_(other.flushed_) {}

LODESTONE_INLINE atomic_file& atomic_file::operator=(atomic_file&& other) noexcept {
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

LODESTONE_INLINE void atomic_file::write(std::span<const std::byte> bytes) {
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

LODESTONE_INLINE void atomic_file::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

LODESTONE_INLINE void atomic_file::seek(std::uint64_t offset) {
  require_open();
  if (offset == position()) return;
  flush();
  flushed_ = offset;
}

LODESTONE_INLINE void atomic_file::commit() {
  require_open();
  flush();
  if (::fsync(handle_.get()) != 0) detail::throw_errno("cannot flush", final_name_);
  if (!handle_.close()) detail::throw_errno("cannot close", final_name_);
  if (::rename(partial_name_.c_str(), final_name_.c_str()) != 0) detail::throw_errno("cannot rename", final_name_);
  partial_name_.clear();
  sync_folder(final_name_.parent_path());
}

LODESTONE_INLINE void atomic_file::require_open() const {
  if (!handle_) throw io_error("written after commit", final_name_.string());
}

LODESTONE_INLINE void atomic_file::flush() {
  detail::write_all(handle_.get(), buffer_, static_cast<std::int64_t>(flushed_), final_name_);
  flushed_ += buffer_.size();
  buffer_.clear();
}

LODESTONE_INLINE void atomic_file::discard() noexcept {
  handle_.close();
  if (!partial_name_.empty()) ::unlink(partial_name_.c_str());
  partial_name_.clear();
}

LODESTONE_INLINE std::string read_text(const std::filesystem::path& name) {
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

