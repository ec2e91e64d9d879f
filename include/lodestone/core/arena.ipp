// Definitions of arena.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <iterator>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

LODESTONE_INLINE std::int64_t arena_layout::allocate(std::int64_t bytes) {
  const std::int64_t size = (bytes + alignment - 1) / alignment * alignment;
  auto best = free_.end();
  for (auto hole = free_.begin(); hole != free_.end(); ++hole)
    if (hole->second >= size && (best == free_.end() || hole->second < best->second)) best = hole;
  std::int64_t offset = end_;
  if (best != free_.end()) {
    offset = best->first;
    const std::int64_t rest = best->second - size;
    free_.erase(best);
    if (rest > 0) free_.emplace(offset + size, rest);
  } else {
    end_ += size;
    peak_ = std::max(peak_, end_);
  }
  if (size > 0) used_.emplace(offset, size);
  in_use_ += size;
  return offset;
}

LODESTONE_INLINE void arena_layout::release(std::int64_t offset, std::int64_t bytes) {
  if (bytes == 0) return;
  const auto block = used_.find(offset);
  if (block == used_.end()) throw error("a block was returned twice to its arena");
  std::int64_t begin = block->first;
  std::int64_t size = block->second;
  in_use_ -= size;
  used_.erase(block);
  auto next = free_.lower_bound(begin);
  if (next != free_.end() && begin + size == next->first) {
    size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == begin) {
      begin = previous->first;
      size += previous->second;
      free_.erase(previous);
    }
  }
  if (begin + size == end_)
    end_ = begin;
  else
    free_.emplace(begin, size);
}

}  // namespace lodestone
