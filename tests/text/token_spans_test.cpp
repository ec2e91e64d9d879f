// The bytes of a text that each token spells, against the tokenizers library, and the tokens of a range of bytes.
#include <cstdint>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/text/token_spans.hpp>

#include "support/support.hpp"

using namespace lodestone;
using text::span_of_text;

namespace {

std::vector<std::filesystem::path> folders() {
  return {lodestone_test::data("models/stories260k"),
          lodestone_test::source_dir() / "examples/data/models/tinystories-656k",
          lodestone_test::data("tokenizer/gpt2")};
}

}  // namespace

BOOST_TEST_DONT_PRINT_LOG_VALUE(span_of_text)

BOOST_AUTO_TEST_SUITE(text_token_spans)

BOOST_AUTO_TEST_CASE(spans_follow_each_other_and_spell_the_text) {
  for (const auto& folder : folders()) {
    const tokenizer words = tokenizer::load(folder);
    for (const std::string own :
         {"Once upon a time", " two  spaces and an end ", "", "a", " ", "\n\tx\r\n", "Größe 你好 😀!", "x\xF0\x9F y"}) {
      const auto ids = words.encode(own, false);
      const auto spans = text::token_spans(words, ids, own);
      BOOST_TEST_CONTEXT(folder << ": '" << own << "'") {
        BOOST_TEST(spans.size() == ids.size());
        std::int64_t at = 0;
        for (const span_of_text& span : spans) {
          BOOST_TEST(span.begin == at);
          at = span.end;
        }
        BOOST_TEST(at == static_cast<std::int64_t>(own.size()));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(places_in_characters_equal_the_tokenizers_library) {
  const std::string own = lodestone_test::read_file(lodestone_test::data("eval/document.txt"));
  const auto places =
      nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("eval/longppl.json"))).at("places");
  for (const auto& folder : folders()) {
    const tokenizer words = tokenizer::load(folder);
    auto spans = text::token_spans(words, words.encode(own, false), own);
    if (folder.filename() == "gpt2")  // with trim_offsets, the library leaves spaces out
      for (span_of_text& span : spans) {
        while (span.begin < span.end && own[static_cast<std::size_t>(span.begin)] == ' ') ++span.begin;
        while (span.begin < span.end && own[static_cast<std::size_t>(span.end - 1)] == ' ') --span.end;
      }
    const auto found = text::in_characters(spans, own);
    const auto expected =
        places.at(folder.filename().string()).get<std::vector<std::pair<std::int64_t, std::int64_t>>>();
    BOOST_REQUIRE_EQUAL(found.size(), expected.size());
    // A piece that only holds the space put before a text is said to lie at its first character: it spells nothing.
    for (std::size_t i = found[0].end == 0 ? 1 : 0; i < found.size(); ++i)
      BOOST_CHECK_MESSAGE(found[i] == (span_of_text{expected[i].first, expected[i].second}),
                          folder << ": token " << i << " at " << found[i].begin << " to " << found[i].end << ", not "
                                 << expected[i].first << " to " << expected[i].second);
  }
}

BOOST_AUTO_TEST_CASE(tokens_within_a_range_touch_it) {
  const std::vector<span_of_text> spans{{0, 3}, {3, 3}, {3, 7}, {7, 9}};
  BOOST_TEST((text::tokens_within(spans, {0, 3}) == span_of_text{0, 1}));
  BOOST_TEST((text::tokens_within(spans, {2, 4}) == span_of_text{0, 3}));
  BOOST_TEST((text::tokens_within(spans, {4, 5}) == span_of_text{2, 3}));
  BOOST_TEST((text::tokens_within(spans, {7, 9}) == span_of_text{3, 4}));
  BOOST_TEST((text::tokens_within(spans, {9, 12}) == span_of_text{4, 4}));
  BOOST_TEST((text::tokens_within(spans, {5, 5}) == span_of_text{2, 2}));
}

BOOST_AUTO_TEST_CASE(tokens_that_do_not_spell_the_text_are_an_error) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const auto ids = words.encode("Once upon a time", false);
  BOOST_CHECK_THROW((void)text::token_spans(words, ids, "Once upon a tide"), data_error);
  BOOST_CHECK_THROW((void)text::token_spans(words, ids, "Once upon a time."), data_error);
  BOOST_CHECK_THROW((void)text::token_spans(words, ids, "Once upon a"), data_error);
  const span_of_text whole{0, 2};
  BOOST_CHECK_THROW((void)text::in_characters({&whole, 1}, "a\xFF"), data_error);
}

BOOST_AUTO_TEST_SUITE_END()
