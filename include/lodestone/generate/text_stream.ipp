// Definitions of text_stream.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/generate/text_stream.hpp>

namespace lodestone::generate {

namespace detail {

/// Whether `bytes`, shorter than a character, may be the start of one.
[[nodiscard]] LODESTONE_INLINE bool may_become_character(std::string_view bytes) {
  // Whatever may follow lies between these, so one of them completes every start.
  for (const std::string_view tail : {"\x80\x80\x80", "\xBF\xBF\xBF", "\x90\x80\x80", "\xA0\x80\x80"})
    for (std::size_t missing = 1; missing <= 3; ++missing) {
      const std::string whole = std::string(bytes) + std::string(tail.substr(0, missing));
      if (lodestone::detail::utf8_length(whole) == whole.size()) return true;
    }
  return false;
}

}  // namespace detail

LODESTONE_INLINE text_stream::text_stream(const tokenizer& words, std::span<const std::int32_t> before,
                                          std::vector<std::string> stop)
    : words_(&words), stop_(std::move(stop)) {
  for (const std::string& one : stop_)
    if (one.empty()) throw config_error("a stop string is empty", "stop", "leave it out");
  constexpr std::size_t context = 4;
  for (std::size_t i = before.size(); i-- > 0 && before_.size() < context;)
    if (!words.token_of(before[i]).empty() && !words.is_special(before[i])) before_.push_back(before[i]);
  std::reverse(before_.begin(), before_.end());
}

LODESTONE_INLINE std::string text_stream::decode(std::int32_t token) {
  if (words_->is_special(token) || words_->token_of(token).empty()) return {};
  const std::string without = words_->decode(before_, true);
  before_.push_back(token);
  std::string with = words_->decode(before_, true);
  if (before_.size() > 4) before_.erase(before_.begin());
  const auto differ = std::mismatch(without.begin(), without.end(), with.begin(), with.end());
  return with.substr(static_cast<std::size_t>(differ.second - with.begin()));
}

LODESTONE_INLINE void text_stream::take_characters() {
  std::string_view rest = bytes_;
  while (!rest.empty()) {
    std::size_t length = lodestone::detail::utf8_length(rest);
    if (length > 0) {
      text_.append(rest.substr(0, length));
    } else {
      if (rest.size() < 4 && detail::may_become_character(rest)) break;
      text_.append("\xEF\xBF\xBD");
      length = 1;
    }
    rest.remove_prefix(length);
  }
  bytes_ = std::string(rest);
}

LODESTONE_INLINE std::string text_stream::push(std::int32_t token, bool may_stop) {
  if (is_stopped_) return {};
  const std::size_t before = text_.size();
  bytes_ += decode(token);
  take_characters();
  if (!may_stop) {
    search_ = text_.size();
    return show(text_.size());
  }
  std::size_t found = std::string::npos;
  for (const std::string& one : stop_) {
    const std::size_t from = before + 1 > one.size() ? before + 1 - one.size() : 0;  // earlier ones were seen
    found = std::min(found, text_.find(one, std::max(search_, from)));
  }
  if (found != std::string::npos) {
    text_.resize(found);
    bytes_.clear();
    is_stopped_ = true;
    return show(found);
  }
  return show(text_.size() - held_back());
}

LODESTONE_INLINE std::size_t text_stream::held_back() const {
  const std::string_view open = std::string_view(text_).substr(search_);
  std::size_t most = 0;
  for (const std::string& one : stop_)
    for (std::size_t count = std::min(one.size() - 1, open.size()); count > most; --count)
      if (open.substr(open.size() - count) == std::string_view(one).substr(0, count)) {
        most = count;
        break;
      }
  return most;
}

LODESTONE_INLINE std::string text_stream::show(std::size_t end) {
  end = std::max(end, shown_);
  std::string fresh = text_.substr(shown_, end - shown_);
  shown_ = end;
  return fresh;
}

LODESTONE_INLINE std::string text_stream::finish() { return show(text_.size()); }

}  // namespace lodestone::generate
