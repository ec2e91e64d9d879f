// The folder of a run: where its files lie, which checkpoints are kept, and where a resume begins.
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/train/recorders/format.hpp>

namespace lodestone {

/// A checkpoint that is complete.
struct saved_checkpoint {
  std::int64_t step = 0;
  std::filesystem::path folder;
  friend bool operator==(const saved_checkpoint&, const saved_checkpoint&) = default;
};

/// The step and held-out loss of the best checkpoint.
struct best_checkpoint {
  std::int64_t step = 0;
  double loss = 0.0;
};

/// Which checkpoints stay when a new one has been written.
struct keep_policy {
  std::int64_t last = 3;  ///< the newest; 0 keeps all
  bool best = true;       ///< and the one with the lowest held-out loss, however old
};

/// Where a run begins.
enum class resume_from : std::uint8_t {
  automatic,  ///< the newest checkpoint of the folder if there is one, else the beginning
  never,      ///< the beginning; a folder that holds anything is refused
};

/// Lays out a run:
///
///     OUTPUT/run.toml  metrics.jsonl  report.html  tensorboard/  model/ or the files of the model
///     OUTPUT/checkpoints/step-00000200/   one folder a checkpoint, whole or not there
///     OUTPUT/checkpoints/best             "step loss" of the best one
///     OUTPUT/.lock                        held while a process trains in the folder
///
/// The object holds the lock, so two processes cannot train in one folder; it goes with the process, however it ends.
class run_folder {
 public:
  /// Creates the folder, or takes it over. Throws config_error when another process trains there, when `resume` is
  /// `never` and the folder holds anything, or when it holds files that no run has left; io_error when it cannot be
  /// created.
  run_folder(std::filesystem::path output, keep_policy keep, resume_from resume) : root_(std::move(output)), keep_(keep) {
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
    remove_leftovers();
  }

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] std::filesystem::path settings() const { return root_ / "run.toml"; }
  [[nodiscard]] std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path report() const { return root_ / "report.html"; }
  [[nodiscard]] std::filesystem::path tensorboard() const { return root_ / "tensorboard"; }
  [[nodiscard]] std::filesystem::path model() const { return root_ / "model"; }

  /// Where the checkpoint of a step belongs. Whoever writes it must write under another name in checkpoints/ (one that
  /// begins with a dot) and rename.
  [[nodiscard]] std::filesystem::path checkpoint(std::int64_t step) const {
    std::string digits = std::to_string(step);
    digits.insert(0, digits.size() < 8 ? 8 - digits.size() : 0, '0');
    return root_ / "checkpoints" / ("step-" + digits);
  }

  /// All checkpoints, oldest first.
  [[nodiscard]] std::vector<saved_checkpoint> checkpoints() const { return checkpoints_in(root_ / "checkpoints"); }

  /// The newest checkpoint.
  [[nodiscard]] std::optional<saved_checkpoint> latest() const {
    const std::vector<saved_checkpoint> all = checkpoints();
    return all.empty() ? std::nullopt : std::optional(all.back());
  }

  /// Remembers which checkpoint is the best, across restarts.
  void mark_best(best_checkpoint best) const {
    atomic_file file(root_ / "checkpoints" / "best");
    file.write(std::to_string(best.step) + " " + format_exact(best.loss) + "\n");
    file.commit();
  }
  [[nodiscard]] std::optional<best_checkpoint> best() const {
    const std::filesystem::path name = root_ / "checkpoints" / "best";
    if (!std::filesystem::exists(name)) return std::nullopt;
    const std::string text = read_text(name);
    best_checkpoint out;
    const char* const end = text.data() + text.size();
    const auto step = std::from_chars(text.data(), end, out.step);
    if (step.ec != std::errc{} || step.ptr == end || *step.ptr != ' ' ||
        std::from_chars(step.ptr + 1, end, out.loss).ec != std::errc{})
      throw format_error("not \"step loss\"", name.string(), "remove the file");
    return out;
  }

  /// Removes the checkpoints that the policy does not keep and returns their steps. A checkpoint is renamed before its
  /// files go, so one that is being removed is never taken for a whole one.
  std::vector<std::int64_t> prune() const {
    std::vector<std::int64_t> removed;
    if (keep_.last <= 0) return removed;
    const std::vector<saved_checkpoint> all = checkpoints();
    const std::optional<best_checkpoint> marked = keep_.best ? best() : std::nullopt;
    for (std::size_t i = 0; i + static_cast<std::size_t>(keep_.last) < all.size(); ++i) {
      if (marked && marked->step == all[i].step) continue;
      remove(all[i].folder);
      removed.push_back(all[i].step);
    }
    return removed;
  }

  /// Removes checkpoints of steps after `step`: an older one was chosen to resume from, and the newer ones do not
  /// belong to the run that follows.
  void forget_after(std::int64_t step) const {
    for (const saved_checkpoint& c : checkpoints())
      if (c.step > step) remove(c.folder);
    if (const auto marked = best(); marked && marked->step > step) std::filesystem::remove(root_ / "checkpoints" / "best");
  }

  /// The complete checkpoints in a folder, oldest first.
  [[nodiscard]] static std::vector<saved_checkpoint> checkpoints_in(const std::filesystem::path& folder) {
    std::vector<saved_checkpoint> found;
    std::error_code failure;
    for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
         entry.increment(failure)) {
      const std::string name = entry->path().filename().string();
      constexpr std::string_view prefix = "step-";
      if (!name.starts_with(prefix) || !entry->is_directory()) continue;
      saved_checkpoint c{.step = 0, .folder = entry->path()};
      const auto parsed = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), c.step);
      if (parsed.ec == std::errc{} && parsed.ptr == name.data() + name.size()) found.push_back(std::move(c));
    }
    std::ranges::sort(found, {}, &saved_checkpoint::step);
    return found;
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

  void remove(const std::filesystem::path& folder) const {
    const std::filesystem::path doomed = folder.parent_path() / (".removed-" + folder.filename().string());
    std::error_code failure;
    std::filesystem::remove_all(doomed, failure);
    std::filesystem::rename(folder, doomed, failure);
    if (failure) throw io_error("cannot remove the checkpoint: " + failure.message(), folder.string());
    std::filesystem::remove_all(doomed, failure);  // what is left is hidden, and goes at the next start
  }

  /// What a killed process left behind: half-written and half-removed checkpoints.
  void remove_leftovers() const {
    std::vector<std::filesystem::path> leftovers;
    for (const auto& entry : std::filesystem::directory_iterator(root_ / "checkpoints"))
      if (entry.path().filename().string().starts_with('.')) leftovers.push_back(entry.path());
    std::error_code ignored;
    for (const std::filesystem::path& name : leftovers) std::filesystem::remove_all(name, ignored);
  }

  std::filesystem::path root_;
  keep_policy keep_;
  detail::descriptor lock_;
};

}  // namespace lodestone
