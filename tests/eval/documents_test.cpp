// Documents from text files, folders and JSONL, and what is wrong with them.
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/eval/documents.hpp>

#include "support/support.hpp"

using namespace lodestone;

namespace {

auto says(const std::string& part) {
  return [part](const error& e) {
    BOOST_TEST_INFO(e.what());
    return std::string(e.what()).find(part) != std::string::npos;
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_documents)

BOOST_AUTO_TEST_CASE(folders_text_files_and_jsonl_give_documents_in_order) {
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(folder / "b.txt", "second\n");
  lodestone_test::write_file(folder / "a.txt", "first");
  lodestone_test::write_file(folder / "notes.md", "not one");
  auto documents = eval::read_documents(folder.path());
  BOOST_REQUIRE_EQUAL(documents.size(), 2U);
  BOOST_TEST((documents[0].id == "a" && documents[0].text == "first" && documents[1].text == "second\n"));
  BOOST_TEST(eval::read_documents(folder / "b.txt").at(0).id == "b");
  lodestone_test::write_file(folder / "d.jsonl",
                             "{\"text\": \"x\", \"id\": 7}\n\n{\"text\": \"y\"}\n{\"text\": \"z\", \"id\": \"n\"}\n");
  documents = eval::read_documents(folder / "d.jsonl");
  BOOST_REQUIRE_EQUAL(documents.size(), 3U);
  BOOST_TEST((documents[0].id == "7" && documents[1].id == "d.jsonl:3" && documents[2].id == "n"));
}

BOOST_AUTO_TEST_CASE(tokens_begin_as_the_model_expects_and_have_no_end) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const eval::document own = eval::tokenise({.id = "a", .text = "Once", .labels = {{"k", "v"}}}, words);
  BOOST_TEST(own.tokens.at(0) == 1);
  BOOST_TEST((own.tokens == words.encode("Once") && own.id == "a" && own.labels.size() == 1));
}

BOOST_AUTO_TEST_CASE(wrong_files_are_errors_with_their_line) {
  const lodestone_test::temporary_folder folder;
  const auto refuse = [&](const std::string& name, const std::string& content, const std::string& part) {
    lodestone_test::write_file(folder / name, content);
    BOOST_CHECK_EXCEPTION((void)eval::read_documents(folder / name), data_error, says(part));
  };
  refuse("a.jsonl", "{\"text\": \"x\"}\n{\"content\": \"x\"}\n", "a.jsonl:2: \"text\" is missing");
  refuse("a.jsonl", "{\"text\": 3}\n", "a.jsonl:1: \"text\" must be text");
  refuse("a.jsonl", "[]\n", "holds no record");
  refuse("a.jsonl", "{\"text\": \"x\"}\n[1]\n", "a.jsonl:2");
  refuse("a.jsonl", "{\"text\": \"x\"}\n{\"text\": \"x\"\n", "a.jsonl:2");
  refuse("a.jsonl", "{\"text\": \"\"}\n", "a.jsonl:1: \"text\" is empty");
  refuse("a.jsonl", "{\"text\": \"x\", \"id\": 1}\n{\"text\": \"y\", \"id\": \"1\"}\n",
         "a.jsonl:2: the id '1' repeats");
  refuse("a.txt", "one\ntwo\xFF\n", "a.txt:2");
  refuse("b.txt", "", "is empty");
  const lodestone_test::temporary_folder empty;
  BOOST_CHECK_EXCEPTION((void)eval::read_documents(empty.path()), data_error, says("holds no .txt file"));
  BOOST_CHECK_THROW((void)eval::read_documents(folder / "none.txt"), io_error);
}

BOOST_AUTO_TEST_SUITE_END()
