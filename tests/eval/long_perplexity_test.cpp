// LongPPL against the published code (tests/oracle/scoring_cases.py), files of key tokens, and what is wrong with them.
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/eval/long_perplexity.hpp>
#include <lodestone/model/llama.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

namespace {

struct pretrained {
  explicit pretrained(const std::filesystem::path& folder)
      : words(tokenizer::load(folder)),
        store(lodestone_test::load<double>(folder, parameters::purpose::inference)),
        model(store.config(), store) {}

  tokenizer words;
  lodestone_test::oracle_store<double> store;
  llama<host<double>, blocked_attention> model;
};

eval::text_ranges ranges_of(const nlohmann::json& pairs) {
  eval::text_ranges result;
  for (const auto& [begin, end] : pairs.get<std::vector<std::pair<std::int64_t, std::int64_t>>>())
    result.push_back({begin, end});
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_long_perplexity)

BOOST_AUTO_TEST_CASE(key_tokens_and_longppl_equal_the_published_code) {
  std::map<std::string, std::unique_ptr<pretrained>> models;
  models["stories260k"] = std::make_unique<pretrained>(lodestone_test::data("models/stories260k"));
  models["tinystories-656k"] =
      std::make_unique<pretrained>(lodestone_test::source_dir() / "examples/data/models/tinystories-656k");
  const std::vector<text_document> documents = read_documents(lodestone_test::data("eval/document.txt"));
  const auto oracle = nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("eval/longppl.json")));
  for (const auto& own : oracle.at("cases")) {
    pretrained& evaluator = *models.at(own.at("evaluator").get<std::string>());
    pretrained& measured = *models.at(own.at("measured").get<std::string>());
    const eval::key_token_options options{.context = own.at("context").get<std::int64_t>(),
                                          .step = own.at("step").get<std::int64_t>(),
                                          .gain = own.at("gain").get<double>(),
                                          .loss = own.at("loss").get<double>(),
                                          .edges = eval::token_edges::whole,
                                          .batch_tokens = 500};
    const auto keys = eval::key_ranges(evaluator.model, evaluator.words, documents[0].text, options);
    BOOST_TEST((keys == ranges_of(own.at("keys"))));
    std::vector<eval::record> records;
    eval::long_perplexity(
        measured.model, measured.words, documents, [&](const text_document&) { return keys; },
        {.edges = eval::token_edges::whole}, [&](eval::record&& result) { records.push_back(std::move(result)); });
    BOOST_REQUIRE_EQUAL(records.size(), 1U);
    const eval::score& all = records[0].scores.at(0);
    BOOST_TEST((all.metric == "nll" && all.weight == own.at("tokens").get<double>() - 1.0));
    BOOST_CHECK_CLOSE_FRACTION(std::exp(all.value), own.at("ppl").get<double>(), 1e-6);  // theirs ends in float32
    if (own.at("longppl").is_null()) {
      BOOST_TEST(records[0].scores.size() == 1U);
      continue;
    }
    const eval::score& key = records[0].scores.at(1);
    BOOST_TEST((key.metric == "key_nll" && key.weight == own.at("key_tokens").get<double>()));
    BOOST_CHECK_CLOSE_FRACTION(std::exp(key.value), own.at("longppl").get<double>(), 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(spaces_belong_to_no_trimmed_place) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const std::string own = "Once upon a time";
  const auto ids = words.encode(own, false);
  const auto whole = eval::token_places(words, ids, own, eval::token_edges::whole);
  const auto trimmed = eval::token_places(words, ids, own, eval::token_edges::trimmed);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    BOOST_TEST(trimmed[i].end == whole[i].end);
    if (trimmed[i].begin < trimmed[i].end) BOOST_TEST(own[static_cast<std::size_t>(trimmed[i].begin)] != ' ');
  }
}

