// Sampling against transformers' logits processors (numbers from tests/oracle/generation_cases.py), and draws against
// the distribution they should follow.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/generate/sampling.hpp>

#include "support/support.hpp"

using namespace lodestone;
using generate::candidate;
using generate::sampler;
using generate::sampling;

namespace {

struct oracle_case {
  sampling how;
  std::vector<double> logits;
  std::vector<std::int32_t> seen;
  std::vector<double> probabilities;
};

std::vector<oracle_case> oracle_cases() {
  std::istringstream lines(lodestone_test::read_file(lodestone_test::data("generate/sampling.jsonl")));
  std::vector<oracle_case> all;
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    oracle_case one;
    one.how = {row.at("repetition_penalty"), row.at("temperature"), row.at("top_k"), row.at("top_p"), row.at("min_p")};
    one.logits = row.at("logits").get<std::vector<double>>();
    one.seen = row.at("seen").get<std::vector<std::int32_t>>();
    one.probabilities = row.at("probabilities").get<std::vector<double>>();
    all.push_back(std::move(one));
  }
  return all;
}

/// P(a chi-square number with `freedom` degrees is larger), by Wilson and Hilferty's normal approximation.
double p_value(double chi_square, double freedom) {
  const double variance = 2.0 / (9.0 * freedom);
  const double z = (std::cbrt(chi_square / freedom) - (1.0 - variance)) / std::sqrt(variance);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

/// Of `counts` under `probabilities`; tokens that are expected less than five times count as one.
double p_value(const std::vector<std::int64_t>& counts, const std::vector<double>& probabilities) {
  const auto draws = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double chi_square = 0.0;
  double cells = 0.0;
  double rare_expected = 0.0;
  double rare = 0.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = draws * probabilities[i];
    if (expected < 5.0) {
      rare_expected += expected;
      rare += static_cast<double>(counts[i]);
      continue;
    }
    chi_square += std::pow(static_cast<double>(counts[i]) - expected, 2) / expected;
    ++cells;
  }
  if (rare_expected >= 5.0) {
    chi_square += std::pow(rare - rare_expected, 2) / rare_expected;
    ++cells;
  }
  return cells < 2.0 ? 1.0 : p_value(chi_square, cells - 1.0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(generate_sampling)

BOOST_AUTO_TEST_CASE(what_may_be_drawn_equals_transformers) {
  const std::vector<oracle_case> cases = oracle_cases();
  BOOST_REQUIRE(cases.size() == 16U);
  for (const oracle_case& one : cases) {
    sampler s(one.how, std::ssize(one.logits), one.seen);
    std::vector<double> found(one.logits.size(), 0.0);
    for (const candidate& c : s.candidates(std::span<const double>(one.logits)))
      found[static_cast<std::size_t>(c.token)] = c.probability;
    for (std::size_t i = 0; i < found.size(); ++i) {
      BOOST_TEST((found[i] == 0.0) == (one.probabilities[i] == 0.0));
      BOOST_TEST(std::abs(found[i] - one.probabilities[i]) < 1e-13);
    }
  }
}

// Each of the 16 settings, 20 000 draws of which half differ in the seed and half in the number of the token: the
// smallest p-value of 32 fixed experiments stays above 1e-3, and no draw falls outside what transformers leaves.
BOOST_AUTO_TEST_CASE(draws_follow_the_distribution) {
  double least = 1.0;
  for (const oracle_case& one : oracle_cases()) {
    std::vector<std::int64_t> by_seed(one.logits.size());
    std::vector<std::int64_t> by_token(one.logits.size());
    sampling how = one.how;
    for (int k = 0; k < 10'000; ++k) {
      how.seed = static_cast<std::uint64_t>(k);
      sampler s(how, std::ssize(one.logits), one.seen);
      ++by_seed[static_cast<std::size_t>(s.draw(std::span<const double>(one.logits)))];
    }
    // Without the penalty draws do not change the logits; with it a sampler that has drawn is another one.
    if (how.repetition_penalty == 1.0) {
      how.seed = 123;
      sampler s(how, std::ssize(one.logits), one.seen);
      const std::span<const double> logits(one.logits);
      for (int k = 0; k < 10'000; ++k) ++by_token[static_cast<std::size_t>(s.draw(logits))];
      least = std::min(least, p_value(by_token, one.probabilities));
    }
    least = std::min(least, p_value(by_seed, one.probabilities));
    for (std::size_t i = 0; i < by_seed.size(); ++i)
      if (one.probabilities[i] == 0.0) BOOST_TEST(by_seed[i] + by_token[i] == 0);
  }
  BOOST_TEST(least > 1e-3);
  // The test can fail: the same draws under a distribution that is 3% off for one token.
  const oracle_case plain = oracle_cases()[0];
  std::vector<std::int64_t> exact;
  for (const double p : plain.probabilities) exact.push_back(static_cast<std::int64_t>(std::lround(10'000 * p)));
  const auto best = std::max_element(exact.begin(), exact.end());
  BOOST_TEST(p_value(exact, plain.probabilities) > 0.99);
  *best -= 300;
  exact[static_cast<std::size_t>(best - exact.begin() == 0 ? 1 : 0)] += 300;
  BOOST_TEST(p_value(exact, plain.probabilities) < 1e-3);
}

BOOST_AUTO_TEST_CASE(a_draw_depends_on_its_seed_and_number_alone) {
  const oracle_case one = oracle_cases()[0];
  const std::span<const double> logits(one.logits);
  sampling how{.temperature = 1.0, .seed = 9};
  std::vector<std::int32_t> first;
  sampler s(how, 60, {});
  for (int k = 0; k < 50; ++k) first.push_back(s.draw(logits));
  sampler again(how, 60, {});
  for (const std::int32_t token : first) BOOST_TEST(again.draw(logits) == token);
  how.seed = 10;
  sampler other(how, 60, {});
  int same = 0;
  for (const std::int32_t token : first) same += other.draw(logits) == token ? 1 : 0;
  BOOST_TEST(same < 30);
}

BOOST_AUTO_TEST_CASE(ties_and_limits) {
  const std::vector<float> logits{1.0F, 3.0F, 3.0F, 2.0F, 3.0F};
  const std::span<const float> row(logits);
  const auto tokens = [&](const sampling& how) {
    std::vector<std::int32_t> ids;
    for (const candidate& c : sampler(how, 5, {}).candidates(row)) ids.push_back(c.token);
    return ids;
  };
  BOOST_TEST((tokens({}) == std::vector<std::int32_t>{1}));  // temperature 0: the lowest id
  BOOST_TEST((tokens({.temperature = 1.0, .top_k = 2}) == std::vector<std::int32_t>{1, 2, 4}));
  BOOST_TEST((tokens({.temperature = 1.0, .top_p = 0.5}) == std::vector<std::int32_t>{1, 2}));
  BOOST_TEST((tokens({.temperature = 1.0, .min_p = 1.0}) == std::vector<std::int32_t>{1, 2, 4}));
  BOOST_TEST((tokens({.temperature = 1e-300}) == std::vector<std::int32_t>{1, 2, 4}));
  const std::vector<std::int32_t> forbidden{1, 2, 4, 99, -1};
  BOOST_TEST(sampler({}, 5, {}).draw(row, forbidden) == 3);
  sampler penalised({.repetition_penalty = 2.0}, 5, std::vector<std::int32_t>{1, 2});
  BOOST_TEST(penalised.draw(row) == 4);  // and is itself penalised now
  BOOST_TEST(penalised.draw(row) == 3);
}

// A nucleus that needs more than the first part of a large vocabulary that is sorted.
BOOST_AUTO_TEST_CASE(a_wide_nucleus_holds_the_fewest_tokens) {
  std::vector<double> logits(5000);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<double>((i * 7919) % logits.size()) * 1e-3;
  for (const double p : {0.05, 0.4, 0.9, 0.999}) {
    const auto all = sampler({.temperature = 1.0}, 5000, {}).candidates(std::span<const double>(logits));
    const auto kept = sampler({.temperature = 1.0, .top_p = p}, 5000, {}).candidates(std::span<const double>(logits));
    double sum = 0.0;
    double least = 1.0;
    for (const candidate& c : kept) {
      sum += all[static_cast<std::size_t>(c.token)].probability;
      least = std::min(least, all[static_cast<std::size_t>(c.token)].probability);
    }
    BOOST_TEST(sum >= p);
    BOOST_TEST(sum - least < p);
    BOOST_TEST(std::ranges::count_if(all, [&](const candidate& c) { return c.probability >= least; }) ==
               std::ssize(kept));
  }
}

// The largest logit wherever it stands, found by lanes and by the general way, which forbidden tokens ask for.
BOOST_AUTO_TEST_CASE(the_largest_logit_is_found_wherever_it_stands) {
  for (const std::size_t count : {1U, 15U, 16U, 17U, 40U, 63U})
    for (std::size_t at = 0; at < count; ++at) {
      std::vector<float> logits(count, -5.0F);
      logits[at] = 2.0F;
      if (at % 3 == 0 && at + 1 < count) logits.back() = 2.0F;  // of equals the lowest id
      sampler s({}, std::ssize(logits), {});
      BOOST_TEST(s.takes_the_largest());
      BOOST_TEST(s.draw(std::span<const float>(logits)) == static_cast<std::int32_t>(at));
      BOOST_TEST(s.drawn() == 1U);
      const std::vector<std::int32_t> none_of_these{1'000};
      BOOST_TEST(s.draw(std::span<const float>(logits), none_of_these) == static_cast<std::int32_t>(at));
      logits[at] = NAN;
      BOOST_CHECK_THROW(static_cast<void>(s.draw(std::span<const float>(logits))), numeric_error);
    }
}

BOOST_AUTO_TEST_CASE(bad_settings_and_bad_logits_are_refused) {
  for (const sampling& how :
       {sampling{.repetition_penalty = 0.0}, sampling{.temperature = -1.0}, sampling{.temperature = NAN},
        sampling{.top_k = -1}, sampling{.top_p = 0.0}, sampling{.top_p = 1.5}, sampling{.min_p = -0.1},
        sampling{.min_p = 2.0}})
    BOOST_CHECK_THROW(generate::check(how), config_error);
  std::vector<double> logits{1.0, NAN, 0.0};
  BOOST_CHECK_THROW(static_cast<void>(sampler({}, 3, {}).draw(std::span<const double>(logits))), numeric_error);
  BOOST_CHECK_THROW(static_cast<void>(sampler({.temperature = 1.0}, 3, {}).draw(std::span<const double>(logits))),
                    numeric_error);
  logits.assign(3, -std::numeric_limits<double>::infinity());
  BOOST_CHECK_THROW(static_cast<void>(sampler({}, 3, {}).draw(std::span<const double>(logits))), numeric_error);
  logits.assign(3, 0.0);
  const std::vector<std::int32_t> all{0, 1, 2};
  BOOST_CHECK_THROW(static_cast<void>(sampler({}, 3, {}).draw(std::span<const double>(logits), all)), numeric_error);
}

BOOST_AUTO_TEST_SUITE_END()
