// Definitions of kv_cache.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <lodestone/core/inline.hpp>
#include <lodestone/model/kv_cache.hpp>

namespace lodestone {

LODESTONE_INLINE std::optional<std::size_t> cache_rooms::open(std::int64_t rows) {
  if (rows < 1) throw shape_error("a sequence needs at least one row", "cache", "ask for as many as it has tokens");
  std::vector<cache_room> taken;
  for (const cache_room& room : rooms_)
    if (room.capacity > 0) taken.push_back(room);
  std::sort(taken.begin(), taken.end(), [](const cache_room& a, const cache_room& b) { return a.begin < b.begin; });
  taken.push_back({capacity_, 0, 0});
  std::int64_t best = -1;
  std::int64_t best_size = 0;
  std::int64_t end = 0;  // of the room before
  for (const cache_room& next : taken) {
    const std::int64_t size = next.begin - end;
    if (size >= rows && (best < 0 || size < best_size)) {
      best = end;
      best_size = size;
    }
    end = next.begin + next.capacity;
  }
  if (best < 0) return std::nullopt;
  const auto free =
      std::find_if(rooms_.begin(), rooms_.end(), [](const cache_room& room) { return room.capacity == 0; });
  const auto name = static_cast<std::size_t>(free - rooms_.begin());
  if (free == rooms_.end()) rooms_.emplace_back();
  rooms_[name] = {best, rows, 0};
  return name;
}

LODESTONE_INLINE void cache_rooms::close(std::size_t sequence) {
  static_cast<void>((*this)[sequence]);
  rooms_[sequence] = {};
}

LODESTONE_INLINE void cache_rooms::truncate(std::size_t sequence, std::int64_t length) {
  if (length < 0 || length > (*this)[sequence].length)
    throw shape_error("sequence " + std::to_string(sequence) + " of the cache has " +
                          std::to_string(rooms_[sequence].length) + " rows, not " + std::to_string(length),
                      "cache", "shorten it only");
  rooms_[sequence].length = length;
}

LODESTONE_INLINE void cache_rooms::grow(std::size_t sequence, std::int64_t tokens) {
  const cache_part part{sequence, tokens};
  check({&part, 1});
  rooms_[sequence].length += tokens;
}

LODESTONE_INLINE const cache_room& cache_rooms::operator[](std::size_t sequence) const {
  if (sequence >= rooms_.size() || rooms_[sequence].capacity == 0)
    throw shape_error("the cache has no sequence " + std::to_string(sequence), "cache", "open one first");
  return rooms_[sequence];
}

LODESTONE_INLINE void cache_rooms::check(std::span<const cache_part> parts) const {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const cache_room& room = (*this)[parts[i].sequence];
    if (parts[i].tokens < 1)
      throw shape_error("part " + std::to_string(i) + " of the batch has no token", "cache", "leave it out");
    if (room.length + parts[i].tokens > room.capacity)
      throw shape_error("the sequence has room for " + std::to_string(room.capacity) + " tokens, of which " +
                            std::to_string(room.length) + " are taken, and " + std::to_string(parts[i].tokens) +
                            " more are given",
                        "cache", "make the room larger or generate fewer tokens");
    for (std::size_t j = 0; j < i; ++j)
      if (parts[j].sequence == parts[i].sequence)
        throw shape_error("parts " + std::to_string(j) + " and " + std::to_string(i) + " continue one sequence",
                          "cache", "join them");
  }
}

}  // namespace lodestone
