// Keys and values of several sequences at once: one buffer a layer, in which every sequence has a room of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone {

/// Neighbouring rows of a cache that belong to one sequence.
struct cache_room {
  std::int64_t begin = 0;     ///< first row
  std::int64_t capacity = 0;  ///< rows
  std::int64_t length = 0;    ///< rows in use, from the first
};

/// Tokens of a batch that continue one sequence of a cache.
struct cache_part {
  std::size_t sequence = 0;  ///< as cache_rooms::open() named it
  std::int64_t tokens = 0;   ///< the next rows of the batch, at least 1
};

/// Who has which rows of a cache. Rooms of closed sequences are given out again; open ones never move.
class cache_rooms {
 public:
  /// `capacity` rows, nobody's.
  explicit cache_rooms(std::int64_t capacity = 0) : capacity_(capacity) {}

  /// A room of `rows` rows (at least 1), in the smallest gap that holds it; nothing when no gap does.
  [[nodiscard]] std::optional<std::size_t> open(std::int64_t rows);

  /// The sequence is over: its name and its rows may be given out again.
  void close(std::size_t sequence);

  /// All sequences are over.
  void clear() { rooms_.clear(); }

  /// The sequence goes on behind its first `length` rows; what stood there is forgotten. Throws shape_error for more
  /// rows than it has.
  void truncate(std::size_t sequence, std::int64_t length);

  /// `tokens` more rows are in use. Throws shape_error when the room has fewer left.
  void grow(std::size_t sequence, std::int64_t tokens);

  /// The room of a sequence. Throws shape_error for one that is not open.
  [[nodiscard]] const cache_room& operator[](std::size_t sequence) const;

  /// Throws shape_error unless every part has a token, an open sequence of its own and room there.
  void check(std::span<const cache_part> parts) const;

  [[nodiscard]] std::int64_t capacity() const { return capacity_; }  ///< rows
  /// Sequences that are open.
  [[nodiscard]] std::int64_t count() const {
    return std::count_if(rooms_.begin(), rooms_.end(), [](const cache_room& room) { return room.capacity > 0; });
  }

 private:
  std::int64_t capacity_;
  std::vector<cache_room> rooms_;  // by name; capacity 0: closed
};

/// Keys and values of the tokens that generations have seen, per layer [rows, 2 K D].
template <class Backend>
struct kv_cache {
  /// [L]; a row holds keys [K D], then values [K D].
  std::vector<block<typename Backend::value_type, 2, typename Backend::space>> layers;
  cache_rooms rooms;  ///< which rows belong to which sequence
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/model/kv_cache.ipp>
#endif
