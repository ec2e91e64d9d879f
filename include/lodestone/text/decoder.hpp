// Decoders of tokenizer files: token texts back to the bytes of a text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/normalizer.hpp>

namespace lodestone::text {

/// The byte that a piece like `<0x0A>` stands for, or -1.
[[nodiscard]] int fallback_byte(std::string_view piece);

/// Pieces of the byte-level alphabet become the bytes they spell; a piece with another character stays as it is.
struct read_byte_alphabet {
  void operator()(std::vector<std::string>& pieces) const;
};

/// `<0x00>` to `<0xFF>` become bytes. Bytes that are not UTF-8 stay bytes: nothing is lost.
struct read_fallback_bytes {
  void operator()(std::vector<std::string>& pieces) const;
};

/// Joins all pieces.
struct fuse_pieces {
  void operator()(std::vector<std::string>& pieces) const;
};

/// Replaces a string or a pattern in each piece.
struct replace_in_pieces {
  std::variant<replace_string, replace_pattern> replace;
  void operator()(std::vector<std::string>& pieces) const;
};

/// Removes up to `start` copies of a character at the start of each piece and up to `stop` at its end.
struct strip_pieces {
  std::string content;
  std::size_t start = 0;
  std::size_t stop = 0;
  void operator()(std::vector<std::string>& pieces) const;
};

/// The replacement character becomes a space; in the first piece it is the one put there, and goes.
struct read_metaspace {
  std::string replacement = "\xE2\x96\x81";
  bool drops_first = true;
  void operator()(std::vector<std::string>& pieces) const;
};

/// A sequence of decoders, applied in order; pieces without a decoder are joined by spaces.
class decoder {
 public:
  using step = std::variant<read_byte_alphabet, read_fallback_bytes, fuse_pieces, replace_in_pieces, strip_pieces,
                            read_metaspace>;

  void add(step next);
  /// Joins pieces without a space even if there is no step.
  void join_closely() { separator_.clear(); }

  [[nodiscard]] std::string apply(std::vector<std::string> pieces) const;

 private:
  std::vector<step> steps_;
  std::string separator_ = " ";
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/decoder.ipp>
#endif
