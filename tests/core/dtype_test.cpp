#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string_view>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/dtype.hpp>

using namespace lodestone;

namespace {

// The value of a bit pattern by the definition of IEEE 754: sign, exponent and mantissa fields, in double.
double by_definition(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits >> 15) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1)
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

// Every bit pattern widens to its definition and comes back; between each pair of neighbours the midpoint goes to the
// even one and everything else to the nearer one.
template <class Half>
void check_all_patterns(int exponent_bits, int mantissa_bits) {
  for (std::uint32_t pattern = 0; pattern < 0x10000U; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const auto value = static_cast<float>(Half::from_bits(bits));
    const double exact = by_definition(bits, exponent_bits, mantissa_bits);
    if (std::isnan(exact)) {
      BOOST_REQUIRE(std::isnan(value));
      BOOST_REQUIRE(std::isnan(static_cast<float>(Half(value))));
      BOOST_REQUIRE((Half(value).bits & 0x8000U) == (bits & 0x8000U));
      continue;
    }
    BOOST_REQUIRE(static_cast<double>(value) == exact);
    BOOST_REQUIRE(std::signbit(value) == ((bits & 0x8000U) != 0));
    BOOST_REQUIRE(Half(value).bits == bits);
    if (std::isinf(exact)) continue;
    // The next pattern up is the neighbour away from zero; past the largest number it stands for the next power of two.
    const auto next_bits = static_cast<std::uint16_t>(bits + 1);
    double next = by_definition(next_bits, exponent_bits, mantissa_bits);
    if (std::isinf(next)) next = std::copysign(std::ldexp(2.0, (1 << (exponent_bits - 1)) - 1), exact);
    const auto middle = static_cast<float>((exact + next) / 2);
    if (std::isinf(middle) || static_cast<double>(middle) != (exact + next) / 2) continue;
    const bool even = (bits & 1U) == 0;
    BOOST_REQUIRE(Half(middle).bits == (even ? bits : next_bits));
    BOOST_REQUIRE(Half(std::nextafter(middle, value)).bits == bits);
    const float beyond = std::nextafter(middle, std::copysign(std::numeric_limits<float>::infinity(), value));
    BOOST_REQUIRE(Half(beyond).bits == next_bits);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(core_dtype)

BOOST_AUTO_TEST_CASE(every_bf16_pattern_round_trips_and_rounds_to_nearest_even) { check_all_patterns<bf16>(8, 7); }

BOOST_AUTO_TEST_CASE(every_f16_pattern_round_trips_and_rounds_to_nearest_even) { check_all_patterns<f16>(5, 10); }

// The bit patterns are those of numpy.float16 and torch.bfloat16.
BOOST_AUTO_TEST_CASE(known_values) {
  BOOST_TEST(f16(1.0F).bits == 0x3c00);
  BOOST_TEST(f16(0.1F).bits == 0x2e66);
  BOOST_TEST(f16(65504.0F).bits == 0x7bff);
  BOOST_TEST(f16(65519.996F).bits == 0x7bff);
  BOOST_TEST(f16(65520.0F).bits == 0x7c00);  // the midpoint rounds to infinity
  BOOST_TEST(f16(1e30F).bits == 0x7c00);
  BOOST_TEST(f16(-1e30F).bits == 0xfc00);
  BOOST_TEST(f16(5.9604645e-8F).bits == 0x0001);   // 2^-24
  BOOST_TEST(f16(2.9802322e-8F).bits == 0x0000);   // 2^-25, a tie with zero
  BOOST_TEST(f16(2.9802326e-8F).bits == 0x0001);
  BOOST_TEST(f16(-1e-30F).bits == 0x8000);
  BOOST_TEST(bf16(1.0F).bits == 0x3f80);
  BOOST_TEST(bf16(0.1F).bits == 0x3dcd);
  BOOST_TEST(bf16(3.3961776e38F).bits == 0x7f80);  // past the last midpoint: infinity
  BOOST_TEST(bf16(std::numeric_limits<float>::max()).bits == 0x7f80);
  BOOST_TEST(bf16(-0.0F).bits == 0x8000);
  BOOST_TEST(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f80'0001U)))));  // not rounded to infinity
  BOOST_TEST(std::isnan(static_cast<float>(f16(std::bit_cast<float>(0x7f80'0001U)))));
}

BOOST_AUTO_TEST_CASE(conversions_happen_at_compile_time_too) {
  static_assert(bf16(1.5F).bits == 0x3fc0);
  static_assert(static_cast<float>(f16(1.5F)) == 1.5F);
  static_assert(convert<double>(bf16(-2.0F)) == -2.0);
  static_assert(convert<f16>(0.5).bits == 0x3800);
  static_assert(convert<f16>(bf16(0.5F)).bits == 0x3800);
  static_assert(convert<float>(0.1) == 0.1F);
}

BOOST_AUTO_TEST_CASE(names_and_sizes_are_those_of_safetensors) {
  std::set<std::string_view> names;
  for (const dtype type : {dtype::f64, dtype::f32, dtype::f16, dtype::bf16, dtype::i64, dtype::i32, dtype::i16,
                           dtype::i8, dtype::u8, dtype::boolean}) {
    BOOST_TEST(!name_of(type).empty());
    BOOST_TEST((dtype_from_name(name_of(type)) == type));
    names.insert(name_of(type));
  }
  BOOST_TEST(names.size() == 10);
  BOOST_TEST(!dtype_from_name("F8_E4M3").has_value());
  BOOST_TEST(!dtype_from_name("").has_value());
  BOOST_TEST(name_of(dtype::bf16) == "BF16");
  BOOST_TEST(size_of(dtype_of<double>) == sizeof(double));
  BOOST_TEST(size_of(dtype_of<float>) == sizeof(float));
  BOOST_TEST(size_of(dtype_of<f16>) == sizeof(f16));
  BOOST_TEST(size_of(dtype_of<bf16>) == sizeof(bf16));
  BOOST_TEST(size_of(dtype_of<std::int64_t>) == 8);
  BOOST_TEST(size_of(dtype_of<std::int32_t>) == 4);
  BOOST_TEST(size_of(dtype_of<std::int16_t>) == 2);
  BOOST_TEST(size_of(dtype_of<std::int8_t>) == 1);
  BOOST_TEST(size_of(dtype_of<std::uint8_t>) == 1);
  BOOST_TEST(size_of(dtype_of<bool>) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
