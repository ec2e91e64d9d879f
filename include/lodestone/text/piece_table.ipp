// Definitions of piece_table.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstring>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/piece_table.hpp>

namespace lodestone::text {

LODESTONE_INLINE std::uint64_t hash_bytes(const char* data, std::size_t size) {
  constexpr std::uint64_t odd = 0x9E37'79B9'7F4A'7C15U;  // 2^64 / golden ratio
  std::uint64_t hash = size * odd;
  const auto mix = [&hash](std::uint64_t chunk) {
    hash = (hash ^ chunk) * odd;
    hash ^= hash >> 29;
  };
  std::uint64_t chunk = 0;
  for (; size >= 8; data += 8, size -= 8) {
    std::memcpy(&chunk, data, 8);
    mix(chunk);
  }
  if (size >= 4) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, data, 4);
    std::memcpy(&high, data + size - 4, 4);
    mix(std::uint64_t{high} << 32 | low);
  } else if (size != 0) {
    const auto byte = [data](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(data[i])}; };
    mix(byte(0) | byte(size / 2) << 8 | byte(size - 1) << 16);
  }
  hash *= odd;
  return hash ^ (hash >> 32);
}

LODESTONE_INLINE bool piece_table::insert(std::string_view key, std::int32_t id) {
  if ((count_ + 1) * 2 > slots_.size()) grow();
  slot& place = slots_[place_of(key)];
  if (place.id != none) return false;
  place = {static_cast<std::uint32_t>(keys_.size()), static_cast<std::uint32_t>(key.size()), id,
           static_cast<std::uint32_t>(hash_bytes(key.data(), key.size()) >> 32)};
  keys_.append(key);
  ++count_;
  return true;
}

LODESTONE_INLINE std::int32_t piece_table::find(std::string_view key) const {
  return slots_.empty() ? none : slots_[place_of(key)].id;
}

LODESTONE_INLINE std::size_t piece_table::place_of(std::string_view key) const {
  const std::uint64_t hash = hash_bytes(key.data(), key.size());
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = static_cast<std::size_t>(hash) & mask;; i = (i + 1) & mask) {
    const slot& here = slots_[i];
    if (here.id == none) return i;
    if (here.tag == tag && std::string_view(keys_).substr(here.begin, here.size) == key) return i;
  }
}

LODESTONE_INLINE void piece_table::grow() {
  std::vector<slot> old(std::max<std::size_t>(16, slots_.size() * 2));
  old.swap(slots_);
  for (const slot& one : old)
    if (one.id != none) slots_[place_of(std::string_view(keys_).substr(one.begin, one.size))] = one;
}

LODESTONE_INLINE void merge_table::insert(std::int32_t left, std::int32_t right, merge value) {
  if ((count_ + 1) * 2 > slots_.size()) rehash(std::max<std::size_t>(16, slots_.size() * 2));
  slot& place = find_slot(key_of(left, right));
  if (place.key == empty_key) ++count_;
  place = {key_of(left, right), value};
}

LODESTONE_INLINE merge_table::merge merge_table::find(std::int32_t left, std::int32_t right) const {
  const std::uint64_t key = key_of(left, right);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = place_of(key) & mask;; i = (i + 1) & mask) {
    const slot& here = slots_[i];
    if (here.key == key) return here.value;
    if (here.key == empty_key) return {};
  }
}

LODESTONE_INLINE std::uint64_t merge_table::key_of(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

LODESTONE_INLINE std::size_t merge_table::place_of(std::uint64_t key) {
  const std::uint64_t hash = key * 0x9E37'79B9'7F4A'7C15U;
  return static_cast<std::size_t>(hash ^ (hash >> 32));
}

LODESTONE_INLINE merge_table::slot& merge_table::find_slot(std::uint64_t key) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = place_of(key) & mask;
  while (slots_[i].key != key && slots_[i].key != empty_key) i = (i + 1) & mask;
  return slots_[i];
}

LODESTONE_INLINE void merge_table::rehash(std::size_t size) {
  std::vector<slot> old(size);
  old.swap(slots_);
  for (const slot& one : old)
    if (one.key != empty_key) find_slot(one.key) = one;
}

}  // namespace lodestone::text

