// Documents from text files, records and folders of both, and what is wrong with them.
#include <filesystem>
#include <string>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/data/documents.hpp>

#include "support/complaint.hpp"
#include "support/support.hpp"

using namespace lodestone;
using lodestone_test::complaint;
using lodestone_test::has;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

BOOST_AUTO_TEST_SUITE(data_documents)

BOOST_AUTO_TEST_CASE(a_folder_of_texts_and_records_is_read_in_the_order_of_its_names) {
  const temporary_folder folder;
  std::filesystem::create_directories(folder / "news");
  write_file(folder / "b.txt",
             "\xEF\xBB\xBF"
             "second\r\ntext");
  write_file(folder / "a.md", "# first");
  write_file(folder / "ignored.pdf", "\xff");
  write_file(folder / "news" / "x.jsonl",
             "{\"text\":\"third\",\"id\":7,\"source\":\"wire\"}\n\n{\"text\":\"fourth\",\"more\":[1]}\n");
  const auto documents = read_documents(folder.path());
  BOOST_TEST_REQUIRE(documents.size() == 4U);
  BOOST_TEST(documents[0].id == "a.md");
  BOOST_TEST(documents[1].id == "b.txt");
  BOOST_TEST(documents[1].text == "second\ntext");
  BOOST_TEST(documents[1].source == folder.path().filename().string());
  BOOST_TEST(documents[2].id == "7");
  BOOST_TEST(documents[2].source == "wire");
  BOOST_TEST(documents[3].id == "news/x.jsonl#1");
  BOOST_TEST(documents[3].source == "x");
  BOOST_TEST(documents[3].where.ends_with("x.jsonl:3"), documents[3].where);
  BOOST_TEST(read_documents(folder / "b.txt").front().id == "b.txt");
}

BOOST_AUTO_TEST_CASE(bad_documents_are_refused_with_file_and_line) {
  const temporary_folder folder;
  const auto error_of = [&](const std::string& name, const std::string& content) {
    write_file(folder / name, content);
    const std::string what = complaint<error>([&] { static_cast<void>(read_documents(folder.path())); });
    std::filesystem::remove(folder / name);
    return what;
  };
  BOOST_TEST(has(error_of("a.txt",
                          "one\ntwo\nthr\xe9"
                          "e\n"),
                 "a.txt:3: not UTF-8"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"text\":\"x\"}\n{\"text\":\"\xe9\"}\n"), "a.jsonl:2:"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"text\":\"x\"}\n{\"text\":\n"), "a.jsonl:2: not valid JSON"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"content\":\"x\"}\n"), "a.jsonl:1: no field text"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"text\":5}\n"), "a.jsonl:1: text is not text"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"text\":\" \"}\n"), "a.jsonl:1: text is empty"));
  BOOST_TEST(has(error_of("a.txt", " \n"), "a.txt: a document without text"));
  BOOST_TEST(
      has(error_of("a.jsonl", "{\"text\":\"x\",\"id\":\"k\"}\n{\"text\":\"y\",\"id\":\"k\"}\n"), "a.jsonl:2: the id"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"text\":\"x\"}\n{\"text\":\"\xe9\"}\n"), "a.jsonl:2:"));
  BOOST_TEST(
      has(error_of("a.jsonl", "{\"text\":\"x\",\"id\":1}\n{\"text\":\"y\",\"id\":\"1\"}\n"), "a.jsonl:2: the id"));
  BOOST_TEST(has(error_of("a.jsonl", "{\"text\":\"x\"}\n[1]\n"), "a.jsonl:2: the record is not a JSON object"));
  BOOST_TEST(has(error_of("a.json", "[]\n"), "holds no documents"));
  BOOST_TEST(has(error_of("a.txt", ""), "a.txt: a document without text"));
  BOOST_TEST(has(error_of("a.parquet", "x"), "holds no .txt, .md, .jsonl or .json file"));
  BOOST_CHECK_THROW(static_cast<void>(read_documents(folder / "none.txt")), io_error);
  write_file(folder / "a.ndjson", "{\"text\":\"x\"}\n");  // a text with braces would be a silent mistake
  BOOST_TEST(has(complaint<io_error>([&] { static_cast<void>(read_documents(folder / "a.ndjson")); }),
                 "a.ndjson: is neither .txt"));
}

BOOST_AUTO_TEST_SUITE_END()
