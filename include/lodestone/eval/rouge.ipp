// Definitions of rouge.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/eval/rouge.hpp>
#include <lodestone/eval/subsequence.hpp>

namespace lodestone::eval {

namespace detail {

using symbols = std::vector<std::int32_t>;

/// Words as numbers from 0.
class word_numbers {
 public:
  [[nodiscard]] std::int32_t of(const std::string& word) {
    return numbers_.try_emplace(word, static_cast<std::int32_t>(numbers_.size())).first->second;
  }
  [[nodiscard]] std::vector<symbols> of(std::span<const std::vector<std::string>> sentences) {
    std::vector<symbols> result;
    for (const std::vector<std::string>& sentence : sentences) {
      symbols& numbers = result.emplace_back();
      for (const std::string& word : sentence) numbers.push_back(of(word));
    }
    return result;
  }
  [[nodiscard]] std::size_t size() const { return numbers_.size(); }

 private:
  std::unordered_map<std::string, std::int32_t> numbers_;
};

inline void set_shares(rouge_score& score) {
  const auto hits = static_cast<double>(score.hits);
  if (score.reference > 0) score.recall = hits / static_cast<double>(score.reference);
  if (score.answer > 0) score.precision = hits / static_cast<double>(score.answer);
  const double sum = 0.5 * score.precision + 0.5 * score.recall;
  if (sum > 0) score.f = score.precision * score.recall / sum;
}

[[nodiscard]] inline symbols joined(std::span<const symbols> sentences) {
  symbols result;
  for (const symbols& sentence : sentences) result.insert(result.end(), sentence.begin(), sentence.end());
  return result;
}

/// How often each sequence of n words stands in a text.
[[nodiscard]] inline std::map<symbols, std::int64_t> count_sequences(const symbols& words, std::size_t n) {
  std::map<symbols, std::int64_t> counts;
  for (std::size_t i = 0; i + n <= words.size(); ++i)
    ++counts[symbols(words.begin() + static_cast<std::ptrdiff_t>(i),
                     words.begin() + static_cast<std::ptrdiff_t>(i + n))];
  return counts;
}

[[nodiscard]] inline std::vector<std::int64_t> count_each(const symbols& words, std::size_t alphabet) {
  std::vector<std::int64_t> counts(alphabet, 0);
  for (const std::int32_t word : words) ++counts[static_cast<std::size_t>(word)];
  return counts;
}

}  // namespace detail

LODESTONE_INLINE rouge_text rouge_words(std::string_view text, rouge_stems stems) {
  rouge_text sentences;
  const auto add = [&](std::string& word) {
    if (stems.is_on && word.size() > 3) {
      const auto base = stems.exceptions != nullptr ? stems.exceptions->find(word) : std::nullopt;
      word = base ? std::string(*base) : porter_stem(word);
    }
    sentences.back().push_back(std::exchange(word, {}));
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    sentences.emplace_back();
    std::string word;
    for (const char c : line) {
      const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9')) {
        word += lower;
      } else if (!word.empty()) {
        add(word);
      }
    }
    if (!word.empty()) add(word);
  }
  return sentences;
}

LODESTONE_INLINE rouge_score rouge_n(const rouge_text& answer, std::span<const rouge_text> references, std::size_t n) {
  if (n == 0) throw config_error("sequences of 0 words cannot be counted", "n", "use 1 or more");
  detail::word_numbers numbers;
  const detail::symbols of_answer = detail::joined(numbers.of(answer));
  const auto in_answer = detail::count_sequences(of_answer, n);
  rouge_score score;
  const auto count = [n](const detail::symbols& words) {
    return static_cast<std::int64_t>(words.size() >= n ? words.size() - n + 1 : 0);
  };
  for (const rouge_text& reference : references) {
    const detail::symbols words = detail::joined(numbers.of(reference));
    for (const auto& [sequence, times] : detail::count_sequences(words, n))
      if (const auto found = in_answer.find(sequence); found != in_answer.end())
        score.hits += std::min(times, found->second);
    score.reference += count(words);
    score.answer += count(of_answer);
  }
  detail::set_shares(score);
  return score;
}

