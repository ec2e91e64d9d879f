// Training state on disk: named tensors and strings in a folder for each step, which a kill at any moment leaves whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/checksum.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/folder.hpp>

namespace lodestone {

namespace detail {

struct state_content;

[[nodiscard]] std::string hexadecimal(std::uint64_t value);

/// The step of a folder called "step_000123"; empty for other names.
[[nodiscard]] std::optional<std::int64_t> step_of(const std::filesystem::path& folder);

/// Folders of states below `root` by ascending step, complete or not.
[[nodiscard]] std::vector<std::filesystem::path> state_folders(const std::filesystem::path& root);

}  // namespace detail

/// "ROOT/step_000123".
[[nodiscard]] std::filesystem::path training_state_folder(const std::filesystem::path& root, std::int64_t step);

/// Writes the state of one step. The tensors' bytes come in the order of their declarations.
///
/// Everything goes to a temporary folder beside the final one; commit() makes it durable and renames it. A state of the
/// same step is replaced. What killed processes left behind is removed first. Checksums of all content are stored.
class training_state_writer {
 public:
  /// `metadata` holds small values by name (seeds, data position, settings). Throws io_error, format_error and
  /// shape_error as safetensors::writer does.
  training_state_writer(const std::filesystem::path& root, std::int64_t step,
                        std::vector<safetensors::declaration> tensors,
                        std::map<std::string, std::string> metadata = {});

  /// The next bytes; a call may end inside a tensor or run over several. Throws format_error for too many; io_error.
  void write(std::span<const std::byte> bytes);
  /// The next elements; their type is not checked against the declaration.
  template <class T>
  void write_values(std::span<const T> values) {
    write(std::as_bytes(values));
  }

  /// Publishes the state and returns its folder. Throws format_error when bytes are missing, and io_error.
  std::filesystem::path commit();

 private:
  [[nodiscard]] static std::filesystem::path prepared(const std::filesystem::path& root, std::int64_t step);
  void enter(std::size_t index);

  std::int64_t step_ = 0;
  std::map<std::string, std::string> metadata_;
  atomic_folder folder_;
  std::vector<safetensors::declaration> tensors_;
  safetensors::writer writer_;
  std::vector<checksum64> checksums_;
  std::size_t current_ = 0;
  std::uint64_t left_ = 0;  ///< bytes missing from tensor current_
};

/// How much of a state is checked when it is opened.
enum class verification : std::uint8_t {
  sizes,    ///< the manifest whole, every tensor there, the file as long as it should be
  content,  ///< and every checksum, which reads all bytes
};

/// A state that was written completely. Tensors are memory-mapped.
class training_state {
 public:
  /// Throws io_error or format_error, naming the file or tensor, unless the state is complete and undamaged.
  explicit training_state(const std::filesystem::path& folder, verification check = verification::content);

  [[nodiscard]] std::int64_t step() const { return step_; }  ///< as training_state_writer was given it
  /// Strings by name, as the writer was given them.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// A metadata value; throws format_error that names it.
  [[nodiscard]] const std::string& metadata(const std::string& name) const;
  [[nodiscard]] const safetensors::file& tensors() const { return tensors_; }    ///< all of them, by name
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }  ///< as the constructor took it

 private:
  training_state(const std::filesystem::path& folder, const detail::state_content& content, verification check);

  std::filesystem::path folder_;
  safetensors::file tensors_;
  std::int64_t step_ = 0;
  std::map<std::string, std::string> metadata_;
};

/// A state that latest_training_state passed over.
struct skipped_state {
  std::filesystem::path folder;  ///< of the state that was passed over
  std::string reason;            ///< message of the error that opening it threw
};

/// The folder of the newest complete and undamaged state below `root`; empty when there is none. Damaged ones are
/// passed over and told in `skipped`, newest first.
[[nodiscard]] std::optional<std::filesystem::path> latest_training_state(const std::filesystem::path& root,
                                                                         std::vector<skipped_state>* skipped = nullptr,
                                                                         verification check = verification::content);

/// Removes all states below `root` but the `keep_last` newest complete ones (at least one) and the steps in `also`.
/// A state leaves its name before it is removed, so a kill in between leaves no half state under a step's name.
void prune_training_states(const std::filesystem::path& root, std::int64_t keep_last,
                           std::span<const std::int64_t> also = {});

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/training_state.ipp>
#endif
