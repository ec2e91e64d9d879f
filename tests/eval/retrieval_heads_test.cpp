// Retrieval heads: the keys that heads look at against transformers' attention weights (tests/oracle/scoring_cases.py),
// and the score against hand-made attention.
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/attention/observed.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/eval/haystack.hpp>
#include <lodestone/eval/needle.hpp>
#include <lodestone/eval/retrieval_heads.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/llama.hpp>

#include "model/small_model.hpp"
#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

static_assert(attention_policy<observed_attention<reference_attention>, host<double>> &&
              attention_policy<observed_attention<blocked_attention>, host<float>>);

namespace {

eval::retrieval_example small_example() {
  return {.id = "a", .prompt = {5, 6, 7, 8, 9, 6}, .needles = {{1, 3}, {4, 5}}, .answer = {6, 9, 7, 7}};
}

/// A watch of two layers of two heads: each list holds the keys of a layer, head by head.
attention_watch watch_of(const std::vector<std::vector<std::int64_t>>& layers) {
  attention_watch watch;
  const std::vector<std::int64_t> rows{5, 6, 7, 8};
  watch.begin(rows, 9);
  for (const auto& keys : layers) watch.add(2, keys);
  watch.end();
  return watch;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_retrieval_heads)

using arithmetics = std::tuple<double, float>;

BOOST_AUTO_TEST_CASE_TEMPLATE(keys_equal_transformers_attention_and_answers_its_greedy_ones, T, arithmetics) {
  const auto oracle = nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("eval/attention.json")));
  for (const auto& [name, folder] :
       {std::pair{"stories260k", lodestone_test::data("models/stories260k")},
        std::pair{"tinystories-656k", lodestone_test::source_dir() / "examples/data/models/tinystories-656k"}}) {
    auto store = lodestone_test::load<T>(folder, parameters::purpose::inference);
    llama<host<T>, observed_attention<blocked_attention>> model(store.config(), store);
    const nlohmann::json& expected = oracle.at(name);
    const eval::retrieval_example own{.id = name,
                                      .prompt = expected.at("prompt").get<std::vector<std::int32_t>>(),
                                      .needles = {{1, 5}},
                                      .answer = expected.at("answer").get<std::vector<std::int32_t>>()};
    const auto answer = generate::greedy(model, own.prompt, std::ssize(own.answer));
    BOOST_TEST(answer == own.answer, boost::test_tools::per_element());
    std::vector<eval::record> records;
    eval::retrieval_heads(model, {&own, 1}, {}, [&](eval::record&& result) { records.push_back(std::move(result)); });
    BOOST_TEST(records.size() == 1U);
    const attention_watch& watch = *model.attention().watch;
    const auto keys = expected.at("keys").get<std::vector<std::vector<std::vector<std::int64_t>>>>();
    BOOST_REQUIRE_EQUAL(watch.layers(), std::ssize(keys));
    BOOST_REQUIRE_EQUAL(watch.heads(), std::ssize(keys[0]));
    for (std::int64_t layer = 0; layer < watch.layers(); ++layer)
      for (std::int64_t head = 0; head < watch.heads(); ++head)
        for (std::int64_t i = 0; i < std::ssize(own.answer); ++i)
          BOOST_TEST(
              watch.key(layer, head, i) ==
              keys[static_cast<std::size_t>(layer)][static_cast<std::size_t>(head)][static_cast<std::size_t>(i)]);
    BOOST_TEST(!watch.is_on());
  }
}

// A model that was trained to look up {name=number} reads each digit from the token behind it, where its first layer
// has moved it: by the definition it has no retrieval head, yet its heads look into the needle and nowhere else.
BOOST_AUTO_TEST_CASE(heads_of_a_model_that_looks_things_up_look_into_the_needle) {
  const auto folder = lodestone_test::source_dir() / "examples/data/retrieval";
  const tokenizer words = tokenizer::load(folder);
  auto store = lodestone_test::load<float>(folder, parameters::purpose::inference);
  llama<host<float>, observed_attention<blocked_attention>> model(store.config(), store);
  const auto count = [&](std::string_view prompt) { return std::ssize(words.encode(prompt)); };
  const eval::needle asked(eval::haystack::read(lodestone_test::source_dir() / "examples/data/state_union"), count,
                           {.lengths = {300}, .depths = {50}, .repeats = 3, .others = 3, .is_chat = false},
                           eval::needle_form::compact("<|question|>"));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const eval::question question = asked.ask(i);
    eval::retrieval_example own{.id = question.id, .prompt = words.encode(question.prompt)};
    own.needles = eval::find_needles(words, own.prompt, asked.facts(i));
    own.answer = generate::greedy(model, own.prompt, 5);
    BOOST_TEST(words.decode(own.answer) == asked.expected(i).at(0));
    eval::retrieval_heads(model, {&own, 1}, {}, [](eval::record&&) {});
    const attention_watch& watch = *model.attention().watch;
    const std::vector<std::string> digits{asked.expected(i).at(0)};
    const std::int64_t first = eval::find_needles(words, own.prompt, digits).at(0).begin;
    for (std::int64_t head = 1; head < watch.heads(); ++head)
      for (std::int64_t digit = 0; digit < 5; ++digit) BOOST_TEST(watch.key(1, head, digit) == first + digit + 1);
  }
}

