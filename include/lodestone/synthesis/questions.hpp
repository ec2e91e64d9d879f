// Questions about documents, as their authors give them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/data/documents.hpp>

namespace lodestone::synthesis {

/// A question about a document.
struct document_question {
  std::string id{};        ///< unique
  std::string document{};  ///< id of a document
  std::string question{};  ///< UTF-8, not empty
  std::string answer{};    ///< the right answer; empty: not known
  std::string where{};     ///< file:line, for messages

  friend bool operator==(const document_question&, const document_question&) = default;
};

/// Reads questions from JSONL: `document`, `question`, and optionally `answer` and `id`; without an id the question is
/// "DOCUMENT/k", the k-th about its document, from 0. Throws data_error with file and line for missing or empty fields,
/// ids that repeat, and documents that are not among `documents`.
[[nodiscard]] std::vector<document_question> read_questions(const std::filesystem::path& file,
                                                            const std::vector<text_document>& documents);

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/questions.ipp>
#endif
