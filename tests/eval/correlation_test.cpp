// Rank correlations: equal to scipy's with ties, and their laws.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/eval/correlation.hpp>

#include "../support/support.hpp"

using namespace lodestone;
using namespace lodestone::eval;

BOOST_AUTO_TEST_CASE(rank_correlations_equal_scipy) {
  std::ifstream lines(lodestone_test::data("eval/correlations.jsonl"));
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto expected = nlohmann::json::parse(line);
    const auto a = expected.at("a").get<std::vector<double>>();
    const auto b = expected.at("b").get<std::vector<double>>();
    BOOST_TEST(std::abs(pearson(a, b).value() - expected.at("pearson").get<double>()) < 1e-12);
    BOOST_TEST(std::abs(spearman(a, b).value() - expected.at("spearman").get<double>()) < 1e-12);
    BOOST_TEST(std::abs(kendall(a, b).value() - expected.at("kendall").get<double>()) < 1e-12);
  }
  BOOST_TEST(count > 30U);
}

BOOST_AUTO_TEST_CASE(rank_correlations_obey_their_laws) {
  const std::vector<double> rising{1, 2, 3, 10};
  const std::vector<double> falling{8, 7, 6, -5};
  BOOST_TEST(spearman(rising, rising).value() == 1.0);
  BOOST_TEST(kendall(rising, rising).value() == 1.0);
  BOOST_TEST(spearman(rising, falling).value() == -1.0);
  BOOST_TEST(kendall(rising, falling).value() == -1.0);
  const std::vector<double> same{4, 4, 4, 4};
  for (const auto& result : {spearman(rising, same), spearman(same, rising), kendall(rising, same),
                             kendall(same, rising), pearson(same, same), kendall({}, {}), spearman({}, {})})
    BOOST_TEST(!result.has_value());
  BOOST_TEST(mean_ranks(std::vector<double>{5, 1, 5, 7}) == (std::vector<double>{2.5, 1, 2.5, 4}),
             boost::test_tools::per_element());
  const std::vector<double> shorter{1, 2};
  BOOST_CHECK_THROW((void)spearman(rising, shorter), shape_error);
  const std::vector<double> broken{1, 2, 3, std::numeric_limits<double>::quiet_NaN()};
  BOOST_CHECK_THROW((void)kendall(broken, rising), numeric_error);
}
