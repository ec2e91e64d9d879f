// Prompts cut in the middle: equal to the published practice with two real tokenizers, and its limits.
#include <boost/test/unit_test.hpp>

#include <fstream>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include <lodestone/eval/truncate.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "../support/support.hpp"

using namespace lodestone;

static_assert(eval::cutting_tokenizer<tokenizer>);

namespace {

/// One token a byte; counts how often it is asked.
struct byte_tokenizer {
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool) const {
    std::string text;
    for (const std::int32_t id : ids) text.push_back(static_cast<char>(id));
    return text;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(prompts_are_cut_in_the_middle_as_longbench_cuts_them) {
  std::map<std::string, tokenizer> tokenizers;
  std::ifstream lines(lodestone_test::data("eval/cut.jsonl"));
  std::size_t cut = 0;
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto expected = nlohmann::json::parse(line);
    const std::string file = expected.at("tokenizer");
    if (!tokenizers.contains(file)) tokenizers.emplace(file, tokenizer::load(lodestone_test::source_dir() / file));
    const std::string prompt = expected.at("prompt");
    const auto got = eval::cut_middle(tokenizers.at(file), prompt, expected.at("limit").get<std::int64_t>());
    // Where a run of byte tokens is not UTF-8, the library that LongBench uses replaces every byte of it, ours only the
    // broken ones: what follows the last of them must agree.
    const std::string mark = "\xEF\xBF\xBD";
    std::string theirs = expected.at("cut");
    std::string ours = got.text;
    if (const std::size_t at = theirs.rfind(mark); at != std::string::npos && file.find("stories260k") < file.size()) {
      theirs.erase(0, at);
      ours.erase(0, std::min(ours.rfind(mark), ours.size()));
    }
    BOOST_TEST(ours == theirs);
    BOOST_TEST(got.tokens == expected.at("tokens").get<std::size_t>());
    BOOST_TEST(got.is_cut == (got.tokens > expected.at("limit").get<std::size_t>()));
    cut += got.is_cut ? 1 : 0;
  }
  BOOST_TEST(count == 64U);
  BOOST_TEST(cut > 20U);
}

BOOST_AUTO_TEST_CASE(both_ends_of_a_prompt_stay) {
  const byte_tokenizer bytes;
  BOOST_TEST(eval::cut_middle(bytes, "abcdefghij", 10).text == "abcdefghij");
  BOOST_TEST(!eval::cut_middle(bytes, "abcdefghij", 10).is_cut);
  BOOST_TEST(eval::cut_middle(bytes, "abcdefghij", 9).text == "abcdghij");
  BOOST_TEST(eval::cut_middle(bytes, "abcdefghij", 2).text == "aj");
  BOOST_TEST(eval::cut_middle(bytes, "", 2).text.empty());
  BOOST_CHECK_EXCEPTION((void)eval::cut_middle(bytes, "abc", 1), config_error, [](const config_error& failure) {
    return std::string(failure.what()).find("limit: a prompt cannot be cut to 1 tokens") == 0;
  });
}

BOOST_AUTO_TEST_CASE(marks_that_stand_in_a_prompt_stay_and_those_around_it_go) {
  const tokenizer words = tokenizer::load(lodestone_test::source_dir() / "examples/data/retrieval");
  BOOST_TEST_REQUIRE(words.id_of("<|question|>").has_value());
  std::string story;
  for (int i = 0; i < 60; ++i) story += "The state of the union is strong.";
  const std::string question = "<|question|>{dako=";
  for (const std::int64_t limit : {64, 101, 200}) {
    const std::string cut = eval::cut_middle(words, story + question, limit).text;
    BOOST_TEST(cut.size() < story.size());
    BOOST_TEST(cut.substr(cut.size() - question.size()) == question);
    BOOST_TEST(cut.find("<|") == cut.size() - question.size());  // no other special token
    BOOST_TEST(std::ssize(words.encode(cut)) <= limit + 2);
    BOOST_TEST(eval::cut_middle(words, question + story, limit).text.substr(0, question.size()) == question);
  }
  struct framed : byte_tokenizer {
    [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const {
      std::vector<std::int32_t> ids = byte_tokenizer::encode(text);
      ids.insert(ids.begin(), '<');
      ids.push_back('>');
      return ids;
    }
  };
  BOOST_TEST(eval::cut_middle(framed{}, "abcdefghij", 8).text == "abchij");
  BOOST_TEST(eval::cut_middle(framed{}, "abcdefghij", 12).text == "abcdefghij");
  BOOST_TEST(eval::cut_middle(framed{}, "abcdefghij", 2).text.empty());
}

BOOST_AUTO_TEST_CASE(a_cut_character_becomes_the_replacement_character) {
  const std::string mark = "\xEF\xBF\xBD";
  const byte_tokenizer bytes;
  BOOST_TEST(eval::cut_middle(bytes,
                              "\xE6\x97\xA5"
                              "abcd"
                              "\xE6\x9C\xAC",
                              4)
                 .text == mark + mark + mark);
  // what Python's bytes.decode("utf-8", "replace") gives
  BOOST_TEST(eval::replace_broken_utf8("a\xE6\x97z\xF0\x9F\x98") == "a" + mark + "z" + mark);
  BOOST_TEST(eval::replace_broken_utf8("\xE0\x80\x80") == mark + mark + mark);
  BOOST_TEST(eval::replace_broken_utf8("\xED\xA0\x80") == mark + mark + mark);
  BOOST_TEST(eval::replace_broken_utf8("\xF4\x90\x80\x80\xFF\xC0") == mark + mark + mark + mark + mark + mark);
  BOOST_TEST(eval::replace_broken_utf8("\xC3") == mark);
  BOOST_TEST(eval::replace_broken_utf8("\xC3\xA9 \xF0\x9F\x98\x80") == "\xC3\xA9 \xF0\x9F\x98\x80");
}
