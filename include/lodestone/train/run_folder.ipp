// Definitions of run_folder.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/core/folder.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/train/run_folder.hpp>

namespace lodestone {

LODESTONE_INLINE run_folder::run_folder(std::filesystem::path output, resume_from resume) : root_(std::move(output)) {
  if (root_.empty()) throw config_error("no folder is given", "output", "name a folder for the results");
  std::error_code failure;
  std::filesystem::create_directories(root_, failure);
  if (failure) throw io_error("cannot create the folder: " + failure.message(), root_.string());
  lock();
  bool holds_files = false, is_run = false;
  for (const auto& entry : std::filesystem::directory_iterator(root_)) {
    const std::string name = entry.path().filename().string();
    if (name == ".lock") continue;
    holds_files = true;
    is_run = is_run || name == "run.toml" || name == "checkpoints";
  }
  if (holds_files && resume == resume_from::never)
    throw config_error("the folder is not empty", root_.string(),
                       is_run ? "choose another output, or continue that run with resume = \"auto\""
                              : "choose another output");
  if (holds_files && !is_run)
    throw config_error("the folder holds files that are not from a run", root_.string(), "choose another output");
  std::filesystem::create_directories(root_ / "checkpoints", failure);
  if (failure) throw io_error("cannot create the folder: " + failure.message(), (root_ / "checkpoints").string());
  remove_abandoned(checkpoints());
}

LODESTONE_INLINE void run_folder::forget_after(std::int64_t step) const {
  for (const std::filesystem::path& folder : detail::state_folders(checkpoints()))
    if (*detail::step_of(folder) > step) remove(folder);
}

LODESTONE_INLINE void run_folder::lock() {
  const std::filesystem::path name = root_ / ".lock";
  lock_ = detail::descriptor(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!lock_) detail::throw_errno("cannot create", name);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return;
  if (errno == EWOULDBLOCK)
    throw config_error("another process is training in this folder", root_.string(),
                       "wait until it ends, or choose another output");
  // Some network file systems have no locks: then the user has to take care.
}

LODESTONE_INLINE void run_folder::remove(const std::filesystem::path& folder) {
  const std::filesystem::path doomed = detail::partial_name(folder);
  std::error_code failure;
  std::filesystem::rename(folder, doomed, failure);
  if (failure) throw io_error("cannot remove the checkpoint: " + failure.message(), folder.string());
  std::filesystem::remove_all(doomed, failure);  // what is left is hidden, and goes at the next start
}

}  // namespace lodestone

