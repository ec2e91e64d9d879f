// The safetensors format: memory-mapped reading that trusts nothing, and crash-safe writing.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and is mapped as it is");

namespace lodestone::safetensors {

/// Longest header that is read or written, in bytes: the limit of the reference implementation.
inline constexpr std::uint64_t longest_header = 100'000'000;

/// Data begins at a multiple of this many bytes in the files written here.
inline constexpr std::uint64_t data_alignment = 64;

/// One tensor of a file. `bytes` points into the file's mapping, in row-major order, and lives as long as the file.
struct entry {
  std::string name;                  ///< unique in the file
  dtype type = dtype::f32;           ///< of the elements
  std::vector<std::int64_t> shape;   ///< outermost axis first; empty for a single number
  std::span<const std::byte> bytes;  ///< those of element_count(shape) elements
};

/// A tensor that a file is going to hold.
struct declaration {
  std::string name;                 ///< UTF-8, unique, not "__metadata__"
  dtype type = dtype::f32;          ///< of the elements
  std::vector<std::int64_t> shape;  ///< outermost axis first; empty for a single number
};

/// "[2, 3]", for messages.
[[nodiscard]] std::string to_string(std::span<const std::int64_t> shape);

/// Number of elements of a shape; empty when a size is negative or the product passes 2^63.
[[nodiscard]] std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape);

/// Bytes of a tensor; empty on overflow.
[[nodiscard]] std::optional<std::uint64_t> byte_count(dtype type, std::span<const std::int64_t> shape);

namespace detail {

/// What a header says; offsets count from the first byte after the header.
struct header {
  struct range {
    std::string name;
    dtype type = dtype::f32;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  std::vector<range> tensors;  ///< by ascending offset, without holes or overlap, covering all the data
  std::map<std::string, std::string> metadata;
  std::uint64_t data_begin = 0;  ///< offset of the data in the file
};

/// Parses and checks a whole file; throws format_error as `file` promises.
[[nodiscard]] header read_header(std::span<const std::byte> bytes, const std::string& file);

}  // namespace detail

/// A safetensors file, memory-mapped: nothing is read before it is touched.
///
/// The constructor throws io_error when the file cannot be opened and format_error unless the header is a JSON object
/// within 100,000,000 bytes without duplicate names, and the tensors, each of a known type and as long as its shape
/// says, cover the data without hole, overlap or rest: the rules of the reference implementation, and no duplicates.
class file {
 public:
  /// Opens and checks the file; only the header is read.
  explicit file(const std::filesystem::path& name);

  /// The tensors in the order of their data.
  [[nodiscard]] const std::vector<entry>& entries() const { return entries_; }

  /// The tensor of that name, or null.
  [[nodiscard]] const entry* find(std::string_view name) const;

  /// The tensor of that name; throws format_error that names it.
  [[nodiscard]] const entry& at(std::string_view name) const;

  /// The file's own strings ("__metadata__").
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The file's path.
  [[nodiscard]] const std::filesystem::path& name() const { return mapping_.name(); }

  /// The elements of a tensor as T, without a copy. Throws format_error when the tensor is missing, has another
  /// element type, or lies at an address that T cannot have (files of other writers; convert_elements copies those).
  template <class T>
  [[nodiscard]] std::span<const T> values(std::string_view tensor) const {
    const entry& found = at(tensor);
    const std::string where = mapping_.name().string() + ": tensor '" + found.name + "'";
    if (found.type != dtype_of<T>)
      throw format_error(
          "has element type " + std::string(name_of(found.type)) + " instead of " + std::string(name_of(dtype_of<T>)),
          where);
    if (reinterpret_cast<std::uintptr_t>(found.bytes.data()) % alignof(T) != 0)
      throw format_error("is not aligned to its element size", where, "write the file again with this library");
    return {reinterpret_cast<const T*>(found.bytes.data()), found.bytes.size() / sizeof(T)};
  }

 private:
  mapped_file mapping_;
  std::vector<entry> entries_;
  std::vector<std::size_t> by_name_;  ///< indices of entries_ in order of names
  std::map<std::string, std::string> metadata_;
};

/// Writes a safetensors file whose tensors are known beforehand; their bytes come in the order of the declarations.
///
/// In the file, wider element types come first (the order of declarations otherwise), so that every tensor is aligned
/// to its element size and the first one to 64 bytes. The file appears under its name only with commit().
class writer {
 public:
  /// Throws shape_error for a negative or overflowing shape, format_error for a name that is repeated, reserved or not
  /// UTF-8 or for a header past 100,000,000 bytes, and io_error when the file cannot be created.
  writer(std::filesystem::path final_name, std::vector<declaration> declarations,
         const std::map<std::string, std::string>& metadata = {});

  /// The next bytes, in the order of the declarations; a call may end inside a tensor or run over several. Throws
  /// format_error for more bytes than were declared, and io_error.
  void write(std::span<const std::byte> bytes);

  /// The next elements; their type is not checked against the declaration.
  template <class T>
  void write_values(std::span<const T> values) {
    write(std::as_bytes(values));
  }

  /// Publishes the file. Throws format_error when declared bytes are missing, and io_error.
  void commit();

 private:
  struct part {
    std::uint64_t offset = 0;  ///< from data_begin_
    std::uint64_t size = 0;
  };

  /// Moves to the first tensor from `index` on that has bytes.
  void enter(std::size_t index);

  atomic_file file_;
  std::vector<part> parts_;  ///< in the order of the declarations
  std::uint64_t data_begin_ = 0;
  std::size_t current_ = 0;
  std::uint64_t written_ = 0;  ///< bytes of the current tensor
};

}  // namespace lodestone::safetensors

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/safetensors.ipp>
#endif
