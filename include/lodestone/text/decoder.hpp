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
  /// Leaves one piece, all of them joined.
  void operator()(std::vector<std::string>& pieces) const;
};

/// `<0x00>` to `<0xFF>` become bytes. Bytes that are not UTF-8 stay bytes: nothing is lost.
struct read_fallback_bytes {
  /// Keeps the number of pieces; the hexadecimal digits may be of either case.
  void operator()(std::vector<std::string>& pieces) const;
};

/// Joins all pieces.
struct fuse_pieces {
  /// Leaves one piece, an empty one of none.
  void operator()(std::vector<std::string>& pieces) const;
};

/// Replaces a string or a pattern in each piece.
struct replace_in_pieces {
  std::variant<replace_string, replace_pattern> replace;  ///< what each piece goes through by itself
  /// Keeps the number of pieces.
  void operator()(std::vector<std::string>& pieces) const;
};

/// Removes up to `start` copies of a character at the start of each piece and up to `stop` at its end.
struct strip_pieces {
  std::string content;    ///< the character, UTF-8; empty: nothing is removed
  std::size_t start = 0;  ///< most copies to remove at the start
  std::size_t stop = 0;   ///< most copies to remove at the end
  /// Keeps the number of pieces; some may become empty.
  void operator()(std::vector<std::string>& pieces) const;
};

/// The replacement character becomes a space; in the first piece it is the one put there, and goes.
struct read_metaspace {
  std::string replacement = "\xE2\x96\x81";  ///< the character, UTF-8: U+2581
  bool drops_first = true;                   ///< false: it becomes a space in the first piece too
  /// Keeps the number of pieces.
  void operator()(std::vector<std::string>& pieces) const;
};

/// A sequence of decoders, applied in order; pieces without a decoder are joined by spaces.
class decoder {
 public:
  /// One decoder.
  using step = std::variant<read_byte_alphabet, read_fallback_bytes, fuse_pieces, replace_in_pieces, strip_pieces,
                            read_metaspace>;

  /// Puts a step behind the others.
  void add(step next);
  /// Joins pieces without a space even if there is no step.
  void join_closely() { separator_.clear(); }

  /// The text that the pieces spell. Throws format_error when a step leaves more than 64 KiB and 64 bytes for each byte
  /// of the pieces.
  [[nodiscard]] std::string apply(std::vector<std::string> pieces) const;

 private:
  std::vector<step> steps_;
  std::string separator_ = " ";
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/decoder.ipp>
#endif
