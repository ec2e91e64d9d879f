// The tokens of a vocabulary by id and by text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/piece_table.hpp>

namespace lodestone::text {

/// Token texts with their ids. Ids may have gaps; two tokens never share an id, and no token has two.
class token_list {
 public:
  /// Adds a token. Throws format_error, with `where`, if the id or the text is taken by another token, or if the id is
  /// negative or so large that the list would be mostly empty. Adding the same token twice is allowed if `repeat`.
  void add(std::string_view text, std::int64_t id, std::string_view where, bool repeat = false);

  /// Announces how many tokens will be added, so that ids may come in any order.
  void expect(std::size_t count) { extra_ = count; }

  /// The largest id plus one.
  [[nodiscard]] std::int32_t size() const { return static_cast<std::int32_t>(texts_.size()); }
  /// False for an id in a gap or outside [0, size()).
  [[nodiscard]] bool contains(std::int64_t id) const;
  /// The text of a token; empty if no token has the id.
  [[nodiscard]] std::string_view text(std::int64_t id) const;
  /// The id of a token, or -1.
  [[nodiscard]] std::int32_t id(std::string_view text) const { return ids_.find(text); }

  /// A token text for a message: at most 40 bytes of it, control bytes as a question mark.
  [[nodiscard]] static std::string shortened(std::string_view text);

 private:
  struct token {
    std::string text;
    bool is_used = false;
  };
  [[noreturn]] static void fail(const std::string& what, std::string_view where);
  std::vector<token> texts_;
  piece_table ids_;
  std::size_t count_ = 0;
  std::size_t extra_ = 0;
};

}  // namespace lodestone::text

#ifndef LODESTONE_COMPILED
#include <lodestone/text/token_list.ipp>
#endif
