// Where the parts of an example lie: what stands in front, the chunks of its context, and question with answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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
  [[nodiscard]] layout parts(const example_view& example, std::int64_t n) const;

 private:
  /// Cuts the only one of `chunks`, if there is one, into chunks of `chunk` tokens.
  void cut(std::vector<std::int64_t>& chunks) const;
  [[nodiscard]] static bool is_target(const example_view& example, std::int64_t row);
  [[nodiscard]] static data_error wrong_chunks(const example_view& example, std::int64_t n);
};

/// Throws config_error unless n tokens fit into a window of position ids 0 to `window` - 1, which int32 can hold.
void check_window(std::int64_t n, std::int64_t window, const example_view& example);

/// Throws shape_error, naming the place, unless `ids` obey the laws of position policies and stay below `window`.
void check_ids(std::span<const std::int32_t> ids, std::int64_t window);

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

#ifndef LODESTONE_COMPILED
#include <lodestone/position/layout.ipp>
#endif
