// Definitions of checksum.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>

#include <lodestone/core/checksum.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

namespace detail {

template <class Word>
[[nodiscard]] std::uint64_t word_at(const std::byte* bytes) {
  Word value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace detail

LODESTONE_INLINE std::uint64_t checksum64::round(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * prime2, 31) * prime1;
}

LODESTONE_INLINE void checksum64::hold(std::span<const std::byte> bytes) {
  std::copy(bytes.begin(), bytes.end(), block_.begin() + static_cast<std::ptrdiff_t>(held_));
  held_ += bytes.size();
}

LODESTONE_INLINE void checksum64::consume(const std::byte* bytes) {
  for (std::size_t lane = 0; lane < 4; ++lane)
    lanes_[lane] = round(lanes_[lane], detail::word_at<std::uint64_t>(bytes + 8 * lane));
}

LODESTONE_INLINE void checksum64::update(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (held_ + bytes.size() < block_.size()) {
    hold(bytes);
    return;
  }
  if (held_ > 0) {
    const std::size_t missing = block_.size() - held_;
    hold(bytes.first(missing));
    bytes = bytes.subspan(missing);
    consume(block_.data());
    held_ = 0;
  }
  for (; bytes.size() >= block_.size(); bytes = bytes.subspan(block_.size())) consume(bytes.data());
  hold(bytes);
}

LODESTONE_INLINE std::uint64_t checksum64::value() const {
  std::uint64_t hash = prime5;
  if (total_ >= block_.size()) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * prime1 + prime4;
  }
  hash += total_;
  std::size_t i = 0;
  for (; i + 8 <= held_; i += 8)
    hash = std::rotl(hash ^ round(0, detail::word_at<std::uint64_t>(&block_[i])), 27) * prime1 + prime4;
  if (i + 4 <= held_) {
    hash = std::rotl(hash ^ (detail::word_at<std::uint32_t>(&block_[i]) * prime1), 23) * prime2 + prime3;
    i += 4;
  }
  for (; i < held_; ++i) hash = std::rotl(hash ^ (static_cast<std::uint64_t>(block_[i]) * prime5), 11) * prime1;
  hash = (hash ^ (hash >> 33)) * prime2;
  hash = (hash ^ (hash >> 29)) * prime3;
  return hash ^ (hash >> 32);
}

}  // namespace lodestone
