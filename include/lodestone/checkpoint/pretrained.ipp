// Definitions of pretrained.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/json.hpp>
#include <lodestone/checkpoint/pretrained.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

namespace detail {

/// The files that an index (weight_map) names, as sorted distinct names within the folder.
[[nodiscard]] inline std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const std::string where = index.string();
  const nlohmann::json json = parse_json(read_text(index), where);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object()) throw format_error("no 'weight_map' object", where);
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : map->items()) {
    const auto name = file.is_string() ? file.template get<std::string>() : std::string{};
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      throw format_error("its file is not a name within the folder: " + file.dump(), where + ": '" + tensor + "'");
    result.emplace(tensor, name);
  }
  if (result.empty()) throw format_error("an empty 'weight_map'", where);
  return result;
}

/// Files "STEM-00001-of-0000N.ENDING" of a folder without index, all N of them; empty when there is none.
[[nodiscard]] inline std::vector<std::filesystem::path> numbered_shards(const std::filesystem::path& folder,
                                                                        const std::string& stem,
                                                                        const std::string& ending) {
  std::vector<std::filesystem::path> shards;
  std::string count;
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (!name.starts_with(stem + "-") || !name.ends_with(ending) || name.find("-of-") == std::string::npos) continue;
    const std::size_t of = name.find("-of-") + 4;
    const std::string total = name.substr(of, name.size() - ending.size() - of);
    if (total.empty() || total.size() > 6 || total.find_first_not_of("0123456789") != std::string::npos) continue;
    if (!count.empty() && count != total)
      throw format_error("holds shards of two different sets", folder.string(),
                         "keep the " + ending + " files of one set");
    count = total;
    shards.push_back(item.path());
  }
  if (!shards.empty() && shards.size() != std::stoul(count))
    throw format_error("holds " + std::to_string(shards.size()) + " of " + std::to_string(std::stoul(count)) +
                           " files " + stem + "-*" + ending,
                       folder.string(), "download the missing ones");
  std::ranges::sort(shards);
  return shards;
}

}  // namespace detail

LODESTONE_INLINE tensor_source::tensor_source(const std::filesystem::path& folder) : folder_(folder) {
  if (!std::filesystem::exists(folder)) throw io_error("no such folder", folder.string(), "check the path");
  if (!std::filesystem::is_directory(folder))
    open(folder);
  else if (!open_set(folder, "model", ".safetensors") && !open_set(folder, "pytorch_model", ".bin"))
    throw io_error("holds no model.safetensors, no pytorch_model.bin, and no shards of either", folder.string(),
                   "give a Hugging Face model folder");
}

LODESTONE_INLINE std::vector<std::string> tensor_source::names() const {
  std::vector<std::string> result;
  for (const auto& [name, entry] : entries_) result.emplace_back(name);
  return result;
}

LODESTONE_INLINE const safetensors::entry* tensor_source::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->second;
}

LODESTONE_INLINE const safetensors::entry& tensor_source::at(std::string_view name) const {
  if (const safetensors::entry* found = find(name)) return *found;
  throw format_error("no tensor '" + std::string(name) + "'", folder_.string());
}

LODESTONE_INLINE std::uint64_t tensor_source::byte_count() const {
  std::uint64_t sum = 0;
  for (const auto& [name, entry] : entries_) sum += entry->bytes.size();
  return sum;
}

LODESTONE_INLINE void tensor_source::open(const std::filesystem::path& name) {
  if (name.extension() == ".bin" || name.extension() == ".pt" || name.extension() == ".pth")
    add(pickles_.emplace_back(name).entries(), name);
  else
    add(safe_.emplace_back(name).entries(), name);
}

LODESTONE_INLINE void tensor_source::add(const std::vector<safetensors::entry>& entries,
                                         const std::filesystem::path& name) {
  for (const safetensors::entry& entry : entries)
    if (!entries_.emplace(entry.name, &entry).second)
      throw format_error("the tensor '" + entry.name + "' is in another file too", name.string());
}

LODESTONE_INLINE bool tensor_source::open_set(const std::filesystem::path& folder, const std::string& stem,
                                              const std::string& ending) {
  const std::filesystem::path whole = folder / (stem + ending);
  const std::filesystem::path index = folder / (stem + ending + ".index.json");
  if (std::filesystem::exists(whole)) {
    open(whole);
  } else if (std::filesystem::exists(index)) {
    open_index(index);
  } else {
    const auto shards = detail::numbered_shards(folder, stem, ending);
    for (const std::filesystem::path& shard : shards) open(shard);
    return !shards.empty();
  }
  return true;
}

LODESTONE_INLINE void tensor_source::open_index(const std::filesystem::path& index) {
  const auto map = detail::read_weight_map(index);
  std::set<std::string> files;
  for (const auto& [tensor, file] : map) files.insert(file);
  for (const std::string& file : files) {
    if (!std::filesystem::exists(index.parent_path() / file))
      throw io_error("the shard '" + file + "' is missing", index.string(), "download it");
    open(index.parent_path() / file);
  }
  for (const auto& [tensor, file] : map)
    if (find(tensor) == nullptr)
      throw format_error("no tensor '" + tensor + "'", (index.parent_path() / file).string());
}

LODESTONE_INLINE std::vector<named_tensor> tensor_names_in(const tensor_source& source, const model_config& config) {
  std::vector<named_tensor> names = tensor_names(config);
  constexpr const char* head = "lm_head.weight";
  if (config.tied_head && source.find(names.front().name) == nullptr && source.find(head) != nullptr)
    names.front().name = head;
  return names;
}

LODESTONE_INLINE void check_tensors(const tensor_source& source, std::span<const named_tensor> expected,
                                    const std::function<bool(std::string_view name)>& is_ignored) {
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

LODESTONE_INLINE void check_tensors(const tensor_source& source, const model_config& config) {
  const std::vector<named_tensor> expected = tensor_names_in(source, config);
  check_tensors(source, expected, [&](std::string_view name) { return is_redundant_tensor(config, name); });
}

}  // namespace lodestone
