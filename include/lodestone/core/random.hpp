// Counter-based random numbers: a value depends on its key and its index, never on the order of execution.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <string_view>
#include <utility>

namespace lodestone {

/// Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four 32-bit
/// outputs for a 128-bit counter under a 64-bit key.
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                                std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// What a stream of random numbers is for; streams of different purposes are independent.
enum class random_purpose : std::uint32_t { shuffle = 1, mixture, position, initialise, sampling, synthesis, user };

/// The stream of random numbers that belongs to (seed, purpose, epoch, example). Two streams with the same key are
/// equal wherever and whenever they are read: that is what makes a resumed run exact.
class random_stream {
 public:
  using result_type = std::uint32_t;  ///< 32 random bits

  /// Draws nothing yet. Of `epoch` the lower 24 bits count.
  constexpr random_stream(std::uint64_t seed, random_purpose purpose, std::uint64_t epoch = 0,
                          std::uint64_t example = 0)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
        // Seed and purpose|epoch|example fill key and counter; 32 bits of block index remain: 2^34 numbers a stream.
        counter_{0, static_cast<std::uint32_t>(purpose) | (static_cast<std::uint32_t>(epoch) << 8),
                 static_cast<std::uint32_t>(example), static_cast<std::uint32_t>(example >> 32)} {}

  /// The range of operator(), as the distributions of the standard library ask for it.
  ///@{
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return 0xffff'ffffU; }
  ///@}

  /// The next 32 random bits; a stream repeats itself after 2^34 of them.
  constexpr result_type operator()() {
    if (used_ == 4) {
      block_ = philox4x32(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    return block_[used_++];
  }

  /// 53 random bits in [0, 1).
  constexpr double uniform() {
    const std::uint64_t high = (*this)();
    const std::uint64_t low = (*this)();
    return static_cast<double>(((high << 32) | low) >> 11) * 0x1p-53;
  }

  /// An integer in [0, bound), without bias (rejection); bound > 0.
  constexpr std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % bound + 1) % bound;
    for (;;) {
      const std::uint64_t high = (*this)();
      const std::uint64_t value = (high << 32) | (*this)();
      if (value <= limit) return value % bound;
    }
  }

  /// A standard normal number (Box-Muller; the second of the pair is dropped so that no state hides here).
  double normal() {
    const double u = 1.0 - uniform();  // in (0, 1]
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  std::uint32_t used_ = 4;
};

/// The seed of a thing that has a name, a question or a document: drawn from the stream of the name's hash (FNV-1a, 64
/// bits), it depends on nothing but the arguments, so neighbours can come and go. Of `epoch` the lower 24 bits count.
[[nodiscard]] constexpr std::uint64_t seed_of(std::uint64_t seed, random_purpose purpose, std::string_view name,
                                              std::uint64_t epoch = 0) {
  std::uint64_t hash = 0xCBF2'9CE4'8422'2325U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01B3U;
  random_stream random(seed, purpose, epoch, hash);
  const std::uint64_t high = random();
  return (high << 32) | random();
}

/// Puts `items` in a uniformly random order (Fisher-Yates); the order depends on the stream alone.
template <class T>
constexpr void shuffle(std::span<T> items, random_stream& random) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

}  // namespace lodestone
