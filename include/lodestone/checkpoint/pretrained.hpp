// Tensors of a Hugging Face model folder, whatever form its weights have.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/checkpoint/pickle.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/names.hpp>

namespace lodestone {

/// The weights of a model folder as tensors by name.
///
/// Reads, in this order of preference: model.safetensors; model.safetensors.index.json with its shards (or the complete
/// numbered set without index); pytorch_model.bin; pytorch_model.bin.index.json with its shards. A single .safetensors
/// or .bin file can be given in place of the folder. Files are memory-mapped and stay open; entries live as long as the
/// source, which is move-only. Throws io_error for what cannot be opened and format_error for damaged files, for an
/// index that its files contradict, and for a tensor that two files hold.
class tensor_source {
 public:
  /// Opens a model folder, or one .safetensors or .bin file; throws as the class says.
  explicit tensor_source(const std::filesystem::path& folder);

  /// All names, sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  /// The tensor of that name, or null.
  [[nodiscard]] const safetensors::entry* find(std::string_view name) const;
  /// The tensor of that name; throws format_error that names it.
  [[nodiscard]] const safetensors::entry& at(std::string_view name) const;
  /// As the constructor took it: a folder or a file.
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// Bytes of all tensors.
  [[nodiscard]] std::uint64_t byte_count() const;

 private:
  void open(const std::filesystem::path& name);
  void add(const std::vector<safetensors::entry>& entries, const std::filesystem::path& name);
  /// One file, an index with its shards, or a numbered set of shards; false when there is none.
  [[nodiscard]] bool open_set(const std::filesystem::path& folder, const std::string& stem, const std::string& ending);
  void open_index(const std::filesystem::path& index);

  std::filesystem::path folder_;
  std::deque<safetensors::file> safe_;  ///< elements never move, so entries_ can point into them
  std::deque<pickle::file> pickles_;
  std::map<std::string_view, const safetensors::entry*, std::less<>> entries_;
};

/// Throws format_error unless `source` holds every tensor of `expected` in its shape and a floating-point type, and
/// nothing else but tensors for which `is_ignored(name)`. One message names up to ten of each: missing, of wrong shape,
/// surplus.
void check_tensors(const tensor_source& source, std::span<const named_tensor> expected,
                   const std::function<bool(std::string_view name)>& is_ignored);

/// tensor_names(config) under the names that `source` uses: a tied model may keep its one matrix under the head's name.
[[nodiscard]] std::vector<named_tensor> tensor_names_in(const tensor_source& source, const model_config& config);

/// check_tensors for the tensors of a model; rotary tables and a tied head's copy may be there.
void check_tensors(const tensor_source& source, const model_config& config);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/pretrained.ipp>
#endif
