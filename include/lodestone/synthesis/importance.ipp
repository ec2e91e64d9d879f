// Definitions of importance.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include <utf8proc.h>
#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/record_fields.hpp>
#include <lodestone/synthesis/importance.hpp>
#include <lodestone/synthesis/language.ipp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::synthesis {

namespace detail {

/// English words that hold sentences together, question words among them; sorted.
inline constexpr auto function_words = std::to_array<std::string_view>(
    {"a",       "about", "above", "according", "after",  "again", "against", "all",    "also",   "am",      "an",
     "and",     "any",   "are",   "as",        "at",     "be",    "because", "been",   "before", "being",   "below",
     "between", "both",  "but",   "by",        "can",    "could", "did",     "do",     "does",   "doing",   "during",
     "each",    "few",   "for",   "from",      "had",    "has",   "have",    "having", "he",     "her",     "here",
     "hers",    "him",   "his",   "how",       "i",      "if",    "in",      "into",   "is",     "it",      "its",
     "just",    "may",   "me",    "might",     "more",   "most",  "must",    "my",     "no",     "nor",     "not",
     "of",      "off",   "on",    "once",      "one",    "only",  "or",      "other",  "our",    "out",     "over",
     "own",     "same",  "shall", "she",       "should", "so",    "some",    "such",   "text",   "than",    "that",
     "the",     "their", "them",  "then",      "there",  "these", "they",    "this",   "those",  "through", "to",
     "too",     "under", "until", "up",        "us",     "very",  "was",     "we",     "were",   "what",    "when",
     "where",   "which", "while", "who",       "whom",   "whose", "why",     "will",   "with",   "would",   "you",
     "your"});

[[nodiscard]] inline bool is_function_word(std::string_view word) {
  return std::binary_search(function_words.begin(), function_words.end(), word);
}

struct scanned_word {
  std::string lower;
  bool is_capitalised = false;
  bool has_digit = false;
  bool follows_directly = false;  // one blank stands between it and the word before
  bool starts_sentence = false;
};

/// Cuts a text into words; what is between two of them decides whether they belong to one name.
class word_scanner {
 public:
  explicit word_scanner(std::string_view text) : p_(text.data()), end_(text.data() + text.size()) {}

  /// Calls word(scanned_word) and han(two characters) in the order of the text.
  template <class Word, class Han>
  void run(const Word& word, const Han& han) {
    std::string before;  // the Han character before this place
    bool is_single = false;
    const auto end_run = [&] {
      if (is_single) han(before);
      before.clear();
      is_single = false;
    };
    for (; p_ < end_;) {
      const text::code_point at = text::decode_utf8(p_, end_);
      if (is_cjk(at.value)) {
        flush(word);
        const std::string here(p_, at.length);
        if (!before.empty()) han(before + here);
        is_single = before.empty();
        before = here;
      } else {
        end_run();
        take(at, word);
      }
      p_ += at.length;
    }
    end_run();
    flush(word);
  }

 private:
  template <class Word>
  void take(const text::code_point& at, const Word& word) {
    const std::uint8_t bits = classes_[at.value];
    const bool is_letter = (bits & (text::character::letter | text::character::mark)) != 0;
    const bool is_digit = (bits & text::character::number) != 0;
    if (is_letter || is_digit) {
      if (current_.lower.empty()) {
        const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(at.value));
        current_.is_capitalised = category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LT;
        current_.follows_directly = gap_ == " ";
        current_.starts_sentence = gap_.find_first_of(".!?\n") != std::string::npos;
      }
      current_.has_digit = current_.has_digit || is_digit;
      text::append_utf8(current_.lower,
                        static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(at.value))));
      gap_.clear();
      return;
    }
    if (!current_.lower.empty() && is_inside_word(at)) {
      // 's, the apostrophe of names, the point and the comma of numbers: part of the word
      if (!(current_.has_digit && at.value == U',')) current_.lower.append(p_, at.length);
      return;
    }
    flush(word);
    if (gap_.size() < 4) gap_.append(p_, at.length);
  }

  [[nodiscard]] bool is_inside_word(const text::code_point& at) const {
    if (p_ + at.length >= end_) return false;
    const std::uint8_t next = classes_[text::decode_utf8(p_ + at.length, end_).value];
    if (at.value == U'\'' || at.value == 0x2019) return (next & text::character::letter) != 0;
    const bool is_separator = at.value == U'.' || at.value == U',';
    const bool is_after_digit = current_.lower.back() >= '0' && current_.lower.back() <= '9';
    return is_separator && is_after_digit && (next & text::character::number) != 0;
  }

  template <class Word>
  void flush(const Word& word) {
    if (current_.lower.empty()) return;
    word(std::move(current_));
    current_ = {};
  }

  const text::character::table& classes_ = text::character::table::get();
  const char* p_;
  const char* end_;
  scanned_word current_;
  std::string gap_ = ".";
};

[[nodiscard]] inline std::string without_possessive(std::string word) {
  for (const std::string_view end : {std::string_view("'s"), std::string_view("\xE2\x80\x99s")})
    if (word.size() > end.size() && word.ends_with(end)) word.resize(word.size() - end.size());
  return word;
}

}  // namespace detail

