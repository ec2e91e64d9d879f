// Training state on disk: named tensors and strings in a folder for each step, which a kill at any moment leaves whole.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/checksum.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/folder.hpp>

namespace lodestone {

namespace detail {

inline constexpr const char* state_tensors = "state.safetensors";
inline constexpr const char* state_manifest = "manifest.json";

[[nodiscard]] inline std::string hexadecimal(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}
[[nodiscard]] inline std::string checksum_of(std::span<const std::byte> bytes) {
  checksum64 sum;
  sum.update(bytes);
  return hexadecimal(sum.value());
}
[[nodiscard]] inline std::string checksum_of(std::string_view text) {
  return checksum_of(std::as_bytes(std::span(text.data(), text.size())));
}

/// The step of a folder called "step_000123"; empty for other names.
[[nodiscard]] inline std::optional<std::int64_t> step_of(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  constexpr std::string_view prefix = "step_";
  if (!name.starts_with(prefix) || name.size() < prefix.size() + 6 || name.size() > prefix.size() + 18 ||
      name.find_first_not_of("0123456789", prefix.size()) != std::string::npos)
    return std::nullopt;
  return std::stoll(name.substr(prefix.size()));
}

/// Folders of states below `root` by ascending step, complete or not.
[[nodiscard]] inline std::vector<std::filesystem::path> state_folders(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> folders;
  std::error_code ignored;
  for (const auto& item : std::filesystem::directory_iterator(root, ignored))
    if (step_of(item.path()) && item.is_directory(ignored)) folders.push_back(item.path());
  std::ranges::sort(folders, {}, [](const std::filesystem::path& folder) { return *step_of(folder); });
  return folders;
}

}  // namespace detail

/// "ROOT/step_000123".
[[nodiscard]] inline std::filesystem::path training_state_folder(const std::filesystem::path& root, std::int64_t step) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step_%06lld", static_cast<long long>(step));
  return root / name.data();
}

/// Writes the state of one step. The tensors' bytes come in the order of their declarations.
///
/// Everything goes to a temporary folder beside the final one; commit() makes it durable and renames it. A state of the
/// same step is replaced. What killed processes left behind is removed first. Checksums of all content are stored.
class training_state_writer {
 public:
  /// `metadata` holds small values by name (seeds, data position, settings). Throws io_error, format_error and
  /// shape_error as safetensors::writer does.
  training_state_writer(const std::filesystem::path& root, std::int64_t step,
                        std::vector<safetensors::declaration> tensors, std::map<std::string, std::string> metadata = {})
      : step_(step),
        metadata_(std::move(metadata)),
        folder_(prepared(root, step), existing_folder::replace),
        tensors_(std::move(tensors)),
        writer_(folder_.path() / detail::state_tensors, tensors_) {
    checksums_.resize(tensors_.size());
    enter(0);
  }

  /// The next bytes; a call may end inside a tensor or run over several. Throws format_error for too many; io_error.
  void write(std::span<const std::byte> bytes) {
    writer_.write(bytes);
    while (!bytes.empty()) {
      const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
      checksums_[current_].update(bytes.first(piece));
      left_ -= piece;
      bytes = bytes.subspan(piece);
      if (left_ == 0) enter(current_ + 1);
    }
  }
  template <class T>
  void write_values(std::span<const T> values) {
    write(std::as_bytes(values));
  }

  /// Publishes the state and returns its folder. Throws format_error when bytes are missing, and io_error.
  std::filesystem::path commit() {
    writer_.commit();
    nlohmann::json content;
    content["step"] = step_;
    content["bytes"] = std::filesystem::file_size(folder_.path() / detail::state_tensors);
    content["metadata"] = metadata_;
    content["tensors"] = nlohmann::json::object();
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      content["tensors"][tensors_[i].name] = detail::hexadecimal(checksums_[i].value());
    nlohmann::json manifest;
    manifest["checksum"] = detail::checksum_of(content.dump());
    manifest["content"] = std::move(content);
    atomic_file file(folder_.path() / detail::state_manifest);
    file.write(manifest.dump(1) + "\n");
    file.commit();
    folder_.commit();
    return folder_.name();
  }

 private:
  [[nodiscard]] static std::filesystem::path prepared(const std::filesystem::path& root, std::int64_t step) {
    if (step < 0) throw config_error("must not be negative", "step");
    remove_abandoned(root);
    return training_state_folder(root, step);
  }
  void enter(std::size_t index) {
    for (current_ = index; current_ < tensors_.size(); ++current_)
      if ((left_ = *safetensors::byte_count(tensors_[current_].type, tensors_[current_].shape)) > 0) return;
  }

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
  explicit training_state(const std::filesystem::path& folder, verification check = verification::content)
      : training_state(folder, read_manifest(folder / detail::state_manifest), check) {}

