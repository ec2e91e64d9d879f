// Reading records: JSONL and arrays, lines in errors, bounded memory, and the formats that are refused.
#include <boost/test/unit_test.hpp>

#include <lodestone/text/jsonl.hpp>

#include "../support/support.hpp"

using namespace lodestone;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

namespace {

/// "line:text" of every record, or the error's message at the end.
std::vector<std::string> read_all(const std::string& content, std::int64_t limit = 1 << 20,
                                  const std::string& name = "data.jsonl") {
  const temporary_folder folder;
  write_file(folder / name, content);
  std::vector<std::string> records;
  try {
    jsonl_reader reader(folder / name, limit);
    json_record record;
    while (reader.next(record)) {
      BOOST_TEST(record.index == static_cast<std::int64_t>(records.size()));
      records.push_back(std::to_string(record.line) + ":" + record.text);
    }
    BOOST_TEST(!reader.next(record));  // the end stays the end
  } catch (const error& failure) {
    std::string text = failure.what();
    const std::string path = folder.path().string() + "/";
    for (std::size_t at; (at = text.find(path)) != std::string::npos;) text.erase(at, path.size());
    records.push_back(text);
  }
  return records;
}

using lines = std::vector<std::string>;

bool begins(const std::string& text, const std::string& part) { return text.rfind(part, 0) == 0; }

}  // namespace

BOOST_AUTO_TEST_SUITE(text_jsonl)

BOOST_AUTO_TEST_CASE(lines_and_what_is_between_them) {
  BOOST_TEST(read_all("{\"a\":1}\n{\"b\":2}\n") == (lines{"1:{\"a\":1}", "2:{\"b\":2}"}));
  BOOST_TEST(read_all("{\"a\":1}\n{\"b\":2}") == (lines{"1:{\"a\":1}", "2:{\"b\":2}"}));
  BOOST_TEST(read_all("\xEF\xBB\xBF\r\n\r\n  {\"a\":1} \t\r\n\n \n{\"b\":2}\r\n\n") ==
             (lines{"3:{\"a\":1}", "6:{\"b\":2}"}));
  BOOST_TEST(read_all("").empty());
  BOOST_TEST(read_all("\n \r\n\t\n").empty());
  BOOST_TEST(read_all("\xEF\xBB\xBF").empty());
}

BOOST_AUTO_TEST_CASE(arrays_of_any_layout) {
  const std::string pretty = "\n[\n  {\n    \"a\": \"]}\\\"[\\\\\"\n  } ,\n  [1, {\"b\": []}], 7 , null\n]\n\n";
  BOOST_TEST(read_all(pretty) ==
             (lines{"3:{\n    \"a\": \"]}\\\"[\\\\\"\n  }", "6:[1, {\"b\": []}]", "6:7 ", "6:null\n"}));
  BOOST_TEST(read_all("[]").empty());
  BOOST_TEST(read_all(" [ \n ] \n").empty());
}

BOOST_AUTO_TEST_CASE(damaged_arrays_name_the_line) {
  BOOST_TEST(begins(read_all("[{\"a\":1},\n{\"b\":").back(), "data.jsonl:2: the file ends inside the JSON array"));
  BOOST_TEST(begins(read_all("[{\"a\":1},\n").back(), "data.jsonl:2: the file ends inside"));
  BOOST_TEST(begins(read_all("[{\"a\":1}\n{\"b\":2}]").back(), "data.jsonl:2: a comma is missing"));
  BOOST_TEST(begins(read_all("[{\"a\":1},\n]").back(), "data.jsonl:2: a comma stands before the closing ]"));
  BOOST_TEST(begins(read_all("[{\"a\":1}]\n\nx").back(), "data.jsonl:3: text follows the closing ]"));
  BOOST_TEST(begins(read_all("[,1]").back(), "data.jsonl:1: a record of the array is empty"));
}

