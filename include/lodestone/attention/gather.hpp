// Slices for a chosen set of query rows: what the last layer computes when only scored rows matter.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <lodestone/attention/slices.hpp>

namespace lodestone {

/// The mask of `slices` restricted to the query rows `rows` (ascending, unique), which become rows 0 .. rows.size() of
/// a gathered Q; keys stay where they are. Each run of neighbouring rows inside a slice is one slice aligned at its
/// end.
[[nodiscard]] std::vector<slice> gather_slices(std::span<const slice> slices, std::span<const std::int64_t> rows);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/attention/gather.ipp>
#endif
