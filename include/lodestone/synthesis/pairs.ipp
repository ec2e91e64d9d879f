// Definitions of pairs.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/synthesis/language.hpp>
#include <lodestone/synthesis/pairs.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE std::string folded(std::string_view text) {
  std::string result;
  for (const std::string& word : eval::split_words(eval::lower_case(text)))
    result += (result.empty() ? "" : " ") + word;
  return result;
}

LODESTONE_INLINE double agreement(std::string_view answer, std::string_view gold) {
  if (language_of(gold) == language::chinese) {
    if (eval::normalise_chinese_answer(gold).empty()) return 0.0;
    return eval::is_chinese_substring_match(answer, gold) ? 1.0 : eval::character_f1(answer, gold);
  }
  if (eval::normalise_answer(gold).empty()) return 0.0;
  return eval::is_substring_match(answer, gold) ? 1.0 : eval::answer_f1(answer, gold);
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
  text +=
      "\n\nSay in one sentence what is right and what is wrong in it. Then end with the rating in double brackets, "
      "for example: [[5]]";
  return {{chat_role::user, std::move(text), std::nullopt}};
}

}  // namespace lodestone::synthesis
