// The documents that training data is made from: text files, JSONL records, or a folder of both.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/error.hpp>

namespace lodestone::synthesis {

/// One document.
struct document {
  std::string id{};      ///< unique; random choices about the document depend on it and on no other document
  std::string source{};  ///< what quotas count by: "wikipedia", "books"
  std::string text{};    ///< UTF-8, not empty
  std::string where{};   ///< the file, or file:line, for messages

  friend bool operator==(const document&, const document&) = default;
};

/// Reads a .txt, .md, .jsonl or .json file, or all of these in a folder and the folders inside it, in the order of
/// their names. All text is held in memory.
///
/// A text file is one document; its id is its path below the folder, its source the folder that it lies in. A record
/// has `text` and may have `id` (text or number) and `source`; otherwise its id is the file's with the number of the
/// record, "news.jsonl#17", and its source the name of the file without its ending. A byte-order mark is dropped and
/// CRLF becomes LF. Throws io_error for a path without such files; data_error with file and line for text that is not
/// UTF-8, a missing or empty text, fields of other types, and an id that two documents have.
[[nodiscard]] std::vector<document> read_documents(const std::filesystem::path& path);

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
                                                            const std::vector<document>& documents);

/// The language that prompts about a document are written in.
enum class language : std::uint8_t { english, chinese };

/// The name that options and records use.
[[nodiscard]] constexpr std::string_view to_string(language tongue) {
  return tongue == language::chinese ? "chinese" : "english";
}

/// CJK characters (Han, of the basic plane and its extensions) as a share of all letters; 0 where there are none.
[[nodiscard]] double cjk_share(std::string_view text);

/// Chinese when at least three letters in ten are CJK characters: one of them says as much as several Latin letters,
/// and Chinese texts quote Latin names, but English ones rarely quote Chinese at such length. Japanese kana are letters
/// that are not CJK characters here.
[[nodiscard]] inline language language_of(std::string_view text) {
  return cjk_share(text) >= 0.3 ? language::chinese : language::english;
}

}  // namespace lodestone::synthesis

#ifndef LODESTONE_COMPILED
#include <lodestone/synthesis/documents.ipp>
#endif
