// Two small pretrained models against transformers: the tokens and the score of 36 texts, greedy continuations, and
// gradients. The numbers come from tests/oracle/pretrained_cases.py.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

namespace {

struct pretrained {
  std::string name;
  std::filesystem::path folder;
};

std::vector<pretrained> models() {
  return {{"tinystories-656k", lodestone_test::source_dir() / "examples/data/models/tinystories-656k"},
          {"stories260k", lodestone_test::data("models/stories260k")}};
}

std::vector<nlohmann::json> json_lines(const std::string& name) {
  std::istringstream stream(lodestone_test::read_file(lodestone_test::data("score/" + name)));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

using ids_type = std::vector<std::int64_t>;

}  // namespace

BOOST_AUTO_TEST_SUITE(model_pretrained_oracle)

BOOST_AUTO_TEST_CASE(texts_have_the_tokens_of_the_reference) {
  const auto texts = json_lines("texts.jsonl");
  for (const pretrained& m : models()) {
    const tokenizer t = tokenizer::load(m.folder);
    const auto expected = json_lines(m.name + ".scores.jsonl");
    BOOST_REQUIRE_EQUAL(texts.size(), expected.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto ids = t.encode(texts[i].at("text").get<std::string>());
      BOOST_CHECK_MESSAGE(ids == expected[i].at("ids").get<std::vector<std::int32_t>>(),
                          m.name << ": text " << i + 1 << " has other tokens");
    }
  }
}

BOOST_AUTO_TEST_CASE(scores_in_float_agree_to_1e_5) {
  for (const pretrained& m : models()) {
    auto store = lodestone_test::load<float>(m.folder, parameters::purpose::inference);
    llama<host<float>, blocked_attention> model(store.config(), store);
    double worst = 0.0;
    std::size_t line = 0;
    for (const nlohmann::json& row : json_lines(m.name + ".scores.jsonl")) {
      ++line;
      const auto scores = model.log_probs(lodestone_test::text_batch(row.at("ids").get<ids_type>()));
      BOOST_CHECK_EQUAL(scores.size(), row.at("targets").get<std::size_t>());
      const double expected = row.at("nll_sum").get<double>();
      const double apart = std::abs(-std::accumulate(scores.begin(), scores.end(), 0.0) - expected) / expected;
      BOOST_CHECK_MESSAGE(apart < 1e-5, m.name << ": text " << line << " differs by " << apart);
      worst = std::max(worst, apart);
    }
    BOOST_TEST_MESSAGE(m.name << ": " << line << " texts, the worst apart by " << worst);
  }
}

BOOST_AUTO_TEST_CASE(scores_in_double_agree_to_1e_12) {
  for (const pretrained& m : models()) {
    auto store = lodestone_test::load<double>(m.folder, parameters::purpose::inference);
    llama<host<double>, blocked_attention> model(store.config(), store);
    double worst = 0.0;
    for (const nlohmann::json& row : json_lines(m.name + ".scores.jsonl")) {
      if (row.at("targets").get<int>() > 400) continue;  // the float test has the long ones
      const auto scores = model.log_probs(lodestone_test::text_batch(row.at("ids").get<ids_type>()));
      const double expected = row.at("nll_sum").get<double>();
      worst = std::max(worst, std::abs(-std::accumulate(scores.begin(), scores.end(), 0.0) - expected) / expected);
    }
    BOOST_CHECK_SMALL(worst, 1e-12);
    BOOST_TEST_MESSAGE(m.name << ": the worst apart by " << worst);
  }
}

// The smallest gap between the two best logits of these continuations is 7e-4, far above float's rounding: no tie.
BOOST_AUTO_TEST_CASE(greedy_continuations_are_equal) {
  for (const pretrained& m : models()) {
    auto store = lodestone_test::load<float>(m.folder, parameters::purpose::inference);
    llama<host<float>, blocked_attention> model(store.config(), store);
    for (const nlohmann::json& row : json_lines(m.name + ".generated.jsonl")) {
      const auto expected = row.at("ids").get<std::vector<std::int32_t>>();
      const auto prompt = row.at("prompt_ids").get<std::vector<std::int32_t>>();
      const auto found = generate::greedy(model, prompt, 200, model.config().eos_tokens);
      BOOST_CHECK_EQUAL_COLLECTIONS(found.begin(), found.end(), expected.begin(), expected.end());
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_in_double_agree_to_1e_12) {
  for (const pretrained& m : models()) {
    const safetensors::file oracle(lodestone_test::data("score/" + m.name + ".gradients.safetensors"));
    auto store = lodestone_test::load<double>(m.folder);
    llama<host<double>, blocked_attention> model(store.config(), store);
    const token_batch batch = lodestone_test::text_batch(oracle.values<std::int64_t>("ids"));
    const auto mean = [&](std::span<const double>, std::span<double> c) {
      std::ranges::fill(c, -1.0 / static_cast<double>(c.size()));
      return 0.0;
    };
    const double loss = model.train(batch, activations::keep_all{}.table(store.config().layers), true, mean, true);
    BOOST_CHECK_CLOSE_FRACTION(loss, oracle.values<double>("loss")[0], 1e-12);
    std::size_t compared = 0;
    double worst = 0.0;
    lodestone_test::for_each_tensor(store, [&](std::int64_t unit, const std::string& tensor, std::int64_t,
                                               std::int64_t offset, std::int64_t count) {
      const std::span<const double> ours(store.gradient(unit).data() + offset, static_cast<std::size_t>(count));
      double squares = 0.0;
      for (const double value : ours) squares += value * value;
      const double norm = oracle.values<double>("norm." + tensor)[0];
      BOOST_CHECK_CLOSE_FRACTION(std::sqrt(squares), norm, 1e-12);
      const auto places = oracle.values<std::int64_t>("index." + tensor);
      const auto values = oracle.values<double>("value." + tensor);
      const double typical = norm / std::sqrt(static_cast<double>(count));
      for (std::size_t i = 0; i < places.size(); ++i) {
        const double apart = std::abs(ours[static_cast<std::size_t>(places[i])] - values[i]) / typical;
        BOOST_CHECK_MESSAGE(apart < 1e-11, m.name << ": " << tensor << " at " << places[i] << " differs by " << apart);
        worst = std::max(worst, apart);
      }
      ++compared;
    });
    const auto norms = std::ranges::count_if(
        oracle.entries(), [](const safetensors::entry& e) { return e.name.starts_with("norm."); });
    BOOST_CHECK_EQUAL(compared, static_cast<std::size_t>(norms));
    BOOST_TEST_MESSAGE(m.name << ": " << compared << " gradients, the worst element apart by " << worst);
  }
}

BOOST_AUTO_TEST_SUITE_END()
