// Element types: double, float, bf16, f16 and integers, with exact conversions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace lodestone {

/// bfloat16: the upper half of a float. Conversion from float rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;  ///< sign, 8 bits of exponent, 7 of mantissa

  constexpr bf16() = default;
  /// Rounds to nearest, ties to even.
  constexpr explicit bf16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  /// Exact.
  constexpr explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  /// The number that these bits spell.
  [[nodiscard]] static constexpr bf16 from_bits(std::uint16_t bits) {
    bf16 value;
    value.bits = bits;
    return value;
  }
  friend constexpr bool operator==(bf16, bf16) = default;  ///< compares bits, so NaN equals itself

 private:
  static constexpr std::uint16_t round(std::uint32_t u) {
    if ((u & 0x7fff'ffffU) > 0x7f80'0000U) return static_cast<std::uint16_t>((u >> 16) | 0x40U);  // quiet the NaN
    return static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
  }
};

/// IEEE 754 binary16. Conversion from float rounds to nearest, ties to even; overflow gives infinity.
struct f16 {
  std::uint16_t bits = 0;  ///< sign, 5 bits of exponent, 10 of mantissa

  constexpr f16() = default;
  /// Rounds to nearest, ties to even; magnitudes from 65520 on give infinity.
  constexpr explicit f16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  constexpr explicit operator float() const { return widen(bits); }  ///< exact
  /// The number that these bits spell.
  [[nodiscard]] static constexpr f16 from_bits(std::uint16_t bits) {
    f16 value;
    value.bits = bits;
    return value;
  }
  friend constexpr bool operator==(f16, f16) = default;  ///< compares bits, so NaN equals itself

 private:
  static constexpr std::uint16_t round(std::uint32_t u) {
    const std::uint32_t sign = (u >> 16) & 0x8000U;
    const std::uint32_t magnitude = u & 0x7fff'ffffU;
    if (magnitude > 0x7f80'0000U) return static_cast<std::uint16_t>(sign | 0x7e00U | ((magnitude >> 13) & 0x3ffU));
    if (magnitude >= 0x4780'0000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // 2^16 and above
    const std::uint32_t exponent = magnitude >> 23;
    if (exponent < 102) return static_cast<std::uint16_t>(sign);  // below half of the least subnormal, 2^-25
    std::uint32_t mantissa = magnitude & 0x7f'ffffU;
    std::uint32_t shift = 13;
    std::uint32_t base = 0;
    if (exponent < 113) {  // subnormal: the hidden bit becomes explicit
      mantissa |= 0x80'0000U;
      shift = 126 - exponent;
    } else {
      base = (exponent - 112) << 10;
    }
    const std::uint32_t kept = mantissa >> shift;
    const std::uint32_t rest = mantissa & ((1U << shift) - 1U);
    const std::uint32_t half = 1U << (shift - 1);
    const std::uint32_t up = (rest > half || (rest == half && (kept & 1U) != 0)) ? 1U : 0U;
    return static_cast<std::uint16_t>(sign | (base + kept + up));  // a carry into the exponent is what rounding means
  }
  static constexpr float widen(std::uint16_t h) {
    const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16;
    const std::uint32_t exponent = (h >> 10) & 0x1fU;
    const std::uint32_t mantissa = h & 0x3ffU;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f80'0000U | (mantissa << 13));
    if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
    const float value = static_cast<float>(mantissa) * 0x1p-24F;  // exact: subnormals are multiples of 2^-24
    return sign != 0 ? -value : value;
  }
};

/// Run-time name of an element type.
enum class dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// Bytes of one element.
[[nodiscard]] constexpr std::size_t size_of(dtype type) {
  switch (type) {
    case dtype::f64:
    case dtype::i64: return 8;
    case dtype::f32:
    case dtype::i32: return 4;
    case dtype::f16:
    case dtype::bf16:
    case dtype::i16: return 2;
    case dtype::i8:
    case dtype::u8:
    case dtype::boolean: return 1;
  }
  return 0;
}

/// The name that safetensors files use: "F32", "BF16", ...
[[nodiscard]] constexpr std::string_view name_of(dtype type) {
  switch (type) {
    case dtype::f64: return "F64";
    case dtype::f32: return "F32";
    case dtype::f16: return "F16";
    case dtype::bf16: return "BF16";
    case dtype::i64: return "I64";
    case dtype::i32: return "I32";
    case dtype::i16: return "I16";
    case dtype::i8: return "I8";
    case dtype::u8: return "U8";
    case dtype::boolean: return "BOOL";
  }
  return {};
}

/// Inverse of name_of; empty for a name that Lodestone does not read.
[[nodiscard]] constexpr std::optional<dtype> dtype_from_name(std::string_view name) {
  for (const dtype type : {dtype::f64, dtype::f32, dtype::f16, dtype::bf16, dtype::i64, dtype::i32, dtype::i16,
                           dtype::i8, dtype::u8, dtype::boolean})
    if (name == name_of(type)) return type;
  return std::nullopt;
}

namespace detail {
template <class T>
struct dtype_of;
template <> struct dtype_of<double> { static constexpr dtype value = dtype::f64; };
template <> struct dtype_of<float> { static constexpr dtype value = dtype::f32; };
template <> struct dtype_of<f16> { static constexpr dtype value = dtype::f16; };
template <> struct dtype_of<bf16> { static constexpr dtype value = dtype::bf16; };
template <> struct dtype_of<std::int64_t> { static constexpr dtype value = dtype::i64; };
template <> struct dtype_of<std::int32_t> { static constexpr dtype value = dtype::i32; };
template <> struct dtype_of<std::int16_t> { static constexpr dtype value = dtype::i16; };
template <> struct dtype_of<std::int8_t> { static constexpr dtype value = dtype::i8; };
template <> struct dtype_of<std::uint8_t> { static constexpr dtype value = dtype::u8; };
template <> struct dtype_of<bool> { static constexpr dtype value = dtype::boolean; };
}  // namespace detail

/// The dtype of a C++ element type.
template <class T>
inline constexpr dtype dtype_of = detail::dtype_of<T>::value;

/// Converts between floating-point element types through the wider of the two: exact whenever the target can hold the
/// value, else rounded once (double to half goes through float and may round twice).
template <class To, class From>
[[nodiscard]] constexpr To convert(From value) {
  if constexpr (std::is_same_v<To, From> || (std::is_arithmetic_v<To> && std::is_arithmetic_v<From>))
    return static_cast<To>(value);
  else
    return static_cast<To>(static_cast<float>(value));
}

}  // namespace lodestone
