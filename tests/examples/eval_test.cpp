// eval, as its users run it: on the demonstration's models, killed and resumed, with wrong settings.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/program.hpp"
#include "support/support.hpp"

namespace {

using lodestone_test::check_refused;
using lodestone_test::has;
using lodestone_test::model;
using lodestone_test::read_file;
using lodestone_test::run;
using lodestone_test::source_dir;
using lodestone_test::temporary_folder;
using lodestone_test::words;
using lodestone_test::write_file;
using lodestone_test::fs::path;
using result = lodestone_test::program_result;

words eval_arguments(const std::string& tasks, const std::string& output, const words& more = {}) {
  words arguments{"eval", "--model", model(), "--tasks", tasks, "--output", output, "--threads", "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<nlohmann::json> lines_of(const path& file) {
  std::vector<nlohmann::json> all;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) all.push_back(nlohmann::json::parse(line));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_eval, *boost::unit_test::precondition(lodestone_test::skip_without_program()))

BOOST_AUTO_TEST_CASE(a_model_that_looks_things_up_finds_facts_where_it_was_trained_to) {
  const temporary_folder folder;
  words arguments = eval_arguments("facts,kv_single", "out",
                                   {"--lengths", "500", "--depths", "0,50,100", "--repeats", "6", "--needle-others", "5"});
  arguments[2] = (source_dir() / "examples/data/retrieval").string();
  const result evaluated = run(folder.path(), arguments);
  BOOST_TEST_REQUIRE(evaluated.status == 0, evaluated.err);
  const auto records = lines_of(folder / "out" / "results.jsonl");
  BOOST_TEST_REQUIRE(records.size() == 18U + 6U);
  double found = 0.0;
  for (std::size_t i = 0; i < 18; ++i) {
    BOOST_TEST(records[i].at("task") == "facts");
    BOOST_TEST(records[i].at("labels").at("length") == "500");
    found += records[i].at("scores").at("exact_match").get<double>();
  }
  BOOST_TEST(found >= 15.0, found << " of 18");
  const auto summary = nlohmann::json::parse(read_file(folder / "out" / "summary.json"));
  BOOST_TEST(std::abs(summary.at("tasks").at(0).at("scores").at("exact_match").at("mean").get<double>() - found / 18.0) <
             1e-12);
  BOOST_TEST(summary.at("settings").at("needle_others") == 5);
  BOOST_TEST(evaluated.out == read_file(folder / "out" / "summary.txt"));
  BOOST_TEST(has(evaluated.out, "depth 50"));
  BOOST_TEST(has(read_file(folder / "out" / "report.html"), ">facts</h2>"));
  BOOST_TEST(has(read_file(folder / "out" / "summary.csv"), "facts,depth,50,exact_match,"));
  // A finished evaluation is not done again.
  check_refused(run(folder.path(), arguments), {"results.jsonl", "is there already"});
}

BOOST_AUTO_TEST_CASE(a_killed_evaluation_goes_on_to_the_same_results) {
  const temporary_folder folder;
  const words more{"--lengths", "300,400", "--depths", "0,50,100", "--repeats", "20", "--no-progress", "--at-once", "1"};
  const std::string tasks = "needle,multi_hop";
  BOOST_TEST_REQUIRE(run(folder.path(), eval_arguments(tasks, "whole", more)).status == 0);
  int kills = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const path partial = folder / "cut/results.jsonl.partial";
    const auto size = [&] { return std::filesystem::exists(partial) ? std::filesystem::file_size(partial) : 0; };
    const auto before = size();
    const pid_t child = lodestone_test::start(folder.path(), eval_arguments(tasks, "cut", more));
    for (int wait = 0; wait < 20'000 && size() < before + 3'000 && !std::filesystem::exists(folder / "cut/results.jsonl"); ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(child, SIGKILL);
    if (lodestone_test::finish(child) == 128 + SIGKILL) ++kills;
  }
  BOOST_TEST(kills > 0);
  BOOST_TEST_REQUIRE(!std::filesystem::exists(folder / "cut/results.jsonl"));
  const std::string so_far = read_file(folder / "cut/results.jsonl.partial");
  // Other settings do not mix with what is there; other ways to run do.
  words other = more;
  other[3] = "0,50";
  check_refused(run(folder.path(), eval_arguments(tasks, "cut", other)), {"results.jsonl.partial", "depths"});
  BOOST_TEST(read_file(folder / "cut/results.jsonl.partial") == so_far);
  words faster = more;
  faster.back() = "8";
  const result resumed = run(folder.path(), eval_arguments(tasks, "cut", faster));
  BOOST_TEST_REQUIRE(resumed.status == 0, resumed.err);
  for (const char* file : {"results.jsonl", "summary.json", "summary.txt", "summary.csv"})
    BOOST_TEST(read_file(folder / "cut" / file) == read_file(folder / "whole" / file), file);
  BOOST_TEST(!std::filesystem::exists(folder / "cut/results.jsonl.partial"));
}

BOOST_AUTO_TEST_CASE(wrong_settings_are_refused_with_their_name) {
  const temporary_folder folder;
  write_file(folder / "broken.txt", "fine\n\xff\n");
  const auto refused = [&](const std::string& tasks, const words& more, const words& parts) {
    check_refused(run(folder.path(), eval_arguments(tasks, "out", more)), parts);
  };
  refused("needel", {}, {"unknown task \"needel\"", "did you mean \"needle\"", "ruler"});
  refused("needle,needle", {}, {"needle", "twice"});
  refused("needle:file.txt", {}, {"needle", "takes no file"});
  refused("needle", {"--lengths", "20"}, {"needle lengths", "no room"});
  refused("needle", {"--depths", "120"}, {"needle depths", "percentages"});
  refused("needle", {"--depths", "x"}, {"--depths", "must be a number"});
  refused("needle", {"--needle-prompt", "{context}"}, {"needle prompt", "{question}"});
  refused("needle", {"--prompts", "chat"}, {"chat format"});
  BOOST_TEST(has(run(folder.path(), eval_arguments("needle", "out", {"--haystack", "broken.txt"})).err, "broken.txt:2"));
  BOOST_TEST(has(run(folder.path(), eval_arguments("needle", "out", {"--haystack", "none.txt"})).err, "none.txt"));
}

BOOST_AUTO_TEST_CASE(only_the_first_questions_are_asked_and_long_prompts_are_cut) {
  const temporary_folder folder;
  const result r = run(folder.path(), eval_arguments("needle,ruler", "out",
                                                     {"--lengths", "700", "--window", "512", "--questions", "2"}));
  BOOST_TEST_REQUIRE(r.status == 0, r.err);
  const auto records = lines_of(folder / "out" / "results.jsonl");
  BOOST_TEST(records.size() == 2U * 9U);
  BOOST_TEST(has(r.err, "needle: 2 prompts were cut"), r.err);
  for (const auto& record : records) BOOST_TEST(record.at("labels").at("cut") == "yes");
  BOOST_TEST(has(r.out, "cut yes"), r.out);
}

BOOST_AUTO_TEST_SUITE_END()
