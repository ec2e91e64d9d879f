// ROUGE: how many word sequences of a reference summary an answer has, as ROUGE-1.5.5 and as LongBench count them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/eval/porter_stem.hpp>

namespace lodestone::eval {

/// Shares of units (words, word sequences) that answer and references have in common, and the counts behind them.
struct rouge_score {
  double recall = 0.0;         ///< hits / reference
  double precision = 0.0;      ///< hits / answer
  double f = 0.0;              ///< 2 P R / (P + R): alpha is 0.5
  std::int64_t hits = 0;       ///< units in common, over all references
  std::int64_t reference = 0;  ///< units of all references
  std::int64_t answer = 0;     ///< units of the answer, once for each reference
};

/// What ROUGE-1.5.5's option -m does to words of more than three characters.
struct rouge_stems {
  bool is_on = false;                           ///< porter_stem()
  const word_exceptions* exceptions = nullptr;  ///< looked up first, as ROUGE-1.5.5 does; must outlive the call
};

/// The words of a text, sentence by sentence.
using rouge_text = std::vector<std::vector<std::string>>;

/// Sentences from a text that has one on each line; words are runs of ASCII letters and digits in lower case. Other
/// characters, those of other scripts too, part words and are lost, as in ROUGE-1.5.5.
[[nodiscard]] rouge_text rouge_words(std::string_view text, rouge_stems stems = {});

/// ROUGE-N: sequences of n >= 1 words, over the ends of sentences too. Several references are added up (ROUGE-1.5.5's
/// option -f A). Throws config_error for n = 0.
[[nodiscard]] rouge_score rouge_n(const rouge_text& answer, std::span<const rouge_text> references, std::size_t n);

/// ROUGE-L of whole summaries: for each sentence of the reference the words that are in a longest common subsequence
/// with any sentence of the answer, no word more often than both texts have it. rougeLsum of the package rouge_score.
[[nodiscard]] rouge_score rouge_l(const rouge_text& answer, std::span<const rouge_text> references);

/// The F of ROUGE-L as the package rouge 1.0.1 has it, which LongBench uses: words are what white space parts,
/// sentences what full stops part, and both texts count as sets of words. 0 for a text without anything between its
/// full stops. The package fails on sentences of about a thousand words, where LongBench counts 0; here they count.
[[nodiscard]] double rouge_l_of_sets(std::string_view answer, std::string_view reference);

/// The same between texts cut into words by `words`, with spaces between them: LongBench's rouge_zh_score.
template <class Splitter>
[[nodiscard]] double chinese_rouge_l(std::string_view answer, std::string_view reference, const Splitter& words) {
  const auto spaced = [&](std::string_view text) {
    std::string result;
    bool is_first = true;
    for (const std::string& word : words(text)) {
      if (!is_first) result += ' ';
      result += word;
      is_first = false;
    }
    return result;
  };
  return rouge_l_of_sets(spaced(answer), spaced(reference));
}

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/rouge.ipp>
#endif