  [[nodiscard]] std::int64_t step() const { return step_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// A metadata value; throws format_error that names it.
  [[nodiscard]] const std::string& metadata(const std::string& name) const {
    const auto found = metadata_.find(name);
    if (found == metadata_.end()) throw format_error("no value '" + name + "'", folder_.string());
    return found->second;
  }
  [[nodiscard]] const safetensors::file& tensors() const { return tensors_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  training_state(const std::filesystem::path& folder, const nlohmann::json& content, verification check)
      : folder_(folder), tensors_(folder / detail::state_tensors) {
    const std::string where = (folder / detail::state_tensors).string();
    step_ = content.at("step").get<std::int64_t>();
    metadata_ = content.at("metadata").get<std::map<std::string, std::string>>();
    if (std::filesystem::file_size(folder / detail::state_tensors) != content.at("bytes").get<std::uint64_t>())
      throw format_error("has another length than the manifest says", where, remedy);
    const nlohmann::json& sums = content.at("tensors");
    if (sums.size() != tensors_.entries().size()) throw format_error("tensors are missing or surplus", where, remedy);
    for (const auto& [name, sum] : sums.items()) {
      const safetensors::entry& entry = tensors_.at(name);
      if (check == verification::content && detail::checksum_of(entry.bytes) != sum.template get<std::string>())
        throw format_error("the checksum of the tensor '" + name + "' is wrong", where, remedy);
    }
  }

  [[nodiscard]] static nlohmann::json read_manifest(const std::filesystem::path& file) {
    const std::string where = file.string();
    const nlohmann::json manifest = detail::parse_json(read_text(file), where);
    try {
      const nlohmann::json& content = manifest.at("content");
      if (detail::checksum_of(content.dump()) != manifest.at("checksum").get<std::string>())
        throw format_error("its checksum is wrong", where, remedy);
      (void)content.at("step").get<std::int64_t>();  // every type is checked here, so that no JSON error leaves
      (void)content.at("bytes").get<std::uint64_t>();
      (void)content.at("metadata").get<std::map<std::string, std::string>>();
      (void)content.at("tensors").get<std::map<std::string, std::string>>();
      return content;
    } catch (const nlohmann::json::exception&) {
      throw format_error("not a manifest of a training state", where, remedy);
    }
  }

  static constexpr std::string_view remedy = "resume from another step";

  std::filesystem::path folder_;
  safetensors::file tensors_;
  std::int64_t step_ = 0;
  std::map<std::string, std::string> metadata_;
};

/// A state that latest_training_state passed over.
struct skipped_state {
  std::filesystem::path folder;
  std::string reason;
};

/// The folder of the newest complete and undamaged state below `root`; empty when there is none. Damaged ones are
/// passed over and told in `skipped`, newest first.
[[nodiscard]] inline std::optional<std::filesystem::path> latest_training_state(
    const std::filesystem::path& root, std::vector<skipped_state>* skipped = nullptr,
    verification check = verification::content) {
  const auto folders = detail::state_folders(root);
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    try {
      const training_state state(*folder, check);
      return *folder;
    } catch (const error& failure) {
      if (skipped != nullptr) skipped->push_back({*folder, failure.what()});
    }
  }
  return std::nullopt;
}

/// Removes all states below `root` but the `keep_last` newest complete ones (at least one) and the steps in `also`.
/// A state leaves its name before it is removed, so a kill in between leaves no half state under a step's name.
inline void prune_training_states(const std::filesystem::path& root, std::int64_t keep_last,
                                  std::span<const std::int64_t> also = {}) {
  const auto folders = detail::state_folders(root);
  std::int64_t kept = 0;
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    if (kept < std::max<std::int64_t>(keep_last, 1)) {
      try {
        const training_state state(*folder, verification::sizes);
        ++kept;
      } catch (const error&) {
        // damaged: neither counted nor removed while fewer than keep_last good ones are newer
      }
      continue;
    }
    if (std::ranges::find(also, *detail::step_of(*folder)) != also.end()) continue;
    const std::filesystem::path aside = detail::partial_name(*folder);
    std::error_code failure;
    std::filesystem::rename(*folder, aside, failure);
    if (failure) throw io_error("cannot be removed: " + failure.message(), folder->string());
    std::filesystem::remove_all(aside, failure);
  }
}

}  // namespace lodestone
