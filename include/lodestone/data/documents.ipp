// Definitions of documents.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/data/documents.hpp>
#include <lodestone/data/record_fields.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone {

namespace detail {

[[nodiscard]] inline std::string without_returns(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::string::size_type to = 0;
  for (std::string::size_type from = 0; from < text.size(); ++from)
    if (text[from] != '\r' || from + 1 == text.size() || text[from + 1] != '\n') text[to++] = text[from];
  text.resize(to);
  return text;
}

[[nodiscard]] inline text_document read_text_document(const std::filesystem::path& file, const std::string& id) {
  text_document one{
      .id = id, .source = file.parent_path().filename().string(), .text = read_text(file), .where = file.string()};
  if (const std::size_t broken = find_broken_utf8(one.text); broken != std::string_view::npos) {
    const auto line = 1 + std::count(one.text.begin(), one.text.begin() + static_cast<std::ptrdiff_t>(broken), '\n');
    throw data_error("not UTF-8", source_line(one.where, line), "convert it: iconv -f ENCODING -t UTF-8");
  }
  one.text = without_returns(std::move(one.text));
  if (one.text.find_first_not_of(" \t\r\n") == std::string::npos)
    throw data_error("a document without text", one.where, "remove it");
  return one;
}

inline void read_record_documents(const std::filesystem::path& file, const std::string& id,
                                  std::vector<text_document>& documents) {
  jsonl_reader reader(file);
  for (json_record text; reader.next(text);) {
    const record_fields fields(text, reader.name());
    text_document one{.id = fields.text_or_number("id"),
                      .source = fields.text("source"),
                      .text = fields.need("text"),
                      .where = reader.where(text.line)};
    if (one.id.empty()) one.id = id + "#" + std::to_string(text.index);
    if (one.source.empty()) one.source = file.stem().string();
    one.text = without_returns(std::move(one.text));
    documents.push_back(std::move(one));
  }
}

[[nodiscard]] inline bool is_record_file(const std::filesystem::path& file) {
  return file.extension() == ".jsonl" || file.extension() == ".json";
}
[[nodiscard]] inline bool is_document_file(const std::filesystem::path& file) {
  return is_record_file(file) || file.extension() == ".txt" || file.extension() == ".md";
}

}  // namespace detail

LODESTONE_INLINE std::vector<text_document> read_documents(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) throw io_error("no such file or folder", path.string(), "check the path of the documents");
  std::vector<std::pair<std::string, fs::path>> files;  // by id: the order of every machine
  if (!fs::is_directory(path)) {
    if (!detail::is_document_file(path))
      throw io_error("is neither .txt, .md, .jsonl nor .json", path.string(), "its ending says how a file is read");
    files.emplace_back(path.filename().string(), path);
  } else {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && detail::is_document_file(entry.path()))
        files.emplace_back(entry.path().lexically_relative(path).generic_string(), entry.path());
    if (files.empty())
      throw io_error("the folder holds no .txt, .md, .jsonl or .json file", path.string(), "check the path");
  }
  std::sort(files.begin(), files.end());
  std::vector<text_document> documents;
  for (const auto& [id, file] : files) {
    if (detail::is_record_file(file))
      detail::read_record_documents(file, id, documents);
    else
      documents.push_back(detail::read_text_document(file, id));
  }
  std::map<std::string_view, std::string_view> places;
  for (const text_document& one : documents) {
    const auto [found, is_new] = places.emplace(one.id, one.where);
    if (!is_new)
      throw data_error("the id \"" + one.id + "\" is that of " + std::string(found->second) + " too", one.where,
                       "give every document its own");
  }
  if (documents.empty()) throw data_error("holds no documents", path.string(), "check the path");
  return documents;
}

}  // namespace lodestone
