// Definitions of answer_metrics.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_metrics.hpp>
#include <lodestone/eval/answer_scores.ipp>
#include <lodestone/eval/edit_similarity.hpp>
#include <lodestone/eval/rouge.hpp>

namespace lodestone::eval {

namespace detail {

/// answer_f1() of an answer that has at least 0.2 of the keywords, else 0.
[[nodiscard]] inline double keyword_f1(std::string_view answer, std::string_view reference, std::string_view keywords) {
  const auto words = split_words(normalise_answer(answer));
  const auto wanted = split_words(normalise_answer(keywords));
  if (keyword_recall(words, wanted, lv_eval_ignored_words) < 0.2) return 0.0;
  return answer_f1(answer, reference);
}

/// chinese_answer_f1() of an answer that has at least 0.4 of the keywords, else 0; the reference counts for keywords
/// where there are none.
[[nodiscard]] inline double chinese_keyword_f1(std::string_view answer, std::string_view reference,
                                               std::string_view keywords, const word_splitter& words) {
  const auto wanted = chinese_words_of(keywords.empty() ? reference : keywords, words);
  if (keyword_recall(chinese_words_of(answer, words), wanted, lv_eval_ignored_chinese_words) < 0.4) return 0.0;
  return chinese_answer_f1(answer, reference, words);
}

/// LV-Eval's ROUGE-L of Chinese texts: cut into words, cut again with spaces between them, without the words of its
/// list.
[[nodiscard]] inline double listed_rouge_l(std::string_view answer, std::string_view reference,
                                           const word_splitter& words) {
  const auto filtered = [&](std::string_view text) {
    const auto joined = [](const std::vector<std::string>& parts) {
      std::string result;
      for (std::size_t i = 0; i < parts.size(); ++i) result.append(i == 0 ? "" : " ").append(parts[i]);
      return result;
    };
    std::vector<std::string> kept;
    const auto& listed = lv_eval_ignored_chinese_words;
    for (const std::string& word : words(joined(words(text))))
      if (std::string bare = normalise_chinese_answer(word);
          std::find(listed.begin(), listed.end(), bare) == listed.end())
        kept.push_back(std::move(bare));
    return joined(kept);
  };
  return rouge_l_of_sets(filtered(answer), filtered(reference));
}

}  // namespace detail

LODESTONE_INLINE std::vector<score> mark_answer(answer_metric metric, const answer_key& key, std::string_view answer,
                                                const word_splitter& chinese) {
  const word_splitter words = chinese ? chinese : word_splitter(characters_as_words);
  const std::string suffix = chinese ? "" : "_characters";
  const auto best = [&](const auto& each) { return best_over(answer, std::span(key.references), each); };
  const auto phrase = [&](const std::string& name, double value, bool is_chinese) {
    const double has = is_chinese ? best(is_chinese_substring_match) : best(is_substring_match);
    return std::vector<score>{{name, value, 1.0}, {"substring_match", has, 1.0}};
  };
  using text = std::string_view;
  switch (metric) {
    case answer_metric::f1: return phrase("f1", best(answer_f1), false);
    case answer_metric::chinese_f1:
      return phrase("f1" + suffix, best([&](text a, text b) { return chinese_answer_f1(a, b, words); }), true);
    case answer_metric::keyword_f1:
      return phrase("keyword_f1", best([&](text a, text b) { return detail::keyword_f1(a, b, key.keywords); }), false);
    case answer_metric::chinese_keyword_f1:
      return phrase("keyword_f1" + suffix,
                    best([&](text a, text b) { return detail::chinese_keyword_f1(a, b, key.keywords, words); }), true);
    case answer_metric::rouge_l: return {{"rouge_l", best(rouge_l_of_sets), 1.0}};
    case answer_metric::chinese_rouge_l:
      return {{"rouge_l" + suffix, best([&](text a, text b) { return chinese_rouge_l(a, b, words); }), 1.0}};
    case answer_metric::listed_rouge_l:
      return {{"rouge_l" + suffix, best([&](text a, text b) { return detail::listed_rouge_l(a, b, words); }), 1.0}};
    case answer_metric::class_name:
      return {{"class_score", best([&](text a, text b) { return class_score(a, b, key.classes); }), 1.0}};
    case answer_metric::paragraph:
    case answer_metric::count: return {{"number_share", best(number_share), 1.0}};
    case answer_metric::code: return {{"code_similarity", best(code_similarity), 1.0}};
  }
  return {};
}

}  // namespace lodestone::eval
