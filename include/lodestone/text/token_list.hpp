// The tokens of a vocabulary by id and by text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/piece_table.hpp>

namespace lodestone::text {

/// Token texts with their ids. Ids may have gaps; two tokens never share an id, and no token has two.
class token_list {
 public:
  /// Adds a token. Throws format_error, with `where`, if the id or the text is taken by another token, or if the id is
  /// negative or so large that the list would be mostly empty. Adding the same token twice is allowed if `repeat`.
  void add(std::string_view text, std::int64_t id, std::string_view where, bool repeat = false) {
    if (id < 0 || id > 0x7fff'0000)
      fail("token \"" + shortened(text) + "\" has the impossible id " + std::to_string(id), where);
    // A sparse file of a few bytes must not make a table of gigabytes.
    if (static_cast<std::uint64_t>(id) > 4 * (count_ + extra_) + 65'536)
      fail("token \"" + shortened(text) + "\" has the id " + std::to_string(id) + " in a vocabulary of " +
               std::to_string(count_ + extra_) + " tokens",
           where);
    const auto at = static_cast<std::size_t>(id);
    if (contains(id)) {
      if (repeat && texts_[at].text == text) return;
      fail("tokens \"" + shortened(texts_[at].text) + "\" and \"" + shortened(text) + "\" share the id " +
               std::to_string(id),
           where);
    }
    if (!ids_.insert(text, static_cast<std::int32_t>(id)))
      fail("token \"" + shortened(text) + "\" has the ids " + std::to_string(ids_.find(text)) + " and " +
               std::to_string(id),
           where);
    if (at >= texts_.size()) texts_.resize(at + 1);
    texts_[at] = {std::string(text), true};
    ++count_;
  }

  /// Announces how many tokens will be added, so that ids may come in any order.
  void expect(std::size_t count) { extra_ = count; }

  /// The largest id plus one.
  [[nodiscard]] std::int32_t size() const { return static_cast<std::int32_t>(texts_.size()); }
  [[nodiscard]] bool contains(std::int64_t id) const {
    return id >= 0 && id < size() && texts_[static_cast<std::size_t>(id)].is_used;
  }
  /// The text of a token; empty if no token has the id.
  [[nodiscard]] std::string_view text(std::int64_t id) const {
    return contains(id) ? std::string_view(texts_[static_cast<std::size_t>(id)].text) : std::string_view();
  }
  /// The id of a token, or -1.
  [[nodiscard]] std::int32_t id(std::string_view text) const { return ids_.find(text); }

  /// A token text for a message: at most 40 bytes of it, control bytes as a question mark.
  [[nodiscard]] static std::string shortened(std::string_view text) {
    std::string result(text.substr(0, 40));
    for (char& c : result)
      if (static_cast<unsigned char>(c) < 32) c = '?';
    return text.size() > 40 ? result + "..." : result;
  }

 private:
  struct token {
    std::string text;
    bool is_used = false;
  };
  [[noreturn]] static void fail(const std::string& what, std::string_view where) {
    throw format_error(what, where, "the vocabulary is damaged; fetch the file again");
  }
  std::vector<token> texts_;
  piece_table ids_;
  std::size_t count_ = 0;
  std::size_t extra_ = 0;
};

}  // namespace lodestone::text
