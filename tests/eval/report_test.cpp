// The page of an evaluation: every task has its section, a look-up test its heat map.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/eval/report.hpp>

#include "support/support.hpp"

namespace eval = lodestone::eval;

namespace {

std::vector<eval::task_result> results() {
  eval::task_result needle{.task = "needle"}, kv{.task = "kv_single"}, none{.task = "none"};
  for (const int length : {1024, 2048, 4096, 8192, 16384})
    for (const int depth : {0, 25, 50, 75, 100}) {
      if (length == 16384 && depth == 50) {
        needle.records.push_back({.id = "x", .labels = {{"length", "16384"}, {"depth", "50"}}, .error = "time-out"});
        continue;
      }
      const double value = std::max(0.0, 1.0 - (length / 16384.0) * (1.0 - std::abs(depth - 50) / 60.0));
      needle.records.push_back(
          {.id = "x",
           .labels = {{"length", std::to_string(length)}, {"depth", std::to_string(depth)}},
           .scores = {{.metric = "found", .value = value}, {.metric = "exact_match", .value = value}}});
    }
  for (const char* length : {"1024", "4096"})
    kv.records.push_back({.id = "y", .labels = {{"length", length}}, .scores = {{.metric = "found", .value = 0.5}}});
  none.records.push_back({.id = "z", .error = "refused"});
  return {needle, kv, none};
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_report)

BOOST_AUTO_TEST_CASE(the_heat_map_has_the_means_of_its_cells) {
  const auto all = results();
  const lodestone::heat_map map = eval::heat_map_of(all[0], "found");
  BOOST_TEST(map.columns == (std::vector<std::string>{"1024", "2048", "4096", "8192", "16384"}),
             boost::test_tools::per_element());
  BOOST_TEST(map.rows.size() == 5U);
  BOOST_TEST(map.values[0] == all[0].records[0].scores[0].value);
  BOOST_TEST(map.values[4 * 5 + 1] == all[0].records[9].scores[0].value);
  BOOST_TEST(std::isnan(map.values[2 * 5 + 4]));
  BOOST_TEST(map.caption.find("in no cell: 1.") != std::string::npos);
  BOOST_TEST(eval::heat_map_of(all[0], "rating").high == 10.0);
}

BOOST_AUTO_TEST_CASE(the_page_has_a_section_for_every_task) {
  const std::string page = eval::report_of("Evaluation", "a model", results(), {{.key = "seed", .value = "42"}}).page();
  for (const char* part : {">needle</h2>", ">kv_single</h2>", ">none</h2>", "No question has an answer",
                           ">Settings</h2>", "needle: found by depth and length", "kv_single by length", "0.5 ± 0"})
    BOOST_TEST(count(page, part) >= 1U, part);
  if (const char* keep = std::getenv("LODESTONE_KEEP_PAGE")) lodestone_test::write_file(keep, page);
}

BOOST_AUTO_TEST_SUITE_END()
