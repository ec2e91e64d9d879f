// How much a chunk of a document matters to a question: names, numbers and rare words that both hold.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::synthesis {

/// What a feature of a text is.
enum class feature_kind : std::uint8_t {
  name,    ///< a word that is written with a capital, and a run of them as a whole: "harry truman"
  number,  ///< digits, without separators of thousands: "1,000" and "1000" are one
  word     ///< any other word that is no function word, without its inflection; of Chinese text, two characters
};

/// Something that a question and a chunk can share.
struct feature {
  feature_kind kind = feature_kind::word;  ///< what it is
  std::string text{};                      ///< in small letters

  // NOLINTNEXTLINE(modernize-use-nullptr): the check mistakes the generated comparison
  friend auto operator<=>(const feature&, const feature&) = default;
};

/// The features of a text, sorted, each once.
///
/// This is pattern matching, not a language model: a name is any capitalised word that neither begins a sentence nor is
/// a function word, so German nouns are names. Inflection is removed from English by its endings (s, es, ed, ing, 's);
/// other languages keep theirs. A run of CJK characters gives every two neighbours.
[[nodiscard]] std::vector<feature> features_of(std::string_view text);

/// A word without its English inflection: "countries" and "country" give "country", "voted" and "voting" give "vot".
/// The result is a key to compare by, not a word. Expects small letters.
[[nodiscard]] std::string stem_of(std::string_view word);

/// What scores chunks.
///
/// Requires `score(question, answer, chunks) -> std::vector<double>`, a number for each chunk of one document, larger
/// where the chunk matters more. `answer` is empty when it is not known. Law: pure.
template <class S>
concept importance_scorer = requires(const S& s, std::string_view text, std::span<const std::string> chunks) {
  { s.score(text, text, chunks) } -> std::convertible_to<std::vector<double>>;
};

/// Scores by the number of features that a chunk shares with the question, each counted once: LOGO's number of shared
/// entities, with features_of() in the place of a named-entity recogniser.
///
/// Words count only when they are rare: those in more than `common` of all the chunks that the scorer was shown say
/// little. Names and numbers always count.
class shared_features {
 public:
  /// The chunks of all documents teach which words are common. `use_answer`: features of a known answer count too, as
  /// in LOGO's code; the paper takes the question alone.
  explicit shared_features(std::span<const std::vector<std::string>> documents, double common = 0.1,
                           bool use_answer = false);

  /// The number of shared features of each chunk.
  [[nodiscard]] std::vector<double> score(std::string_view question, std::string_view answer,
                                          std::span<const std::string> chunks) const;

 private:
  [[nodiscard]] bool counts(const feature& one) const;

  std::unordered_map<std::string, std::int64_t> chunks_with_;  // of words
  double common_;
  std::int64_t chunks_ = 0;
  bool use_answer_;
};
static_assert(importance_scorer<shared_features>);

/// Scores that another program computed: the list of each question, in the order of the document's chunks.
using imported_scores = std::map<std::string, std::vector<double>>;

/// Reads scores from JSONL: `id` of a question and `scores`, as the scored stage writes them. Throws data_error with
/// file and line for missing fields, values that are not finite numbers, and ids that stand twice.
[[nodiscard]] imported_scores read_scores(const std::filesystem::path& file);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/importance.ipp>
#endif
