// Definitions of pairs.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <utf8proc.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/pairs.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE std::string folded(std::string_view text) {
  const text::character::table& classes = text::character::table::get();
  std::string result;
  bool is_after_blank = true;
  for (const char *p = text.data(), *const end = p + text.size(); p < end;) {
    const text::code_point at = text::decode_utf8(p, end);
    if (at.value == text::not_utf8) {
      result.push_back(*p);
      is_after_blank = false;
    } else if ((classes[at.value] & text::character::space) != 0) {
      if (!is_after_blank) result.push_back(' ');
      is_after_blank = true;
    } else {
      text::append_utf8(result, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(at.value))));
      is_after_blank = false;
    }
    p += at.length;
  }
  if (result.ends_with(' ')) result.pop_back();
  return result;
}

LODESTONE_INLINE double contains_or_overlaps(std::string_view answer, std::string_view gold) {
  const std::string said = folded(answer);
  const std::string right = folded(gold);
  if (right.empty()) return 0.0;
  if (said.find(right) != std::string::npos) return 1.0;
  const auto words_of = [](std::string_view text) {
    std::map<std::string_view, std::int64_t> words;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find(' '), text.size());
      if (end > 0) ++words[text.substr(0, end)];
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return words;
  };
  const auto a = words_of(said);
  const auto b = words_of(right);
  std::int64_t common = 0, all = 0;
  for (const auto& [word, count] : a) {
    all += count;
    if (const auto found = b.find(word); found != b.end()) common += std::min(count, found->second);
  }
  for (const auto& [word, count] : b) all += count;
  return all == 0 ? 0.0 : 2.0 * static_cast<double>(common) / static_cast<double>(all);
}

LODESTONE_INLINE std::vector<std::size_t> worse_answers(const candidate_answers& answers, const pair_filter& filter,
                                                        pair_drops& drops) {
  const std::string preferred = folded(answers.preferred);
  if (preferred.empty()) {
    ++drops.empty_preferred;
    return {};
  }
  const bool is_compared = filter.metric && !answers.gold.empty();
  const double quality = is_compared ? filter.metric(answers.preferred, answers.gold) : 0.0;
  if (is_compared && quality < filter.least) {
    ++drops.poor_preferred;
    return {};
  }
  std::vector<std::size_t> kept;
  std::vector<std::string> seen{preferred};
  for (std::size_t j = 0; j < answers.rejected.size(); ++j) {
    std::string text = folded(answers.rejected[j]);
    if (text.empty()) {
      ++drops.empty_rejected;
      continue;
    }
    if (std::find(seen.begin(), seen.end(), text) != seen.end()) {
      ++drops.equal;
      continue;
    }
    seen.push_back(std::move(text));
    if (is_compared && !(filter.metric(answers.rejected[j], answers.gold) < quality)) {
      ++drops.not_worse;
      continue;
    }
    if (!answers.rejected_ratings.empty()) {
      const std::optional<double>& rating = answers.rejected_ratings[j];
      if (!answers.preferred_rating || !rating || !(*rating < *answers.preferred_rating)) {
        ++drops.not_rated_worse;
        continue;
      }
    }
    kept.push_back(j);
  }
  if (kept.empty()) ++drops.none_left;
  return kept;
}

LODESTONE_INLINE std::vector<chat_message> rating_prompt(std::string_view question, std::string_view gold,
                                                         std::string_view answer) {
  std::string text =
      "Rate an answer to a question about a document that you do not see. Give a whole number from 1 (wrong, made up, "
      "or no answer to the question) to 10 (right, complete, nothing added).\n\n[Question]\n";
  text += question;
  if (!gold.empty()) text.append("\n\n[Reference answer]\n").append(gold);
  text.append("\n\n[Answer to rate]\n").append(answer);
  text += "\n\nSay in one sentence what is right and what is wrong in it. Then end with the rating in double brackets, "
          "for example: [[5]]";
  return {{chat_role::user, std::move(text), std::nullopt}};
}

LODESTONE_INLINE std::optional<double> parse_rating(std::string_view reply) {
  for (std::size_t at = reply.rfind("[["); at != std::string_view::npos;
       at = at == 0 ? std::string_view::npos : reply.rfind("[[", at - 1)) {
    const char* const begin = reply.data() + at + 2;
    const char* const end = reply.data() + reply.size();
    double value = 0.0;
    const auto read = std::from_chars(begin, end, value, std::chars_format::fixed);
    if (read.ec == std::errc{} && end - read.ptr >= 2 && read.ptr[0] == ']' && read.ptr[1] == ']' && value >= 1.0 &&
        value <= 10.0)
      return value;
  }
  return std::nullopt;
}

}  // namespace lodestone::synthesis
