// Folders that appear under their final name complete or not at all (POSIX).
#pragma once

#include <cstdint>
#include <filesystem>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// Writes the content of every file of a folder, and the folder itself, through to the disk. Throws io_error.
void sync_tree(const std::filesystem::path& folder);

/// What becomes of a folder that has the name already.
enum class existing_folder : std::uint8_t { refuse, replace };

/// A folder that is filled under a temporary name beside its final one, and appears by a rename.
///
/// Files are written below path(); commit() makes them durable and gives the folder its name. An object destroyed
/// before commit() removes everything; a killed process leaves at most a folder ".NAME.<pid>-<n>.partial", which
/// remove_abandoned() clears away. Replacing exchanges the two folders in one step where the file system can, so that
/// one of them always has the name; then the old one is removed.
class atomic_folder {
 public:
  /// Creates the temporary folder and missing parents. Throws io_error, also when the name is taken and `existing`
  /// says refuse.
  explicit atomic_folder(std::filesystem::path final_name, existing_folder existing = existing_folder::refuse);
  /// Moves: the source then owns no folder. Assignment removes what the target had not committed.
  ///@{
  atomic_folder(atomic_folder&& other) noexcept;
  atomic_folder& operator=(atomic_folder&& other) noexcept;
  ///@}
  ~atomic_folder() { discard(); }

  /// Where to write until commit().
  [[nodiscard]] const std::filesystem::path& path() const { return partial_name_; }
  /// The final name, without a slash at its end.
  [[nodiscard]] const std::filesystem::path& name() const { return final_name_; }

  /// Publishes the folder. Throws io_error.
  void commit();

 private:
  [[nodiscard]] static std::filesystem::path without_slash(std::filesystem::path name);
  void require_free() const;
  /// Renames to the final name unless it is taken (flags 0), or exchanges the two (RENAME_EXCHANGE).
  [[nodiscard]] bool rename(unsigned flags) const;
  void replace();
  void discard() noexcept;

  std::filesystem::path final_name_;
  std::filesystem::path partial_name_;
  existing_folder existing_ = existing_folder::refuse;
};

/// Removes from `folder` what killed processes of this machine left behind: ".*.PID-N.partial" of no living PID.
void remove_abandoned(const std::filesystem::path& folder);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/core/folder.ipp>
#endif
