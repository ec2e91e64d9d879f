// Definitions of format.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/format.hpp>

namespace lodestone {

LODESTONE_INLINE std::string format_number(double value, int digits) {
  if (std::isnan(value)) return "nan";
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, digits);
  return end.ec == std::errc{} ? std::string(text.data(), end.ptr) : "?";
}

LODESTONE_INLINE std::string format_fixed(double value, int places) {
  if (!std::isfinite(value) || std::abs(value) >= 1e15) return format_number(value);
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, places);
  return end.ec == std::errc{} ? std::string(text.data(), end.ptr) : "?";
}

LODESTONE_INLINE std::string format_exact(double value) {
  if (std::isnan(value)) return "nan";
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return end.ec == std::errc{} ? std::string(text.data(), end.ptr) : "?";
}

LODESTONE_INLINE std::string format_count(std::int64_t value) {
  std::string text = std::to_string(value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t place = text.size(); place > first + 3; place -= 3) text.insert(place - 3, 1, ',');
  return text;
}

LODESTONE_INLINE std::string format_short(double value) {
  constexpr std::string_view prefixes = " kMBT";
  if (!std::isfinite(value)) return format_number(value);
  std::size_t prefix = 0;
  double scaled = value;
  while (std::abs(scaled) >= 999.5 && prefix + 1 < prefixes.size()) {
    scaled /= 1000.0;
    ++prefix;
  }
  std::string text = format_number(scaled, 3);
  if (prefix > 0) text += prefixes[prefix];
  return text;
}

LODESTONE_INLINE std::string format_bytes(double bytes) {
  constexpr std::array<std::string_view, 6> units{" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 1023.5 && unit + 1 < units.size()) {
    bytes /= 1024.0;
    ++unit;
  }
  return std::string(format_number(bytes, bytes >= 1000.0 ? 4 : 3)).append(units[unit]);
}

LODESTONE_INLINE std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0) return "?";
  if (seconds < 9.95) return format_fixed(seconds, 1) + "s";
  if (seconds > 3.0e9) return ">95 years";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  const auto two = [](std::int64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); };
  const std::int64_t hours = whole / 3600 % 24;
  const std::int64_t minutes = whole / 60 % 60;
  if (whole < 60) return std::to_string(whole) + "s";
  if (whole < 3600) return std::to_string(minutes) + ":" + two(whole % 60);
  if (whole < 86400) return std::to_string(hours) + ":" + two(minutes) + ":" + two(whole % 60);
  return std::to_string(whole / 86400) + "d " + two(hours) + ":" + two(minutes);
}

}  // namespace lodestone

