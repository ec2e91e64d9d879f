// How well a text answers a question, where the right answers are known: words in common, numbers, choices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/answer_text.hpp>

namespace lodestone::eval {

/// Whether both answers are the same after normalise_answer().
[[nodiscard]] bool is_exact_match(std::string_view answer, std::string_view reference);

/// Whether the reference, after normalise_answer(), stands anywhere in the answer, which is treated likewise: "SubEM".
/// A reference of which nothing is left stands in every answer.
[[nodiscard]] bool is_substring_match(std::string_view answer, std::string_view reference);

/// The same for Chinese: after normalise_chinese_answer().
[[nodiscard]] bool is_chinese_substring_match(std::string_view answer, std::string_view reference);

/// Words that both have, counted as often as both have them: 2 P R / (P + R) of the shares P of the answer's and R of
/// the reference's words; 0 when they have none in common.
[[nodiscard]] double words_f1(std::span<const std::string> answer, std::span<const std::string> reference);

/// words_f1() of the words of normalise_answer(): LongBench's qa_f1_score, SQuAD's F1 of answers that are not empty.
[[nodiscard]] double answer_f1(std::string_view answer, std::string_view reference);

/// words_f1() of what `words` cuts both into, each word treated by normalise_chinese_answer(), empty ones left out:
/// with jieba's words LongBench's qa_f1_zh_score.
[[nodiscard]] double chinese_answer_f1(std::string_view answer, std::string_view reference, const word_splitter& words);

/// words_f1() of single characters after normalise_chinese_answer(): InfiniteBench's score of Chinese answers.
[[nodiscard]] double character_f1(std::string_view answer, std::string_view reference);

/// The share of `keywords` that the answer has: words that both have, counted as often as both have them, without those
/// in `ignored`, over all words of the keywords; 1 when there are none. LV-Eval asks for 0.2 before it looks at F1.
[[nodiscard]] double keyword_recall(std::span<const std::string> answer, std::span<const std::string> keywords,
                                    std::span<const std::string_view> ignored);

/// LongBench's score of a class: 1 / the number of class names that stand in the answer, names that are part of the
/// right one aside, if the right one is among them, else 0.
[[nodiscard]] double class_score(std::string_view answer, std::string_view reference,
                                 std::span<const std::string> classes);

/// The runs of decimal digits of a text, of any script, in its order.
[[nodiscard]] std::vector<std::string> numbers_in(std::string_view text);

/// The share of numbers_in() that are `number`, digit for digit; 0 when there are none.
[[nodiscard]] double number_share(std::string_view answer, std::string_view number);

/// The first run of ASCII digits; empty when there is none.
[[nodiscard]] std::string first_number(std::string_view text);

/// Whether `word` stands in the answer as a word of its own, where line ends and : " ' . , ? ! { } part words too.
[[nodiscard]] bool has_word(std::string_view answer, std::string_view word);

/// InfiniteBench's score of a choice: whether the answer names the right letter, or the right text. Its first
/// character counts if it is one of A to D; else what follows "answer is:", "answer:", "answer is" or "option is"; else
/// the first word that is made of letters A to D in their order.
[[nodiscard]] bool is_right_choice(std::string_view answer, char letter, std::string_view text);

/// The best value of `score(answer, reference)` over references; 0 without any.
template <class Score>
[[nodiscard]] double best_over(std::string_view answer, std::span<const std::string> references, const Score& score) {
  double best = 0.0;
  for (const std::string& reference : references)
    best = std::max(best, static_cast<double>(score(answer, std::string_view(reference))));
  return best;
}

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/answer_scores.ipp>
#endif
