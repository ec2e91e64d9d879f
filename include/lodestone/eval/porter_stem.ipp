// Definitions of porter_stem.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <fstream>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/porter_stem.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] constexpr bool is_one_of(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

/// Places in a stem that a part of a pattern can end at. A pattern is a row of runs: a run of consonants begins with no
/// vowel and goes on without vowels and y; a run of vowels begins with a vowel or y and goes on with vowels.
class stem_places {
 public:
  explicit stem_places(std::string_view stem) : stem_(stem), ends_(stem.size() + 1, false) { ends_[0] = true; }

  [[nodiscard]] stem_places consonants() const { return run("aeiou", false, "aeiouy", false); }
  [[nodiscard]] stem_places vowels() const { return run("aeiouy", true, "aeiou", true); }
  [[nodiscard]] stem_places maybe(stem_places other) const {
    for (std::size_t i = 0; i < ends_.size(); ++i) other.ends_[i] = other.ends_[i] || ends_[i];
    return other;
  }
  [[nodiscard]] bool is_any() const {
    for (const bool is_end : ends_)
      if (is_end) return true;
    return false;
  }
  [[nodiscard]] bool is_at_end() const { return ends_.back(); }
  [[nodiscard]] bool is_at(std::size_t place) const { return ends_[place]; }

 private:
  [[nodiscard]] stem_places run(std::string_view first, bool is_first, std::string_view rest, bool is_rest) const {
    stem_places result(stem_);
    result.ends_[0] = false;
    for (std::size_t i = 0; i < stem_.size(); ++i) {
      const bool begins = ends_[i] && is_one_of(stem_[i], first) == is_first;
      const bool goes_on = result.ends_[i] && is_one_of(stem_[i], rest) == is_rest;
      result.ends_[i + 1] = begins || goes_on;
    }
    return result;
  }

  std::string_view stem_;
  std::vector<bool> ends_;
};

/// Where the first consonants may end, none taken too.
[[nodiscard]] inline stem_places after_onset(std::string_view stem) {
  const stem_places begin(stem);
  return begin.maybe(begin.consonants());
}
[[nodiscard]] inline stem_places after_first_measure(std::string_view stem) {
  return after_onset(stem).vowels().consonants();
}
/// Porter's m > 0, m > 1 and m = 1.
[[nodiscard]] inline bool measures_above_0(std::string_view stem) { return after_first_measure(stem).is_any(); }
[[nodiscard]] inline bool measures_above_1(std::string_view stem) {
  return after_first_measure(stem).vowels().consonants().is_any();
}
[[nodiscard]] inline bool measures_1(std::string_view stem) {
  const stem_places places = after_first_measure(stem);
  return places.maybe(places.vowels()).is_at_end();
}
[[nodiscard]] inline bool has_vowel(std::string_view stem) { return after_onset(stem).vowels().is_any(); }

/// Consonants, a vowel, and a last consonant that is not w, x or y.
[[nodiscard]] inline bool is_short(std::string_view stem) {
  if (stem.size() < 3) return false;
  const std::size_t vowel = stem.size() - 2;
  return stem_places(stem).consonants().is_at(vowel) && is_one_of(stem[vowel], "aeiouy") &&
         !is_one_of(stem.back(), "aeiouwxy");
}

using suffix_rule = std::pair<std::string_view, std::string_view>;

/// Step 2 or 3: the longest suffix of the list is replaced where m > 0.
inline void replace_suffix(std::string& word, std::span<const suffix_rule> rules) {
  const suffix_rule* longest = nullptr;
  for (const suffix_rule& rule : rules)
    if (word.ends_with(rule.first) && (longest == nullptr || rule.first.size() > longest->first.size()))
      longest = &rule;
  if (longest == nullptr) return;
  const std::string_view stem = std::string_view(word).substr(0, word.size() - longest->first.size());
  if (measures_above_0(stem)) word.replace(stem.size(), std::string::npos, longest->second);
}

/// Step 4: `suffix` goes where m > 1 without it.
inline void drop_suffix(std::string& word, std::size_t suffix) {
  if (measures_above_1(std::string_view(word).substr(0, word.size() - suffix))) word.resize(word.size() - suffix);
}

