// Where the parts of an example lie: what stands in front, the chunks of its context, and question with answer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <lodestone/batching/example.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::position {

/// An example of n tokens in three parts: n = prefix + sum of chunks + tail.
struct layout {
  std::int64_t prefix = 0;           ///< S, tokens in front of the context; their ids count from 0
  std::vector<std::int64_t> chunks;  ///< c_j, tokens of each chunk, each at least 1
  std::int64_t tail = 0;             ///< T, tokens of question and answer; their ids are consecutive

  /// Tokens of all chunks.
  [[nodiscard]] std::int64_t context() const {
    std::int64_t sum = 0;
    for (const std::int64_t chunk : chunks) sum += chunk;
    return sum;
  }
};

/// How the parts of an example are found.
///
/// An example that brings its chunks (example_view::chunks) is divided as it says: in front of the first chunk lies the
/// prefix, behind the last one the tail; a single chunk is a context that nobody has divided, and is cut into chunks of
/// `chunk` tokens. Otherwise the tail begins `question` tokens before the first target, and what
/// lies between prefix and tail is cut into chunks of `chunk` tokens, the last one of what is left. A text that is
/// trained from its first row, and one without targets, has no tail: all of it is context.
struct layout_rule {
  std::int64_t prefix = 0;      ///< tokens in front of the context, such as those of a system message
  std::int64_t chunk = 512;     ///< tokens of a chunk (LOGO section 4.1), at least 1
  std::int64_t question = 128;  ///< tokens between context and answer that keep their order without gaps

  /// The parts of the first n tokens of `example`. Throws config_error for a rule with numbers out of range,
  /// data_error for chunks that do not ascend within the example.
  [[nodiscard]] layout parts(const example_view& example, std::int64_t n) const {
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
    std::int64_t end = n;  // of the context
    if (first > 0 && first < rows) end = std::clamp(first + 1 - question, result.prefix, n);  // row r predicts r + 1
    if (end > result.prefix) result.chunks.push_back(end - result.prefix);
    cut(result.chunks);
    result.tail = n - end;
    return result;
  }

 private:
  /// Cuts the only one of `chunks`, if there is one, into chunks of `chunk` tokens.
  void cut(std::vector<std::int64_t>& chunks) const {
    if (chunks.empty()) return;
    std::int64_t left = chunks.front();
    for (chunks.clear(); left > 0; left -= chunk) chunks.push_back(std::min(left, chunk));
  }
  [[nodiscard]] static bool is_target(const example_view& example, std::int64_t row) {
    const auto r = static_cast<std::size_t>(row);
    return example.labels[r] != no_label && (r >= example.weights.size() || example.weights[r] != 0.0F);
  }
  [[nodiscard]] static data_error wrong_chunks(const example_view& example, std::int64_t n) {
    return data_error("its chunks must ascend within its " + std::to_string(n) + " tokens",
                      "example " + std::to_string(example.index));
  }
};

/// Throws config_error unless n tokens fit into a window of position ids 0 to `window` - 1, which int32 can hold.
inline void check_window(std::int64_t n, std::int64_t window, const example_view& example) {
  if (window < 1 || window > std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1)
    throw config_error("a window of " + std::to_string(window) + " position ids", "position_window",
                       "choose 1 to 2147483648");
  if (n > window)
    throw config_error("example " + std::to_string(example.index) + " has " + std::to_string(n) +
                           " tokens, the window " + std::to_string(window) + " position ids",
                       "position_window", "raise it, or shorten the example");
}

/// Throws shape_error, naming the place, unless `ids` obey the laws of position policies and stay below `window`.
inline void check_ids(std::span<const std::int32_t> ids, std::int64_t window) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool is_in_range = ids[i] >= 0 && ids[i] < window;
    if (is_in_range && (i == 0 || ids[i] > ids[i - 1])) continue;
    throw shape_error("position id " + std::to_string(ids[i]) +
                          (is_in_range ? " does not exceed the one before it"
                                       : " is outside a window of " + std::to_string(window)),
                      "token " + std::to_string(i));
  }
}

namespace detail {

/// Writes first, first + 1, ... to `out`.
inline void write_block(std::span<std::int32_t> out, std::int64_t first) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>(first + static_cast<std::int64_t>(i));
}

/// `out` in pieces, front to back.
class piecewise {
 public:
  explicit piecewise(std::span<std::int32_t> out) : left_(out) {}
  [[nodiscard]] std::span<std::int32_t> next(std::int64_t tokens) {
    const auto piece = left_.first(static_cast<std::size_t>(tokens));
    left_ = left_.subspan(piece.size());
    return piece;
  }

 private:
  std::span<std::int32_t> left_;
};

}  // namespace detail

}  // namespace lodestone::position
