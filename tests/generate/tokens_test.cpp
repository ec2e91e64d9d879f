// Continuations of two pretrained models: token by token those of transformers, however they are computed, and draws
// that do not depend on what stands beside them. The numbers come from tests/oracle/generation_cases.py.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/llama.hpp>

#include "model/small_model.hpp"
#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;
using generate::finish;
using generate::token_generator;
using generate::token_request;

namespace {

using ids = std::vector<std::int32_t>;

struct greedy_case {
  ids prompt;
  ids expected;   ///< 200, none of them an end token
  ids penalised;  ///< the same with a repetition penalty of 1.3
};

struct pretrained {
  std::string name;
  std::filesystem::path folder;
  std::vector<greedy_case> cases;
};

std::vector<pretrained> models() {
  std::vector<pretrained> all{
      {"tinystories-656k", lodestone_test::source_dir() / "examples/data/models/tinystories-656k", {}},
      {"stories260k", lodestone_test::data("models/stories260k"), {}}};
  for (pretrained& m : all) {
    std::istringstream lines(lodestone_test::read_file(lodestone_test::data("generate/" + m.name + ".greedy.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const auto row = nlohmann::json::parse(line);
      m.cases.push_back(
          {row.at("prompt_ids").get<ids>(), row.at("ids").get<ids>(), row.at("penalised_ids").get<ids>()});
      BOOST_REQUIRE(m.cases.back().expected.size() == 200U);
    }
    BOOST_REQUIRE(m.cases.size() == 6U);
  }
  return all;
}

struct collected {
  std::vector<ids> tokens;
  std::vector<finish> why;
};

/// All requests in one run.
template <class Model>
collected run(Model& model, const std::vector<token_request>& asked, const generate::serving_options& options) {
  collected result{std::vector<ids>(asked.size()), std::vector<finish>(asked.size(), finish::failed)};
  token_generator<Model> generator(model, options);
  generator.run(
      asked,
      [&](std::size_t i, std::int32_t token) {
        result.tokens[i].push_back(token);
        return true;
      },
      [&](std::size_t i, finish why) { result.why[i] = why; });
  return result;
}

std::vector<token_request> requests(const pretrained& m, const model_config& config, double penalty) {
  std::vector<token_request> asked;
  for (const greedy_case& one : m.cases) {
    token_request own{one.prompt, 200, 200, {}, config.eos_tokens};
    own.draw.repetition_penalty = penalty;
    asked.push_back(own);
  }
  return asked;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(generate_tokens)

// Together, alone, in chunks of 5 tokens, and in a cache that holds two of the six at once.
BOOST_AUTO_TEST_CASE(greedy_text_equals_transformers_for_200_tokens) {
  for (const pretrained& m : models()) {
    auto store = lodestone_test::load<float>(m.folder, parameters::purpose::inference);
    llama<host<float>, blocked_attention> model(store.config(), store);
    for (const double penalty : {1.0, 1.3}) {
      const auto asked = requests(m, model.config(), penalty);
      for (const generate::serving_options& options :
           {generate::serving_options{.sequences = 6, .cache_tokens = 2000},
            generate::serving_options{.sequences = 1, .cache_tokens = 400},
            generate::serving_options{.sequences = 4, .cache_tokens = 520, .chunk_tokens = 5}}) {
        const collected found = run(model, asked, options);
        for (std::size_t i = 0; i < asked.size(); ++i) {
          const ids& expected = penalty == 1.0 ? m.cases[i].expected : m.cases[i].penalised;
          BOOST_CHECK_EQUAL_COLLECTIONS(found.tokens[i].begin(), found.tokens[i].end(), expected.begin(),
                                        expected.end());
          BOOST_TEST((found.why[i] == finish::length));
        }
      }
    }
  }
}

// Each token is the most likely one of a pass over all text before it: no cache.
BOOST_AUTO_TEST_CASE(greedy_text_without_a_cache_equals_transformers_for_200_tokens) {
  for (const pretrained& m : models()) {
    auto store = lodestone_test::load<float>(m.folder, parameters::purpose::inference);
    llama<host<float>, blocked_attention> model(store.config(), store);
    for (const greedy_case& one : m.cases) {
      ids all = one.prompt;
      all.insert(all.end(), one.expected.begin(), one.expected.end() - 1);
      const token_batch batch = generate::continuation(all, 0, std::ssize(all));
      std::vector<std::int64_t> rows(one.expected.size());
      std::iota(rows.begin(), rows.end(), std::ssize(one.prompt) - 1);
      const auto logits = model.logits(batch, rows);
      for (std::size_t k = 0; k < rows.size(); ++k) {
        float* const row = logits.view().row(static_cast<std::int64_t>(k));
        for (const std::int32_t end : model.config().eos_tokens) row[end] = -1e30F;
        const float* const best = std::max_element(row, row + model.config().vocabulary);
        BOOST_TEST(best - row == one.expected[k]);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(drawn_text_does_not_depend_on_its_neighbours) {
  const pretrained m = models()[1];
  auto store = lodestone_test::load<float>(m.folder, parameters::purpose::inference);
  llama<host<float>, blocked_attention> model(store.config(), store);
  std::vector<token_request> asked;
  for (std::size_t i = 0; i < 12; ++i) {
    token_request own{m.cases[i % 6].prompt, static_cast<std::int64_t>(10 + 7 * i), 0, {}, model.config().eos_tokens};
    own.draw = {1.1, 0.9, 40, 0.95, 0.01, 100 + i};
    asked.push_back(own);
  }
  const collected alone = run(model, asked, {.sequences = 1, .cache_tokens = 1000});
  const collected together = run(model, asked, {.sequences = 12, .cache_tokens = 3000});
  const collected crowded = run(model, asked, {.sequences = 5, .cache_tokens = 300, .chunk_tokens = 16});
  for (std::size_t i = 0; i < asked.size(); ++i) {
    BOOST_TEST(!alone.tokens[i].empty());
    BOOST_TEST(alone.tokens[i] == together.tokens[i], boost::test_tools::per_element());
    BOOST_TEST(alone.tokens[i] == crowded.tokens[i], boost::test_tools::per_element());
  }
  BOOST_TEST((alone.tokens[0] != alone.tokens[6]));  // one prompt, two seeds: what is shared of both lengths may differ
}

// Every arithmetic of the family, windows among them: together and in chunks is alone, to the last token.
BOOST_AUTO_TEST_CASE(small_models_of_every_family_agree_with_themselves) {
  for (const auto& [name, config] : lodestone_test::small_families()) {
    auto weights = lodestone_test::small_store<host<double>>(config);
    llama<host<double>, blocked_attention> model(config, *weights);
    std::vector<token_request> asked;
    random_stream random(4, random_purpose::user);
    for (std::size_t i = 0; i < 7; ++i) {
      token_request own;
      for (std::size_t k = 0; k < 1 + 3 * i; ++k)
        own.prompt.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocabulary))));
      own.max_new_tokens = static_cast<std::int64_t>(20 - i);
      own.draw = {1.0, i % 2 == 0 ? 0.0 : 1.0, 0, 1.0, 0.0, i};
      asked.push_back(own);
    }
    const collected alone = run(model, asked, {.sequences = 1, .cache_tokens = 64});
    const collected together = run(model, asked, {.sequences = 4, .cache_tokens = 90, .chunk_tokens = 6});
    for (std::size_t i = 0; i < asked.size(); ++i) {
      BOOST_TEST(std::ssize(alone.tokens[i]) == asked[i].max_new_tokens, name);
      BOOST_TEST((alone.tokens[i] == together.tokens[i]), name);
    }
  }
}

BOOST_AUTO_TEST_CASE(answers_end_where_they_should) {
  const model_config config = lodestone_test::small_config();
  auto weights = lodestone_test::small_store<host<double>>(config);
  llama<host<double>, blocked_attention> model(config, *weights);
  const ids prompt{1, 2, 3};
  const ids free = generate::greedy(model, prompt, 8);
  BOOST_REQUIRE(free.size() == 8U);
  const std::int32_t end = free[2];
  const auto first = std::find(free.begin(), free.end(), end);
  const ids expected(free.begin(), first + 1);
  BOOST_TEST(generate::greedy(model, prompt, 8, ids{end}) == expected, boost::test_tools::per_element());

  token_request asked{prompt, 8, 5, {}, {end}};
  const collected late = run(model, {asked}, {.cache_tokens = 10});
  BOOST_REQUIRE(late.tokens[0].size() >= 5U);
  for (std::size_t k = 0; k < 5; ++k) BOOST_TEST(late.tokens[0][k] != end);

  token_generator generator(model, {.cache_tokens = 10});
  int heard = 0;
  finish why = finish::failed;
  asked.end_tokens.clear();
  generator.run({&asked, 1}, [&](std::size_t, std::int32_t) { return ++heard < 3; },
                [&](std::size_t, finish reason) { why = reason; });
  BOOST_TEST(heard == 3);
  BOOST_TEST((why == finish::stop));
}

BOOST_AUTO_TEST_CASE(requests_that_cannot_be_served_are_refused_before_any_token) {
  const model_config config = lodestone_test::small_config();
  auto weights = lodestone_test::small_store<host<double>>(config);
  llama<host<double>, blocked_attention> model(config, *weights);
  const token_request good{{1, 2}, 3, 0, {}, {}};
  const auto refuse = [&](const token_request& bad) {
    int heard = 0;
    token_generator generator(model, {.cache_tokens = 10});
    const std::vector<token_request> both{good, bad};
    BOOST_CHECK_THROW(generator.run(both, [&](std::size_t, std::int32_t) { return ++heard > 0; },
                                    [](std::size_t, finish) {}),
                      error);
    BOOST_TEST(heard == 0);
  };
  refuse({{}, 3, 0, {}, {}});
  refuse({{1, 17}, 3, 0, {}, {}});
  refuse({{1, -1}, 3, 0, {}, {}});
  refuse({{1}, 0, 0, {}, {}});
  refuse({{1, 2, 3}, 9, 0, {}, {}});
  refuse({{1}, 3, 0, {.top_p = 2.0}, {}});
  BOOST_CHECK_THROW((token_generator(model, {.sequences = 0})), config_error);

  // After a listener has thrown the generator serves again.
  token_generator generator(model, {.cache_tokens = 10});
  const auto throws = [](std::size_t, std::int32_t) -> bool { throw std::runtime_error("enough"); };
  BOOST_CHECK_THROW(generator.run({&good, 1}, throws, [](std::size_t, finish) {}), std::runtime_error);
  int heard = 0;
  generator.run({&good, 1}, [&](std::size_t, std::int32_t) { return ++heard > 0; }, [](std::size_t, finish) {});
  BOOST_TEST(heard == 3);
}

BOOST_AUTO_TEST_SUITE_END()
