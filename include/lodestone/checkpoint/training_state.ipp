// Definitions of training_state.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <utility>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

namespace detail {

inline constexpr const char* state_tensors = "state.safetensors";
inline constexpr const char* state_manifest = "manifest.json";

LODESTONE_INLINE std::string hexadecimal(std::uint64_t value) {
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

LODESTONE_INLINE std::optional<std::int64_t> step_of(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  constexpr std::string_view prefix = "step_";
  if (!name.starts_with(prefix) || name.size() < prefix.size() + 6 || name.size() > prefix.size() + 18 ||
      name.find_first_not_of("0123456789", prefix.size()) != std::string::npos)
    return std::nullopt;
  return std::stoll(name.substr(prefix.size()));
}

LODESTONE_INLINE std::vector<std::filesystem::path> state_folders(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> folders;
  std::error_code ignored;
  for (const auto& item : std::filesystem::directory_iterator(root, ignored))
    if (step_of(item.path()) && item.is_directory(ignored)) folders.push_back(item.path());
  std::ranges::sort(folders, {}, [](const std::filesystem::path& folder) { return *step_of(folder); });
  return folders;
}

}  // namespace detail

LODESTONE_INLINE std::filesystem::path training_state_folder(const std::filesystem::path& root, std::int64_t step) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step_%06lld", static_cast<long long>(step));
  return root / name.data();
}

LODESTONE_INLINE training_state_writer::training_state_writer(const std::filesystem::path& root, std::int64_t step,
                                                              std::vector<safetensors::declaration> tensors,
                                                              std::map<std::string, std::string> metadata)
    : step_(step),
      metadata_(std::move(metadata)),
      folder_(prepared(root, step), existing_folder::replace),
      tensors_(std::move(tensors)),
      writer_(folder_.path() / detail::state_tensors, tensors_) {
  checksums_.resize(tensors_.size());
  enter(0);
}

LODESTONE_INLINE void training_state_writer::write(std::span<const std::byte> bytes) {
  writer_.write(bytes);
  while (!bytes.empty()) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
    checksums_[current_].update(bytes.first(piece));
    left_ -= piece;
    bytes = bytes.subspan(piece);
    if (left_ == 0) enter(current_ + 1);
  }
}

LODESTONE_INLINE std::filesystem::path training_state_writer::commit() {
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

LODESTONE_INLINE std::filesystem::path training_state_writer::prepared(const std::filesystem::path& root,
                                                                       std::int64_t step) {
  if (step < 0) throw config_error("must not be negative", "step");
  remove_abandoned(root);
  return training_state_folder(root, step);
}

LODESTONE_INLINE void training_state_writer::enter(std::size_t index) {
  for (current_ = index; current_ < tensors_.size(); ++current_)
    if ((left_ = *safetensors::byte_count(tensors_[current_].type, tensors_[current_].shape)) > 0) return;
}

namespace detail {

inline constexpr std::string_view state_remedy = "resume from another step";

/// What a manifest says of its state.
struct state_content {
  std::int64_t step = 0;
  std::uint64_t bytes = 0;  ///< length of the file of tensors
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::string> checksums;  ///< by tensor
};

/// Reads a manifest. Throws io_error and format_error.
[[nodiscard]] inline state_content read_state_content(const std::filesystem::path& file) {
  const std::string where = file.string();
  const nlohmann::json manifest = parse_json(read_text(file), where);
  try {
    const nlohmann::json& content = manifest.at("content");
    if (checksum_of(content.dump()) != manifest.at("checksum").get<std::string>())
      throw format_error("its checksum is wrong", where, state_remedy);
    return {content.at("step").get<std::int64_t>(), content.at("bytes").get<std::uint64_t>(),
            content.at("metadata").get<std::map<std::string, std::string>>(),
            content.at("tensors").get<std::map<std::string, std::string>>()};
  } catch (const nlohmann::json::exception&) {
    throw format_error("not a manifest of a training state", where, state_remedy);
  }
}

}  // namespace detail

LODESTONE_INLINE training_state::training_state(const std::filesystem::path& folder, verification check)
    : training_state(folder, detail::read_state_content(folder / detail::state_manifest), check) {}

LODESTONE_INLINE const std::string& training_state::metadata(const std::string& name) const {
  const auto found = metadata_.find(name);
  if (found == metadata_.end()) throw format_error("no value '" + name + "'", folder_.string());
  return found->second;
}

LODESTONE_INLINE training_state::training_state(const std::filesystem::path& folder,
                                                const detail::state_content& content, verification check)
    : folder_(folder), tensors_(folder / detail::state_tensors) {
  const std::string where = (folder / detail::state_tensors).string();
  step_ = content.step;
  metadata_ = content.metadata;
  if (std::filesystem::file_size(folder / detail::state_tensors) != content.bytes)
    throw format_error("has another length than the manifest says", where, detail::state_remedy);
  if (content.checksums.size() != tensors_.entries().size())
    throw format_error("tensors are missing or surplus", where, detail::state_remedy);
  for (const auto& [name, sum] : content.checksums) {
    const safetensors::entry& entry = tensors_.at(name);
    if (check == verification::content && detail::checksum_of(entry.bytes) != sum)
      throw format_error("the checksum of the tensor '" + name + "' is wrong", where, detail::state_remedy);
  }
}

LODESTONE_INLINE std::optional<std::filesystem::path> latest_training_state(const std::filesystem::path& root,
                                                                            std::vector<skipped_state>* skipped,
                                                                            verification check) {
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

LODESTONE_INLINE void prune_training_states(const std::filesystem::path& root, std::int64_t keep_last,
                                            std::span<const std::int64_t> also) {
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

