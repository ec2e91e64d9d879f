// Tensors of a Hugging Face model folder, whatever form its weights have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/pickle.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/error.hpp>
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
template <class IsIgnored>
void check_tensors(const tensor_source& source, std::span<const named_tensor> expected, const IsIgnored& is_ignored) {
  std::vector<std::string> missing;
  std::vector<std::string> wrong;
  std::vector<std::string> surplus;
  std::set<std::string_view> wanted;
  for (const named_tensor& tensor : expected) {
    wanted.insert(tensor.name);
    const safetensors::entry* found = source.find(tensor.name);
    if (found == nullptr) {
      missing.push_back(tensor.name);
    } else if (found->shape != tensor.shape) {
      wrong.push_back(tensor.name + " is " + safetensors::to_string(found->shape) + " instead of " +
                      safetensors::to_string(tensor.shape));
    } else if (found->type != dtype::f64 && found->type != dtype::f32 && found->type != dtype::f16 &&
               found->type != dtype::bf16) {
      wrong.push_back(tensor.name + " has the element type " + std::string(name_of(found->type)));
    }
  }
  for (std::string& name : source.names())
    if (!wanted.contains(name) && !is_ignored(name)) surplus.push_back(std::move(name));
  if (missing.empty() && wrong.empty() && surplus.empty()) return;
  std::string what = "the weights contradict config.json:";
  const auto list = [&](const char* title, const std::vector<std::string>& items) {
    if (items.empty()) return;
    what += "\n  " + std::string(title) + " (" + std::to_string(items.size()) + "):";
    constexpr std::size_t shown = 10;
    for (std::size_t i = 0; i < items.size() && i < shown; ++i) what += "\n    " + items[i];
    if (items.size() > shown) what += "\n    ...";
  };
  list("missing", missing);
  list("wrong", wrong);
  list("surplus", surplus);
  throw format_error(what, source.folder().string(), "check that config.json and the weights belong together");
}

/// tensor_names(config) under the names that `source` uses: a tied model may keep its one matrix under the head's name.
[[nodiscard]] std::vector<named_tensor> tensor_names_in(const tensor_source& source, const model_config& config);

/// check_tensors for the tensors of a model; rotary tables and a tied head's copy may be there.
void check_tensors(const tensor_source& source, const model_config& config);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/pretrained.ipp>
#endif
