// Definitions of pretrained_writer.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <map>
#include <string_view>
#include <utility>

#include <lodestone/checkpoint/pretrained_writer.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/model/config_edit.hpp>

namespace lodestone {

namespace detail {

/// Files of a model folder that are copied byte for byte: everything that a tokenizer, a chat template, generation or
/// remote code may need, and licences. Weights and config.json are written anew; model cards describe another model.
[[nodiscard]] inline bool is_carried_over(const std::filesystem::path& file) {
  constexpr std::array<std::string_view, 18> names{"tokenizer.json",
                                                   "tokenizer.model",
                                                   "tokenizer_config.json",
                                                   "special_tokens_map.json",
                                                   "added_tokens.json",
                                                   "vocab.json",
                                                   "vocab.txt",
                                                   "merges.txt",
                                                   "chat_template.jinja",
                                                   "chat_template.json",
                                                   "generation_config.json",
                                                   "spiece.model",
                                                   "tekken.json",
                                                   "LICENSE",
                                                   "LICENSE.txt",
                                                   "MODEL_LICENSE",
                                                   "NOTICE",
                                                   "USE_POLICY.md"};
  return std::ranges::find(names, file.filename().string()) != names.end() || file.extension() == ".py";
}

/// Copies those files, and the folder of further chat templates.
inline void carry_over(const std::filesystem::path& from, const std::filesystem::path& to) {
  namespace fs = std::filesystem;
  const auto copy = [](const fs::path& source, const fs::path& target) {
    const mapped_file content(source);
    atomic_file file(target);
    file.write(content.bytes());
    file.commit();
  };
  for (const auto& item : fs::directory_iterator(from))
    if (item.is_regular_file() && is_carried_over(item.path())) copy(item.path(), to / item.path().filename());
  const fs::path templates = from / "additional_chat_templates";
  if (!fs::is_directory(templates)) return;
  fs::create_directory(to / templates.filename());
  for (const auto& item : fs::directory_iterator(templates))
    if (item.is_regular_file()) copy(item.path(), to / templates.filename() / item.path().filename());
}

}  // namespace detail

LODESTONE_INLINE pretrained_writer::pretrained_writer(const std::filesystem::path& folder,
                                                      const std::filesystem::path& source, const model_config& config,
                                                      std::vector<named_tensor> tensors, export_options options)
    : options_(options), folder_(checked(folder, options), options.existing), tensors_(std::move(tensors)) {
  write_config(source, config);
  detail::carry_over(source, folder_.path());
  plan_shards();
}

LODESTONE_INLINE pretrained_writer::pretrained_writer(const std::filesystem::path& folder,
                                                      const std::filesystem::path& source, const model_config& config,
                                                      export_options options)
    : pretrained_writer(folder, source, config, tensor_names(config), options) {}

LODESTONE_INLINE void pretrained_writer::commit() {
  while (next_ < tensors_.size() || !shard_) {
    if (left_ != 0) throw format_error("fewer elements are written than the model has", folder_.name().string());
    if (tensors_.empty()) break;
    next_tensor();
  }
  if (left_ != 0) throw format_error("fewer elements are written than the model has", folder_.name().string());
  if (shard_) shard_->commit();
  shard_.reset();
  if (shard_count_ > 1) write_index();
  folder_.commit();
}

LODESTONE_INLINE std::filesystem::path pretrained_writer::checked(const std::filesystem::path& folder,
                                                                  const export_options& options) {
  namespace fs = std::filesystem;
  if (options.existing == existing_folder::replace && fs::exists(folder) && !fs::exists(folder / "config.json") &&
      !(fs::is_directory(folder) && fs::is_empty(folder)))
    throw io_error("exists and is no model folder", folder.string(), "choose another folder");
  return folder;
}

LODESTONE_INLINE void pretrained_writer::write_config(const std::filesystem::path& source, const model_config& config) {
  const std::filesystem::path original = source / "config.json";
  atomic_file file(folder_.path() / "config.json");
  file.write(edited_model_config(read_text(original), config, options_.type, original.string()));
  file.commit();
}

LODESTONE_INLINE void pretrained_writer::plan_shards() {
  shard_of_.resize(tensors_.size());
  std::uint64_t filled = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto bytes = safetensors::byte_count(options_.type, tensors_[i].shape);
    if (!bytes) throw shape_error("its size passes 2^63", tensors_[i].name);
    if (shard_count_ == 0 || (filled > 0 && filled + *bytes > options_.shard_bytes)) {
      ++shard_count_;
      filled = 0;
    }
    filled += *bytes;
    total_bytes_ += *bytes;
    shard_of_[i] = shard_count_ - 1;
  }
}

LODESTONE_INLINE std::string pretrained_writer::shard_name(std::size_t shard) const {
  if (shard_count_ <= 1) return "model.safetensors";
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", shard + 1, shard_count_);
  return name.data();
}

LODESTONE_INLINE void pretrained_writer::next_tensor() {
  if (next_ == tensors_.size())
    throw format_error("more elements are written than the model has", folder_.name().string());
  if (next_ == 0 || shard_of_[next_] != shard_of_[next_ - 1]) {
    if (shard_) shard_->commit();
    std::vector<safetensors::declaration> declarations;
    for (std::size_t i = next_; i < tensors_.size() && shard_of_[i] == shard_of_[next_]; ++i)
      declarations.push_back({tensors_[i].name, options_.type, tensors_[i].shape});
    shard_.emplace(folder_.path() / shard_name(shard_of_[next_]), std::move(declarations),
                   std::map<std::string, std::string>{{"format", "pt"}});
  }
  left_ = *safetensors::element_count(tensors_[next_].shape);
  ++next_;
}

LODESTONE_INLINE void pretrained_writer::write_index() {
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = total_bytes_;
  std::map<std::string, std::string> map;
  for (std::size_t i = 0; i < tensors_.size(); ++i) map.emplace(tensors_[i].name, shard_name(shard_of_[i]));
  index["weight_map"] = map;
  atomic_file file(folder_.path() / "model.safetensors.index.json");
  file.write(index.dump(2) + "\n");
  file.commit();
}

LODESTONE_INLINE std::size_t pretrained_writer::next_piece(std::size_t count) {
  while (left_ == 0) next_tensor();
  constexpr std::size_t piece = 1U << 16;
  return std::min({count, static_cast<std::size_t>(left_), piece});
}

LODESTONE_INLINE void pretrained_writer::write_piece(std::size_t count) {
  shard_->write(buffer_);
  left_ -= static_cast<std::int64_t>(count);
}

}  // namespace lodestone