BOOST_AUTO_TEST_CASE(a_token_is_key_when_it_lies_within_a_range) {
  const eval::text_ranges tokens{{0, 3}, {3, 5}, {5, 5}, {5, 9}, {9, 12}, {12, 13}};
  const auto keys = [&](const eval::text_ranges& ranges) { return eval::key_tokens(tokens, ranges); };
  using list = std::vector<std::int64_t>;
  BOOST_TEST((keys({{3, 9}}) == list{1, 2, 3}));
  BOOST_TEST((keys({{4, 9}}) == list{2, 3}));
  BOOST_TEST((keys({{3, 8}, {9, 13}}) == list{1, 2, 4, 5}));
  BOOST_TEST((keys({}) == list{}));
  BOOST_TEST((keys({{20, 30}}) == list{}));
}

BOOST_AUTO_TEST_CASE(key_tokens_travel_in_files) {
  const lodestone_test::temporary_folder folder;
  const eval::text_ranges a{{3, 5}, {5, 9}};
  lodestone_test::write_file(folder / "keys.jsonl",
                             eval::key_line("a \"b\"", a) + "\n" + eval::key_line("none", eval::text_ranges{}) + "\n");
  const auto keys = eval::read_keys(folder / "keys.jsonl");
  BOOST_TEST(keys.size() == 2U);
  BOOST_TEST((keys.at("a \"b\"") == a && keys.at("none").empty()));
  lodestone_test::write_file(folder / "slice_0.txt", "[40349, 40350];[40351, 40358]\n");
  BOOST_TEST((eval::read_published_keys(folder / "slice_0.txt") == eval::text_ranges{{40349, 40350}, {40351, 40358}}));
  lodestone_test::write_file(folder / "slice_1.txt", "");
  BOOST_TEST(eval::read_published_keys(folder / "slice_1.txt").empty());

  const auto refuse = [&](const std::string& content, const std::string& part) {
    lodestone_test::write_file(folder / "wrong.jsonl", content);
    BOOST_CHECK_EXCEPTION((void)eval::read_keys(folder / "wrong.jsonl"), data_error, [&](const data_error& e) {
      BOOST_TEST_INFO(e.what());
      return std::string(e.what()).find(part) != std::string::npos;
    });
  };
  refuse("{\"id\": \"a\", \"keys\": [[1, 2], [1, 3]]}\n", "wrong.jsonl:1: the range [1, 3]");
  refuse("{\"id\": \"a\", \"keys\": [[5, 3]]}\n", "wrong.jsonl:1: the range [5, 3]");
  refuse("{\"id\": \"a\", \"keys\": [[1, 2]]}\n{\"id\": \"a\", \"keys\": []}\n", "wrong.jsonl:2: the id 'a' repeats");
  refuse("{\"keys\": []}\n", "wrong.jsonl:1: \"id\" is missing");
  refuse("{\"id\": \"a\", \"keys\": [1, 2]}\n", "wrong.jsonl:1: \"keys\" must be a list of pairs");
  lodestone_test::write_file(folder / "slice_2.txt", "[1, 2];[");
  BOOST_CHECK_THROW((void)eval::read_published_keys(folder / "slice_2.txt"), data_error);
}

BOOST_AUTO_TEST_CASE(what_is_there_is_not_computed_again_and_faults_name_the_document) {
  pretrained own(lodestone_test::data("models/stories260k"));
  const std::vector<text_document> documents{{.id = "a", .text = "Once upon a time"}, {.id = "b", .text = "Tom"}};
  std::vector<std::string> ids;
  const auto none = [](const text_document&) { return eval::text_ranges{}; };
  eval::long_perplexity(own.model, own.words, documents, none,
                        {.first_tokens = true, .is_done = [](std::string_view id) { return id == "a"; }},
                        [&](eval::record&& result) { ids.push_back(result.id); });
  BOOST_TEST(ids == std::vector<std::string>{"b"}, boost::test_tools::per_element());
  const auto wrong = [](const text_document&) -> eval::text_ranges { throw data_error("no keys", "keys.jsonl"); };
  BOOST_CHECK_EXCEPTION(
      eval::long_perplexity(own.model, own.words, documents, wrong, {}, [](eval::record&&) {}), data_error,
      [](const data_error& e) { return std::string(e.what()).find("document a: keys.jsonl: no keys") == 0; });
  BOOST_CHECK_THROW((void)eval::key_ranges(own.model, own.words, "x", {.context = 0}), config_error);
  BOOST_CHECK_THROW((void)eval::key_ranges(own.model, own.words, "x", {.step = 0}), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