BOOST_AUTO_TEST_CASE(records_larger_than_the_buffer) {
  const std::string large = "{\"text\": \"" + std::string(3'000'000, 'x') + "\"}";
  const lines expected{"1:" + large, "2:{}", "3:" + large};
  BOOST_CHECK(read_all(large + "\n{}\n" + large, 1 << 22) == expected);
  const lines elements = read_all("[" + large + ",\n{},\n" + large + "]", 1 << 22);
  BOOST_CHECK(elements == expected);
  BOOST_TEST(begins(read_all("{}\n" + large, 1 << 20).back(), "data.jsonl:2: the record is longer than 1048576 bytes"));
  // Records that end exactly at the edge of the buffer of 1 MiB.
  for (const int shift : {-2, -1, 0, 1}) {
    const std::string first(static_cast<std::size_t>((1 << 20) + shift), '1');
    BOOST_CHECK(read_all(first + "\n22\n", 1 << 22) == (lines{"1:" + first, "2:22"}));
    BOOST_CHECK(read_all("[" + first + ",22]", 1 << 22) == (lines{"1:" + first, "1:22"}));
  }
}

BOOST_AUTO_TEST_CASE(utf8_is_checked_by_record) {
  BOOST_TEST(read_all("\"\xE4\xBD\xA0\xF0\x9F\x98\x80\"") == (lines{"1:\"\xE4\xBD\xA0\xF0\x9F\x98\x80\""}));
  BOOST_TEST(
      begins(read_all("{}\n{\"a\": \"caf\xE9\"}").back(), "data.jsonl:2: broken UTF-8 at byte 10 of the record"));
  BOOST_TEST(begins(read_all("[{},\n{\n\"a\":\n\"\xFF\"}]").back(), "data.jsonl:4: broken UTF-8"));
  const std::string seven = "1234567";  // pushes each case over the eight-byte step
  for (const std::string& bad :
       {std::string("\xC0\x80"), std::string("\xC1\xBF"), std::string("\xE0\x9F\xBF"), std::string("\xED\xA0\x80"),
        std::string("\xF0\x8F\xBF\xBF"), std::string("\xF4\x90\x80\x80"), std::string("\xF5\x80\x80\x80"),
        std::string("\x80"), std::string("\xE4\xBD"), std::string("\xC3"),
        std::string("\xE4\xBD"
                    "a")}) {
    BOOST_TEST(find_broken_utf8(bad) == 0U);
    BOOST_TEST(find_broken_utf8(seven + bad) == 7U);
    BOOST_TEST(find_broken_utf8(seven + "8" + bad + seven) == 8U);
  }
  for (const std::string& good :
       {std::string("\xC2\x80"), std::string("\xE0\xA0\x80"), std::string("\xED\x9F\xBF"), std::string("\xEE\x80\x80"),
        std::string("\xF0\x90\x80\x80"), std::string("\xF4\x8F\xBF\xBF"), std::string(1, '\0')}) {
    BOOST_TEST(find_broken_utf8(seven + good + seven) == std::string_view::npos);
  }
}

BOOST_AUTO_TEST_CASE(other_formats_are_refused_with_the_command) {
  const auto refusal = [](const std::string& content) { return read_all(content).back(); };
  BOOST_TEST(refusal("PAR1....").find("read_parquet") != std::string::npos);
  BOOST_TEST(read_all("anything", 1 << 20, "train.parquet").back().find("train.jsonl") != std::string::npos);
  BOOST_TEST(refusal("\x1F\x8B\x08").find("gunzip -k") != std::string::npos);
  BOOST_TEST(refusal("\x28\xB5\x2F\xFD").find("zstd -d") != std::string::npos);
  BOOST_TEST(refusal("PK\x03\x04").find("unzip") != std::string::npos);
  BOOST_TEST(refusal("\xFF\xFE[").find("iconv -f UTF-16") != std::string::npos);
  BOOST_TEST(refusal("version https://git-lfs.github.com/spec/v1").find("git lfs pull") != std::string::npos);
  BOOST_CHECK_THROW(jsonl_reader("/nonexistent/data.jsonl"), io_error);
  BOOST_CHECK_THROW(jsonl_reader(std::filesystem::temp_directory_path()), io_error);
}

BOOST_AUTO_TEST_SUITE_END()
