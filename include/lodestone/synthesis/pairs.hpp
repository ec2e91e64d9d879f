// Which answers make a preference: what is left of them when those that teach nothing are taken away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/text/chat_message.hpp>

namespace lodestone::synthesis {

/// The answers to one question, and what is known about them.
struct candidate_answers {
  std::string question{};                                 ///< what was asked
  std::string gold{};                                     ///< the right answer; empty: not known
  std::string preferred{};                                ///< made from the important chunks
  std::vector<std::string> rejected{};                    ///< made from others
  std::optional<double> preferred_rating{};               ///< a judge's
  std::vector<std::optional<double>> rejected_ratings{};  ///< as many as rejected, or none
};

/// Why an answer, or a question, was left out.
struct pair_drops {
  std::int64_t empty_preferred = 0;  ///< questions: the preferred answer says nothing
  std::int64_t poor_preferred = 0;   ///< questions: the metric of the preferred answer is below `least`
  std::int64_t empty_rejected = 0;   ///< dis-preferred answers that say nothing
  std::int64_t equal = 0;            ///< dis-preferred answers that equal the preferred one, or one another
  std::int64_t not_worse = 0;        ///< dis-preferred answers that the metric finds as good as the preferred one
  std::int64_t not_rated_worse = 0;  ///< or the judge; and those without a rating where others have one
  std::int64_t none_left = 0;        ///< questions without a dis-preferred answer in the end
};

/// How good an answer is beside the right one; larger is better.
using answer_metric = std::function<double(std::string_view answer, std::string_view gold)>;

/// What a pair must be.
struct pair_filter {
  answer_metric metric{};  ///< empty: answers are not compared with the right one
  double least = 0.0;      ///< smallest metric of a preferred answer
};

/// The dis-preferred answers that are kept, by number; none when the question is to be left out. Counts every answer
/// and question that is left out once, under the first reason that holds, in the order of pair_drops.
[[nodiscard]] std::vector<std::size_t> worse_answers(const candidate_answers& answers, const pair_filter& filter,
                                                     pair_drops& drops);

/// An answer in the form that comparison takes: small letters, and one blank for each run of white space.
[[nodiscard]] std::string folded(std::string_view text);

/// 1 when the right answer stands in the answer (SubEM), else the F1 of their words, both as eval/answer_scores.hpp
/// defines them; of Chinese answers, their characters. What compares answers when no other metric is named.
[[nodiscard]] double agreement(std::string_view answer, std::string_view gold);

/// What a judge is asked about one answer: question, right answer if it is known, the answer. It is to end with a
/// rating from 1 to 10, as [[n]], which eval::last_bracketed_rating() reads.
[[nodiscard]] std::vector<chat_message> rating_prompt(std::string_view question, std::string_view gold,
                                                      std::string_view answer);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/pairs.ipp>
#endif