LODESTONE_INLINE std::string stem_of(std::string_view word) {
  std::string stem(word);
  const auto ends = [&](std::string_view end, std::size_t least) {
    return stem.ends_with(end) && stem.size() >= end.size() + least;
  };
  const auto drop = [&](std::size_t count) { stem.resize(stem.size() - count); };
  if (ends("ies", 2)) {
    drop(3);
    stem += 'y';
  } else if (ends("sses", 1) || ends("shes", 1) || ends("ches", 1) || ends("xes", 1)) {
    drop(2);
  } else if (ends("s", 3) && !stem.ends_with("ss") && !stem.ends_with("us") && !stem.ends_with("is")) {
    drop(1);
  }
  bool is_cut = false;
  if (ends("ing", 3)) {
    drop(3);
    is_cut = true;
  } else if (ends("ied", 2)) {
    drop(3);
    stem += 'y';
  } else if (ends("ed", 3)) {
    drop(2);
    is_cut = true;
  }
  constexpr std::string_view doubled = "bdfgmnprt";
  if (is_cut && stem.size() > 3 && stem.back() == stem[stem.size() - 2] &&
      doubled.find(stem.back()) != std::string_view::npos)
    drop(1);                  // planned, plan
  if (ends("e", 3)) drop(1);  // vote, voted, voting
  return stem;
}

LODESTONE_INLINE std::vector<feature> features_of(std::string_view text) {
  std::vector<feature> found;
  std::vector<std::string> name;  // capitalised words in a row
  const auto end_name = [&] {
    if (name.size() > 1) {
      std::string whole;
      for (const std::string& part : name) whole += (whole.empty() ? "" : " ") + part;
      found.push_back({feature_kind::name, std::move(whole)});
    }
    name.clear();
  };
  detail::word_scanner(text).run(
      [&](detail::scanned_word word) {
        word.lower = detail::without_possessive(std::move(word.lower));
        const bool is_empty = detail::is_function_word(word.lower);
        if (!word.is_capitalised || is_empty || !word.follows_directly) end_name();
        if (is_empty) return;
        if (word.has_digit) {
          end_name();
          found.push_back({feature_kind::number, std::move(word.lower)});
        } else if (word.is_capitalised) {
          // A capital at the beginning of a sentence says nothing: there a name counts as a word.
          found.push_back({word.starts_sentence ? feature_kind::word : feature_kind::name, stem_of(word.lower)});
          name.push_back(std::move(word.lower));
        } else if (word.lower.size() > 2) {
          found.push_back({feature_kind::word, stem_of(word.lower)});
        }
      },
      [&](std::string han) {
        end_name();
        found.push_back({feature_kind::word, std::move(han)});
      });
  end_name();
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

LODESTONE_INLINE shared_features::shared_features(std::span<const std::vector<std::string>> documents, double common,
                                                  bool use_answer)
    : common_(common), use_answer_(use_answer) {
  if (!(common > 0.0 && common <= 1.0)) throw config_error("must lie in (0, 1]", "common", "give 0.1");
  for (const std::vector<std::string>& chunks : documents)
    for (const std::string& chunk : chunks) {
      ++chunks_;
      for (feature& one : features_of(chunk))
        if (one.kind == feature_kind::word) ++chunks_with_[std::move(one.text)];
    }
}

LODESTONE_INLINE bool shared_features::counts(const feature& one) const {
  if (one.kind != feature_kind::word) return true;
  const auto found = chunks_with_.find(one.text);
  if (found == chunks_with_.end()) return true;
  // Of few chunks one is a large share: a word that stands in one or two of them is rare all the same.
  return found->second <= 2 || static_cast<double>(found->second) <= common_ * static_cast<double>(chunks_);
}

LODESTONE_INLINE std::vector<double> shared_features::score(std::string_view question, std::string_view answer,
                                                            std::span<const std::string> chunks) const {
  std::vector<feature> wanted = features_of(question);
  if (use_answer_) {
    std::vector<feature> more = features_of(answer);
    wanted.insert(wanted.end(), more.begin(), more.end());
  }
  // A capital in the question and none in the chunk, or the other way round, is the same word.
  std::vector<std::string> texts;
  for (const feature& one : wanted)
    if (counts(one)) texts.push_back(one.text);
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  std::vector<double> scores;
  scores.reserve(chunks.size());
  for (const std::string& chunk : chunks) {
    std::vector<std::string> present;
    for (feature& one : features_of(chunk)) present.push_back(std::move(one.text));
    std::sort(present.begin(), present.end());
    std::int64_t shared = 0;
    for (const std::string& one : texts) shared += std::binary_search(present.begin(), present.end(), one) ? 1 : 0;
    scores.push_back(static_cast<double>(shared));
  }
  return scores;
}

LODESTONE_INLINE imported_scores read_scores(const std::filesystem::path& file) {
  imported_scores all;
  jsonl_reader reader(file);
  for (json_record text; reader.next(text);) {
    const lodestone::detail::record_fields fields(text, reader.name());
    const std::string id = fields.text_or_number("id");
    if (id.empty()) fields.fail("no field id", "name the question");
    const auto list = fields.json().find("scores");
    if (list == fields.json().end() || !list->is_array()) fields.fail("no list scores", "give one number a chunk");
    std::vector<double> scores;
    for (const nlohmann::json& one : *list) {
      if (!one.is_number() || !std::isfinite(one.get<double>()))
        fields.fail("score " + std::to_string(scores.size()) + " is not a finite number", "give one number a chunk");
      scores.push_back(one.get<double>());
    }
    if (!all.emplace(id, std::move(scores)).second)
      fields.fail("the question \"" + id + "\" stands twice", "keep one of its lines");
  }
  return all;
}

}  // namespace lodestone::synthesis
