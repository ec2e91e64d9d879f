// Definitions of zip.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include <lodestone/checkpoint/zip.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::zip {

namespace detail {

/// Little-endian numbers at checked places of a file.
class reader {
 public:
  reader(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  template <class Number>
  [[nodiscard]] Number number(std::uint64_t at) const {
    Number value;
    std::memcpy(&value, range(at, sizeof value).data(), sizeof value);
    return value;
  }
  [[nodiscard]] std::span<const std::byte> range(std::uint64_t at, std::uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) throw fail("an entry points past the end of the file");
    return bytes_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
  }
  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] format_error fail(
      const std::string& what,
      std::string_view remedy = "the file is incomplete or damaged: download or copy it again") const {
    return format_error(what, where_, remedy);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
};

inline constexpr std::uint32_t directory_entry = 0x02014b50;
inline constexpr std::uint32_t end_of_directory = 0x06054b50;
inline constexpr std::uint32_t zip64_locator = 0x07064b50;
inline constexpr std::uint32_t zip64_end_of_directory = 0x06064b50;
inline constexpr std::uint32_t local_entry = 0x04034b50;

struct directory {
  std::uint64_t count = 0;
  std::uint64_t offset = 0;
};

[[nodiscard]] inline directory find_directory(const reader& file) {
  constexpr std::uint64_t end_size = 22;
  if (file.size() < end_size) throw file.fail("too short for a zip file");
  const std::uint64_t last = file.size() - end_size;
  const std::uint64_t first = last > 65'535 ? last - 65'535 : 0;  // a comment may follow
  for (std::uint64_t at = last;; --at) {
    if (file.number<std::uint32_t>(at) == end_of_directory) {
      if (at >= 20 && file.number<std::uint32_t>(at - 20) == zip64_locator) {
        const auto end = file.number<std::uint64_t>(at - 20 + 8);
        (void)file.range(end, 56);
        if (file.number<std::uint32_t>(end) != zip64_end_of_directory)
          throw file.fail("the zip64 directory is missing");
        return {file.number<std::uint64_t>(end + 32), file.number<std::uint64_t>(end + 48)};
      }
      return {file.number<std::uint16_t>(at + 10), file.number<std::uint32_t>(at + 16)};
    }
    if (at == first) throw file.fail("not a zip file, or its end is missing");
  }
}

}  // namespace detail

LODESTONE_INLINE std::map<std::string, std::span<const std::byte>, std::less<>> read_entries(
    std::span<const std::byte> bytes, const std::string& where) {
  const detail::reader file(bytes, where);
  const detail::directory directory = detail::find_directory(file);
  std::map<std::string, std::span<const std::byte>, std::less<>> entries;
  std::uint64_t at = directory.offset;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    (void)file.range(at, 46);
    if (file.number<std::uint32_t>(at) != detail::directory_entry) throw file.fail("the zip directory is damaged");
    const auto flags = file.number<std::uint16_t>(at + 8);
    const auto method = file.number<std::uint16_t>(at + 10);
    std::uint64_t stored = file.number<std::uint32_t>(at + 20);
    std::uint64_t size = file.number<std::uint32_t>(at + 24);
    const auto name_size = file.number<std::uint16_t>(at + 28);
    const auto extra_size = file.number<std::uint16_t>(at + 30);
    const auto comment_size = file.number<std::uint16_t>(at + 32);
    std::uint64_t local = file.number<std::uint32_t>(at + 42);
    const auto name_bytes = file.range(at + 46, name_size);
    const std::string name(reinterpret_cast<const char*>(name_bytes.data()), name_bytes.size());

    const std::uint64_t extra_end = at + 46 + name_size + extra_size;
    (void)file.range(at + 46 + name_size, extra_size);
    for (std::uint64_t extra = at + 46 + name_size; extra + 4 <= extra_end;) {
      const auto kind = file.number<std::uint16_t>(extra);
      const std::uint64_t end = extra + 4 + file.number<std::uint16_t>(extra + 2);
      if (end > extra_end) throw file.fail("the zip directory is damaged");
      if (kind == 1) {  // zip64: the 64-bit forms of the fields that are full, in this order
        std::uint64_t value = extra + 4;
        for (std::uint64_t* field : {&size, &stored, &local})
          if (*field == 0xffff'ffffU) {
            if (value + 8 > end) throw file.fail("the zip directory is damaged");
            *field = file.number<std::uint64_t>(value);
            value += 8;
          }
      }
      extra = end;
    }
    if ((flags & 1U) != 0) throw file.fail("the entry '" + name + "' is encrypted", "save it again with torch.save");
    if (method != 0 || stored != size)
      throw file.fail("the entry '" + name + "' is compressed", "save it again with torch.save");
    (void)file.range(local, 30);
    if (file.number<std::uint32_t>(local) != detail::local_entry)
      throw file.fail("the entry '" + name + "' is damaged");
    const std::uint64_t data =
        local + 30 + file.number<std::uint16_t>(local + 26) + file.number<std::uint16_t>(local + 28);
    if (!entries.emplace(name, file.range(data, size)).second)
      throw file.fail("the entry '" + name + "' appears twice");
    at = extra_end + comment_size;
  }
  return entries;
}

}  // namespace lodestone::zip

