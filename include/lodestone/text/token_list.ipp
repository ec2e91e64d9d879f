// Definitions of token_list.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/token_list.hpp>

namespace lodestone::text {

LODESTONE_INLINE void token_list::add(std::string_view text, std::int64_t id, std::string_view where, bool repeat) {
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

LODESTONE_INLINE bool token_list::contains(std::int64_t id) const {
  return id >= 0 && id < size() && texts_[static_cast<std::size_t>(id)].is_used;
}

LODESTONE_INLINE std::string_view token_list::text(std::int64_t id) const {
  return contains(id) ? std::string_view(texts_[static_cast<std::size_t>(id)].text) : std::string_view();
}

LODESTONE_INLINE std::string token_list::shortened(std::string_view text) {
  std::string result(text.substr(0, 40));
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 32) c = '?';
  return text.size() > 40 ? result + "..." : result;
}

LODESTONE_INLINE void token_list::fail(const std::string& what, std::string_view where) {
  throw format_error(what, where, "the vocabulary is damaged; fetch the file again");
}

}  // namespace lodestone::text

