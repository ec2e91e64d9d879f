// Definitions of over_long.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <lodestone/core/inline.hpp>
#include <lodestone/data/over_long.hpp>

namespace lodestone {

LODESTONE_INLINE over_long parse_over_long(std::string_view name) {
  for (const over_long action : {over_long::error, over_long::drop, over_long::truncate_left, over_long::truncate_right,
                                 over_long::truncate_middle, over_long::split}) {
    if (to_string(action) == name) return action;
  }
  throw config_error("no policy for long examples is called '" + std::string(name) + "'", "over_long",
                     "the names are: error, drop, truncate-left, truncate-right, truncate-middle, split");
}

namespace detail {

inline void append_rows(const encoded_sequence& from, std::int64_t begin, std::int64_t end, encoded_sequence& to) {
  to.tokens.insert(to.tokens.end(), from.tokens.begin() + begin, from.tokens.begin() + end);
  to.labels.insert(to.labels.end(), from.labels.begin() + begin, from.labels.begin() + end);
  to.weights.insert(to.weights.end(), from.weights.begin() + begin, from.weights.begin() + end);
}

}  // namespace detail

LODESTONE_INLINE encoded_sequence truncate_tokens(const encoded_sequence& full, std::int64_t max_tokens, over_long side,
                                                  std::int64_t prefix) {
  std::int64_t head = max_tokens;  // rows kept at the front; the rest is kept at the back
  if (side == over_long::truncate_left) head = prefix;
  if (side == over_long::truncate_middle) head = std::max(prefix, (max_tokens + 1) / 2);
  const std::int64_t tail = full.size() - (max_tokens - head);
  encoded_sequence result;
  result.weight = full.weight;
  detail::append_rows(full, 0, head, result);
  if (head > 0) {
    result.labels.back() = no_label;
    result.weights.back() = 0.0F;
  }
  detail::append_rows(full, tail, full.size(), result);
  return result;
}

LODESTONE_INLINE std::vector<encoded_sequence> split_tokens(const encoded_sequence& full, std::int64_t max_tokens,
                                                            std::int64_t prefix) {
  std::vector<encoded_sequence> parts;
  for (std::int64_t begin = 0; begin < full.size();) {
    // A last row that predicts nothing makes no part of its own: its token is the label of the row before.
    if (begin > 0 && begin + 1 == full.size() && full.labels.back() == no_label) break;
    encoded_sequence& part = parts.emplace_back();
    part.weight = full.weight;
    if (begin > 0) {
      part.tokens.assign(full.tokens.begin(), full.tokens.begin() + prefix);
      part.labels.assign(static_cast<std::size_t>(prefix), no_label);
      part.weights.assign(static_cast<std::size_t>(prefix), 0.0F);
    }
    const std::int64_t end = std::min(full.size(), begin + max_tokens - part.size());
    detail::append_rows(full, begin, end, part);
    begin = end;
  }
  return parts;
}

namespace detail {

LODESTONE_INLINE std::size_t cut_text(std::string& text, std::size_t count, over_long side) {
  count = std::min(count, text.size());
  std::size_t begin = 0;
  if (side == over_long::truncate_right) begin = text.size() - count;
  if (side == over_long::truncate_middle) begin = (text.size() - count) / 2;
  std::size_t end = begin + count;
  const auto is_inside = [&](std::size_t i) {
    return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U;
  };
  while (begin > 0 && is_inside(begin)) --begin;
  while (is_inside(end)) ++end;
  text.erase(begin, end - begin);
  return end - begin;
}

}  // namespace detail

}  // namespace lodestone

