// Definitions of decoder.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstdint>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/decoder.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::text {

LODESTONE_INLINE int fallback_byte(std::string_view piece) {
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

LODESTONE_INLINE void read_byte_alphabet::operator()(std::vector<std::string>& pieces) const {
  std::string bytes;
  for (const std::string& piece : pieces)
    if (!byte_alphabet::get().read(piece, bytes)) bytes.append(piece);
  pieces.clear();
  pieces.push_back(std::move(bytes));
}

LODESTONE_INLINE void read_fallback_bytes::operator()(std::vector<std::string>& pieces) const {
  for (std::string& piece : pieces)
    if (const int byte = fallback_byte(piece); byte >= 0) piece.assign(1, static_cast<char>(byte));
}

LODESTONE_INLINE void fuse_pieces::operator()(std::vector<std::string>& pieces) const {
  std::string all;
  for (const std::string& piece : pieces) all.append(piece);
  pieces.clear();
  pieces.push_back(std::move(all));
}

LODESTONE_INLINE void replace_in_pieces::operator()(std::vector<std::string>& pieces) const {
  for (std::string& piece : pieces)
    piece = std::visit([&piece](const auto& rewrite) { return rewrite(piece); }, replace);
}

LODESTONE_INLINE void strip_pieces::operator()(std::vector<std::string>& pieces) const {
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

LODESTONE_INLINE void read_metaspace::operator()(std::vector<std::string>& pieces) const {
  const replace_string drop{replacement, ""};
  const replace_string space{replacement, " "};
  for (std::size_t i = 0; i < pieces.size(); ++i)
    pieces[i] = i == 0 && drops_first ? drop(pieces[i]) : space(pieces[i]);
}

LODESTONE_INLINE void decoder::add(step next) { steps_.push_back(std::move(next)); }

LODESTONE_INLINE std::string decoder::apply(std::vector<std::string> pieces) const {
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

}  // namespace lodestone::text

