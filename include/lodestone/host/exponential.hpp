// exp as a branch-free polynomial, so that loops over softmax tiles and SwiGLU vectorise.
#pragma once

#include <bit>
#include <cstdint>

namespace lodestone::on_host {

/// exp(x) within 2 units in the last place, subnormal results within one unit of the least subnormal.
///
/// exp(x) = 2^n exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2; exp(r) is a Taylor polynomial whose remainder
/// lies below the rounding error, and ln 2 has two parts so that r is exact to rounding (Cody and Waite, "Software
/// manual for the elementary functions", 1980). -infinity gives 0, overflow gives infinity, NaN stays NaN.
[[nodiscard]] inline float exponential(float x) {
  constexpr float to_integer = 12'582'912.0F;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const float low = x < -104.0F ? -104.0F : x;  // exp(-104) rounds to 0 and exp(89) to infinity
  const float clamped = low > 89.0F ? 89.0F : low;
  const float shifted = clamped * 1.44269504F + to_integer;
  const float n = shifted - to_integer;
  const std::int32_t exponent = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(to_integer);
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = (p * r) * r + r + 1.0F;
  const std::int32_t half = exponent >> 1;  // two factors, since 2^n itself may overflow or be subnormal
  const float first = std::bit_cast<float>((half + 127) << 23);
  const float second = std::bit_cast<float>((exponent - half + 127) << 23);
  return p * first * second;
}

/// The same in double precision.
[[nodiscard]] inline double exponential(double x) {
  constexpr double to_integer = 6'755'399'441'055'744.0;  // 1.5 * 2^52
  const double low = x < -746.0 ? -746.0 : x;
  const double clamped = low > 710.0 ? 710.0 : low;
  const double shifted = clamped * 1.4426950408889634 + to_integer;
  const double n = shifted - to_integer;
  const std::int64_t exponent = std::bit_cast<std::int64_t>(shifted) - std::bit_cast<std::int64_t>(to_integer);
  const double r = (clamped - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 6'227'020'800.0;  // 1 / 13!
  p = p * r + 1.0 / 479'001'600.0;
  p = p * r + 1.0 / 39'916'800.0;
  p = p * r + 1.0 / 3'628'800.0;
  p = p * r + 1.0 / 362'880.0;
  p = p * r + 1.0 / 40'320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = (p * r) * r + r + 1.0;
  const std::int64_t half = exponent >> 1;
  const double first = std::bit_cast<double>((half + 1023) << 52);
  const double second = std::bit_cast<double>((exponent - half + 1023) << 52);
  return p * first * second;
}

}  // namespace lodestone::on_host