BOOST_AUTO_TEST_CASE(watching_changes_no_number_and_follows_windows) {
  model_config config = lodestone_test::small_config();
  config.windows = {3, 0};
  const auto store = lodestone_test::small_store<host<double>>(config);
  llama<host<double>, observed_attention<reference_attention>> watched(store->config(), *store);
  llama<host<double>, reference_attention> plain(store->config(), *store);
  const eval::retrieval_example own{
      .id = "a", .prompt = {1, 2, 3, 4, 5, 6, 7}, .needles = {{0, 2}}, .answer = {8, 9, 1}};
  const token_batch batch = eval::answered(own);
  const std::vector<std::int64_t> rows{6, 7, 8};
  watched.attention().watch->begin(rows, batch.size());
  BOOST_TEST(watched.log_probs(batch) == plain.log_probs(batch), boost::test_tools::per_element());
  const attention_watch& watch = *watched.attention().watch;
  BOOST_TEST(watch.layers() == 2);
  for (std::int64_t head = 0; head < watch.heads(); ++head)
    for (std::int64_t i = 0; i < 3; ++i) {
      BOOST_TEST(watch.key(0, head, i) > rows[static_cast<std::size_t>(i)] - 3);
      BOOST_TEST(watch.key(0, head, i) <= rows[static_cast<std::size_t>(i)]);
    }
  const std::vector<std::int64_t> others{2, 3};
  watched.attention().watch->begin(others, batch.size());
  BOOST_CHECK_THROW((void)watched.log_probs(batch), shape_error);  // the last layer has the scored rows only
}

BOOST_AUTO_TEST_CASE(a_head_scores_the_needle_tokens_that_it_copies) {
  // prompt 5 [6 7] 8 [9] 6, needles of 3 tokens; rows emit 6, 9, 7, 7
  const attention_watch watch = watch_of({{1, 4, 2, 2, /**/ 5, 4, 0, 3},    // all three; 9 alone: key 5 is 6 outside
                                          {2, 1, 1, 1, /**/ 1, 1, 1, 2}});  // never what is emitted; 6 and 7
  const eval::head_scores scores = eval::score_heads(small_example(), watch);
  BOOST_TEST(scores(0, 0) == 1.0);
  BOOST_TEST(scores(0, 1) == 1.0 / 3.0);
  BOOST_TEST(scores(1, 0) == 0.0);
  BOOST_TEST(scores(1, 1) == 2.0 / 3.0);
  const eval::record own = eval::retrieval_record(small_example(), scores, {.best = 2});
  BOOST_TEST((own.scores == std::vector<eval::score>{{"retrieval", (1.0 + 2.0 / 3.0) / 2.0}}));
  BOOST_TEST(own.answer.starts_with("2x2 0.0:1 0.1:0.333"));
  BOOST_TEST((eval::parse_heads(own.answer) == scores));
}

BOOST_AUTO_TEST_CASE(means_over_examples_keep_heads_above_the_threshold) {
  const std::vector<eval::head_scores> examples{{1, 3, {0.5, 0.1, 0.0}}, {1, 3, {0.1, 0.1, 0.8}}};
  const eval::retrieval_summary all = eval::summarise(examples, {.best = 2});
  BOOST_TEST((all.heads == std::vector<eval::retrieval_head>{{0, 2, 0.4}, {0, 0, 0.3}}));  // 0.1 is not above 0.1
  BOOST_CHECK_CLOSE_FRACTION(all.best_mean, 0.35, 1e-15);
  BOOST_TEST(eval::summarise({}).heads.empty());
  const std::vector<eval::head_scores> mixed{{1, 1, {0.5}}, {1, 2, {0.5, 0.5}}};
  BOOST_CHECK_THROW((void)eval::summarise(mixed), shape_error);
  BOOST_CHECK_THROW((void)eval::summarise(examples, {.best = 0}), config_error);
}

