// Generation on the GPU: the tokens of transformers, several sequences in one cache, and draws beside neighbours.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <span>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/llama.hpp>

#include "cuda/gpu.hpp"
#include "model/small_model.hpp"
#include "support/oracle.hpp"
#include "support/support.hpp"

namespace {

using namespace lodestone;
using generate::token_request;
using lodestone_test::device_store;
using lodestone_test::on_gpu;
using lodestone_test::small_families;
using lodestone_test::small_store;
using ids = std::vector<std::int32_t>;
using types = std::tuple<float, bf16>;

template <class T>
using device_model = llama<cuda<T>, flash_or_reference>;

struct greedy_case {
  ids prompt;
  ids expected;
};

std::vector<greedy_case> cases_of(const std::string& name) {
  std::istringstream lines(lodestone_test::read_file(lodestone_test::data("generate/" + name + ".greedy.jsonl")));
  std::vector<greedy_case> all;
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    all.push_back({row.at("prompt_ids").get<ids>(), row.at("ids").get<ids>()});
  }
  return all;
}

std::vector<std::pair<std::string, std::filesystem::path>> models() {
  return {{"tinystories-656k", lodestone_test::source_dir() / "examples/data/models/tinystories-656k"},
          {"stories260k", lodestone_test::data("models/stories260k")}};
}

template <class Model>
std::vector<ids> run(Model& model, const std::vector<token_request>& asked, const generate::serving_options& options) {
  std::vector<ids> tokens(asked.size());
  generate::token_generator<Model> generator(model, options);
  generator.run(
      asked,
      [&](std::size_t i, std::int32_t token) {
        tokens[i].push_back(token);
        return true;
      },
      [](std::size_t, generate::finish) {});
  return tokens;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_generate, *boost::unit_test::precondition(on_gpu{}))

// The smallest gap between the two best logits of these continuations is 7e-4, far above float's rounding.
BOOST_AUTO_TEST_CASE(greedy_text_equals_transformers_for_200_tokens) {
  for (const auto& [name, folder] : models()) {
    auto on_host = lodestone_test::load<double>(folder);
    auto weights = device_store<float>(on_host);
    device_model<float> model(on_host.config(), *weights);
    const std::vector<greedy_case> cases = cases_of(name);
    BOOST_REQUIRE(cases.size() == 6U);
    std::vector<token_request> asked;
    for (const greedy_case& one : cases) asked.push_back({one.prompt, 200, 200, {}, on_host.config().eos_tokens});
    for (const generate::serving_options& options :
         {generate::serving_options{.sequences = 6, .cache_tokens = 2000},
          generate::serving_options{.sequences = 1, .cache_tokens = 400},
          generate::serving_options{.sequences = 4, .cache_tokens = 520, .chunk_tokens = 5}}) {
      const std::vector<ids> found = run(model, asked, options);
      for (std::size_t i = 0; i < cases.size(); ++i) BOOST_TEST((found[i] == cases[i].expected), name << " " << i);
    }
    for (const greedy_case& one : cases) {  // without a cache: every token in one pass over the text before it
      ids all = one.prompt;
      all.insert(all.end(), one.expected.begin(), one.expected.end() - 1);
      std::vector<std::int64_t> rows(one.expected.size());
      std::iota(rows.begin(), rows.end(), std::ssize(one.prompt) - 1);
      auto logits = weights->backend().to_host(
          model.logits(generate::continuation(all, 0, std::ssize(all)), rows).view());
      for (std::size_t k = 0; k < rows.size(); ++k) {
        float* const row = logits.view().row(static_cast<std::int64_t>(k));
        for (const std::int32_t end : on_host.config().eos_tokens) row[end] = -1e30F;
        BOOST_TEST(std::max_element(row, row + on_host.config().vocabulary) - row == one.expected[k]);
      }
    }
  }
}

