// Definitions of layout.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/position/layout.hpp>

namespace lodestone::position {

LODESTONE_INLINE layout layout_rule::parts(const example_view& example, std::int64_t n) const {
  if (prefix < 0 || chunk < 1 || question < 0)
    throw config_error("prefix and question must not be negative, chunks must hold at least 1 token", "layout_rule");
  layout result;
  if (!example.chunks.empty()) {
    const std::span<const std::int64_t> bounds = example.chunks;
    for (std::size_t j = 1; j < bounds.size(); ++j) {
      if (bounds[j] <= bounds[j - 1]) throw wrong_chunks(example, n);
      result.chunks.push_back(bounds[j] - bounds[j - 1]);
    }
    if (bounds.size() == 2) cut(result.chunks);
    if (bounds.front() < 0 || bounds.back() > n) throw wrong_chunks(example, n);
    result.prefix = bounds.front();
    result.tail = n - bounds.back();
    return result;
  }
  const auto rows = std::min<std::int64_t>(n, static_cast<std::int64_t>(example.labels.size()));
  std::int64_t first = 0;
  while (first < rows && !is_target(example, first)) ++first;
  result.prefix = std::min(prefix, n);
  std::int64_t end = n;                                                                     // of the context
  if (first > 0 && first < rows) end = std::clamp(first + 1 - question, result.prefix, n);  // row r predicts r + 1
  if (end > result.prefix) result.chunks.push_back(end - result.prefix);
  cut(result.chunks);
  result.tail = n - end;
  return result;
}

LODESTONE_INLINE void layout_rule::cut(std::vector<std::int64_t>& chunks) const {
  if (chunks.empty()) return;
  std::int64_t left = chunks.front();
  for (chunks.clear(); left > 0; left -= chunk) chunks.push_back(std::min(left, chunk));
}

LODESTONE_INLINE bool layout_rule::is_target(const example_view& example, std::int64_t row) {
  const auto r = static_cast<std::size_t>(row);
  return example.labels[r] != no_label && (r >= example.weights.size() || example.weights[r] != 0.0F);
}

LODESTONE_INLINE data_error layout_rule::wrong_chunks(const example_view& example, std::int64_t n) {
  return data_error("its chunks must ascend within its " + std::to_string(n) + " tokens",
                    "example " + std::to_string(example.index));
}

LODESTONE_INLINE void check_window(std::int64_t n, std::int64_t window, const example_view& example) {
  if (window < 1 || window > std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1)
    throw config_error("a window of " + std::to_string(window) + " position ids", "position_window",
                       "choose 1 to 2147483648");
  if (n > window)
    throw config_error("example " + std::to_string(example.index) + " has " + std::to_string(n) +
                           " tokens, the window " + std::to_string(window) + " position ids",
                       "position_window", "raise it, or shorten the example");
}

LODESTONE_INLINE void check_ids(std::span<const std::int32_t> ids, std::int64_t window) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool is_in_range = ids[i] >= 0 && ids[i] < window;
    if (is_in_range && (i == 0 || ids[i] > ids[i - 1])) continue;
    throw shape_error(
        "position id " + std::to_string(ids[i]) +
            (is_in_range ? " does not exceed the one before it" : " is outside a window of " + std::to_string(window)),
        "token " + std::to_string(i));
  }
}

}  // namespace lodestone::position
