// Chinese words from a dictionary and a hidden Markov model: the words of the package jieba, read from its files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lodestone::eval {

/// Cuts Chinese text into the words that jieba 0.42.1 cuts it into (accurate mode, with its model of unknown words), so
/// that scores over words equal those of scorers that use it.
///
/// Its dictionary is not part of Lodestone: `load` reads the folder of an installed package (`pip install jieba`), or a
/// copy of its files. Of all ways to cut a run of characters into words the most likely one is taken; characters that
/// stay single in a row are cut again by the hidden Markov model, which knows no words. Copies share the tables.
class chinese_words {
 public:
  /// Reads dict.txt and finalseg/prob_start.py, prob_trans.py and prob_emit.py. Throws io_error for a missing file,
  /// format_error with file:line for one that does not hold what its name says.
  [[nodiscard]] static chinese_words load(const std::filesystem::path& folder);

  /// The words of a text, white space and punctuation too: joined they are the text, but for bytes that are no UTF-8,
  /// which become U+FFFD.
  [[nodiscard]] std::vector<std::string> operator()(std::string_view text) const;

  /// Words and beginnings of words that the dictionary has.
  [[nodiscard]] std::size_t size() const { return model_->frequencies.size(); }

 private:
  static constexpr std::size_t states = 4;  // B, E, M, S: begin, end and middle of a word, a word of one character

  struct model {
    std::unordered_map<std::u32string, std::int64_t> frequencies{};  // 0: only the beginning of words
    double log_total = 0.0;
    std::array<double, states> start{};
    std::array<std::array<double, states>, states> step{};  // from, to
    std::array<std::unordered_map<char32_t, double>, states> emit{};
  };

  explicit chinese_words(std::shared_ptr<const model> read) : model_(std::move(read)) {}

  [[nodiscard]] std::int64_t frequency(std::u32string_view word) const;
  void cut_run(std::u32string_view run, std::vector<std::u32string_view>& words) const;
  void cut_unknown(std::u32string_view run, std::vector<std::u32string_view>& words) const;
  void cut_by_states(std::u32string_view run, std::vector<std::u32string_view>& words) const;

  std::shared_ptr<const model> model_;
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/chinese_words.ipp>
#endif
