// Definitions of documents.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/documents.hpp>
#include <lodestone/synthesis/json_record.hpp>
#include <lodestone/text/jsonl.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::synthesis {

namespace detail {

/// Han: the blocks of unified ideographs and of compatibility ideographs, and the two marks that stand for one.
[[nodiscard]] inline bool is_cjk(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x20000 && c <= 0x323AF) || c == 0x3005 || c == 0x3007;
}

[[nodiscard]] inline std::string without_returns(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::string::size_type to = 0;
  for (std::string::size_type from = 0; from < text.size(); ++from)
    if (text[from] != '\r' || from + 1 == text.size() || text[from + 1] != '\n') text[to++] = text[from];
  text.resize(to);
  return text;
}

[[nodiscard]] inline bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

[[nodiscard]] inline document read_text_document(const std::filesystem::path& file, const std::string& id) {
  document one{
      .id = id, .source = file.parent_path().filename().string(), .text = read_text(file), .where = file.string()};
  if (const std::size_t broken = find_broken_utf8(one.text); broken != std::string_view::npos) {
    const auto line = 1 + std::count(one.text.begin(), one.text.begin() + static_cast<std::ptrdiff_t>(broken), '\n');
    throw data_error("not UTF-8", source_line(one.where, line), "convert it: iconv -f ENCODING -t UTF-8");
  }
  one.text = without_returns(std::move(one.text));
  if (is_blank(one.text)) throw data_error("a document without text", one.where, "remove it");
  return one;
}

inline void read_record_documents(const std::filesystem::path& file, const std::string& id,
                                  std::vector<document>& documents) {
  jsonl_reader reader(file);
  for (json_record text; reader.next(text);) {
    const record_fields fields(text, reader.name());
    document one{.id = fields.text_or_number("id"),
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

LODESTONE_INLINE std::vector<document> read_documents(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) throw io_error("no such file or folder", path.string(), "check the path of the documents");
  std::vector<std::pair<std::string, fs::path>> files;  // by id: the order of every machine
  if (!fs::is_directory(path)) {
    files.emplace_back(path.filename().string(), path);
  } else {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && detail::is_document_file(entry.path()))
        files.emplace_back(entry.path().lexically_relative(path).generic_string(), entry.path());
    if (files.empty())
      throw io_error("the folder holds no .txt, .md, .jsonl or .json file", path.string(), "check the path");
  }
  std::sort(files.begin(), files.end());
  std::vector<document> documents;
  for (const auto& [id, file] : files) {
    if (detail::is_record_file(file))
      detail::read_record_documents(file, id, documents);
    else
      documents.push_back(detail::read_text_document(file, id));
  }
  std::map<std::string_view, std::string_view> places;
  for (const document& one : documents) {
    const auto [found, is_new] = places.emplace(one.id, one.where);
    if (!is_new)
      throw data_error("the id \"" + one.id + "\" is that of " + std::string(found->second) + " too", one.where,
                       "give every document its own");
  }
  if (documents.empty()) throw data_error("holds no documents", path.string(), "check the path");
  return documents;
}

LODESTONE_INLINE std::vector<document_question> read_questions(const std::filesystem::path& file,
                                                               const std::vector<document>& documents) {
  std::set<std::string_view> known;
  for (const document& one : documents) known.insert(one.id);
  std::map<std::string, std::int64_t> asked;
  std::set<std::string> ids;
  std::vector<document_question> questions;
  jsonl_reader reader(file);
  for (json_record text; reader.next(text);) {
    const detail::record_fields fields(text, reader.name());
    document_question one{.id = fields.text_or_number("id"),
                          .document = fields.text_or_number("document"),
                          .question = fields.need("question"),
                          .answer = fields.text("answer"),
                          .where = reader.where(text.line)};
    if (one.document.empty()) fields.fail("no field document", "name the document that the question is about");
    if (!known.contains(one.document))
      fields.fail("there is no document \"" + one.document + "\"", "ids are the names of files below the folder");
    const std::int64_t number = asked[one.document]++;
    if (one.id.empty()) one.id = one.document + "/" + std::to_string(number);
    if (!ids.insert(one.id).second)
      fields.fail("the id \"" + one.id + "\" stands twice", "give every question its own");
    questions.push_back(std::move(one));
  }
  if (questions.empty()) throw data_error("holds no questions", file.string(), "add some, or leave the file out");
  return questions;
}

LODESTONE_INLINE double cjk_share(std::string_view text) {
  const text::character::table& classes = text::character::table::get();
  std::int64_t letters = 0, han = 0;
  for (const char *p = text.data(), *const end = p + text.size(); p < end;) {
    const text::code_point at = text::decode_utf8(p, end);
    p += at.length;
    if ((classes[at.value] & text::character::letter) == 0) continue;
    ++letters;
    if (detail::is_cjk(at.value)) ++han;
  }
  return letters == 0 ? 0.0 : static_cast<double>(han) / static_cast<double>(letters);
}

}  // namespace lodestone::synthesis
