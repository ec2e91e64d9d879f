// The safetensors format: memory-mapped reading that trusts nothing, and crash-safe writing.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <lodestone/checkpoint/json.hpp>
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
  std::string name;
  dtype type = dtype::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// A tensor that a file is going to hold.
struct declaration {
  std::string name;
  dtype type = dtype::f32;
  std::vector<std::int64_t> shape;
};

/// "[2, 3]", for messages.
[[nodiscard]] inline std::string to_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  return text + "]";
}

/// Number of elements of a shape; empty when a size is negative or the product passes 2^63.
[[nodiscard]] inline std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  return product;
}

/// Bytes of a tensor; empty on overflow.
[[nodiscard]] inline std::optional<std::uint64_t> byte_count(dtype type, std::span<const std::int64_t> shape) {
  const auto count = element_count(shape);
  std::uint64_t bytes = 0;
  if (!count || __builtin_mul_overflow(static_cast<std::uint64_t>(*count), size_of(type), &bytes)) return std::nullopt;
  return bytes;
}

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

[[nodiscard]] inline header::range read_range(const std::string& name, const nlohmann::json& item,
                                              const std::string& file) {
  const auto fail = [&](const std::string& what) { return format_error(what, file + ": tensor '" + name + "'"); };
  const auto member = [&](const char* key) -> const nlohmann::json& {
    const auto found = item.is_object() ? item.find(key) : item.end();
    if (found == item.end()) throw fail(std::string("no '") + key + "'");
    return *found;
  };
  const auto number = [&](const nlohmann::json& value, const char* key) {
    if (!value.is_number_unsigned()) throw fail(std::string("'") + key + "' holds something that is not a size");
    return value.get<std::uint64_t>();
  };
  header::range result;
  result.name = name;
  const nlohmann::json& type = member("dtype");
  if (!type.is_string()) throw fail("'dtype' is not a string");
  const auto known = dtype_from_name(type.get_ref<const std::string&>());
  if (!known)
    throw format_error("the element type " + type.get<std::string>() + " is not supported",
                       file + ": tensor '" + name + "'", "convert the tensor to F32, F16 or BF16");
  result.type = *known;
  const nlohmann::json& shape = member("shape");
  if (!shape.is_array()) throw fail("'shape' is not an array");
  for (const nlohmann::json& size : shape) {
    const std::uint64_t value = number(size, "shape");
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      throw fail("a size in 'shape' passes 2^63");
    result.shape.push_back(static_cast<std::int64_t>(value));
  }
  const nlohmann::json& offsets = member("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) throw fail("'data_offsets' is not a pair");
  result.begin = number(offsets[0], "data_offsets");
  result.end = number(offsets[1], "data_offsets");
  if (result.begin > result.end) throw fail("'data_offsets' ends before it begins");
  const auto bytes = byte_count(result.type, result.shape);
  if (!bytes) throw fail("the product of the shape " + to_string(result.shape) + " passes 2^63");
  if (result.end - result.begin != *bytes)
    throw fail("'data_offsets' spans " + std::to_string(result.end - result.begin) + " bytes, but " +
               std::string(name_of(result.type)) + " " + to_string(result.shape) + " takes " + std::to_string(*bytes));
  return result;
}

/// Parses and checks a whole file; throws format_error as `file` promises.
[[nodiscard]] inline header read_header(std::span<const std::byte> bytes, const std::string& file) {
  constexpr std::string_view again = "the file is incomplete or damaged: download or copy it again";
  if (bytes.size() < 8) throw format_error("shorter than the 8 bytes of a safetensors header length", file, again);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > longest_header)
    throw format_error("the header length " + std::to_string(length) + " passes the limit of 100,000,000", file,
                       "this is not a safetensors file, or it is damaged");
  if (length > bytes.size() - 8)
    throw format_error("the header takes " + std::to_string(length) + " bytes, the file has only " +
                           std::to_string(bytes.size() - 8) + " after its length",
                       file, again);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<std::size_t>(length));
  const auto json = lodestone::detail::parse_json(text, file);
  if (!json.is_object()) throw format_error("the header is not a JSON object", file);

  header result;
  result.data_begin = 8 + length;
  for (const auto& [name, item] : json.items()) {
    if (name != "__metadata__") {
      result.tensors.push_back(read_range(name, item, file));
      continue;
    }
    if (item.is_null()) continue;
    if (!item.is_object()) throw format_error("'__metadata__' is not an object", file);
    for (const auto& [key, value] : item.items()) {
      if (!value.is_string()) throw format_error("'__metadata__' value of '" + key + "' is not a string", file);
      result.metadata.emplace(key, value.template get<std::string>());
    }
  }
  std::ranges::sort(result.tensors, [](const header::range& a, const header::range& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t reached = 0;
  const std::uint64_t available = bytes.size() - result.data_begin;
  for (const header::range& tensor : result.tensors) {
    const std::string where = file + ": tensor '" + tensor.name + "'";
    if (tensor.begin < reached) throw format_error("overlaps the tensor before it", where);
    if (tensor.begin > reached) throw format_error("unused bytes lie before it", where);
    if (tensor.end > available)
      throw format_error("needs data up to byte " + std::to_string(tensor.end) + " of " + std::to_string(available),
                         where, again);
    reached = tensor.end;
  }
  if (reached != available)
    throw format_error(std::to_string(available - reached) + " bytes after the last tensor", file, again);
  return result;
}

}  // namespace detail

