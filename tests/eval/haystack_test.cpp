// Sentence ends in text: hard cases by eye, and laws on real documents.
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/eval/haystack.hpp>

#include "support/support.hpp"

namespace eval = lodestone::eval;

namespace {

std::vector<std::string> sentences(std::string_view text) {
  std::vector<std::string> all;
  std::size_t begin = 0;
  for (const std::size_t end : eval::sentence_ends(text)) {
    all.emplace_back(text.substr(begin, end - begin));
    begin = std::min(text.find_first_not_of(" \n\t\r", end), text.size());
  }
  return all;
}

using list = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_haystack)

BOOST_AUTO_TEST_CASE(sentences_end_where_readers_say_so) {
  const std::vector<std::pair<std::string, list>> cases{
      {"One. Two! Three? Four", {"One.", "Two!", "Three?", "Four"}},
      {"Mr. Holmes met J. F. Kennedy. They spoke.", {"Mr. Holmes met J. F. Kennedy.", "They spoke."}},
      {"It cost $3.50 then. Now more.", {"It cost $3.50 then.", "Now more."}},
      {"See e.g. this one... and that. Done.", {"See e.g. this one... and that.", "Done."}},
      {"\"Why?\" she asked. \"Because!\" (He left.) So it ended.",
       {"\"Why?\" she asked.", "\"Because!\"", "(He left.)", "So it ended."}},
      {"A title\n\nIts text\nover two lines. End.", {"A title", "Its text\nover two lines.", "End."}},
      {"It was I. You knew.", {"It was I.", "You knew."}},
      {"今天天气很好。我们去公园！真的？“是的。”他说",
       {"今天天气很好。", "我们去公园！", "真的？", "“是的。”", "他说"}},
      {"Said \u201CNo.\u201D Then left.", {"Said \u201CNo.\u201D", "Then left."}},
      {"", {}},
      {"  \n \n ", {}},
      {" ... ", {" ..."}},
      {"\xff\xfe. A\xff", {"\xff\xfe.", "A\xff"}}};
  for (const auto& [text, expected] : cases) {
    const list found = sentences(text);
    BOOST_TEST(found == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(pieces_in_a_row_are_the_text_and_begin_again) {
  const eval::haystack hay({" First one. Second one.\n", "", "今天。明天。"});
  BOOST_TEST_REQUIRE(hay.size() == 4U);
  std::string all;
  for (std::size_t i = 0; i < 2 * hay.size(); ++i) all.append(hay[i].sentence).append(hay[i].space);
  const std::string once = "First one. Second one.\n\n今天。明天。\n\n";
  BOOST_TEST(all == once + once);
  BOOST_TEST(hay[2].space.empty());
  BOOST_TEST(hay.contains("one. Second"));
  BOOST_CHECK_THROW(eval::haystack({" ", ""}), lodestone::data_error);
}

BOOST_AUTO_TEST_CASE(real_documents_become_sentences_of_sensible_length) {
  const eval::haystack hay = eval::haystack::read(lodestone_test::source_dir() / "examples/data/state_union");
  BOOST_TEST(hay.size() > 10'000U);
  std::size_t longest = 0, bytes = 0;
  for (std::size_t i = 0; i < hay.size(); ++i) {
    const auto piece = hay[i];
    BOOST_TEST_REQUIRE(!piece.sentence.empty());
    BOOST_TEST_REQUIRE(!piece.space.empty());
    longest = std::max(longest, piece.sentence.size());
    bytes += piece.sentence.size();
  }
  BOOST_TEST(longest < 2'000U);
  BOOST_TEST(bytes / hay.size() > 60U);
  BOOST_TEST(bytes / hay.size() < 180U);
}

BOOST_AUTO_TEST_CASE(files_that_hold_no_text_are_refused_by_name) {
  const lodestone_test::temporary_folder folder;
  const auto fails = [&](const std::string& name, const std::string& part) {
    try {
      static_cast<void>(eval::haystack::read(folder / name));
    } catch (const lodestone::error& e) {
      return std::string(e.what()).find(part) != std::string::npos;
    }
    return false;
  };
  lodestone_test::write_file(folder / "broken.txt", "fine\nfine\n\xff\n");
  lodestone_test::write_file(folder / "blank.txt", " \n");
  BOOST_TEST(fails("broken.txt", "broken.txt:3: is not UTF-8"));
  BOOST_TEST(fails("blank.txt", "blank.txt: holds no text"));
  BOOST_TEST(fails("none.txt", "none.txt"));
  std::filesystem::create_directory(folder / "empty");
  BOOST_TEST(fails("empty", "holds no .txt file"));
}

BOOST_AUTO_TEST_SUITE_END()
