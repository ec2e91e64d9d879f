// Perplexity in one pass and in sliding windows: laws, and the losses of transformers (tests/oracle/scoring_cases.py).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/eval/perplexity.hpp>
#include <lodestone/model/llama.hpp>

#include "model/small_model.hpp"
#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

namespace {

/// Knows every token's probability by the number of tokens that it sees, itself and the label.
struct counting_model {
  model_config own{};
  std::int64_t batches = 0;
  std::int64_t rows = 0;
  std::function<double(std::int64_t seen, std::int32_t label)> loss = [](std::int64_t seen, std::int32_t) {
    return 1.0 / static_cast<double>(seen);
  };

  [[nodiscard]] const model_config& config() const { return own; }
  std::vector<double> log_probs(const token_batch& batch) {
    ++batches;
    rows += batch.size();
    std::vector<double> result;
    for (const scored_token& token : batch.scored) {
      std::int64_t seen = 0;
      for (const slice& s : batch.slices)
        if (token.row >= s.q_begin && token.row < s.q_end) seen += s.last_key(token.row) - s.first_key(token.row);
      result.push_back(-loss(seen, token.label));
    }
    return result;
  }
};
static_assert(eval::scoring_model<counting_model> && !eval::scoring_model<int>);

std::vector<eval::record> run(const eval::any_scoring_model& model, const std::vector<eval::document>& documents,
                              const eval::perplexity_options& options) {
  std::vector<eval::record> records;
  eval::perplexity(model, documents, options, [&](eval::record&& own) { records.push_back(std::move(own)); });
  return records;
}

eval::document counted(std::string id, std::int32_t length) {
  eval::document own{.id = std::move(id)};
  for (std::int32_t i = 0; i < length; ++i) own.tokens.push_back(i % 17);
  return own;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_perplexity)

BOOST_AUTO_TEST_CASE(windows_predict_every_token_once_from_as_many_as_promised) {
  for (std::int64_t length = 2; length < 40; ++length)
    for (std::int64_t window = 1; window < 12; ++window)
      for (std::int64_t stride = 1; stride <= window; ++stride) {
        std::int64_t next = 1;
        for (const eval::scoring_window& own : eval::scoring_windows(length, window, stride)) {
          BOOST_REQUIRE(own.first == next && own.begin < own.first && own.first < own.end && own.end <= length);
          BOOST_REQUIRE(own.end - 1 - own.begin <= window);
          BOOST_REQUIRE(own.first - own.begin >= std::min(own.first, window - stride + 1));
          next = own.end;
        }
        BOOST_REQUIRE(next == length);
      }
}

BOOST_AUTO_TEST_CASE(a_window_as_long_as_the_document_is_one_pass_and_strides_of_a_window_are_chunks) {
  const auto store = lodestone_test::small_store<host<double>>(lodestone_test::small_config());
  llama<host<double>, blocked_attention> model(store->config(), *store);
  const std::vector<std::int32_t> tokens = counted("a", 41).tokens;
  const std::vector<double> whole = eval::token_losses(model, tokens, {});
  BOOST_REQUIRE_EQUAL(whole.size(), 40U);
  for (const std::int64_t window : {40, 41, 64}) {
    const auto windows = eval::token_losses(model, tokens, {.window = window, .stride = 3});
    BOOST_REQUIRE_EQUAL(windows.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) BOOST_TEST(std::abs(windows[i] - whole[i]) < 1e-13);
  }
  for (const std::int64_t batch : {1, 20, 1000}) {
    const auto chunks = eval::token_losses(model, tokens, {.window = 8, .stride = 8, .batch_tokens = batch});
    BOOST_REQUIRE_EQUAL(chunks.size(), whole.size());
    for (std::size_t begin = 0; begin < 40; begin += 8) {
      const auto own = eval::token_losses(model, std::span(tokens).subspan(begin, 9), {});
      for (std::size_t i = 0; i < 8; ++i) BOOST_TEST(std::abs(chunks[begin + i] - own[i]) < 1e-13);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_model_with_window_layers_is_measured_too) {
  model_config config = lodestone_test::small_config();
  config.windows = {3, 0};
  const auto store = lodestone_test::small_store<host<double>>(config);
  llama<host<double>, blocked_attention> model(store->config(), *store);
  const std::vector<std::int32_t> tokens = counted("a", 30).tokens;
  const auto windows = eval::token_losses(model, tokens, {.window = 29, .stride = 2});
  const auto whole = eval::token_losses(model, tokens, {});
  for (std::size_t i = 0; i < whole.size(); ++i) BOOST_TEST(std::abs(windows[i] - whole[i]) < 1e-13);
}

BOOST_AUTO_TEST_CASE(losses_equal_transformers_in_one_pass_and_in_windows) {
  const auto expected = nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("eval/perplexity.json")));
  for (const auto& [name, folder] :
       {std::pair{"stories260k", lodestone_test::data("models/stories260k")},
        std::pair{"tinystories-656k", lodestone_test::source_dir() / "examples/data/models/tinystories-656k"}}) {
    const tokenizer words = tokenizer::load(folder);
    const eval::document own = eval::tokenise(read_documents(lodestone_test::data("eval/document.txt")).at(0), words);
    const auto& oracle = expected.at(name);
    BOOST_REQUIRE(own.tokens == oracle.at("ids").get<std::vector<std::int32_t>>());
    auto store = lodestone_test::load<double>(folder, parameters::purpose::inference);
    llama<host<double>, blocked_attention> model(store.config(), store);
    const auto compare = [&](const nlohmann::json& theirs, const eval::perplexity_options& options) {
      const auto losses = theirs.get<std::vector<double>>();
      const std::vector<double> ours = eval::token_losses(model, own.tokens, options);
      BOOST_REQUIRE_EQUAL(ours.size(), losses.size());
      double worst = 0.0;
      for (std::size_t i = 0; i < losses.size(); ++i)
        worst = std::max(worst, std::abs(ours[i] - losses[i]) / std::max(losses[i], 1e-3));
      BOOST_TEST(worst < 1e-10);
      BOOST_TEST_MESSAGE(name << ": " << losses.size() << " losses, the worst apart by " << worst);
    };
    compare(oracle.at("whole"), {});
    for (const auto& windows : oracle.at("windows"))  // their window counts the predicted token, ours what it sees
      compare(windows.at("losses"), {.window = windows.at("window").get<std::int64_t>() - 1,
                                     .stride = windows.at("stride").get<std::int64_t>()});
  }
}

BOOST_AUTO_TEST_CASE(sums_in_float_agree_to_1e_6) {
  const auto folder = lodestone_test::data("models/stories260k");
  const auto oracle =
      nlohmann::json::parse(lodestone_test::read_file(lodestone_test::data("eval/perplexity.json"))).at("stories260k");
  const auto tokens = oracle.at("ids").get<std::vector<std::int32_t>>();
  auto store = lodestone_test::load<float>(folder, parameters::purpose::inference);
  llama<host<float>, blocked_attention> model(store.config(), store);
  const auto sum = [](const std::vector<double>& losses) { return std::accumulate(losses.begin(), losses.end(), 0.0); };
  for (const auto& windows : oracle.at("windows")) {
    const double expected = sum(windows.at("losses").get<std::vector<double>>());
    const double found = sum(eval::token_losses(
        model, tokens,
        {.window = windows.at("window").get<std::int64_t>() - 1, .stride = windows.at("stride").get<std::int64_t>()}));
    BOOST_CHECK_CLOSE_FRACTION(found, expected, 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(records_split_a_document_by_position_and_weigh_their_tokens) {
  counting_model model;
  const std::vector<eval::document> documents{
      {.id = "a", .tokens = counted("", 3000).tokens, .labels = {{"kind", "x"}}}};
  const std::vector<eval::record> records = run(model, documents, {});
  BOOST_REQUIRE_EQUAL(records.size(), 3U);
  const std::vector<std::string> names{"0-1023", "1024-2047", "2048-4095"};
  double sum = 0.0;
  double weight = 0.0;
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(records[i].id == "a/" + names[i]);
    BOOST_TEST((records[i].labels == std::vector<eval::label>{{"kind", "x"}, {"position", names[i]}}));
    BOOST_TEST(records[i].scores.at(0).metric == "nll");
    sum += records[i].scores[0].value * records[i].scores[0].weight;
    weight += records[i].scores[0].weight;
  }
  double expected = 0.0;
  for (int seen = 1; seen < 3000; ++seen) expected += 1.0 / seen;
  BOOST_TEST(weight == 2999.0);
  BOOST_TEST(records[0].scores[0].weight == 1023.0);
  BOOST_TEST(std::abs(sum - expected) < 1e-9);

  const auto windows = run(model, documents, {.window = 8, .stride = 4, .max_tokens = 21, .edges = {1, 10, 20, 90}});
  BOOST_REQUIRE_EQUAL(windows.size(), 3U);
  BOOST_TEST(windows[0].id == "a/window-8-4/1-9");
  BOOST_TEST((windows[0].labels.at(1) == eval::label{"window", "8"} && windows[0].labels.at(2).value == "4"));
  BOOST_TEST(windows[2].id == "a/window-8-4/20-89");
  BOOST_TEST(windows[2].scores[0].weight == 1.0);
  BOOST_TEST(run(model, documents, {.edges = {10}}).back().id == "a/10-");
}

BOOST_AUTO_TEST_CASE(what_is_there_is_not_computed_again) {
  counting_model model;
  const std::vector<eval::document> documents{counted("a", 2000), counted("b", 100), counted("c", 1500)};
  const std::vector<eval::record> all = run(model, documents, {});
  BOOST_REQUIRE_EQUAL(all.size(), 5U);
  for (std::size_t stop = 0; stop <= all.size(); ++stop) {
    std::set<std::string, std::less<>> there;
    std::vector<eval::record> both(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(stop));
    for (const eval::record& own : both) there.insert(own.id);
    model.rows = 0;
    for (eval::record& own :
         run(model, documents, {.is_done = [&](std::string_view id) { return there.contains(id); }}))
      both.push_back(std::move(own));
    BOOST_TEST((both == all));
    BOOST_TEST(model.rows == (stop < 2 ? 1999 : 0) + (stop < 3 ? 99 : 0) + (stop < 5 ? 1499 : 0));
  }
}

BOOST_AUTO_TEST_CASE(a_wide_enough_batch_holds_all_windows) {
  counting_model model;
  const eval::document own = counted("a", 101);
  (void)eval::token_losses(model, own.tokens, {.window = 10, .stride = 5, .batch_tokens = 10'000});
  BOOST_TEST(model.batches == 1);
  model.batches = 0;
  (void)eval::token_losses(model, own.tokens, {.window = 10, .stride = 5, .batch_tokens = 20});
  BOOST_TEST(model.batches == 10);  // of 19 windows, the batches hold two
}

BOOST_AUTO_TEST_CASE(wrong_options_and_documents_are_errors) {
  counting_model model;
  const std::vector<eval::document> good{counted("a", 20)};
  for (const eval::perplexity_options& wrong : {eval::perplexity_options{.window = -1},
                                                {.stride = 4},
                                                {.window = 4, .stride = 5},
                                                {.window = 4, .stride = -1},
                                                {.max_tokens = -1},
                                                {.edges = {0, 4}},
                                                {.edges = {8, 8}},
                                                {.window = 4, .batch_tokens = 0}})
    BOOST_CHECK_THROW((void)run(model, good, wrong), config_error);
  BOOST_CHECK_EXCEPTION((void)run(model, {counted("short", 1)}, {}), data_error, [](const data_error& e) {
    return std::string(e.what()).find("document short: has 1 tokens") == 0;
  });
  model.loss = [](std::int64_t, std::int32_t) { return std::numeric_limits<double>::quiet_NaN(); };
  BOOST_CHECK_THROW((void)run(model, good, {}), numeric_error);
}

BOOST_AUTO_TEST_CASE(tokens_begin_as_the_model_expects_and_have_no_end) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const eval::document own = eval::tokenise({.id = "a", .text = "Once"}, words, {{"k", "v"}});
  BOOST_TEST(own.tokens.at(0) == 1);
  BOOST_TEST((own.tokens == words.encode("Once") && own.id == "a" && own.labels.size() == 1));
  BOOST_TEST(own.labels.at(0).name == "k");
}

BOOST_AUTO_TEST_SUITE_END()
