// Weights from a model folder into a parameter store, and back into a folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/pretrained.hpp>
#include <lodestone/checkpoint/pretrained_writer.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/stored_tensors.hpp>

namespace lodestone::parameters {

/// Fills a store with the weights of `source`; adapters stay as they are. Throws format_error, before anything is
/// changed, unless the source holds every tensor in its shape and nothing else (check_tensors). A tied model may keep
/// its one matrix under the head's name.
template <class Store>
void load_weights(Store& store, const tensor_source& source) {
  using element = typename Store::accumulate_type;
  const model_config& config = store.config();
  check_tensors(source, config);
  const std::vector<named_tensor> expected = tensor_names_in(source, config);
  std::vector<element> elements;
  std::size_t next = 0;
  for (const stored_tensor& tensor : stored_tensors(store)) {
    if (is_adapter(tensor.kind)) continue;
    elements.resize(static_cast<std::size_t>(tensor.count));
    convert_elements(source.at(expected[next++].name), std::span<element>{elements});
    store.set_weights(tensor, std::span<const element>{elements});
  }
}

/// How a folder is loaded.
struct load_options {
  purpose use = purpose::training;       ///< inference: no gradients and moments
  std::optional<model_config> config{};  ///< in place of the folder's, e.g. with another RoPE base
  int threads = 0;                       ///< of a host backend; 0: all cores
  int device = 0;                        ///< of a GPU backend
  trained_parts trained{};                ///< with adapters: initialised with seed 0
};

/// The model folder `folder` in a replicated store:
///
///     auto weights = parameters::load<host<float>>(folder, communicator);
///     llama<host<float>, blocked_attention> model{weights.config(), weights};
///
/// The communicator must outlive the store. Throws io_error, format_error and config_error as reading the folder does.
template <class Backend>
[[nodiscard]] replicated<Backend> load(const std::filesystem::path& folder, dist::any_communicator group = {},
                                       const load_options& options = {}) {
  constexpr bool on_host = std::is_same_v<typename Backend::space, host_memory>;
  replicated<Backend> store(options.config ? *options.config : read_model_config(folder),
                            std::make_unique<Backend>(on_host ? options.threads : options.device), options.use, group,
                            options.trained);
  load_weights(store, tensor_source(folder));
  initialise_adapters(store, 0);
  return store;
}

/// Writes the store's weights, without adapters, as a model folder whose other files come from `source`, the folder it
/// was loaded from. The folder appears complete or not at all. Throws io_error, config_error and format_error as
/// pretrained_writer does.
template <class Store>
void save_folder(Store& store, const std::filesystem::path& folder, const std::filesystem::path& source,
                 const export_options& options = {}) {
  pretrained_writer writer(folder, source, store.config(), options);
  for (const stored_tensor& tensor : stored_tensors(store)) {
    if (is_adapter(tensor.kind)) continue;
    store.acquire(tensor.unit);
    const auto view = store.weights(tensor.unit).rows(tensor.offset, tensor.offset + tensor.count);
    const auto values = store.backend().to_host(view);
    writer.write(std::span<const typename Store::value_type>{values.flat()});
    store.release(tensor.unit);
  }
  writer.commit();
}

}  // namespace lodestone::parameters
