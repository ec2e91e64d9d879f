// Definitions of questions.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/record_fields.hpp>
#include <lodestone/synthesis/questions.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE std::vector<document_question> read_questions(const std::filesystem::path& file,
                                                               const std::vector<text_document>& documents) {
  std::set<std::string_view> known;
  for (const text_document& one : documents) known.insert(one.id);
  std::map<std::string, std::int64_t> asked;
  std::set<std::string> ids;
  std::vector<document_question> questions;
  jsonl_reader reader(file);
  for (json_record text; reader.next(text);) {
    const lodestone::detail::record_fields fields(text, reader.name());
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

}  // namespace lodestone::synthesis
