// Definitions of pickle.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstring>
#include <map>
#include <utility>

#include <lodestone/checkpoint/pickle.hpp>
#include <lodestone/checkpoint/zip.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::pickle {

LODESTONE_INLINE archive::archive(std::span<const std::byte> bytes, const std::filesystem::path& name)
    : name_(name), size_(bytes.size()) {
  const std::string where = name.string();
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "PK\3\4", 4) != 0)
    throw format_error("not in the zip form of torch.save", where, detail::conversion(name));
  const auto parts = zip::read_entries(bytes, where);
  const std::string root = root_of(parts, where, name);
  if (const auto order = parts.find(root + "byteorder"); order != parts.end())
    if (std::string_view(reinterpret_cast<const char*>(order->second.data()), order->second.size()) != "little")
      throw format_error("holds big-endian numbers", where, detail::conversion(name));
  const auto program = parts.find(root + "data.pkl")->second;
  constexpr std::size_t longest_program = std::size_t{1} << 25;  // a thousand tensors take about 150 kB
  if (program.size() > longest_program) throw format_error("the pickle is too long", where, detail::conversion(name));
  detail::machine machine(program, name);
  const detail::node& top = machine.at(machine.run());
  if (top.kind != detail::kind::dictionary) machine.refuse("something else than a dictionary");
  std::map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < top.items.size(); i += 2) {
    const std::string_view key = machine.text_of(top.items[i]);
    const detail::node& value = machine.at(top.items[i + 1]);
    if (value.kind != detail::kind::tensor) machine.refuse("'" + std::string(key) + "', which is no tensor");
    if (!seen.emplace(key, i).second) machine.refuse("the tensor '" + std::string(key) + "' twice");
    const detail::node& storage = machine.at(value.items[0]);
    const auto data = parts.find(root + "data/" + std::string(storage.text));
    const std::string place = where + ": tensor '" + std::string(key) + "'";
    if (data == parts.end()) throw format_error("its data are missing", place, detail::conversion(name));
    entries_.push_back(view(key, value, storage, data->second, place));
  }
}

LODESTONE_INLINE safetensors::entry archive::view(std::string_view key, const detail::node& tensor,
                                                  const detail::node& storage, std::span<const std::byte> data,
                                                  const std::string& where) {
  const auto fail = [&](const char* what) { return format_error(what, where, detail::conversion(name_)); };
  const auto element = static_cast<std::int64_t>(size_of(tensor.type));
  const auto count = safetensors::element_count(tensor.shape);
  const auto available = static_cast<std::int64_t>(data.size()) / element;
  if (storage.integer < 0 || storage.integer > available) throw fail("its data are shorter than the file says");
  if (!count) throw fail("its size passes 2^63");
  safetensors::entry entry{std::string(key), tensor.type, tensor.shape, {}};
  if (*count == 0) return entry;
  std::int64_t last = tensor.integer;  // index of the last element in the storage
  bool is_contiguous = true;
  std::int64_t expected = 1;
  for (std::size_t axis = tensor.shape.size(); axis-- > 0;) {
    const std::int64_t steps = tensor.shape[axis] - 1;
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(steps, tensor.strides[axis], &reach) || __builtin_add_overflow(last, reach, &last))
      throw fail("it reaches outside its data");
    if (steps > 0 && tensor.strides[axis] != expected) is_contiguous = false;
    expected *= tensor.shape[axis];  // at most *count
  }
  if (tensor.integer < 0 || last >= storage.integer) throw fail("it reaches outside its data");
  if (is_contiguous) {
    entry.bytes =
        data.subspan(static_cast<std::size_t>(tensor.integer * element), static_cast<std::size_t>(*count * element));
    return entry;
  }
  // Views with repeated elements, or many views of one storage, could ask for far more memory than the file has.
  copied_ += static_cast<std::uint64_t>(*count) * static_cast<std::uint64_t>(element);
  if (*count > storage.integer || copied_ > size_) throw fail("it repeats elements of its data");
  entry.bytes = copies_.emplace_back(copy(tensor, data, *count, element));
  return entry;
}

LODESTONE_INLINE std::vector<std::byte> archive::copy(const detail::node& tensor, std::span<const std::byte> data,
                                                      std::int64_t count, std::int64_t element) {
  std::vector<std::byte> target(static_cast<std::size_t>(count * element));
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  std::int64_t from = tensor.integer;
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(target.data() + i * element, data.data() + from * element, static_cast<std::size_t>(element));
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (tensor.shape[axis] == 1) continue;  // its stride says nothing and may be anything
      from += tensor.strides[axis];
      if (++index[axis] < tensor.shape[axis]) break;
      from -= tensor.strides[axis] * tensor.shape[axis];
      index[axis] = 0;
    }
  }
  return target;
}

LODESTONE_INLINE file::file(const std::filesystem::path& name) : mapping_(name), archive_(mapping_.bytes(), name) {}

}  // namespace lodestone::pickle