// Parts of three sequences enter one cache pass by pass: their logits are those of each text alone, without a cache.
BOOST_AUTO_TEST_CASE_TEMPLATE(sequences_in_one_cache_are_the_sequences_alone, T, types) {
  for (const auto& [name, config] : small_families()) {
    auto on_host = small_store<host<double>>(config);
    auto weights = device_store<T>(*on_host);
    device_model<T> model(config, *weights);
    random_stream random(5, random_purpose::user);
    std::vector<ids> texts(3);
    for (ids& text : texts)
      for (int i = 0; i < 14; ++i)
        text.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocabulary))));
    auto cache = model.make_cache(45);
    std::vector<std::size_t> rooms;
    for (int i = 0; i < 3; ++i) rooms.push_back(*cache.rooms.open(14));
    const double limit = std::is_same_v<T, float> ? 1e-4 : 0.15;
    for (const std::vector<std::int64_t>& counts :
         std::vector<std::vector<std::int64_t>>{{5, 1, 7}, {1, 1, 1}, {0, 6, 2}, {1, 1, 0}, {1, 1, 1}, {6, 4, 3}}) {
      token_batch batch;
      std::vector<cache_part> parts;
      std::vector<ids> seen;
      for (std::size_t i = 0; i < 3; ++i) {
        if (counts[i] == 0) continue;
        const std::int64_t begin = cache.rooms[rooms[i]].length;
        const auto fresh = std::span(texts[i]).subspan(static_cast<std::size_t>(begin));
        generate::append(batch, fresh.first(static_cast<std::size_t>(counts[i])), begin, 14);
        parts.push_back({rooms[i], counts[i]});
        seen.emplace_back(texts[i].begin(), texts[i].begin() + begin + counts[i]);
      }
      const auto together = weights->backend().to_host(model.extend(cache, parts, batch).view());
      for (std::size_t k = 0; k < parts.size(); ++k) {
        const std::int64_t last[] = {std::ssize(seen[k]) - 1};
        const auto alone =
            weights->backend().to_host(model.logits(generate::continuation(seen[k], 0, 14), last).view());
        for (std::int64_t v = 0; v < config.vocabulary; ++v)
          BOOST_TEST(std::abs(together.view()(static_cast<std::int64_t>(k), v) - alone.view()(0, v)) < limit, name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(drawn_text_does_not_depend_on_its_neighbours) {
  const auto [name, folder] = models()[1];
  auto on_host = lodestone_test::load<double>(folder);
  auto weights = device_store<float>(on_host);
  device_model<float> model(on_host.config(), *weights);
  const std::vector<greedy_case> cases = cases_of(name);
  std::vector<token_request> asked;
  for (std::size_t i = 0; i < 12; ++i) {
    token_request own{cases[i % 6].prompt, static_cast<std::int64_t>(10 + 7 * i), 0, {}, on_host.config().eos_tokens};
    own.draw = {1.1, 0.9, 40, 0.95, 0.01, 100 + i};
    asked.push_back(own);
  }
  const std::vector<ids> alone = run(model, asked, {.sequences = 1, .cache_tokens = 1000});
  BOOST_TEST((run(model, asked, {.sequences = 12, .cache_tokens = 3000}) == alone));
  BOOST_TEST((run(model, asked, {.sequences = 5, .cache_tokens = 300, .chunk_tokens = 16}) == alone));
}

// Requests that take the largest logit leave the logits on the device; one that forbids a token has them on the host.
BOOST_AUTO_TEST_CASE_TEMPLATE(the_largest_logit_is_found_on_the_device_as_on_the_host, T, types) {
  const auto [name, folder] = models()[1];
  auto on_host = lodestone_test::load<double>(folder);
  auto weights = device_store<T>(on_host);
  device_model<T> model(on_host.config(), *weights);
  std::vector<token_request> on_device, with_logits;
  for (const greedy_case& one : cases_of(name)) {
    on_device.push_back({one.prompt, 60, 0, {}, {}});
    with_logits.push_back({one.prompt, 60, 60, {}, {511}});  // a token that never leads
  }
  const std::vector<ids> found = run(model, on_device, {.sequences = 4, .cache_tokens = 2000});
  BOOST_TEST((found == run(model, with_logits, {.sequences = 4, .cache_tokens = 2000})));
  for (const ids& own : found) BOOST_TEST(std::ranges::count(own, 511) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
