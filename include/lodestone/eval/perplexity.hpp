// Held-out loss and perplexity by position, in one pass or in sliding windows.
//
//     eval::perplexity(model, documents, {.window = 4096, .stride = 256}, [&](eval::record&& r) { ... });
//
// Perplexity is exp of the mean of "nll" weighted by the records' weights, over whatever a table groups them by.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/data/documents.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/scoring.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::eval {

/// A document whose tokens are predicted one by one; the first has nothing before it and is not.
struct document {
  std::string id{};                    ///< unique among its neighbours, the same in every run
  std::vector<std::int32_t> tokens{};  ///< with the first token that the model expects, usually BOS
  std::vector<label> labels{};         ///< what its records are grouped by
};

/// A text's tokens, with the tokenizer's first special tokens and without its last ones: a document does not end here.
[[nodiscard]] document tokenise(const text_document& own, const tokenizer& words, std::vector<label> labels = {});

/// Hears one record.
using record_listener = std::function<void(record&&)>;

/// Whether the record of this id is there already, from a run that was stopped.
using record_filter = std::function<bool(std::string_view)>;

/// How documents are scored.
struct perplexity_options {
  /// Tokens that a prediction may look back on at most; 0: all that come before it, in one pass.
  std::int64_t window = 0;
  /// Predictions of a window that count, its last ones: window i sees tokens [i s, i s + w) and predicts the token
  /// behind each, the first window counts all of these and a later one the last s. Every token but the first is
  /// predicted once, from at least w - s + 1 tokens where there are as many. In [1, window]; 0: a quarter of the
  /// window, at least 1.
  std::int64_t stride = 0;
  std::int64_t max_tokens = 0;  ///< only the first of a document; 0: all
  /// Where a new bucket begins, ascending and above 0: a token at position p of its document (from 0) belongs to the
  /// bucket of the last edge that is not above p. Empty: 1,024, 2,048, 4,096 and so on.
  std::vector<std::int64_t> edges{};
  std::int64_t batch_tokens = 16'384;  ///< windows are computed together up to so many; one document is never cut
  record_filter is_done{};             ///< documents whose records are all there are not computed again
};

/// A record for each document and position bucket that holds predictions, in order: the mean negative log-probability
/// in nats as "nll", weighted by the number of tokens. `id` is "DOCUMENT/0-1023", with windows
/// "DOCUMENT/window-4096-256/0-1023"; labels are the document's, {"position", "0-1023"} and, with windows,
/// {"window", "4096"} and {"stride", "256"}. Buckets begin at token 0, which is not predicted.
///
/// Memory is that of one forward pass over a batch, which keeps nothing, and a chunk of logits. Throws config_error for
/// options out of range, data_error for a document of fewer than two tokens and numeric_error for a log-probability
/// that is not finite, naming the document.
void perplexity(const any_scoring_model& model, std::span<const document> documents, const perplexity_options& options,
                const record_listener& each);

/// The negative log-probabilities of tokens 1 .. n - 1 of one document, as perplexity() takes them together.
[[nodiscard]] std::vector<double> token_losses(const any_scoring_model& model, std::span<const std::int32_t> tokens,
                                               const perplexity_options& options);

/// The first tokens [begin, end) that a window sees, and the first token that it counts.
struct scoring_window {
  std::int64_t begin = 0;  ///< first token
  std::int64_t end = 0;    ///< one past its last token, which is predicted and not seen
  std::int64_t first = 0;  ///< tokens [first, end) are counted

  friend bool operator==(const scoring_window&, const scoring_window&) = default;
};

/// The windows of a document of `length` tokens.
[[nodiscard]] std::vector<scoring_window> scoring_windows(std::int64_t length, std::int64_t window,
                                                          std::int64_t stride);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/perplexity.ipp>
#endif
