// Documents as texts with names, from text files, JSONL records, or a folder of both: what training data is made from
// and what perplexities are measured on. Training itself streams its records (data/prepare.hpp).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// One document.
struct text_document {
  std::string id{};      ///< unique, the same in every run; random choices about the document depend on it alone
  std::string source{};  ///< what it is counted by: "wikipedia", "books"
  std::string text{};    ///< UTF-8, not empty
  std::string where{};   ///< the file, or file:line, for messages

  friend bool operator==(const text_document&, const text_document&) = default;
};

/// Reads a .txt, .md, .jsonl or .json file, or all of these in a folder and the folders inside it, in the order of
/// their names. All text is held in memory.
///
/// A text file is one document; its id is its path below the folder, its source the folder that it lies in. A record
/// has `text` and may have `id` (text or number) and `source`; otherwise its id is the file's with the number of the
/// record, "news.jsonl#17", and its source the name of the file without its ending. A byte-order mark is dropped and
/// CRLF becomes LF. Throws io_error for a path without such files; data_error with file and line for text that is not
/// UTF-8, a missing or empty text, fields of other types, and an id that two documents have.
[[nodiscard]] std::vector<text_document> read_documents(const std::filesystem::path& path);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/documents.ipp>
#endif