inline void drop_plural_and_past(std::string& word) {
  if (word.ends_with("sses") || word.ends_with("ies")) {
    word.resize(word.size() - 2);
  } else if (word.size() >= 2 && word.back() == 's' && word[word.size() - 2] != 's') {
    word.pop_back();
  }
  if (word.ends_with("eed")) {
    if (measures_above_0(std::string_view(word).substr(0, word.size() - 3))) word.pop_back();
    return;
  }
  const std::size_t suffix = word.ends_with("ed") ? 2 : word.ends_with("ing") ? 3 : 0;
  if (suffix == 0 || !has_vowel(std::string_view(word).substr(0, word.size() - suffix))) return;
  word.resize(word.size() - suffix);
  const std::size_t n = word.size();
  if (word.ends_with("at") || word.ends_with("bl") || word.ends_with("iz")) {
    word += 'e';
  } else if (n >= 2 && word[n - 1] == word[n - 2] && !is_one_of(word[n - 1], "aeiouylsz")) {
    word.pop_back();
  } else if (is_short(word)) {
    word += 'e';
  }
}

inline void drop_noun_and_adjective_suffixes(std::string& word) {
  static constexpr std::array<suffix_rule, 21> second{
      {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
       {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
       {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
       {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
       {"logi", "log"}}};
  static constexpr std::array<suffix_rule, 7> third{
      {{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"}, {"ful", ""}, {"ness", ""}}};
  static constexpr std::array<std::string_view, 15> fourth{"al",    "ance", "ence", "er",  "ic",  "able", "ible", "ant",
                                                           "ement", "ou",   "ism",  "ate", "iti", "ous",  "ive"};
  replace_suffix(word, second);
  replace_suffix(word, third);
  std::size_t longest = word.ends_with("ize") ? 3 : 0;
  for (const std::string_view suffix : fourth)
    if (word.ends_with(suffix)) longest = std::max(longest, suffix.size());
  if (longest != 0) drop_suffix(word, longest);
  if (word.ends_with("ment")) drop_suffix(word, 4);
  if (word.ends_with("ent")) {
    drop_suffix(word, 3);
  } else if (word.ends_with("sion") || word.ends_with("tion")) {
    drop_suffix(word, 3);
  }
}

}  // namespace detail

LODESTONE_INLINE std::string porter_stem(std::string_view text) {
  std::string word(text);
  if (word.size() < 3) return word;
  const bool starts_with_y = word.front() == 'y';
  if (starts_with_y) word.front() = 'Y';  // no vowel at the start
  detail::drop_plural_and_past(word);
  if (word.ends_with('y') && detail::has_vowel(std::string_view(word).substr(0, word.size() - 1))) word.back() = 'i';
  detail::drop_noun_and_adjective_suffixes(word);
  if (word.ends_with('e')) {
    const std::string_view stem = std::string_view(word).substr(0, word.size() - 1);
    if (detail::measures_above_1(stem) || (detail::measures_1(stem) && !detail::is_short(stem))) word.pop_back();
  }
  if (word.ends_with("ll") && detail::measures_above_1(word)) word.pop_back();
  if (starts_with_y) word.front() = 'y';
  return word;
}

LODESTONE_INLINE word_exceptions word_exceptions::load(const std::filesystem::path& folder) {
  word_exceptions result;
  bool is_any = false;
  for (const char* name : {"adj.exc", "adv.exc", "noun.exc", "verb.exc"}) {
    const std::filesystem::path file = folder / name;
    std::ifstream stream(file, std::ios::binary);
    if (!stream) continue;
    is_any = true;
    std::size_t number = 0;
    for (std::string line; std::getline(stream, line);) {
      ++number;
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (line.empty()) continue;
      const std::size_t space = line.find(' ');
      const std::size_t begin = std::min(line.find_first_not_of(' ', space), line.size());
      if (space == 0 || begin == line.size()) {
        throw format_error("this line is not an irregular word and its base form",
                           file.string() + ":" + std::to_string(number), "use the files of WordNet's dict folder");
      }
      result.base_[line.substr(0, space)] = line.substr(begin, line.find(' ', begin) - begin);
    }
  }
  if (!is_any) {
    throw io_error("none of adj.exc, adv.exc, noun.exc and verb.exc is here", folder.string(),
                   "name the folder dict of WordNet");
  }
  return result;
}

}  // namespace lodestone::eval
