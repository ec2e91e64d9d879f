// Adapter folders in PEFT's form: read, written, and merged into a full model folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/pretrained.hpp>
#include <lodestone/checkpoint/pretrained_writer.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/stored_tensors.hpp>

namespace lodestone {

/// A PEFT adapter folder: adapter_config.json with adapter_model.safetensors or adapter_model.bin.
///
/// The folder says what is adapted by the tensors it holds, so targets given as a list, an expression or by layer are
/// all understood. Fully trained embeddings, heads and norms (modules_to_save) may be among them. Throws io_error for
/// files that are missing, format_error, naming the tensor or key, for tensors that fit no module of the model or have
/// another shape, and config_error for kinds of adapters whose arithmetic is another: DoRA, ranks or alphas that differ
/// between modules, trained biases, PiSSA and the like, which change the base weights too.
class adapter_source {
 public:
  /// Reads the adapter in `folder` for a model of this configuration.
  adapter_source(const std::filesystem::path& folder, const model_config& config);

  /// The adapters, with the modules by their full names as targets; embeddings and norms are true where the folder
  /// holds some in full.
  [[nodiscard]] const trained_parts& parts() const { return parts_; }
  /// The tensor that belongs to one of the model ("model.layers.0.self_attn.q_proj.lora_A.weight", "lm_head.weight"),
  /// or null when the folder does not hold it.
  [[nodiscard]] const safetensors::entry* find(std::string_view name) const;
  /// Whether the base ties its head to the embedding and the adapter has one of them only, or two that differ.
  [[nodiscard]] bool unties() const;
  /// Where it was read from.
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  void read_config(const std::string& where);
  void match(const model_config& config, const std::string& where);

  std::filesystem::path folder_;
  std::unique_ptr<tensor_source> tensors_;
  trained_parts parts_;
  bool keeps_tie_ = false;  ///< PEFT's ensure_weight_tying: the embedding that it holds is the head too
  bool unties_ = false;
};

/// Writes adapter tensors one after the other into a folder that PEFT reads (PeftModel.from_pretrained). The folder
/// appears complete or not at all.
class adapter_writer {
 public:
  /// `tensors` are the trained tensors by their names in the model, in the order in which they are written; `base` is
  /// what base_model_name_or_path says. Throws io_error when `folder` exists and must not be replaced, or is no
  /// adapter.
  adapter_writer(const std::filesystem::path& folder, const std::string& base, const model_config& config,
                 const adapter_config& adapters, const std::vector<stored_tensor>& tensors,
                 const export_options& options);

  /// The next elements, rounded to the folder's element type. Throws format_error for too many, and io_error.
  template <class T>
  void write(std::span<const T> values) {
    store_elements(values, type_, buffer_);
    write_buffer();
  }

  /// Publishes the folder. Throws format_error when elements are missing, and io_error.
  void commit();

 private:
  void write_buffer();

  dtype type_;
  atomic_folder folder_;
  std::unique_ptr<safetensors::writer> tensors_;
  std::vector<std::byte> buffer_;
};

/// W' = W + scale B A for every adapted tensor of the model folder `base`, written as the model folder `target`; sums
/// in float, rounded once. Embeddings, heads and norms that the adapter holds in full replace the base's; an adapter
/// that unties() gives an untied model. Throws what reading and writing folders throws.
void merge_adapter(const std::filesystem::path& base, const std::filesystem::path& adapter,
                   const std::filesystem::path& target, const export_options& options, thread_pool& pool);

namespace parameters {

/// Puts the adapters of a folder, and what it holds in full, into a store that was made with such adapters. Throws
/// config_error when rank, scale or targets are not those of the store, and for a tied model whose embedding and head
/// the folder holds apart.
template <class Store>
void load_adapter(Store& store, const adapter_source& source) {
  using element = typename Store::accumulate_type;
  const std::string where = source.folder().string();
  const adapter_config& own = store.trained().adapters;
  const adapter_config& other = source.parts().adapters;
  if (own.rank != other.rank || own.scale() != other.scale())
    throw config_error("rank or scale is not that of the adapters that are trained", where,
                       "train with the rank and alpha of the folder");
  if (source.unties())
    throw config_error("holds an embedding and a head apart, which the base model ties", where,
                       "merge it into a model folder first (lodestone merge), which unties them");
  std::vector<element> elements;
  for (const stored_tensor& tensor : stored_tensors(store)) {
    const safetensors::entry* found = source.find(tensor.name);
    if (is_adapter(tensor.kind) && found == nullptr)
      throw config_error("has no adapter for " + std::string(module_of(module_of(tensor.name))), where,
                         "choose the targets that the folder has");
    if (found == nullptr) continue;
    elements.resize(static_cast<std::size_t>(tensor.count));
    convert_elements(*found, std::span<element>{elements});
    store.set_weights(tensor, std::span<const element>{elements});
  }
  std::size_t adapted = 0;
  for (const stored_tensor& tensor : stored_tensors(store)) adapted += is_adapter_input(tensor.kind) ? 1 : 0;
  if (adapted != other.targets.size())
    throw config_error("adapts " + std::to_string(other.targets.size()) + " modules, the model has adapters for " +
                       std::to_string(adapted), where, "choose the targets that the folder has");
}

/// Writes everything that the store trains as an adapter folder, in float unless `options.type` says otherwise; a tied
/// embedding under both of its names, as PEFT keeps it. Throws config_error when weights of linear layers are trained
/// too, which no adapter can hold.
template <class Store>
void save_adapter(Store& store, const std::filesystem::path& folder, const std::string& base,
                  const export_options& options = {.type = dtype::f32}) {
  if (store.trained().projections)
    throw config_error("the weights of linear layers are trained in full", folder.string(),
                       "write a model folder instead");
  std::vector<stored_tensor> tensors;
  for (stored_tensor& tensor : stored_tensors(store)) {
    if (!is_adapter(tensor.kind) && !tensor.is_trained) continue;
    tensors.push_back(tensor);
    if (tensor.kind != parameter::embedding || !store.config().tied_head) continue;
    tensor.name = row_blocks(untied(store.config()), parameter::head_weight).front().name;
    tensors.push_back(std::move(tensor));
  }
  adapter_writer writer(folder, base, store.config(), store.trained().adapters, tensors, options);
  for (const stored_tensor& tensor : tensors) {
    store.acquire(tensor.unit);
    if (tensor.is_trained) {
      const auto part = store.owned(tensor.unit);
      const auto values = store.backend().to_host(
          part.master.rows(tensor.gradient_offset, tensor.gradient_offset + tensor.count));
      writer.write(std::span<const typename Store::accumulate_type>{values.flat()});
    } else {
      const auto values =
          store.backend().to_host(store.weights(tensor.unit).rows(tensor.offset, tensor.offset + tensor.count));
      writer.write(std::span<const typename Store::value_type>{values.flat()});
    }
    store.release(tensor.unit);
  }
  writer.commit();
}

}  // namespace parameters
}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/adapter.ipp>
#endif
