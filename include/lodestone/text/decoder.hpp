// Decoders of tokenizer files: token texts back to the bytes of a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/normalizer.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

/// The byte that a piece like `<0x0A>` stands for, or -1.
[[nodiscard]] inline int fallback_byte(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  const int high = digit(piece[3]);
  const int low = digit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/// Pieces of the byte-level alphabet become the bytes they spell; a piece with another character stays as it is.
struct read_byte_alphabet {
  void operator()(std::vector<std::string>& pieces) const {
    std::string bytes;
    for (const std::string& piece : pieces)
      if (!byte_alphabet::get().read(piece, bytes)) bytes.append(piece);
    pieces.clear();
    pieces.push_back(std::move(bytes));
  }
};

/// `<0x00>` to `<0xFF>` become bytes. Bytes that are not UTF-8 stay bytes: nothing is lost.
struct read_fallback_bytes {
  void operator()(std::vector<std::string>& pieces) const {
    for (std::string& piece : pieces)
      if (const int byte = fallback_byte(piece); byte >= 0) piece.assign(1, static_cast<char>(byte));
  }
};

/// Joins all pieces.
struct fuse_pieces {
  void operator()(std::vector<std::string>& pieces) const {
    std::string all;
    for (const std::string& piece : pieces) all.append(piece);
    pieces.clear();
    pieces.push_back(std::move(all));
  }
};

/// Replaces a string or a pattern in each piece.
struct replace_in_pieces {
  std::variant<replace_string, replace_pattern> replace;
  void operator()(std::vector<std::string>& pieces) const {
    for (std::string& piece : pieces)
      piece = std::visit([&piece](const auto& rewrite) { return rewrite(piece); }, replace);
  }
};

/// Removes up to `start` copies of a character at the start of each piece and up to `stop` at its end.
struct strip_pieces {
  std::string content;
  std::size_t start = 0;
  std::size_t stop = 0;
  void operator()(std::vector<std::string>& pieces) const {
    if (content.empty()) return;
    for (std::string& piece : pieces) {
      std::string_view rest = piece;
      for (std::size_t i = 0; i < start && rest.substr(0, content.size()) == content; ++i)
        rest.remove_prefix(content.size());
      for (std::size_t i = 0;
           i < stop && rest.size() >= content.size() && rest.substr(rest.size() - content.size()) == content; ++i)
        rest.remove_suffix(content.size());
      piece = std::string(rest);
    }
  }
};

/// The replacement character becomes a space; in the first piece it is the one put there, and goes.
struct read_metaspace {
  std::string replacement = "\xE2\x96\x81";
  bool drops_first = true;
  void operator()(std::vector<std::string>& pieces) const {
    const replace_string drop{replacement, ""};
    const replace_string space{replacement, " "};
    for (std::size_t i = 0; i < pieces.size(); ++i)
      pieces[i] = i == 0 && drops_first ? drop(pieces[i]) : space(pieces[i]);
  }
};

/// A sequence of decoders, applied in order; pieces without a decoder are joined by spaces.
class decoder {
 public:
  using step = std::variant<read_byte_alphabet, read_fallback_bytes, fuse_pieces, replace_in_pieces, strip_pieces,
                            read_metaspace>;

  void add(step next) { steps_.push_back(std::move(next)); }
  /// Joins pieces without a space even if there is no step.
  void join_closely() { separator_.clear(); }

  [[nodiscard]] std::string apply(std::vector<std::string> pieces) const {
    const auto size = [&pieces] {
      std::size_t total = 0;
      for (const std::string& piece : pieces) total += piece.size();
      return total;
    };
    const std::size_t limit = 65'536 + normalizer::most_growth * size();
    for (const step& one : steps_) {
      std::visit([&pieces](const auto& decode) { decode(pieces); }, one);
      if (size() > limit)
        throw format_error("the decoder makes " + std::to_string(size()) + " bytes of shorter tokens", "tokenizer file",
                           "use the published file");
    }
    std::string text;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i != 0 && steps_.empty()) text.append(separator_);
      text.append(pieces[i]);
    }
    return text;
  }

 private:
  std::vector<step> steps_;
  std::string separator_ = " ";
};

}  // namespace lodestone::text
