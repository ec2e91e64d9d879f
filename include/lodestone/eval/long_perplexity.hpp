// LongPPL: perplexity over the tokens that need the long context, as an evaluator model finds them.
//
//     eval::long_perplexity(model, words, documents, keys, {}, [&](eval::record&& r) { ... });
//
// "What is Wrong with Perplexity for Long-context Language Modeling?" (arXiv 2410.23771) and the code published with it
// (github.com/PKU-ML/LongPPL): a token is a key token when an evaluator predicts it well from the whole document and
// much worse from a short context. LongPPL is exp of the mean loss over the key tokens, of the model that is measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/data/documents.hpp>
#include <lodestone/eval/perplexity.hpp>
#include <lodestone/eval/scoring.hpp>
#include <lodestone/text/token_spans.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::eval {

/// Where tokens stand in their text, in characters (code points), so that another tokenizer finds the same places.
using text_ranges = std::vector<text::span_of_text>;

/// Whether the space before a word belongs to the place of its token.
enum class token_edges {
  trimmed,  ///< no: spaces at both ends are left out, as byte-level tokenizers of transformers report places
  whole     ///< yes: as those made from SentencePiece report them
};

/// What a key token is. The defaults are the published ones.
struct key_token_options {
  std::int64_t context = 4096;  ///< tokens of the short context
  std::int64_t step = 1024;  ///< tokens that share the beginning of a short context, which so has up to this many more
  double gain = 2.0;         ///< loss with the short context - loss with all before it: more than this, and
  double loss = 2.0;         ///< loss with all before it: less than this
  token_edges edges = token_edges::trimmed;  ///< of the evaluator's tokens
  std::int64_t batch_tokens = 16'384;        ///< short contexts are computed together up to so many
};

/// The key tokens of a text by the evaluator `model` with its tokenizer, neighbours joined. Its tokens have the
/// tokenizer's first special tokens before them. No text of `context` tokens or fewer has any. Throws config_error for
/// options out of range and data_error for a text that the tokenizer changes.
[[nodiscard]] text_ranges key_ranges(const any_scoring_model& model, const tokenizer& words, std::string_view text,
                                     const key_token_options& options = {});

/// The tokens of a text, by their places, that lie within one of the ranges; both ascend.
[[nodiscard]] std::vector<std::int64_t> key_tokens(std::span<const text::span_of_text> tokens,
                                                   std::span<const text::span_of_text> keys);

/// The places of the tokens of a text in characters, with the edges asked for.
[[nodiscard]] text_ranges token_places(const tokenizer& words, std::span<const std::int32_t> ids, std::string_view text,
                                       token_edges edges);

/// A line of a file of key tokens: {"id": "...", "keys": [[40349, 40350], ...]}, in characters, without a line end.
[[nodiscard]] std::string key_line(std::string_view id, std::span<const text::span_of_text> keys);

/// Reads such a file. Throws io_error, and data_error with file and line for what is not such a line, ranges that do
/// not ascend, and an id that repeats.
[[nodiscard]] std::map<std::string, text_ranges> read_keys(const std::filesystem::path& file);

/// Reads the key tokens of one document as the published code stores them: "[40349, 40350];[40351, 40358]".
[[nodiscard]] text_ranges read_published_keys(const std::filesystem::path& file);

/// Tells the key tokens of a document.
using key_source = std::function<text_ranges(const text_document&)>;

/// How documents are measured.
struct long_perplexity_options {
  token_edges edges = token_edges::trimmed;  ///< of the measured model's tokens
  bool first_tokens = false;  ///< the tokenizer's first special tokens; the published code leaves them out
  record_filter is_done{};    ///< documents that are there already
};

/// A record for each document, by its id: "nll" over all tokens but the first and "key_nll" over the key tokens, mean
/// losses in nats weighted by their numbers of tokens; a document without key tokens has no "key_nll". LongPPL is exp
/// of the weighted mean of "key_nll". Throws as key_ranges(), data_error for a document of fewer than two tokens and
/// numeric_error for a log-probability that is not finite, naming the document.
void long_perplexity(const any_scoring_model& model, const tokenizer& words, std::span<const text_document> documents,
                     const key_source& keys, const long_perplexity_options& options, const record_listener& each);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/long_perplexity.ipp>
#endif
