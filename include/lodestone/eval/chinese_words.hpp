// Chinese words from a dictionary and a hidden Markov model: the words of the package jieba, read from its files.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lodestone::eval {

/// Cuts Chinese text into the words that jieba 0.42.1 cuts it into (accurate mode, with its model of unknown words), so
/// that scores over words equal those of scorers that use it.
///
/// Its dictionary is not part of Lodestone: `load` reads the folder of an installed package (`pip install jieba`), or a
/// copy of its files. Of all ways to cut a run of characters into words the most likely one is taken; characters that
/// stay single in a row are cut again by the hidden Markov model, which knows no words.
class chinese_words {
 public:
  /// Reads dict.txt and finalseg/prob_start.py, prob_trans.py and prob_emit.py. Throws io_error for a missing file,
  /// format_error with file:line for one that does not hold what its name says.
  [[nodiscard]] static chinese_words load(const std::filesystem::path& folder);

  /// The words of a text, white space and punctuation too: joined they are the text, but for bytes that are no UTF-8,
  /// which become U+FFFD.
  [[nodiscard]] std::vector<std::string> operator()(std::string_view text) const;

  /// Words and beginnings of words that the dictionary has.
  [[nodiscard]] std::size_t size() const { return frequencies_.size(); }

 private:
  static constexpr std::size_t states = 4;  // B, E, M, S: begin, end and middle of a word, a word of one character
  using table = std::unordered_map<char32_t, double>;

  chinese_words() = default;

  [[nodiscard]] std::int64_t frequency(std::u32string_view word) const;
  void cut_run(std::u32string_view run, std::vector<std::u32string_view>& words) const;
  void cut_unknown(std::u32string_view run, std::vector<std::u32string_view>& words) const;
  void cut_by_states(std::u32string_view run, std::vector<std::u32string_view>& words) const;

  std::unordered_map<std::u32string, std::int64_t> frequencies_;  // 0: only the beginning of words
  double log_total_ = 0.0;
  std::array<double, states> start_{};
  std::array<std::array<double, states>, states> step_{};  // from, to
  std::array<table, states> emit_;
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/chinese_words.ipp>
#endif
