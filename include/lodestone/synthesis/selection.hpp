// Which chunks of a document an answer is made from: LOGO's evidence, its distractors, and the context of training.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>

namespace lodestone::synthesis {

/// What makes a chunk important.
enum class selection_rule : std::uint8_t {
  /// A score above `threshold`, as in the paper (delta = 6); all other chunks are irrelevant.
  threshold,
  /// Among the `important` highest scores, and `least` at least; all other chunks are irrelevant.
  rank,
  /// As in LOGO's released code: the `context` chunks of the highest scores are kept, the question is dropped unless
  /// all of them have `least`; the preferred answer sees all of them, the dis-preferred ones the better half and the
  /// worse half, and training sees all of them. The worse half of the best chunks often holds evidence: a "wrong"
  /// answer can be right. Only for comparison with that code.
  original
};

/// The name that options use.
[[nodiscard]] constexpr std::string_view to_string(selection_rule rule) {
  switch (rule) {
    case selection_rule::threshold: return "threshold";
    case selection_rule::rank: return "rank";
    case selection_rule::original: return "original";
  }
  return "?";
}

/// How chunks are chosen.
struct selection_options {
  selection_rule rule = selection_rule::rank;  ///< what makes a chunk important
  double threshold = 6.0;                      ///< delta of selection_rule::threshold
  std::int64_t important = 8;                  ///< most chunks that an answer is made from
  double least = 1.0;                          ///< smallest score of an important chunk, of rank and original
  std::int64_t context = 16;                   ///< chunks of the training context (N of the paper: 16 of 512 tokens)
  std::int64_t rejected = 2;                   ///< dis-preferred answers
};

/// Chunks by number, each list ascending: chunks are read in the order of the document.
struct selection {
  std::vector<std::int64_t> important{};              ///< all that the rule calls important
  std::vector<std::int64_t> preferred{};              ///< what the preferred answer is made from
  std::vector<std::vector<std::int64_t>> rejected{};  ///< what each dis-preferred answer is made from
  std::vector<std::int64_t> context{};                ///< what the trained model sees with all answers
};

/// Throws config_error for numbers that cannot be met: no rejected answer, a context without room for a distractor.
void check(const selection_options& options);

/// Chooses chunks by their scores; nothing when no chunk is important or none is irrelevant.
///
/// The preferred answer sees the important chunks with the highest scores, `important` of them at most. Of the
/// dis-preferred answers the first, third, ... see as many irrelevant ones (the first those with the lowest scores, the
/// others random ones), the second, fourth, ... a random mixture with at most half of the important ones. The context
/// is what the preferred answer saw, other important chunks while there is room, and random irrelevant ones up to
/// `context`. Of equal scores the earlier chunk counts as the higher one.
[[nodiscard]] std::optional<selection> select_chunks(std::span<const double> scores, const selection_options& options,
                                                     random_stream random);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/selection.ipp>
#endif
