// Definitions of gather.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/attention/gather.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone {

LODESTONE_INLINE std::vector<slice> gather_slices(std::span<const slice> slices, std::span<const std::int64_t> rows) {
  std::vector<slice> gathered;
  for (const slice& s : slices) {
    auto first = std::ranges::lower_bound(rows, s.q_begin);
    const auto end = std::ranges::lower_bound(rows, s.q_end);
    while (first != end) {
      auto last = first;  // the run [first, last]
      while (last + 1 != end && *(last + 1) == *last + 1) ++last;
      slice run = s;
      run.q_begin = first - rows.begin();
      run.q_end = last + 1 - rows.begin();
      run.k_end = s.last_key(*last);
      if (run.keys() > 0) gathered.push_back(run);
      first = last + 1;
    }
  }
  return gathered;
}

}  // namespace lodestone

