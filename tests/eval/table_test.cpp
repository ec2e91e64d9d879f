// Means, standard errors and their tables, against numbers worked out by hand and against definitions.
#include <cmath>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/core/random.hpp>
#include <lodestone/eval/table.hpp>

namespace eval = lodestone::eval;

namespace {

eval::record scored(std::string length, std::string depth, double value, double weight = 1.0) {
  return {.id = "x",
          .labels = {{"length", std::move(length)}, {"depth", std::move(depth)}},
          .scores = {{.metric = "found", .value = value, .weight = weight}}};
}

const eval::mean_score& only(const eval::table_row& row) { return row.scores.at(0); }

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_table)

BOOST_AUTO_TEST_CASE(means_and_errors_are_those_of_the_textbook) {
  const std::vector<eval::record> records{scored("1", "0", 1), scored("1", "0", 2), scored("1", "0", 4),
                                          scored("1", "0", 5)};
  const auto mean = eval::mean_scores(records).at(0);
  BOOST_TEST(mean.mean == 3.0);
  BOOST_TEST(std::abs(mean.standard_error - std::sqrt(10.0 / 3.0 / 4.0)) < 1e-15);  // s = sqrt(10 / 3), n = 4
  BOOST_TEST(mean.records == 4);
  BOOST_TEST(eval::mean_scores(std::vector{records[0]}).at(0).standard_error == 0.0);
  BOOST_TEST(eval::mean_scores({}).empty());
}

BOOST_AUTO_TEST_CASE(weights_count_and_the_error_covers_the_spread_of_means) {
  const std::vector<eval::record> two{scored("1", "0", 1.0, 3.0), scored("1", "0", 5.0, 1.0),
                                      scored("1", "0", 99.0, 0.0)};
  const auto mean = eval::mean_scores(two).at(0);
  BOOST_TEST(mean.mean == 2.0);
  BOOST_TEST(mean.records == 2);
  BOOST_TEST(mean.weight == 4.0);
  BOOST_TEST(std::abs(mean.standard_error - std::sqrt(2.0 * (9.0 + 9.0)) / 4.0) < 1e-15);

  // Of 2,000 samples of 40 records with random weights the means spread as their errors say, to 10 %.
  double sum = 0.0, squares = 0.0, errors = 0.0;
  for (std::uint64_t k = 0; k < 2'000; ++k) {
    lodestone::random_stream random(7, lodestone::random_purpose::user, 0, k);
    std::vector<eval::record> sample;
    for (int i = 0; i < 40; ++i) {
      const double weight = 1.0 + 9.0 * random.uniform();
      sample.push_back(scored("1", "0", random.normal(), weight));
    }
    const auto own = eval::mean_scores(sample).at(0);
    sum += own.mean;
    squares += own.mean * own.mean;
    errors += own.standard_error * own.standard_error;
  }
  const double spread = squares / 2'000 - sum * sum / 4e6;
  BOOST_TEST(std::abs(errors / 2'000 / spread - 1.0) < 0.1);
}

BOOST_AUTO_TEST_CASE(perplexity_is_e_to_the_mean_over_tokens) {
  std::vector<eval::record> records(2);
  records[0].scores = {{.metric = "nll", .value = std::log(2.0), .weight = 300.0}};
  records[1].scores = {{.metric = "nll", .value = std::log(16.0), .weight = 100.0}};
  const auto means = eval::mean_scores(records);
  BOOST_TEST_REQUIRE(means.size() == 2U);
  BOOST_TEST(means[1].metric == "perplexity");
  BOOST_TEST(std::abs(means[1].mean - std::pow(2.0, 1.75)) < 1e-12);
  BOOST_TEST(std::abs(means[1].standard_error - means[1].mean * means[0].standard_error) < 1e-15);
}

BOOST_AUTO_TEST_CASE(rows_are_all_records_then_every_value_of_every_label) {
  eval::task_result result{.task = "needle",
                           .records = {scored("4k", "0", 1),
                                       scored("16k", "0", 0),
                                       scored("4k", "50", 0.5),
                                       scored("16k", "50", 0.5),
                                       {.id = "bad", .labels = {{"length", "16k"}}, .error = "e"}}};
  const eval::task_result words{
      .task = "words", .records = {{.id = "1", .labels = {{"kind", "b"}}}, {.id = "2", .labels = {{"kind", "a"}}}}};
  const auto rows = eval::table_of(std::vector{result, words});
  BOOST_TEST_REQUIRE(rows.size() == 8U);
  BOOST_TEST(rows[0].labels.empty());
  BOOST_TEST(rows[0].records == 5);
  BOOST_TEST(rows[0].failed == 1);
  BOOST_TEST(only(rows[0]).mean == 0.5);
  BOOST_TEST((rows[1].labels[0] == eval::label{"length", "4k"}));  // numbers ascend: 4k before 16k
  BOOST_TEST(only(rows[1]).mean == 0.75);
  BOOST_TEST((rows[2].labels[0] == eval::label{"length", "16k"}));
  BOOST_TEST(rows[2].failed == 1);
  BOOST_TEST((rows[3].labels[0] == eval::label{"depth", "0"}));
  BOOST_TEST((rows[6].labels[0] == eval::label{"kind", "b"}));  // names stay as they appear
  BOOST_TEST(rows[6].scores.empty());

  const auto cells = eval::cross_table(result, "depth", "length");
  BOOST_TEST_REQUIRE(cells.size() == 4U);
  BOOST_TEST((cells[1].labels == std::vector<eval::label>{{"depth", "0"}, {"length", "16k"}}));
  BOOST_TEST(only(cells[1]).mean == 0.0);
  BOOST_TEST(eval::cross_table(result, "depth", "none").empty());

  const std::string text = eval::to_text(rows);
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 9);
  BOOST_TEST(text.find("task    of          metric    mean    s.e.  n  failed\n"
                       "needle  all         found   0.5000  0.2041  4       1\n") == 0U,
             text);
  BOOST_TEST(text.find("words   kind a      -            -       -  0       1\n") != std::string::npos, text);

  const std::string csv = eval::to_csv(rows);
  BOOST_TEST(csv.find("needle,length,4k,found,0.75,0.25,2,0\n") != std::string::npos, csv);

  const auto json = nlohmann::json::parse(
      eval::to_json(rows, std::vector<std::pair<std::string, std::string>>{{"model", "\"m\""}, {"seed", "42"}}));
  BOOST_TEST(json.at("settings").at("seed") == 42);
  BOOST_TEST(json.at("tasks").size() == 2U);
  const auto& needle = json.at("tasks").at(0);
  BOOST_TEST(needle.at("scores").at("found").at("mean") == 0.5);
  BOOST_TEST(needle.at("failed") == 1);
  BOOST_TEST(needle.at("by").at("depth").at("50").at("scores").at("found").at("records") == 2);
  BOOST_TEST(json.at("tasks").at(1).at("by").at("kind").at("a").at("records") == 1);
}

BOOST_AUTO_TEST_CASE(values_with_commas_and_quotes_stay_one_cell) {
  const eval::task_result result{
      .task = "a,b",
      .records = {{.id = "1", .labels = {{"k", "say \"x\""}}, .scores = {{.metric = "m", .value = 1.0}}}}};
  BOOST_TEST(eval::to_csv(eval::table_of(std::vector{result})).find("\"a,b\",k,\"say \"\"x\"\"\",m,1,0,1,0\n") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
