// The folder of a run: where its files lie, and that one process at a time trains in it.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/folder.hpp>

namespace lodestone {

/// Where a run begins.
enum class resume_from : std::uint8_t {
  automatic,  ///< the newest checkpoint of the folder if there is one, else the beginning
  never,      ///< the beginning; a folder that holds anything is refused
};

/// Lays out a run:
///
///     OUTPUT/run.toml  metrics.jsonl  report.html  tensorboard/  model/
///     OUTPUT/checkpoints/step_000200/     one training state each (train/checkpoints.hpp), whole or not there
///     OUTPUT/.lock                        held while a process trains in the folder
///
/// The object holds the lock, so two processes cannot train in one folder; it goes with the process, however it ends.
class run_folder {
 public:
  /// Creates the folder, or takes it over. Throws config_error when another process trains there, when `resume` is
  /// `never` and the folder holds anything, or when it holds files that no run has left; io_error when it cannot be
  /// created.
  explicit run_folder(std::filesystem::path output, resume_from resume = resume_from::automatic)
      : root_(std::move(output)) {
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

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path settings() const { return root_ / "run.toml"; }
  [[nodiscard]] std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path report() const { return root_ / "report.html"; }
  [[nodiscard]] std::filesystem::path tensorboard() const { return root_ / "tensorboard"; }
  [[nodiscard]] std::filesystem::path model() const { return root_ / "model"; }  ///< a Hugging Face folder

  [[nodiscard]] std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }

  /// Removes checkpoints of steps after `step`: an older one was chosen to resume from, and the newer ones do not
  /// belong to the run that follows.
  void forget_after(std::int64_t step) const {
    for (const std::filesystem::path& folder : detail::state_folders(checkpoints()))
      if (*detail::step_of(folder) > step) remove(folder);
  }

 private:
  void lock() {
    const std::filesystem::path name = root_ / ".lock";
    lock_ = detail::descriptor(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!lock_) detail::throw_errno("cannot create", name);
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return;
    if (errno == EWOULDBLOCK)
      throw config_error("another process is training in this folder", root_.string(),
                         "wait until it ends, or choose another output");
    // Some network file systems have no locks: then the user has to take care.
  }

  /// A checkpoint loses its name before its files go, so one that is being removed is never taken for a whole one.
  static void remove(const std::filesystem::path& folder) {
    const std::filesystem::path doomed = detail::partial_name(folder);
    std::error_code failure;
    std::filesystem::rename(folder, doomed, failure);
    if (failure) throw io_error("cannot remove the checkpoint: " + failure.message(), folder.string());
    std::filesystem::remove_all(doomed, failure);  // what is left is hidden, and goes at the next start
  }

  std::filesystem::path root_;
  detail::descriptor lock_;
};

}  // namespace lodestone
