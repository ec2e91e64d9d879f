// The folder of a run: where its files lie, and that one process at a time trains in it.
#pragma once

#include <cstdint>
#include <filesystem>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>

namespace lodestone {

/// Where a run begins.
enum class resume_from : std::uint8_t {
  automatic,  ///< the newest checkpoint of the folder if there is one, else the beginning
  never,      ///< the beginning; a folder that holds anything is refused
};

/// Lays out a run:
///
///     OUTPUT/run.toml  metrics.jsonl  report.html  tensorboard/  model/ or adapter/
///     OUTPUT/checkpoints/step_000200/     one training state each (train/checkpoints.hpp), whole or not there
///     OUTPUT/.lock                        held while a process trains in the folder
///
/// The object holds the lock, so two processes cannot train in one folder; it goes with the process, however it ends.
class run_folder {
 public:
  /// Creates the folder, or takes it over. Throws config_error when another process trains there, when `resume` is
  /// `never` and the folder holds anything, or when it holds files that no run has left; io_error when it cannot be
  /// created.
  explicit run_folder(std::filesystem::path output, resume_from resume = resume_from::automatic);

  /// Where the files of the run lie; of these only root() and checkpoints() exist from the start.
  ///@{
  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path settings() const { return root_ / "run.toml"; }
  [[nodiscard]] std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path report() const { return root_ / "report.html"; }
  [[nodiscard]] std::filesystem::path tensorboard() const { return root_ / "tensorboard"; }
  [[nodiscard]] std::filesystem::path model() const { return root_ / "model"; }      ///< a Hugging Face folder
  [[nodiscard]] std::filesystem::path adapter() const { return root_ / "adapter"; }  ///< a PEFT folder

  [[nodiscard]] std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  ///@}

  /// Removes checkpoints of steps after `step`: an older one was chosen to resume from, and the newer ones do not
  /// belong to the run that follows.
  void forget_after(std::int64_t step) const;

 private:
  void lock();

  /// A checkpoint loses its name before its files go, so one that is being removed is never taken for a whole one.
  static void remove(const std::filesystem::path& folder);

  std::filesystem::path root_;
  detail::descriptor lock_;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/run_folder.ipp>
#endif
