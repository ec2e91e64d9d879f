// Retrieval heads: attention heads that look at the token of the context which the model writes next.
//
//     llama<host<float>, observed_attention<blocked_attention>> model(config, weights);
//     eval::retrieval_heads(model, examples, {}, [&](eval::record&& r) { ... });
//
// The score of appendix B of LOGO (arXiv 2410.18533), after "Retrieval Head Mechanistically Explains Long-Context
// Factuality" (arXiv 2404.15574): a head copies a token of a needle when, in the row that emits a token, the key with
// its largest attention weight lies in the needle and is that token. With k the tokens of the needle and g those that a
// head copies, its score is |g and k| / |k|.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/attention/observed.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/perplexity.hpp>
#include <lodestone/text/token_spans.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::eval {

/// A context with needles and the answer that the model gave: greedy, as a rule.
struct retrieval_example {
  std::string id{};                           ///< unique in its task, the same in every run
  std::vector<std::int32_t> prompt{};         ///< tokens of context and question
  std::vector<text::span_of_text> needles{};  ///< tokens [begin, end) of the prompt, ascending; text::tokens_within()
  std::vector<std::int32_t> answer{};         ///< tokens that the model wrote
  std::vector<label> labels{};                ///< what its record is grouped by
};

/// The tokens of a prompt that hold each of these texts, ascending, as `needles` of an example: wherever the text came
/// from and whatever stands around it, it is looked up in what the tokens decode to. Throws data_error for a text that
/// the prompt does not hold, or one that is empty.
[[nodiscard]] std::vector<text::span_of_text> find_needles(const tokenizer& words, std::span<const std::int32_t> prompt,
                                                           std::span<const std::string> texts);

/// A number for each head of a model.
struct head_scores {
  std::int64_t layers = 0;       ///< of the model
  std::int64_t heads = 0;        ///< of a layer
  std::vector<double> values{};  ///< [layers * heads]

  /// Of one head.
  [[nodiscard]] double operator()(std::int64_t layer, std::int64_t head) const {
    return values[static_cast<std::size_t>(layer * heads + head)];
  }
  friend bool operator==(const head_scores&, const head_scores&) = default;
};

/// The scores of all heads on one example from what its rows looked at: watched rows are those that emitted the
/// answer's tokens, in order. A token of the needle counts once, however often it is copied. Throws data_error for an
/// example without needles or answer, or needles outside the prompt.
[[nodiscard]] head_scores score_heads(const retrieval_example& own, const attention_watch& watch);

/// What stays of many examples.
struct retrieval_options {
  double threshold = 0.1;   ///< a head whose mean score is above this is a retrieval head
  std::int64_t best = 10;   ///< the heads whose scores are averaged
  record_filter is_done{};  ///< examples that are there already
};

/// The scores of all heads as text, "LAYER.HEAD:SCORE" of those above 0, behind the model's numbers of layers and
/// heads: "32x32 14.22:0.75 19.3:0.5". It is the answer of an example's record, and what parse_heads() reads.
[[nodiscard]] std::string to_string(const head_scores& scores);

/// Reads what to_string() wrote. Throws data_error for other text.
[[nodiscard]] head_scores parse_heads(std::string_view text);

/// One retrieval head.
struct retrieval_head {
  std::int64_t layer = 0;  ///< from 0
  std::int64_t head = 0;   ///< from 0
  double score = 0.0;      ///< mean over the examples

  friend bool operator==(const retrieval_head&, const retrieval_head&) = default;
};

/// The heads of a model over many examples.
struct retrieval_summary {
  head_scores mean{};                   ///< of each head over the examples
  std::vector<retrieval_head> heads{};  ///< above the threshold, the highest first
  double best_mean = 0.0;               ///< mean score of the best heads: LOGO's retrieval score
};

/// Means over examples, and the heads that are above the threshold. Throws shape_error for scores of different models
/// and config_error for options out of range.
[[nodiscard]] retrieval_summary summarise(std::span<const head_scores> examples, const retrieval_options& options = {});

/// A prompt with its answer as one sequence: the row before each of the answer's tokens, its first being `prompt` - 1,
/// is scored with that token.
[[nodiscard]] token_batch answered(const retrieval_example& own);

/// The record of an example: "retrieval", the mean of the best heads' scores on this example alone, and the scores of
/// all heads as the answer (to_string()).
[[nodiscard]] record retrieval_record(const retrieval_example& own, const head_scores& scores,
                                      const retrieval_options& options);

/// A record for each example, in order. `model` is a llama over observed_attention, on any backend; it runs once over
/// prompt and answer, whose rows then see what they saw when the answer was written. summarise() takes the records'
/// answers together: summarise over parse_heads(record.answer). Throws data_error, naming the example, for one without
/// needles or answer.
template <class Model>
void retrieval_heads(Model& model, std::span<const retrieval_example> examples, const retrieval_options& options,
                     const record_listener& each) {
  attention_watch& watch = *model.attention().watch;
  for (const retrieval_example& own : examples) {
    if (options.is_done && options.is_done(own.id)) continue;
    const token_batch batch = answered(own);
    std::vector<std::int64_t> rows;
    for (const scored_token& token : batch.scored) rows.push_back(token.row);
    watch.begin(rows, batch.size());
    try {
      (void)model.log_probs(batch);
    } catch (...) {
      watch.end();
      throw;
    }
    watch.end();
    each(retrieval_record(own, score_heads(own, watch), options));
  }
}

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/retrieval_heads.ipp>
#endif
