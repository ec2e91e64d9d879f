// Chunks of tokens: they cover a document, end at characters, and training reads their tokens from their text.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/data/preference_builder.hpp>
#include <lodestone/synthesis/chunks.hpp>
#include <lodestone/text/jsonl.hpp>

#include "support/support.hpp"

namespace synthesis = lodestone::synthesis;
using boost::test_tools::per_element;
using lodestone::tokenizer;
using ids = std::vector<std::int32_t>;

namespace {

std::vector<std::filesystem::path> tokenizers() {
  const auto examples = lodestone_test::source_dir() / "examples" / "data";
  return {lodestone_test::data("tokenizer/gpt2"), lodestone_test::data("models/stories260k"),
          examples / "models" / "tinystories-656k", examples / "retrieval"};
}

/// A speech, and what tokenizers find hard; without it where the vocabulary cannot spell it.
std::string text_for(const tokenizer& words) {
  std::string all =
      lodestone_test::read_file(lodestone_test::source_dir() / "examples/data/state_union/1945-Truman.txt");
  all.resize(6000);
  const std::string hard =
      "\n\n北京是中华人民共和国的首都，人口超过两千万。 Zürich — naïve 😀👩‍👩‍👧   end.\t\n<|end|> <s> "
      "1,000.50";
  const auto ids = words.encode(hard, false, false);
  const bool is_spelled = !words.unknown_id() || std::ranges::find(ids, *words.unknown_id()) == ids.end();
  for (int k = 0; k < 30; ++k) all += is_spelled ? hard : "   \n\n And then    they went.";
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(synthesis_chunks)

BOOST_AUTO_TEST_CASE(chunks_cover_the_tokens_of_the_document_and_end_at_characters) {
  for (const auto& folder : tokenizers())
    for (const synthesis::chunk_end end : {synthesis::chunk_end::word, synthesis::chunk_end::token}) {
      BOOST_TEST_CONTEXT(folder << (end == synthesis::chunk_end::word ? " word" : " token")) {
        const tokenizer words = tokenizer::load(folder);
        const std::string document = text_for(words);
        const synthesis::chunker cutter(words, {.tokens = 64, .end = end});
        const auto chunks = cutter.cut(document);
        ids all;
        std::string spelled;
        std::int64_t inexact = 0, inside_words = 0;
        for (const synthesis::token_chunk& chunk : chunks) {
          BOOST_TEST(chunk.begin == std::ssize(all));
          BOOST_TEST((chunk.ids.size() > 0 && chunk.ids.size() <= 64));
          BOOST_TEST((lodestone::find_broken_utf8(chunk.text) == std::string::npos));
          inexact += chunk.is_exact ? 0 : 1;
          inside_words += !spelled.empty() && std::isalpha(static_cast<unsigned char>(spelled.back())) != 0 &&
                                  std::isalpha(static_cast<unsigned char>(chunk.text.front())) != 0
                              ? 1
                              : 0;
          all.insert(all.end(), chunk.ids.begin(), chunk.ids.end());
          spelled += chunk.text;
        }
        BOOST_TEST(all == cutter.encode(document), per_element());
        BOOST_TEST((spelled == document));
        BOOST_TEST(inexact == 0);
        if (end == synthesis::chunk_end::word) BOOST_TEST(inside_words == 0);
        BOOST_TEST(cutter.cut("").empty());
      }
    }
}

// The chunks of a preference record, as training reads them, are the tokens that were cut.
BOOST_AUTO_TEST_CASE(training_sees_the_tokens_of_the_chunks) {
  for (const auto& folder : tokenizers()) {
    const tokenizer words = tokenizer::load(folder);
    const std::string document = text_for(words);
    const synthesis::chunker cutter(words, {.tokens = 96});
    const auto chunks = cutter.cut(document);
    nlohmann::json record{
        {"question", "Who?"}, {"chosen", "A"}, {"rejected", {"B"}}, {"context", nlohmann::json::array()}};
    for (std::size_t k = 0; k < chunks.size(); k += 3) record["context"].push_back(chunks[k].text);
    const lodestone::chat_encoder<tokenizer> encoder(words, {.user_prefix = "Q: ", .end_token = "\n"});
    const lodestone::preference_builder<tokenizer> builder(encoder, {}, {});
    std::vector<lodestone::encoded_sequence> examples;
    lodestone::data_summary counts;
    builder.build(lodestone::parse_preference({.text = record.dump(), .line = 1}, "test"), "test:1", examples, counts);
    const lodestone::encoded_sequence& example = examples.front();
    BOOST_TEST_REQUIRE(example.chunks.size() == record["context"].size() + 1);
    for (std::size_t k = 0; k < record["context"].size(); ++k) {
      const ids seen(example.tokens.begin() + example.chunks[k], example.tokens.begin() + example.chunks[k + 1]);
      BOOST_TEST(seen == chunks[3 * k].ids, folder << " chunk " << 3 * k);
    }
  }
}

BOOST_AUTO_TEST_CASE(chunks_must_have_room_for_a_character) {
  const tokenizer words = tokenizer::load(tokenizers().back());
  BOOST_CHECK_THROW(synthesis::chunker(words, {.tokens = 7}), lodestone::config_error);
}

BOOST_AUTO_TEST_SUITE_END()
