// Tensors of pytorch_model.bin files, read by a pickle subset that runs no code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/checkpoint/pickle_machine.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>

namespace lodestone::pickle {

/// The bytes of a file of torch.save (PyTorch 1.6 or later) that holds a dictionary from names to tensors.
///
/// Entries point into the bytes, which must outlive them; tensors that are not contiguous there are copied once.
/// Globals other than OrderedDict, the rebuilding of tensors and parameters, and the storage types are refused without
/// being looked at. Throws format_error with three lines of Python that convert the file for everything else.
class archive {
 public:
  /// `name` stands in messages and in the commands that convert the file.
  archive(std::span<const std::byte> bytes, const std::filesystem::path& name);

  /// The tensors in the order of the dictionary.
  [[nodiscard]] const std::vector<safetensors::entry>& entries() const { return entries_; }

 private:
  template <class Parts>
  [[nodiscard]] static std::string root_of(const Parts& parts, const std::string& where,
                                           const std::filesystem::path& name) {
    for (const auto& [entry, bytes] : parts)
      if (entry.ends_with("/data.pkl")) return entry.substr(0, entry.size() - 8);
    throw format_error("has no data.pkl inside", where, detail::conversion(name));
  }

  [[nodiscard]] safetensors::entry view(std::string_view key, const detail::node& tensor, const detail::node& storage,
                                        std::span<const std::byte> data, const std::string& where);

  [[nodiscard]] static std::vector<std::byte> copy(const detail::node& tensor, std::span<const std::byte> data,
                                                   std::int64_t count, std::int64_t element);

  std::filesystem::path name_;
  std::uint64_t size_ = 0;
  std::vector<safetensors::entry> entries_;
  std::vector<std::vector<std::byte>> copies_;  ///< moving the outer vector leaves the inner buffers where they are
  std::uint64_t copied_ = 0;
};

/// An archive in a memory-mapped file. Throws io_error when it cannot be opened, and as archive does.
class file {
 public:
  /// Maps the file and reads its dictionary.
  explicit file(const std::filesystem::path& name);

  /// The tensors in the order of the dictionary.
  [[nodiscard]] const std::vector<safetensors::entry>& entries() const { return archive_.entries(); }
  [[nodiscard]] const std::filesystem::path& name() const { return mapping_.name(); }  ///< the file's path

 private:
  mapped_file mapping_;
  archive archive_;
};

}  // namespace lodestone::pickle

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/pickle.ipp>
#endif