LODESTONE_INLINE rouge_score rouge_l(const rouge_text& answer, std::span<const rouge_text> references) {
  detail::word_numbers numbers;
  const std::vector<detail::symbols> of_answer = numbers.of(answer);
  rouge_score score;
  for (const rouge_text& reference : references) {
    const std::vector<detail::symbols> of_reference = numbers.of(reference);
    const detail::symbols answer_words = detail::joined(of_answer);
    const detail::symbols reference_words = detail::joined(of_reference);
    std::vector<std::int64_t> left_in_answer = detail::count_each(answer_words, numbers.size());
    std::vector<std::int64_t> left_in_reference = detail::count_each(reference_words, numbers.size());
    for (const detail::symbols& sentence : of_reference) {
      std::vector<bool> is_hit(sentence.size(), false);
      for (const detail::symbols& other : of_answer)
        walk_common_subsequence(other, sentence, numbers.size(), [&](std::size_t, std::size_t j) { is_hit[j] = true; });
      for (std::size_t j = 0; j < sentence.size(); ++j) {
        const auto word = static_cast<std::size_t>(sentence[j]);
        if (!is_hit[j] || left_in_answer[word] == 0 || left_in_reference[word] == 0) continue;
        --left_in_answer[word];
        --left_in_reference[word];
        ++score.hits;
      }
    }
    score.reference += static_cast<std::int64_t>(reference_words.size());
    score.answer += static_cast<std::int64_t>(answer_words.size());
  }
  detail::set_shares(score);
  return score;
}

namespace detail {

/// Sentences as the package rouge cuts them: a blank one holds one empty word.
[[nodiscard]] inline rouge_text sentences_between_stops(std::string_view text) {
  rouge_text sentences;
  while (true) {
    const std::size_t stop = text.find('.');
    if (const std::string_view sentence = text.substr(0, stop); !sentence.empty()) {
      sentences.push_back(split_words(sentence));
      if (sentences.back().empty()) sentences.back().emplace_back();
    }
    if (stop == std::string_view::npos) return sentences;
    text.remove_prefix(stop + 1);
  }
}

[[nodiscard]] inline std::size_t count_distinct(std::span<const symbols> sentences, std::size_t alphabet) {
  std::vector<bool> is_seen(alphabet, false);
  for (const symbols& sentence : sentences)
    for (const std::int32_t word : sentence) is_seen[static_cast<std::size_t>(word)] = true;
  return static_cast<std::size_t>(std::count(is_seen.begin(), is_seen.end(), true));
}

}  // namespace detail

LODESTONE_INLINE double rouge_l_of_sets(std::string_view answer, std::string_view reference) {
  detail::word_numbers numbers;
  const std::vector<detail::symbols> of_answer = numbers.of(detail::sentences_between_stops(answer));
  const std::vector<detail::symbols> of_reference = numbers.of(detail::sentences_between_stops(reference));
  if (of_answer.empty() || of_reference.empty()) return 0.0;
  std::vector<bool> is_hit(numbers.size(), false);
  for (const detail::symbols& sentence : of_reference)
    for (const detail::symbols& other : of_answer)
      walk_common_subsequence(sentence, other, numbers.size(), [&](std::size_t i, std::size_t) {
        is_hit[static_cast<std::size_t>(sentence[i])] = true;
      });
  const auto hits = static_cast<double>(std::count(is_hit.begin(), is_hit.end(), true));
  const double recall = hits / static_cast<double>(detail::count_distinct(of_reference, numbers.size()));
  const double precision = hits / static_cast<double>(detail::count_distinct(of_answer, numbers.size()));
  return 2.0 * ((precision * recall) / (precision + recall + 1e-8));
}

}  // namespace lodestone::eval
