// Writing a Hugging Face model folder: sharded safetensors, an edited config.json, and the tokenizer as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/checkpoint/convert.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/folder.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/names.hpp>

namespace lodestone {

/// How a model folder is written.
struct export_options {
  dtype type = dtype::bf16;                            ///< of every tensor; a floating-point one
  std::uint64_t shard_bytes = 5'000'000'000;           ///< a shard ends before it would pass this
  existing_folder existing = existing_folder::refuse;  ///< replace: only a folder that holds a config.json
};

/// Writes a model folder whose tensors arrive one after the other, in the order of `tensors`.
///
/// The folder appears under its name only with commit(), complete: model.safetensors, or model-0000i-of-0000n with
/// model.safetensors.index.json; config.json of `source` with only the changed keys edited; the tokenizer, chat
/// templates, generation_config.json, remote code and licences of `source` byte for byte.
class pretrained_writer {
 public:
  /// `config` may differ from the source's config.json as edited_model_config allows. Throws io_error when `folder`
  /// exists and must not be replaced (or is no model folder), config_error, format_error.
  pretrained_writer(const std::filesystem::path& folder, const std::filesystem::path& source,
                    const model_config& config, std::vector<named_tensor> tensors, export_options options = {});
  /// The same for all tensors of the model.
  pretrained_writer(const std::filesystem::path& folder, const std::filesystem::path& source,
                    const model_config& config, export_options options = {});

  /// The tensors in the order in which they are written.
  [[nodiscard]] const std::vector<named_tensor>& tensors() const { return tensors_; }

  /// The next elements, which are rounded to the folder's element type. A call may end inside a tensor or run over
  /// several. Throws format_error for too many, and io_error.
  template <class T>
  void write(std::span<const T> values) {
    while (!values.empty()) {
      const std::size_t count = next_piece(values.size());
      store_elements(values.first(count), options_.type, buffer_);
      write_piece(count);
      values = values.subspan(count);
    }
  }

  /// Publishes the folder. Throws format_error when elements are missing, and io_error.
  void commit();

 private:
  [[nodiscard]] static std::filesystem::path checked(const std::filesystem::path& folder,
                                                     const export_options& options);

  void write_config(const std::filesystem::path& source, const model_config& config);

  void plan_shards();

  [[nodiscard]] std::string shard_name(std::size_t shard) const;

  void next_tensor();

  /// How many of `count` elements are converted at once: those of one tensor, and not too many.
  [[nodiscard]] std::size_t next_piece(std::size_t count);
  /// Writes buffer_, which holds `count` elements.
  void write_piece(std::size_t count);

  void write_index();

  export_options options_;
  atomic_folder folder_;
  std::vector<named_tensor> tensors_;
  std::vector<std::size_t> shard_of_;
  std::size_t shard_count_ = 0;
  std::uint64_t total_bytes_ = 0;
  std::optional<safetensors::writer> shard_;
  std::size_t next_ = 0;   ///< first tensor that is not begun
  std::int64_t left_ = 0;  ///< elements missing from tensor next_ - 1
  std::vector<std::byte> buffer_;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/pretrained_writer.ipp>
#endif
