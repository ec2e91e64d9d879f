// Definitions of documents.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/documents.hpp>
#include <lodestone/eval/json_fields.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::eval {

namespace detail {

/// One text file as a document.
[[nodiscard]] inline text_document read_text_document(const std::filesystem::path& file) {
  text_document own{.id = file.stem().string(), .text = read_text(file)};
  if (const std::size_t at = find_broken_utf8(own.text); at != std::string_view::npos)
    throw data_error(
        "byte " + std::to_string(at) + " is not UTF-8",
        source_line(file.string(),
                    1 + std::count(own.text.begin(), own.text.begin() + static_cast<std::ptrdiff_t>(at), '\n')),
        "convert the file to UTF-8");
  if (own.text.empty()) throw data_error("is empty", file.string(), "leave it out");
  return own;
}

}  // namespace detail

LODESTONE_INLINE std::vector<text_document> read_documents(const std::filesystem::path& path) {
  std::vector<text_document> documents;
  if (std::filesystem::is_directory(path)) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.is_regular_file() && entry.path().extension() == ".txt") files.push_back(entry.path());
    if (files.empty())
      throw data_error("holds no .txt file", path.string(), "give a folder of text files, a text file or JSONL");
    std::sort(files.begin(), files.end());
    for (const auto& file : files) documents.push_back(detail::read_text_document(file));
    return documents;
  }
  if (path.extension() == ".txt") {
    documents.push_back(detail::read_text_document(path));
    return documents;
  }
  jsonl_reader reader(path);
  std::set<std::string> seen;
  for (json_record record; reader.next(record);) {
    const std::string where = reader.where(record.line);
    const detail::json_fields fields = detail::json_fields::parse(record.text, where);
    text_document own{.id = fields.id(path.filename().string() + ":" + std::to_string(record.line)),
                      .text = fields.text("text")};
    if (own.text.empty()) throw data_error("\"text\" is empty", where, "leave the record out");
    if (!seen.insert(own.id).second) throw data_error("the id '" + own.id + "' repeats", where, "give each its own");
    documents.push_back(std::move(own));
  }
  if (documents.empty()) throw data_error("holds no record", path.string(), "give records like {\"text\": \"...\"}");
  return documents;
}

LODESTONE_INLINE document tokenise(const text_document& own, const tokenizer& words) {
  document result{.id = own.id, .tokens = words.prefix(), .labels = own.labels};
  const std::vector<std::int32_t> ids = words.encode(own.text, false);
  result.tokens.insert(result.tokens.end(), ids.begin(), ids.end());
  return result;
}

}  // namespace lodestone::eval
