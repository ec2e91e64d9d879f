// Numbers as people read them: significant digits, thousands, durations. Never depends on the locale.
#pragma once

#include <cstdint>
#include <string>

namespace lodestone {

/// `digits` significant digits without trailing zeros: 0.5, 12.25, 2e-05, 1.06e+12; "nan", "inf", "-inf".
[[nodiscard]] std::string format_number(double value, int digits = 4);

/// `places` digits after the point, for columns and counters that should not jump: 1.0558.
[[nodiscard]] std::string format_fixed(double value, int places);

/// The shortest text that reads back as the same double.
[[nodiscard]] std::string format_exact(double value);

/// 1,234,567.
[[nodiscard]] std::string format_count(std::int64_t value);

/// Three significant digits and a decimal prefix: 950, 13.1k, 2.5M, 7B (parameters and tokens are counted in billions).
[[nodiscard]] std::string format_short(double value);

/// Binary sizes: 512 B, 1.5 GiB.
[[nodiscard]] std::string format_bytes(double bytes);

/// 0.4s, 12s, 3:05, 1:02:03, 2d 03:04.
[[nodiscard]] std::string format_duration(double seconds);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/format.ipp>
#endif
