// Definitions of folder.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <signal.h>
#include <stdio.h>

#include <fcntl.h>
#include <unistd.h>

#include <lodestone/core/file.hpp>
#include <lodestone/core/folder.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

LODESTONE_INLINE void sync_tree(const std::filesystem::path& folder) {
  for (const auto& item : std::filesystem::recursive_directory_iterator(folder)) {
    if (item.is_directory()) {
      sync_folder(item.path());
      continue;
    }
    const detail::descriptor handle(::open(item.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (!handle || ::fsync(handle.get()) != 0) detail::throw_errno("cannot flush", item.path());
  }
  sync_folder(folder);
}

LODESTONE_INLINE atomic_folder::atomic_folder(std::filesystem::path final_name, existing_folder existing)
    : final_name_(without_slash(std::move(final_name))), existing_(existing) {
  require_free();
  std::error_code failure;
  if (final_name_.has_parent_path()) std::filesystem::create_directories(final_name_.parent_path(), failure);
  if (!failure) {
    partial_name_ = detail::partial_name(final_name_);
    std::filesystem::create_directory(partial_name_, failure);
  }
  if (failure) {
    errno = failure.value();
    detail::throw_errno("cannot create the folder", final_name_);
  }
}

LODESTONE_INLINE atomic_folder::atomic_folder(atomic_folder&& other) noexcept
    : final_name_(std::move(other.final_name_)),
      partial_name_(std::exchange(other.partial_name_, {})),
      existing_(other.existing_) {}

LODESTONE_INLINE atomic_folder& atomic_folder::operator=(atomic_folder&& other) noexcept {
  if (this != &other) {
    discard();
    final_name_ = std::move(other.final_name_);
    partial_name_ = std::exchange(other.partial_name_, {});
    existing_ = other.existing_;
  }
  return *this;
}

LODESTONE_INLINE void atomic_folder::commit() {
  if (partial_name_.empty()) throw io_error("committed twice", final_name_.string());
  sync_tree(partial_name_);
  require_free();
  if (!rename(0)) {
    if (errno != EEXIST && errno != ENOTEMPTY) detail::throw_errno("cannot rename", final_name_);
    replace();
  } else {
    partial_name_.clear();
  }
  sync_folder(final_name_.parent_path());
  discard();  // the old folder, which has the temporary name now
}

LODESTONE_INLINE std::filesystem::path atomic_folder::without_slash(std::filesystem::path name) {
  if (!name.has_filename()) name = name.parent_path();
  if (name.empty() || name.filename() == "." || name.filename() == "..")
    throw io_error("not a name for a new folder", name.string(), "give a folder name");
  return name;
}

LODESTONE_INLINE void atomic_folder::require_free() const {
  std::error_code ignored;
  if (existing_ == existing_folder::refuse &&
      std::filesystem::exists(std::filesystem::symlink_status(final_name_, ignored)))
    throw io_error("exists already", final_name_.string(), "choose another folder, or allow it to be overwritten");
}

LODESTONE_INLINE bool atomic_folder::rename(unsigned flags) const {
  const unsigned mode = flags == 0 ? RENAME_NOREPLACE : flags;
  if (::renameat2(AT_FDCWD, partial_name_.c_str(), AT_FDCWD, final_name_.c_str(), mode) == 0) return true;
  if (flags != 0 || (errno != EINVAL && errno != ENOSYS)) return false;
  if (std::filesystem::exists(final_name_)) {  // a file system without RENAME_NOREPLACE
    errno = EEXIST;
    return false;
  }
  return ::rename(partial_name_.c_str(), final_name_.c_str()) == 0;
}

LODESTONE_INLINE void atomic_folder::replace() {
  if (existing_ == existing_folder::refuse) require_free();
  if (rename(RENAME_EXCHANGE)) return;
  const std::filesystem::path old = detail::partial_name(final_name_);  // two steps where one is not possible
  if (::rename(final_name_.c_str(), old.c_str()) != 0) detail::throw_errno("cannot rename", final_name_);
  if (::rename(partial_name_.c_str(), final_name_.c_str()) != 0) {
    const int code = errno;
    ::rename(old.c_str(), final_name_.c_str());
    errno = code;
    detail::throw_errno("cannot rename", final_name_);
  }
  partial_name_ = old;
}

LODESTONE_INLINE void atomic_folder::discard() noexcept {
  std::error_code ignored;
  if (!partial_name_.empty()) std::filesystem::remove_all(partial_name_, ignored);
  partial_name_.clear();
}

LODESTONE_INLINE void remove_abandoned(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto& item : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = item.path().filename().string();
    constexpr std::string_view ending = ".partial";
    if (!name.starts_with('.') || !name.ends_with(ending)) continue;
    const std::string stem = name.substr(0, name.size() - ending.size());
    const std::size_t dot = stem.rfind('.');
    const std::size_t dash = stem.rfind('-');
    if (dot == std::string::npos || dash == std::string::npos || dash < dot + 2) continue;
    const std::string digits = stem.substr(dot + 1, dash - dot - 1);
    if (digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t process = static_cast<pid_t>(std::stol(digits));
    if (process <= 0 || (::kill(process, 0) != 0 && errno == ESRCH)) std::filesystem::remove_all(item.path(), ignored);
  }
}

}  // namespace lodestone

