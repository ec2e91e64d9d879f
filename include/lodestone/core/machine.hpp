// How much memory the machine has left.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

namespace lodestone {

namespace detail {

/// The number behind `key` in a file of keys and numbers; -1 where there is none.
[[nodiscard]] inline std::int64_t number_in(const char* file, const std::string& key) {
  std::ifstream facts(file);
  std::int64_t number = -1;
  if (key.empty()) return facts >> number ? number : -1;
  for (std::string word; facts >> word;)
    if (word == key) return facts >> number ? number : -1;
  return -1;
}

}  // namespace detail

/// Bytes of main memory that a process may still take: what the kernel calls available, within the limit of its control
/// group where there is one. The largest number where neither is known.
[[nodiscard]] inline std::int64_t available_main_memory() {
  std::int64_t result = std::numeric_limits<std::int64_t>::max();
  if (const std::int64_t kibibytes = detail::number_in("/proc/meminfo", "MemAvailable:"); kibibytes >= 0)
    result = kibibytes * 1024;
  // Cached files count as used there, and give way.
  const std::int64_t most = detail::number_in("/sys/fs/cgroup/memory.max", "");
  const std::int64_t used = detail::number_in("/sys/fs/cgroup/memory.current", "");
  const std::int64_t cached = detail::number_in("/sys/fs/cgroup/memory.stat", "file");
  if (most >= 0 && used >= 0)
    result = std::min(result, std::max<std::int64_t>(0, most - used + std::max<std::int64_t>(0, cached)));
  return result;
}

}  // namespace lodestone
