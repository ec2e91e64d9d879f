// A 64-bit checksum of bytes as they stream by: XXH64, about as fast as memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lodestone {

/// XXH64 (the published algorithm, seed 0). It finds damage, not malice. Little-endian machines only.
class checksum64 {
 public:
  /// Adds bytes; the split into calls does not matter.
  void update(std::span<const std::byte> bytes) {
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

  /// The checksum of everything so far; update() may go on.
  [[nodiscard]] std::uint64_t value() const {
    std::uint64_t hash = prime5;
    if (total_ >= block_.size()) {
      hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
      for (const std::uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * prime1 + prime4;
    }
    hash += total_;
    std::size_t i = 0;
    for (; i + 8 <= held_; i += 8)
      hash = std::rotl(hash ^ round(0, word<std::uint64_t>(&block_[i])), 27) * prime1 + prime4;
    if (i + 4 <= held_) {
      hash = std::rotl(hash ^ (word<std::uint32_t>(&block_[i]) * prime1), 23) * prime2 + prime3;
      i += 4;
    }
    for (; i < held_; ++i) hash = std::rotl(hash ^ (static_cast<std::uint64_t>(block_[i]) * prime5), 11) * prime1;
    hash = (hash ^ (hash >> 33)) * prime2;
    hash = (hash ^ (hash >> 29)) * prime3;
    return hash ^ (hash >> 32);
  }

 private:
  static constexpr std::uint64_t prime1 = 0x9E37'79B1'85EB'CA87U;
  static constexpr std::uint64_t prime2 = 0xC2B2'AE3D'27D4'EB4FU;
  static constexpr std::uint64_t prime3 = 0x1656'67B1'9E37'79F9U;
  static constexpr std::uint64_t prime4 = 0x85EB'CA77'C2B2'AE63U;
  static constexpr std::uint64_t prime5 = 0x27D4'EB2F'1656'67C5U;

  template <class Word>
  [[nodiscard]] static std::uint64_t word(const std::byte* bytes) {
    Word value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  [[nodiscard]] static constexpr std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
    return std::rotl(lane + input * prime2, 31) * prime1;
  }
  void hold(std::span<const std::byte> bytes) {
    std::copy(bytes.begin(), bytes.end(), block_.begin() + static_cast<std::ptrdiff_t>(held_));
    held_ += bytes.size();
  }
  void consume(const std::byte* bytes) {
    for (std::size_t lane = 0; lane < 4; ++lane)
      lanes_[lane] = round(lanes_[lane], word<std::uint64_t>(bytes + 8 * lane));
  }

  std::array<std::byte, 32> block_{};  ///< bytes that do not fill 32 yet
  std::array<std::uint64_t, 4> lanes_{prime1 + prime2, prime2, 0, 0 - prime1};
  std::size_t held_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace lodestone
