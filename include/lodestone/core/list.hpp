// A list of numbers in a backend's memory, beside its copy on the host.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <lodestone/core/arena.hpp>

namespace lodestone {

/// What `upload` of a backend with memory of its own returns: token ids, row indices, offsets. Operations read the
/// device copy and check the host copy, so that a wrong index is an exception and not a fault on the device.
template <class T, class Space>
struct backend_list {
  block<T, 1, Space> device;  ///< [n]
  std::vector<T> values;      ///< [n]

  [[nodiscard]] const T* data() const { return device.view().data(); }                          ///< in device memory
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(values.size()); }  ///< n of both copies
};

}  // namespace lodestone