BOOST_AUTO_TEST_CASE(needles_are_the_tokens_that_hold_them) {
  for (const auto& folder : {lodestone_test::data("models/stories260k"), lodestone_test::data("tokenizer/gpt2"),
                             lodestone_test::source_dir() / "examples/data/models/tinystories-656k"}) {
    const tokenizer words = tokenizer::load(folder);
    const std::vector<std::int32_t> prompt = words.encode("Tom ran. The code is 4711. Lily sat. The key is red. Tom?");
    const std::vector<std::string> texts{"The key is red.", "The code is 4711."};
    const auto needles = eval::find_needles(words, prompt, texts);
    BOOST_REQUIRE_EQUAL(needles.size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto own = std::span(prompt).subspan(static_cast<std::size_t>(needles[i].begin),
                                                 static_cast<std::size_t>(needles[i].end - needles[i].begin));
      const std::string found = words.decode(own);
      BOOST_TEST_CONTEXT(folder << ": '" << found << "'") {
        BOOST_TEST(found.find(texts[1 - i]) != std::string::npos);
        for (const auto& less : {own.subspan(1), own.first(own.size() - 1)})  // no token too many
          BOOST_TEST(words.decode(less).find(texts[1 - i]) == std::string::npos);
      }
    }
    const std::vector<std::string> twice{"Tom ran.", "Tom ran"};
    BOOST_TEST(eval::find_needles(words, prompt, twice).size() == 1U);
    for (const std::string wrong : {"", "Tim"})
      BOOST_CHECK_THROW((void)eval::find_needles(words, prompt, {&wrong, 1}), data_error);
  }
}

BOOST_AUTO_TEST_CASE(the_answer_is_scored_from_the_rows_that_emitted_it) {
  const token_batch batch = eval::answered(small_example());
  BOOST_TEST(batch.size() == 9);
  BOOST_TEST(batch.scored.size() == 4U);
  BOOST_TEST((batch.scored[0].row == 5 && batch.scored[0].label == 6 && batch.scored[3].row == 8));
  BOOST_TEST(batch.positions.back() == 8);
}

BOOST_AUTO_TEST_CASE(what_is_there_is_not_computed_again_and_wrong_examples_are_named) {
  const auto store = lodestone_test::small_store<host<double>>(lodestone_test::small_config());
  llama<host<double>, observed_attention<reference_attention>> model(store->config(), *store);
  std::vector<eval::retrieval_example> examples{small_example(), small_example()};
  examples[1].id = "b";
  std::vector<std::string> ids;
  eval::retrieval_heads(model, examples, {.is_done = [](std::string_view id) { return id == "a"; }},
                        [&](eval::record&& own) { ids.push_back(own.id); });
  BOOST_TEST(ids == std::vector<std::string>{"b"}, boost::test_tools::per_element());
  const auto refuse = [&](const auto& change, const std::string& part) {
    eval::retrieval_example wrong = small_example();
    change(wrong);
    BOOST_CHECK_EXCEPTION((void)eval::answered(wrong), data_error, [&](const data_error& e) {
      BOOST_TEST_INFO(e.what());
      return std::string(e.what()).find("example a: " + part) == 0;
    });
  };
  refuse([](auto& own) { own.needles.clear(); }, "has no needle");
  refuse([](auto& own) { own.answer.clear(); }, "has no prompt, or no answer");
  refuse([](auto& own) { own.needles[1].end = 7; }, "the needle at tokens 4 to 7");
  refuse([](auto& own) { own.needles[1].begin = 2; }, "the needle at tokens 2 to 5");
  refuse([](auto& own) { own.needles[0] = {2, 2}; }, "the needle at tokens 2 to 2");
  for (const std::string wrong : {"", "2", "2x2 0.0", "2x2 2.0:0.5", "2x2 0.0:2", "2x2 0.0:0.5x", "-1x2"})
    BOOST_CHECK_THROW((void)eval::parse_heads(wrong), data_error);
  attention_watch watch;
  const std::vector<std::int64_t> rows{3, 3};
  BOOST_CHECK_THROW(watch.begin(rows, 9), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
