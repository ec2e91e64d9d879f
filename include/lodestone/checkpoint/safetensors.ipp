// Definitions of safetensors.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include <lodestone/checkpoint/json.hpp>
#include <lodestone/checkpoint/safetensors.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::safetensors {

LODESTONE_INLINE std::string to_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  return text + "]";
}

LODESTONE_INLINE std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  return product;
}

LODESTONE_INLINE std::optional<std::uint64_t> byte_count(dtype type, std::span<const std::int64_t> shape) {
  const auto count = element_count(shape);
  std::uint64_t bytes = 0;
  if (!count || __builtin_mul_overflow(static_cast<std::uint64_t>(*count), size_of(type), &bytes)) return std::nullopt;
  return bytes;
}

namespace detail {

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

LODESTONE_INLINE header read_header(std::span<const std::byte> bytes, const std::string& file) {
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

LODESTONE_INLINE file::file(const std::filesystem::path& name) : mapping_(name) {
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

LODESTONE_INLINE const entry* file::find(std::string_view name) const {
  const auto key = [&](std::size_t i) -> std::string_view { return entries_[i].name; };
  const auto found = std::ranges::lower_bound(by_name_, name, {}, key);
  return found != by_name_.end() && entries_[*found].name == name ? &entries_[*found] : nullptr;
}

LODESTONE_INLINE const entry& file::at(std::string_view name) const {
  if (const entry* found = find(name)) return *found;
  throw format_error("no tensor '" + std::string(name) + "'", mapping_.name().string());
}

LODESTONE_INLINE writer::writer(std::filesystem::path final_name, std::vector<declaration> declarations,
                                const std::map<std::string, std::string>& metadata)
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

LODESTONE_INLINE void writer::write(std::span<const std::byte> bytes) {
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

LODESTONE_INLINE void writer::commit() {
  if (current_ != parts_.size())
    throw format_error("fewer bytes are written than were declared", file_.name().string());
  file_.commit();
}

LODESTONE_INLINE void writer::enter(std::size_t index) {
  while (index < parts_.size() && parts_[index].size == 0) ++index;
  current_ = index;
  written_ = 0;
  if (index < parts_.size()) file_.seek(data_begin_ + parts_[index].offset);
}

}  // namespace lodestone::safetensors

