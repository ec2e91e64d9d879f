// Vector registers as the compiler's own vector types: portable, and as wide as its flags allow.
#pragma once

#include <cstdint>
#include <type_traits>

namespace lodestone::on_host {

// What the translation unit may use. Vectors wider than the hardware would change the calling convention, narrower ones
// waste it, so the width follows the compiler's flags.
#if defined(__AVX512F__)
inline constexpr int register_bytes = 64;
inline constexpr int register_count = 32;
#elif defined(__AVX__)
inline constexpr int register_bytes = 32;
inline constexpr int register_count = 16;
#else
inline constexpr int register_bytes = 16;  ///< bytes of a vector register
inline constexpr int register_count = 16;  ///< vector registers
#endif

/// A vector of Bytes / sizeof(T) elements that may lie at any address.
template <class T, int Bytes>
struct simd {
  /// The register: unaligned, and allowed to alias other types.
  typedef T type __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
  static constexpr int lanes = Bytes / static_cast<int>(sizeof(T));  ///< elements of a register
};

/// The elements at `from` as a register, in place.
template <class T>
[[nodiscard]] inline auto& as_register(T* from) {
  if constexpr (std::is_const_v<T>)
    return *reinterpret_cast<const typename simd<std::remove_const_t<T>, register_bytes>::type*>(from);
  else
    return *reinterpret_cast<typename simd<T, register_bytes>::type*>(from);
}

/// x = 2^x in every element of a register, for x <= 64: the inner step of a softmax, whose exponents are not positive.
///
/// Relative error below 2 units in the last place; results below 2^-126 (double: 2^-1022) become 0, and so does
/// 2^-infinity; NaN stays NaN. 2^r on |r| <= 1/2 is 1 + r g(r), g being the Chebyshev fit of (2^r - 1) / r of degree 5
/// (double: 10) with error 8e-9 (1e-17).
template <class T>
inline void power_of_two(typename simd<T, register_bytes>::type& x) {
  using pack = typename simd<T, register_bytes>::type;
  if constexpr (std::is_same_v<T, float>) {
    using integers = typename simd<std::int32_t, register_bytes>::type;
    constexpr float shift = 12'582'912.0F + 127.0F;  // 1.5 * 2^23 + bias: the low bits of the sum are n + 127
    const pack low = x < -127.0F ? pack{} - 127.0F : x;
    const pack shifted = low + shift;
    const pack r = low - (shifted - shift);
    pack p = r * 1.54531629e-4F + 1.33908634e-3F;
    p = p * r + 9.61808256e-3F;
    p = p * r + 5.55035711e-2F;
    p = p * r + 2.40226508e-1F;
    p = p * r + 6.93147188e-1F;
    p = p * r + 1.0F;
    const integers power = reinterpret_cast<const integers&>(shifted) << 23;
    x = p * reinterpret_cast<const pack&>(power);
  } else {
    using integers = typename simd<std::int64_t, register_bytes>::type;
    constexpr double shift = 6'755'399'441'055'744.0 + 1023.0;
    const pack low = x < -1023.0 ? pack{} - 1023.0 : x;
    const pack shifted = low + shift;
    const pack r = low - (shifted - shift);
    pack p = r * 4.4549605981865183938e-10 + 7.0725859492692236999e-9;
    p = p * r + 1.0178062445845773521e-7;
    p = p * r + 1.3215442587921689653e-6;
    p = p * r + 1.5252733829836118394e-5;
    p = p * r + 1.5403530441736050155e-4;
    p = p * r + 1.333355814641693531e-3;
    p = p * r + 9.6181291076068885273e-3;
    p = p * r + 5.5504108664821594339e-2;
    p = p * r + 2.402265069591009822e-1;
    p = p * r + 6.9314718055994530942e-1;
    p = p * r + 1.0;
    const integers power = reinterpret_cast<const integers&>(shifted) << 52;
    x = p * reinterpret_cast<const pack&>(power);
  }
}

}  // namespace lodestone::on_host
