// Documents from text files and JSONL, whole: what perplexities are measured on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/perplexity.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace lodestone::eval {

/// A document as text.
struct text_document {
  std::string id{};             ///< unique among its neighbours, the same in every run
  std::string text{};           ///< UTF-8
  std::vector<label> labels{};  ///< what its records are grouped by
};

/// The documents of a .txt file (one), of a JSONL file or JSON array (one a record, in "text"), or of a folder of .txt
/// files in the order of their names, as PG-19 comes. `id` is the record's "id" (text or a whole number), or
/// "FILE:LINE" of the name without folders, or the name of the text file without .txt. Throws io_error for what cannot
/// be read and data_error with file and line for records without text, text that is empty or not UTF-8, and an id that
/// repeats.
[[nodiscard]] std::vector<text_document> read_documents(const std::filesystem::path& path);

/// Its tokens, with the tokenizer's first special tokens and without its last ones: a document does not end here.
[[nodiscard]] document tokenise(const text_document& own, const tokenizer& words);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/documents.ipp>
#endif
