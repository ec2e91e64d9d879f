// Text while its tokens arrive: in sum what the tokenizer decodes at once, whole characters only, and never a byte of a
// stop string.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/core/random.hpp>
#include <lodestone/generate/text_stream.hpp>
#include <lodestone/text/jsonl.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/text/unicode.hpp>

#include "support/support.hpp"

using namespace lodestone;
using generate::text_stream;
using ids = std::vector<std::int32_t>;
using strings = std::vector<std::string>;

namespace {

std::vector<std::filesystem::path> tokenizers() {
  using lodestone_test::data;
  std::vector<std::filesystem::path> all{data("tokenizer/gpt2"), data("models/stories260k"),
                                         lodestone_test::source_dir() / "examples/data/models/tinystories-656k",
                                         lodestone_test::source_dir() / "examples/data/retrieval"};
  for (const char* folder : {"tokenizer/pipelines", "tokenizer/sentencepiece"})
    for (const auto& file : std::filesystem::directory_iterator(data(folder))) all.push_back(file.path());
  std::ranges::sort(all);
  return all;
}

/// `bytes` with U+FFFD for every byte outside UTF-8.
std::string as_utf8(std::string_view bytes) {
  std::string text;
  for (const char* p = bytes.data(); p < bytes.data() + bytes.size();) {
    const text::code_point c = text::decode_utf8(p, bytes.data() + bytes.size());
    text::append_utf8(text, c.value == text::not_utf8 ? char32_t{0xFFFD} : c.value);
    p += c.length;
  }
  return text;
}

const tokenizer& gpt2() {
  static const tokenizer one = tokenizer::load(lodestone_test::data("tokenizer/gpt2"));
  return one;
}

/// All pieces of a text that arrives byte by byte, or in the tokens of GPT-2.
struct told {
  strings pieces;
  std::string text;
  bool is_stopped = false;
};
told tell(const ids& tokens, const strings& stop, std::size_t min_tokens = 0) {
  text_stream stream(gpt2(), {}, stop);
  told result;
  for (std::size_t i = 0; i < tokens.size() && !stream.is_stopped(); ++i)
    result.pieces.push_back(stream.push(tokens[i], i >= min_tokens));
  if (!stream.is_stopped()) result.pieces.push_back(stream.finish());
  result.text = stream.text();
  result.is_stopped = stream.is_stopped();
  return result;
}

ids bytewise(std::string_view text) {
  ids tokens;
  for (const char c : text) {
    const ids one = gpt2().encode(std::string_view(&c, 1), false);
    BOOST_REQUIRE(one.size() == 1U);
    tokens.push_back(one[0]);
  }
  return tokens;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(generate_text_stream)

BOOST_AUTO_TEST_CASE(pieces_are_the_text_that_is_decoded_at_once) {
  random_stream random(8, random_purpose::user);
  const std::string mixed =
      " Hello  world\n\n  it's 12345 \xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C \xF0\x9F\x98\x80\t x";
  for (const auto& file : tokenizers()) {
    const tokenizer one = tokenizer::load(file);
    for (int turn = 0; turn < 60; ++turn) {
      ids before, answer;
      for (ids* list : {&before, &answer})
        for (std::uint64_t i = random.below(12); i > 0; --i)
          list->push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(one.vocabulary_size()))));
      if (turn % 4 == 1) before.clear();
      if (turn % 2 == 1) answer = one.encode(mixed, false);
      const ids end = one.encode(" ok", false);  // completes or breaks what the last token began
      answer.insert(answer.end(), end.begin(), end.end());
      ids all = before;
      all.insert(all.end(), answer.begin(), answer.end());
      const std::string whole = one.decode(all, true).substr(one.decode(before, true).size());

      text_stream stream(one, before, {});
      std::string pieces;
      for (const std::int32_t token : answer) {
        const std::string piece = stream.push(token);
        BOOST_TEST(find_broken_utf8(piece) == std::string_view::npos);
        pieces += piece;
      }
      pieces += stream.finish();
      BOOST_TEST(pieces == as_utf8(whole), file.string());
      BOOST_TEST(stream.text() == pieces);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_character_appears_with_its_last_byte) {
  const told one = tell(bytewise("a\xF0\x9F\x98\x80z"), {});
  BOOST_TEST((one.pieces == strings{"a", "", "", "", "\xF0\x9F\x98\x80", "z", ""}));
  const told cut = tell(bytewise("a\xE4\xBD"), {});
  BOOST_TEST(cut.text == "a");
  const told broken = tell(bytewise("a\xE4\xBDq\xFF"), {});
  BOOST_TEST(broken.text == "a\xEF\xBF\xBD\xEF\xBF\xBDq\xEF\xBF\xBD");
}

BOOST_AUTO_TEST_CASE(text_that_may_become_a_stop_string_is_held_back) {
  const told found = tell(bytewise("one <end of it"), {"<end>", "<end o"});
  BOOST_TEST((found.pieces == strings{"o", "n", "e", " ", "", "", "", "", "", ""}));
  BOOST_TEST(found.text == "one ");
  BOOST_TEST(found.is_stopped);
  const told passed = tell(bytewise("a <en <end"), {"<end>"});
  BOOST_TEST((passed.pieces == strings{"a", " ", "", "", "", "<en ", "", "", "", "", "<end"}));
  BOOST_TEST(!passed.is_stopped);
  const told earliest = tell(gpt2().encode("the end of the story", false), {"story", "end"});
  BOOST_TEST(earliest.text == "the ");
  const told repeated = tell(bytewise("aaab"), {"aab"});
  BOOST_TEST(repeated.text == "a");
  BOOST_CHECK_THROW((text_stream(gpt2(), {}, {""})), config_error);
}

// Stop strings of random lengths in random texts of two letters, against a search through the whole text.
BOOST_AUTO_TEST_CASE(the_first_stop_string_ends_the_text) {
  random_stream random(2, random_purpose::user);
  const auto word = [&](std::uint64_t length) {
    std::string text;
    for (std::uint64_t i = 0; i < length; ++i) text += random.below(2) == 0 ? 'a' : 'b';
    return text;
  };
  int stopped = 0;
  for (int turn = 0; turn < 400; ++turn) {
    const std::string text = word(1 + random.below(20));
    strings stop;
    for (std::uint64_t i = random.below(3); i > 0; --i) stop.push_back(word(2 + random.below(4)));
    const std::size_t least = random.below(6);
    // The stop string that is complete first; of those the one that begins first.
    std::string expected = text;
    for (std::size_t end = least + 1; end <= text.size() && expected == text; ++end)
      for (const std::string& one : stop)
        if (const std::size_t at = text.substr(0, end).find(one, std::min(least, text.size()));
            at != std::string::npos)
          expected = text.substr(0, std::min(expected.size(), at));
    const told result = tell(bytewise(text), stop, least);
    BOOST_TEST(result.text == expected);
    BOOST_TEST(result.is_stopped == (expected != text));
    std::string pieces;
    for (const std::string& piece : result.pieces) pieces += piece;
    BOOST_TEST(pieces == expected);
    stopped += result.is_stopped ? 1 : 0;
  }
  BOOST_TEST(stopped > 80);
}

BOOST_AUTO_TEST_SUITE_END()
