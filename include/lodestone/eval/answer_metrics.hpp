// Marks answers by the metrics that published benchmarks name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/answer_text.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/published_prompts.hpp>

namespace lodestone::eval {

/// What answers to one question are compared with.
struct answer_key {
  std::vector<std::string> references{};  ///< right answers: the best counts
  std::vector<std::string> classes{};     ///< of answer_metric::class_name
  std::string keywords{};                 ///< of the keyword metrics; empty: none
};

/// The scores of an answer: the benchmark's own, and substring_match where the answer is a phrase (F1 and its
/// variants). `chinese` cuts Chinese text into words; where it is empty characters_as_words() does, and the metric's
/// name says so.
[[nodiscard]] std::vector<score> mark_answer(answer_metric metric, const answer_key& key, std::string_view answer,
                                             const word_splitter& chinese);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/answer_metrics.ipp>
#endif