/// A safetensors file, memory-mapped: nothing is read before it is touched.
///
/// The constructor throws io_error when the file cannot be opened and format_error unless the header is a JSON object
/// within 100,000,000 bytes without duplicate names, and the tensors, each of a known type and as long as its shape
/// says, cover the data without hole, overlap or rest: the rules of the reference implementation, and no duplicates.
class file {
 public:
  explicit file(const std::filesystem::path& name) : mapping_(name) {
    detail::header header = detail::read_header(mapping_.bytes(), name.string());
    metadata_ = std::move(header.metadata);
    for (detail::header::range& tensor : header.tensors)
      entries_.push_back({std::move(tensor.name), tensor.type, std::move(tensor.shape),
                          mapping_.bytes().subspan(static_cast<std::size_t>(header.data_begin + tensor.begin),
                                                   static_cast<std::size_t>(tensor.end - tensor.begin))});
    by_name_.resize(entries_.size());
    for (std::size_t i = 0; i < by_name_.size(); ++i) by_name_[i] = i;
    std::ranges::sort(by_name_, {}, [&](std::size_t i) -> std::string_view { return entries_[i].name; });
  }

  /// The tensors in the order of their data.
  [[nodiscard]] const std::vector<entry>& entries() const { return entries_; }

  /// The tensor of that name, or null.
  [[nodiscard]] const entry* find(std::string_view name) const {
    const auto key = [&](std::size_t i) -> std::string_view { return entries_[i].name; };
    const auto found = std::ranges::lower_bound(by_name_, name, {}, key);
    return found != by_name_.end() && entries_[*found].name == name ? &entries_[*found] : nullptr;
  }

  /// The tensor of that name; throws format_error that names it.
  [[nodiscard]] const entry& at(std::string_view name) const {
    if (const entry* found = find(name)) return *found;
    throw format_error("no tensor '" + std::string(name) + "'", mapping_.name().string());
  }

  /// The file's own strings ("__metadata__").
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

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
         const std::map<std::string, std::string>& metadata = {})
      : file_(std::move(final_name)) {
    const std::string where = file_.name().string();
    std::vector<std::size_t> order(declarations.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, std::ranges::greater{},
                             [&](std::size_t i) { return size_of(declarations[i].type); });
    std::set<std::string_view> names;
    std::uint64_t offset = 0;
    parts_.resize(declarations.size());
    std::string header = "{";
    try {
      if (!metadata.empty()) header += "\"__metadata__\":" + nlohmann::json(metadata).dump() + ",";
      for (const std::size_t i : order) {
        const declaration& tensor = declarations[i];
        const auto bytes = byte_count(tensor.type, tensor.shape);
        std::uint64_t end = 0;
        if (!bytes || __builtin_add_overflow(offset, *bytes, &end))
          throw shape_error("the shape " + to_string(tensor.shape) + " is negative or too large", tensor.name);
        if (tensor.name == "__metadata__") throw format_error("the tensor name '__metadata__' is reserved", where);
        if (!names.insert(tensor.name).second)
          throw format_error("the tensor '" + tensor.name + "' is declared twice", where);
        header += nlohmann::json(tensor.name).dump() + ":{\"dtype\":\"" + std::string(name_of(tensor.type)) +
                  "\",\"shape\":" + nlohmann::json(tensor.shape).dump() + ",\"data_offsets\":[" +
                  std::to_string(offset) + "," + std::to_string(end) + "]},";
        parts_[i] = {offset, *bytes};
        offset = end;
      }
    } catch (const nlohmann::json::exception&) {
      throw format_error("a tensor name or a metadata string is not valid UTF-8", where);
    }
    if (header.back() == ',') header.pop_back();
    header += "}";
    data_begin_ = (8 + header.size() + data_alignment - 1) / data_alignment * data_alignment;
    header.resize(static_cast<std::size_t>(data_begin_) - 8, ' ');
    const std::uint64_t length = header.size();
    if (length > longest_header)
      throw format_error("a header of " + std::to_string(length) + " bytes passes the limit of 100,000,000", where,
                         "split the tensors over several files");
    file_.write(std::as_bytes(std::span(&length, 1)));
    file_.write(header);
    enter(0);
  }

  /// The next bytes, in the order of the declarations; a call may end inside a tensor or run over several. Throws
  /// format_error for more bytes than were declared, and io_error.
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      if (current_ == parts_.size())
        throw format_error("more bytes are written than were declared", file_.name().string());
      const std::size_t piece =
          static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), parts_[current_].size - written_));
      file_.write(bytes.first(piece));
      written_ += piece;
      bytes = bytes.subspan(piece);
      if (written_ == parts_[current_].size) enter(current_ + 1);
    }
  }

  /// The next elements; their type is not checked against the declaration.
  template <class T>
  void write_values(std::span<const T> values) {
    write(std::as_bytes(values));
  }

  /// Publishes the file. Throws format_error when declared bytes are missing, and io_error.
  void commit() {
    if (current_ != parts_.size())
      throw format_error("fewer bytes are written than were declared", file_.name().string());
    file_.commit();
  }

 private:
  struct part {
    std::uint64_t offset = 0;  ///< from data_begin_
    std::uint64_t size = 0;
  };

  /// Moves to the first tensor from `index` on that has bytes.
  void enter(std::size_t index) {
    while (index < parts_.size() && parts_[index].size == 0) ++index;
    current_ = index;
    written_ = 0;
    if (index < parts_.size()) file_.seek(data_begin_ + parts_[index].offset);
  }

  atomic_file file_;
  std::vector<part> parts_;  ///< in the order of the declarations
  std::uint64_t data_begin_ = 0;
  std::size_t current_ = 0;
  std::uint64_t written_ = 0;  ///< bytes of the current tensor
};

}  // namespace lodestone::safetensors
