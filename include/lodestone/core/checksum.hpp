// A 64-bit checksum of bytes as they stream by: XXH64, about as fast as memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lodestone {

/// XXH64 (the published algorithm, seed 0). It finds damage, not malice. Little-endian machines only.
class checksum64 {
 public:
  /// Adds bytes; the split into calls does not matter.
  void update(std::span<const std::byte> bytes);

  /// The checksum of everything so far; update() may go on.
  [[nodiscard]] std::uint64_t value() const;

 private:
  static constexpr std::uint64_t prime1 = 0x9E37'79B1'85EB'CA87U;
  static constexpr std::uint64_t prime2 = 0xC2B2'AE3D'27D4'EB4FU;
  static constexpr std::uint64_t prime3 = 0x1656'67B1'9E37'79F9U;
  static constexpr std::uint64_t prime4 = 0x85EB'CA77'C2B2'AE63U;
  static constexpr std::uint64_t prime5 = 0x27D4'EB2F'1656'67C5U;

  [[nodiscard]] static std::uint64_t round(std::uint64_t lane, std::uint64_t input);
  void hold(std::span<const std::byte> bytes);
  void consume(const std::byte* bytes);

  std::array<std::byte, 32> block_{};  ///< bytes that do not fill 32 yet
  std::array<std::uint64_t, 4> lanes_{prime1 + prime2, prime2, 0, 0 - prime1};
  std::size_t held_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/core/checksum.ipp>
#endif
