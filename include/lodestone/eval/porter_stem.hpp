// Porter's suffix stripping, and the irregular words of WordNet: how ROUGE-1.5.5 brings words to their stems.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lodestone::eval {

/// The stem of a lower-case word (Porter, An algorithm for suffix stripping, Program 14(3), 1980) with the two rules
/// that its author added later (-bli, -logi) and the change of ROUGE-1.5.5: step 4 tries -ement, -ment and -ent one
/// after the other. Words of fewer than three characters stay. What is not an ASCII vowel counts as a consonant.
[[nodiscard]] std::string porter_stem(std::string_view word);

/// Irregular words and their base forms: "abode" is of "abide".
class word_exceptions {
 public:
  word_exceptions() = default;

  /// Reads adj.exc, adv.exc, noun.exc and verb.exc of WordNet's dictionary folder; the first base form of a line
  /// counts, and of several files the last in this order. Throws io_error when none of them is there, format_error with
  /// file:line for a line that is not two words or more.
  [[nodiscard]] static word_exceptions load(const std::filesystem::path& folder);

  /// The base form of a word, if it is irregular.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view word) const {
    const auto found = base_.find(std::string(word));
    if (found == base_.end()) return std::nullopt;
    return found->second;
  }
  /// The number of irregular words.
  [[nodiscard]] std::size_t size() const { return base_.size(); }

 private:
  std::unordered_map<std::string, std::string> base_;
};

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/porter_stem.ipp>
#endif
