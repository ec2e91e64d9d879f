// eval, as its users run it: on the demonstration's models, killed and resumed, with wrong settings.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
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

/// The folder "mmlu" from the test data of eval.
void make_mmlu(const path& folder, const std::string& data) {
  for (const std::string split : {"test", "dev"}) {
    std::filesystem::create_directories(folder / "mmlu" / split);
    std::filesystem::copy_file(data + "/mmlu_" + split + ".jsonl",
                               folder / "mmlu" / split / ("own_" + split + ".jsonl"));
  }
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
  words arguments = eval_arguments(
      "facts,kv_single", "out", {"--lengths", "500", "--depths", "0,50,100", "--repeats", "6", "--needle-others", "5"});
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
  BOOST_TEST(std::abs(summary.at("tasks").at(0).at("scores").at("exact_match").at("mean").get<double>() -
                      found / 18.0) < 1e-12);
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
  const words more{"--lengths", "300,400", "--depths", "0,50,100", "--repeats", "6", "--no-progress", "--at-once", "1"};
  const std::string tasks = "needle,multi_hop";
  BOOST_TEST_REQUIRE(run(folder.path(), eval_arguments(tasks, "whole", more)).status == 0);
  int kills = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const path partial = folder / "cut/results.jsonl.partial";
    const auto size = [&] {
      std::error_code is_missing;
      const auto bytes = std::filesystem::file_size(partial, is_missing);
      return is_missing ? 0 : bytes;
    };
    const auto before = size();
    const pid_t child = lodestone_test::start(folder.path(), eval_arguments(tasks, "cut", more));
    for (int wait = 0;
         wait < 20'000 && size() < before + 3'000 && !std::filesystem::exists(folder / "cut/results.jsonl"); ++wait)
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
  BOOST_TEST(
      has(run(folder.path(), eval_arguments("needle", "out", {"--haystack", "broken.txt"})).err, "broken.txt:2"));
  BOOST_TEST(has(run(folder.path(), eval_arguments("mmlu:broken.txt", "out", {})).err, "broken.txt: is no folder"));
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

BOOST_AUTO_TEST_CASE(probabilities_of_given_texts_are_measured_and_go_on) {
  const temporary_folder folder;
  const std::string data = (source_dir() / "tests/data/eval").string();
  make_mmlu(folder.path(), data);
  const std::string tasks = "perplexity:" + data + "/document.txt,arc_easy:" + data + "/arc.jsonl,hellaswag:" + data +
                            "/hellaswag.jsonl,truthfulqa_mc2:" + data + "/truthfulqa.jsonl,mmlu:mmlu";
  const words more{"--sliding-window", "64", "--stride", "32"};
  const result r = run(folder.path(), eval_arguments(tasks, "whole", more));
  BOOST_TEST_REQUIRE(r.status == 0, r.err);
  for (const char* part : {"perplexity  ", "acc_norm", "mmlu", "truthfulqa_mc2", "position "})
    BOOST_TEST(has(r.out, part), r.out + " lacks " + part);
  const auto summary = nlohmann::json::parse(read_file(folder / "whole/summary.json"));
  const auto& scores = summary.at("tasks").at(0).at("scores");
  BOOST_TEST(std::abs(std::log(scores.at("perplexity").at("mean").get<double>()) -
                      scores.at("nll").at("mean").get<double>()) < 1e-12);
  BOOST_TEST(scores.at("nll").at("weight").get<double>() > 100.0);
  // From any number of its lines the job goes on to the same files.
  const std::string whole = read_file(folder / "whole/results.jsonl");
  std::filesystem::create_directory(folder / "cut");
  const path partial = folder / "cut/results.jsonl.partial";
  run(folder.path(), eval_arguments(tasks + ",perplexityy", "cut", more));  // refused: nothing is begun
  BOOST_TEST(!std::filesystem::exists(partial));
  const auto lines = lines_of(folder / "whole/results.jsonl");
  // The first line holds the settings; a job that is stopped at once leaves it.
  for (int attempt = 0; attempt < 50; ++attempt) {
    const words none = {"--sliding-window", "64", "--stride", "32", "--no-report"};
    const pid_t child = lodestone_test::start(folder.path(), eval_arguments(tasks, "cut", none));
    const auto has_begun = [&] {
      return std::filesystem::exists(partial) && read_file(partial).find('\n') != std::string::npos;
    };
    for (int wait = 0; wait < 20'000 && !has_begun(); ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(child, SIGKILL);
    lodestone_test::finish(child);
    if (!std::filesystem::exists(folder / "cut/results.jsonl")) break;
    std::filesystem::remove_all(folder / "cut");  // it was done before it could be killed
  }
  BOOST_TEST_REQUIRE(!std::filesystem::exists(folder / "cut/results.jsonl"));
  const std::string head = read_file(partial).substr(0, read_file(partial).find('\n') + 1);
  std::string some = head;
  std::istringstream in(whole);
  std::string line;
  for (int k = 0; k < 7 && std::getline(in, line); ++k) some += line + "\n";
  write_file(partial, some + R"({"id": "mm)");
  const result resumed = run(folder.path(), eval_arguments(tasks, "cut", more));
  BOOST_TEST_REQUIRE(resumed.status == 0, resumed.err);
  BOOST_TEST(read_file(folder / "cut/results.jsonl") == whole);
  BOOST_TEST(read_file(folder / "cut/summary.json") == read_file(folder / "whole/summary.json"));
}

// The published LongPPL of the two small models, in float64: tests/data/eval/longppl.json.
BOOST_AUTO_TEST_CASE(another_model_finds_the_key_tokens_and_leaves_them_in_a_file) {
  const temporary_folder folder;
  const std::string evaluator = (source_dir() / "tests/data/models/stories260k").string();
  const std::string document = (source_dir() / "tests/data/eval/document.txt").string();
  const std::string tasks = "long_perplexity:" + document;
  const words whole_tokens{"--key-edges", "whole", "--token-edges", "whole"};
  const auto with = [&](words more) {
    more.insert(more.begin(), whole_tokens.begin(), whole_tokens.end());
    return more;
  };
  const auto oracle = nlohmann::json::parse(read_file(source_dir() / "tests/data/eval/longppl.json"));
  for (const std::size_t number : {0U, 1U, 2U}) {
    const auto& own = oracle.at("cases").at(number);
    BOOST_TEST_REQUIRE(own.at("evaluator") == "stories260k");
    BOOST_TEST_REQUIRE(own.at("measured") == "tinystories-656k");
    const auto value = [&](const char* key) { return own.at(key).dump(); };
    const std::string output = "out" + std::to_string(number);
    words more{"--evaluator-model", evaluator};
    if (number < 2)
      more.insert(more.end(), {"--key-context", value("context"), "--key-step", value("step"), "--key-gain",
                               value("gain"), "--key-loss", value("loss")});  // else the defaults
    const result r = run(folder.path(), eval_arguments(tasks, output, with(more)));
    BOOST_TEST_REQUIRE(r.status == 0, r.err);
    const auto keys = lines_of(folder / output / "key_tokens.jsonl");
    BOOST_TEST_REQUIRE(keys.size() == 1U);
    BOOST_TEST(keys[0].at("id") == "document.txt");
    BOOST_TEST(keys[0].at("keys") == own.at("keys"));
    const auto record = lines_of(folder / output / "results.jsonl").at(0);
    BOOST_CHECK_CLOSE_FRACTION(std::exp(record.at("scores").at("nll").get<double>()), own.at("ppl").get<double>(),
                               1e-4);
    BOOST_TEST(record.at("scores").contains("key_nll") == !own.at("longppl").is_null());
    if (number == 2) continue;
    BOOST_CHECK_CLOSE_FRACTION(std::exp(record.at("scores").at("key_nll").get<double>()),
                               own.at("longppl").get<double>(), 1e-4);
    BOOST_TEST(record.at("weights").at("key_nll") == own.at("key_tokens"));
    // The file serves other runs.
    const std::string from = "from" + std::to_string(number);
    const result again =
        run(folder.path(), eval_arguments(tasks, from, with({"--key-tokens", output + "/key_tokens.jsonl"})));
    BOOST_TEST_REQUIRE(again.status == 0, again.err);
    BOOST_TEST(read_file(folder / from / "results.jsonl") == read_file(folder / output / "results.jsonl"));
  }
  // A run that was stopped behind its key tokens goes on with them; another evaluation does not take them.
  const words arguments = eval_arguments(tasks, "out1", with({"--evaluator-model", evaluator, "--key-context", "80"}));
  std::filesystem::remove(folder / "out1/results.jsonl");
  check_refused(run(folder.path(), arguments), {"key_tokens.jsonl", "another evaluation"});
  std::filesystem::rename(folder / "out1/key_tokens.jsonl", folder / "keys.jsonl");
  check_refused(
      run(folder.path(), eval_arguments(tasks, "both", {"--evaluator-model", evaluator, "--key-tokens", "keys.jsonl"})),
      {"--evaluator-model", "one of both"});
  check_refused(run(folder.path(), eval_arguments("needle", "both", {"--evaluator-model", evaluator})),
                {"--evaluator-model", "long_perplexity"});
}

BOOST_AUTO_TEST_CASE(a_search_for_key_tokens_that_is_killed_goes_on_to_the_same_file) {
  const temporary_folder folder;
  const std::string text = read_file(source_dir() / "tests/data/eval/document.txt");
  std::filesystem::create_directories(folder / "texts");
  for (std::size_t i = 0; i < 6; ++i)
    write_file(folder / ("texts/" + std::to_string(i) + ".txt"), text.substr(text.find(' ', 40 * i) + 1));
  const words more{"--evaluator-model", (source_dir() / "tests/data/models/stories260k").string(),
                   "--key-context",     "64",
                   "--key-step",        "16"};
  const std::string tasks = "long_perplexity:texts";
  BOOST_TEST_REQUIRE(run(folder.path(), eval_arguments(tasks, "whole", more)).status == 0);

  const path partial = folder / "cut/key_tokens.jsonl.partial";
  const auto lines = [&] {
    if (!std::filesystem::exists(partial)) return std::ptrdiff_t{0};
    const std::string so_far = read_file(partial);
    return std::count(so_far.begin(), so_far.end(), '\n');
  };
  const pid_t child = lodestone_test::start(folder.path(), eval_arguments(tasks, "cut", more));
  for (int wait = 0; wait < 20'000 && lines() < 3 && !std::filesystem::exists(folder / "cut/key_tokens.jsonl"); ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGKILL);
  BOOST_TEST_REQUIRE(lodestone_test::finish(child) == 128 + SIGKILL);
  BOOST_TEST_REQUIRE(lines() >= 3);  // the settings, and documents that were read
  const result resumed = run(folder.path(), eval_arguments(tasks, "cut", more));
  BOOST_TEST_REQUIRE(resumed.status == 0, resumed.err);
  for (const char* name : {"key_tokens.jsonl", "results.jsonl", "summary.json"})
    BOOST_TEST(read_file(folder / "cut" / name) == read_file(folder / "whole" / name), name);
}

BOOST_AUTO_TEST_CASE(examples_before_questions_are_as_many_as_asked_and_from_the_file_named) {
  const temporary_folder folder;
  const std::string data = (source_dir() / "tests/data/eval").string();
  make_mmlu(folder.path(), data);
  std::filesystem::copy_file(data + "/mmlu_dev.jsonl", folder / "dev.jsonl");
  std::filesystem::copy_file(data + "/arc.jsonl", folder / "train.jsonl");
  const auto answers = [&](const std::string& tasks, const std::string& output, const words& more) {
    const result r = run(folder.path(), eval_arguments(tasks, output, more));
    BOOST_TEST_REQUIRE(r.status == 0, r.err);
    return read_file(folder / output / "summary.json");
  };
  const std::string arc = "arc_easy:" + data + "/arc.jsonl", mmlu = "mmlu:mmlu";
  const auto scores = [](const std::string& summary) { return nlohmann::json::parse(summary).at("tasks").dump(); };
  // MMLU: five of its own folder unless another number is asked for; --shots-from names other ones.
  const std::string five = scores(answers(mmlu, "own", {}));
  BOOST_TEST(scores(answers(mmlu, "five", {"--shots", "5"})) == five);
  BOOST_TEST(scores(answers(mmlu, "from", {"--shots", "5", "--shots-from", "mmlu:dev.jsonl"})) == five);
  std::filesystem::remove_all(folder / "mmlu/dev");
  const std::string none = answers(mmlu, "none", {"--shots", "0"});
  BOOST_TEST(nlohmann::json::parse(none).at("settings").at("shots") == 0);
  // The others: none, or from a file. The prompts differ, and so do the marks by bytes or the answers.
  const auto records = [&](const std::string& output) { return read_file(folder / output / "results.jsonl"); };
  answers(arc + ",hellaswag:" + data + "/hellaswag.jsonl", "zero", {});
  answers(arc + ",hellaswag:" + data + "/hellaswag.jsonl", "two",
          {"--shots", "2", "--shots-from", "arc_easy:train.jsonl,hellaswag:" + data + "/hellaswag.jsonl"});
  BOOST_TEST(lines_of(folder / "two/results.jsonl").size() == lines_of(folder / "zero/results.jsonl").size());
  BOOST_TEST(records("two") != records("zero"));
  const auto refused = [&](const std::string& tasks, const words& more, const words& parts) {
    check_refused(run(folder.path(), eval_arguments(tasks, "refused", more)), parts);
  };
  refused(arc, {"--shots", "2"}, {"--shots-from", "arc_easy:FILE"});
  refused(arc, {"--shots-from", "arc_easy:train.jsonl"}, {"none are shown", "--shots N"});
  refused(arc, {"--shots", "2", "--shots-from", "train.jsonl"}, {"train.jsonl", "NAME:FILE"});
  refused(arc, {"--shots", "2", "--shots-from", "mmlu:dev.jsonl"}, {"mmlu", "is no task of this run"});
  refused("needle", {"--shots", "2"}, {"--shots", "no task takes examples"});
  refused("truthfulqa_mc1:" + data + "/truthfulqa.jsonl," + arc, {"--shots", "0"}, {"truthfulqa_mc1", "six examples"});
  const result few =
      run(folder.path(), eval_arguments(arc, "few", {"--shots", "40", "--shots-from", "arc_easy:train.jsonl"}));
  BOOST_TEST(few.status == 1);
  BOOST_TEST(has(few.err, "examples, and 40"), few.err);
}

BOOST_AUTO_TEST_CASE(a_benchmark_is_read_from_its_file_and_averaged) {
  const temporary_folder folder;
  const auto record = [](const std::string& dataset, const std::string& id) {
    return nlohmann::json{{"input", "What did the child see?"},
                          {"context", "Once upon a time a child saw a big ball in the garden."},
                          {"answers", {"a big ball"}},
                          {"length", 12},
                          {"dataset", dataset},
                          {"language", "en"},
                          {"all_classes", nullptr},
                          {"_id", id}}
        .dump();
  };
  write_file(folder / "hotpotqa.jsonl", record("hotpotqa", "a") + "\n" + record("hotpotqa", "b") + "\n");
  write_file(folder / "qasper.jsonl", record("qasper", "c") + "\n");
  const result r = run(folder.path(), eval_arguments("longbench:hotpotqa.jsonl,longbench:qasper.jsonl", "out"));
  BOOST_TEST_REQUIRE(r.status == 0, r.err);
  BOOST_TEST(has(r.out, "all categories but code"), r.out);
  const auto summary = nlohmann::json::parse(read_file(folder / "out/summary.json"));
  const auto& own = summary.at("longbench");
  BOOST_TEST(own.at("datasets").size() == 2U);
  BOOST_TEST(own.at("mean") == own.at("mean_without_code"));
  BOOST_TEST(has(read_file(folder / "out/report.html"), ">LongBench</h2>"));
  write_file(folder / "broken.jsonl", record("hotpotqa", "a") + "\n{\"input\": 3}\n");
  const result broken = run(folder.path(), eval_arguments("longbench:broken.jsonl", "other"));
  BOOST_TEST(broken.status == 1);
  BOOST_TEST(has(broken.err, "broken.jsonl:2"), broken.err);
  BOOST_TEST(!std::filesystem::exists(folder / "other"));
}

BOOST_AUTO_TEST_CASE(a_judge_without_ratings_leaves_questions_open_until_that_is_accepted) {
  const temporary_folder folder;
  const words more{"--lengths", "300", "--depths", "50", "--repeats", "1"};
  check_refused(run(folder.path(), eval_arguments("needle_judged", "none", more)), {"--judge-endpoint"});
  words judged = more;
  judged.insert(judged.end(), {"--judge-model", model()});  // it tells stories and rates nothing
  const result open = run(folder.path(), eval_arguments("needle_judged", "out", judged));
  BOOST_TEST(open.status == 1);
  BOOST_TEST(has(open.err, "1 questions have no score"), open.err);
  BOOST_TEST(!std::filesystem::exists(folder / "out/results.jsonl"));
  BOOST_TEST(has(open.out, "needle_judged  all"), open.out);
  judged.push_back("--accept-failures");
  const result accepted = run(folder.path(), eval_arguments("needle_judged", "out", judged));
  BOOST_TEST_REQUIRE(accepted.status == 0, accepted.err);
  const auto records = lines_of(folder / "out/results.jsonl");
  BOOST_TEST_REQUIRE(records.size() == 1U);
  BOOST_TEST(records[0].contains("error"));
  BOOST_TEST(!lines_of(folder / "out/dialogues.jsonl").empty());
}

BOOST_AUTO_TEST_CASE(ratings_of_longbench_are_asked_for_in_words_of_the_user) {
  const temporary_folder folder;
  const auto record = [](const std::string& dataset) {
    return nlohmann::json{{"input", "What did the child see?"},
                          {"context", "Once upon a time a child saw a big ball in the garden."},
                          {"answers", {"a big ball"}},
                          {"length", 12},
                          {"dataset", dataset},
                          {"language", "en"},
                          {"all_classes", nullptr},
                          {"_id", dataset}}
        .dump();
  };
  write_file(folder / "hotpotqa.jsonl", record("hotpotqa") + "\n");
  write_file(folder / "gov_report.jsonl", record("gov_report") + "\n");
  write_file(folder / "answers.txt", "Rate {answer} beside {reference} as an answer to {question}.");
  write_file(folder / "summaries.txt", "Rate {answer} as a summary.");
  write_file(folder / "broken.txt", "Rate {reply}.");
  const words judge{"--judge-model",
                    model(),
                    "--accept-failures",
                    "--window",
                    "2048",
                    "--custom-template-user-prefix",
                    "Question: ",
                    "--custom-template-user-suffix",
                    "\n",
                    "--custom-template-assistant-prefix",
                    "Answer:"};
  const auto with = [&](words more) {
    more.insert(more.end(), judge.begin(), judge.end());
    return more;
  };
  const std::string answers = "longbench_rated:hotpotqa.jsonl", summaries = "longbench_rated:gov_report.jsonl";
  // The judge tells stories, so its replies show what it was asked: other words, another reply.
  const auto replies = [&](const std::string& tasks, const std::string& output, const words& more) {
    const result r = run(folder.path(), eval_arguments(tasks, output, with(more)));
    BOOST_TEST_REQUIRE(r.status == 0, r.err);
    return read_file(folder / output / "dialogues.jsonl");
  };
  const std::string published = replies(answers, "a", {});
  BOOST_TEST(replies(answers, "b", {"--judge-template", "answers.txt"}) != published);
  BOOST_TEST(replies(summaries, "c", {"--summary-template", "summaries.txt"}) != replies(summaries, "d", {}));
  const auto refused = [&](const std::string& tasks, const words& more, const words& parts) {
    check_refused(run(folder.path(), eval_arguments(tasks, "out", with(more))), parts);
  };
  refused(summaries, {"--judge-template", "answers.txt"}, {"--judge-template", "--summary-template"});
  refused(answers, {"--summary-template", "summaries.txt"}, {"--summary-template", "summaries.txt"});
  const result broken = run(folder.path(), eval_arguments(answers, "out", with({"--judge-template", "broken.txt"})));
  BOOST_TEST(broken.status == 1);
  BOOST_TEST(has(broken.err, "broken.txt"), broken.err);
  BOOST_TEST(has(broken.err, "{reply}"), broken.err);
}

BOOST_AUTO_TEST_CASE(facts_whose_text_is_cut_are_still_asked) {
  const temporary_folder folder;
  words arguments = eval_arguments(
      "facts", "out",
      {"--lengths", "1024", "--window", "500", "--depths", "0,50,100", "--repeats", "6", "--needle-others", "5"});
  arguments[2] = (source_dir() / "examples/data/retrieval").string();
  const result evaluated = run(folder.path(), arguments);
  BOOST_TEST_REQUIRE(evaluated.status == 0, evaluated.err);
  BOOST_TEST(has(evaluated.err, "facts: 18 prompts were cut in their middle"), evaluated.err);
  // Facts at both ends are left, and the question behind them: they are found; those in the middle are gone.
  double ends = 0.0, middle = 0.0;
  for (const auto& record : lines_of(folder / "out/results.jsonl"))
    (record.at("labels").at("depth") == "50" ? middle : ends) += record.at("scores").at("exact_match").get<double>();
  BOOST_TEST(ends >= 10.0, ends << " of 12");
  BOOST_TEST(middle <= 2.0, middle << " of 6");
}

BOOST_AUTO_TEST_CASE(scores_are_compared_with_those_of_people) {
  const temporary_folder folder;
  const std::string data = (source_dir() / "tests/data/eval").string();
  const words arguments = eval_arguments("arc_easy:" + data + "/arc.jsonl", "out", {"--human-scores", "people.jsonl"});
  write_file(folder / "people.jsonl", "{\"id\": \"arc_easy/Own_1\", \"score\": 3}\n{\"id\": 1}\n");
  const result broken = run(folder.path(), arguments);
  BOOST_TEST(broken.status == 1);
  BOOST_TEST(has(broken.err, "people.jsonl:2"), broken.err);
  write_file(folder / "people.jsonl",
             "{\"id\": \"arc_easy/Own_1\", \"score\": 3}\n"
             "{\"id\": \"arc_easy/Own_2\", \"score\": 2}\n"
             "{\"id\": \"arc_easy/Own_3\", \"score\": 1}\n");
  const result r = run(folder.path(), arguments);
  BOOST_TEST_REQUIRE(r.status == 0, r.err);
  BOOST_TEST(has(r.out, "3 pairs"), r.out);
  BOOST_TEST(nlohmann::json::parse(read_file(folder / "out/summary.json")).at("human_scores").at("pairs") == 3);
}

BOOST_AUTO_TEST_SUITE_END()
