// synthesise as its users run it: a model that looks things up makes its own preference pairs, killed and resumed.
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/program.hpp"
#include "support/support.hpp"

namespace {

using lodestone_test::check_refused;
using lodestone_test::finish;
using lodestone_test::has;
using lodestone_test::read_file;
using lodestone_test::run;
using lodestone_test::source_dir;
using lodestone_test::start;
using lodestone_test::temporary_folder;
using lodestone_test::words;
using lodestone_test::write_file;
namespace fs = std::filesystem;
using result = lodestone_test::program_result;

std::string retrieval_model() { return (source_dir() / "examples/data/retrieval").string(); }

/// The beginning of three speeches with a fact every 600 characters, and a question about each.
void write_documents(const temporary_folder& folder) {
  fs::create_directories(folder / "docs");
  std::ofstream questions(folder / "questions.jsonl");
  std::int64_t number = 10'000;
  std::string name = "bake";
  for (const char* file : {"1945-Truman.txt", "1953-Eisenhower.txt", "1961-Kennedy.txt"}) {
    std::string text = read_file(source_dir() / "examples/data/state_union" / file).substr(0, 3000);
    for (std::size_t at = 500; at < text.size(); at += 600) {
      const std::size_t blank = text.find(' ', at);
      name[0] = "bcdfghjklm"[number % 10];
      name[2] = "klmnpqrstv"[number / 7 % 10];
      text.insert(blank, " {" + name + "=" + std::to_string(number) + "}");
      questions << nlohmann::json{{"document", file},
                                  {"question", "{" + name + "="},
                                  {"answer", std::to_string(number)}}
                << "\n";
      number += 1'237;
    }
    write_file(folder / "docs" / file, text);
  }
}

words logo_arguments(const std::string& output, const words& more = {}) {
  words arguments{"synthesise",
                  "--method",
                  "logo",
                  "--documents",
                  "docs",
                  "--questions-file",
                  "questions.jsonl",
                  "--model",
                  retrieval_model(),
                  "--output",
                  output,
                  "--chunk-tokens",
                  "64",
                  "--context-chunks",
                  "6",
                  "--important-chunks",
                  "2",
                  "--prompt-as",
                  "tokens",
                  "--context-form",
                  "{context}<|question|>{question}",
                  "--temperature",
                  "0",
                  "--max-new-tokens",
                  "8",
                  "--least-metric",
                  "1",
                  "--at-once",
                  "2",
                  "--threads",
                  "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<nlohmann::json> lines_of(const fs::path& file) {
  std::vector<nlohmann::json> all;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
  return all;
}

/// The files of a synthesis by their names.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    all[entry.path().filename().string()] = read_file(entry.path());
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_synthesis, *boost::unit_test::precondition(lodestone_test::skip_without_program()))

BOOST_AUTO_TEST_CASE(a_model_makes_its_own_pairs_and_prefer_reads_them) {
  const temporary_folder folder;
  write_documents(folder);
  const result made = run(folder.path(), logo_arguments("pairs.jsonl"));
  BOOST_TEST_REQUIRE(made.status == 0, made.err);
  const auto summary = nlohmann::json::parse(made.out);
  BOOST_TEST(summary.at("complete") == true);
  BOOST_TEST(summary.at("inexact_chunks") == 0);
  const auto pairs = lines_of(folder / "pairs.jsonl");
  BOOST_TEST(pairs.size() >= 6U, made.out);  // of 15 questions; the model looks up numbers that stand in its chunks
  for (const auto& pair : pairs) {
    BOOST_TEST(has(pair.at("chosen"), pair.at("answer")));
    for (const auto& rejected : pair.at("rejected")) BOOST_TEST(!has(rejected, pair.at("answer")));
    BOOST_TEST(pair.at("context").size() == 6U);
  }
  const result trained = run(folder.path(), {"prefer",
                                             "--model",
                                             retrieval_model(),
                                             "--data",
                                             "pairs.jsonl",
                                             "--output",
                                             "run",
                                             "--custom-template-end-token",
                                             "{eos}",
                                             "--content",
                                             "parse",
                                             "--context-form",
                                             "{context}<|question|>{question}",
                                             "--position",
                                             "logo-mix",
                                             "--position-window",
                                             "1024",
                                             "--groups-per-step",
                                             "4",
                                             "--threads",
                                             "1",
                                             "--learning-rate",
                                             "1e-4"});
  BOOST_TEST(trained.status == 0, trained.err);
  BOOST_TEST(fs::exists(folder / "run" / "model" / "config.json"));
}

BOOST_AUTO_TEST_CASE(a_synthesis_that_is_killed_ends_with_the_files_of_an_uninterrupted_one) {
  const temporary_folder folder;
  write_documents(folder);
  fs::create_directories(folder / "whole");
  fs::create_directories(folder / "parts");
  const result whole = run(folder.path(), logo_arguments("whole/pairs.jsonl"));
  BOOST_TEST_REQUIRE(whole.status == 0, whole.err);
  int kills = 0;
  for (int delay = 20; !fs::exists(folder / "parts" / "pairs.summary.json") && delay < 60'000; delay += delay / 2) {
    const pid_t child = start(folder.path(), logo_arguments("parts/pairs.jsonl"));
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    kill(child, SIGKILL);
    if (finish(child) == 128 + SIGKILL) ++kills;
    if (fs::exists(folder / "parts" / "pairs.jsonl"))
      BOOST_TEST(read_file(folder / "parts" / "pairs.jsonl") == read_file(folder / "whole" / "pairs.jsonl"));
  }
  BOOST_TEST(kills >= 2);
  const result last = run(folder.path(), logo_arguments("parts/pairs.jsonl"));
  BOOST_TEST(last.status == 0, last.err);
  auto parts = files_of(folder / "parts");
  std::erase_if(parts, [](const auto& file) { return file.first.starts_with("."); });  // of atomic writes that died
  BOOST_TEST((parts == files_of(folder / "whole")));
}

BOOST_AUTO_TEST_CASE(answers_without_questions_are_listed_and_left_out_if_asked) {
  const temporary_folder folder;
  write_documents(folder);
  const words arguments{"synthesise",
                        "--method",
                        "longalign",
                        "--documents",
                        "docs",
                        "--model",
                        retrieval_model(),
                        "--output",
                        "sft.jsonl",
                        "--max-new-tokens",
                        "8",
                        "--question-tokens",
                        "8",
                        "--attempts",
                        "1",
                        "--custom-template-end-token",
                        "{eos}",
                        "--threads",
                        "1"};
  const result made = run(folder.path(), arguments);
  BOOST_TEST(made.status == 1, made.err);
  BOOST_TEST(has(made.err, "3 of 3 prompts for questions failed"), made.err);
  BOOST_TEST(!fs::exists(folder / "sft.jsonl"));
  const auto failed = lines_of(folder / "sft.failed.jsonl");
  BOOST_TEST(failed.size() == 3U);
  BOOST_TEST(has(failed.front().at("error"), "has not the form"));
  words accepting = arguments;
  accepting.emplace_back("--accept-failures");
  const result accepted = run(folder.path(), accepting);
  BOOST_TEST(accepted.status == 0, accepted.err);
  BOOST_TEST(read_file(folder / "sft.jsonl").empty());
}

BOOST_AUTO_TEST_CASE(wrong_settings_and_documents_are_refused_with_their_place) {
  const temporary_folder folder;
  write_documents(folder);
  check_refused(
      run(folder.path(), {"synthesise", "--method", "logo", "--model", retrieval_model(), "--output", "p.jsonl"}),
      {"--documents", "is not given"});
  check_refused(run(folder.path(), logo_arguments("pairs.txt")), {"output", "NAME.jsonl"});
  check_refused(run(folder.path(), logo_arguments("p.jsonl", {"--important-chunks", "6"})), {"important_chunks"});
  check_refused(run(folder.path(), logo_arguments("p.jsonl", {"--selection", "ranked"})), {"rank"});
  write_file(folder / "docs" / "bad.txt", "fine\nnot \xe9 fine\n");
  const result broken = run(folder.path(), logo_arguments("p.jsonl"));
  BOOST_TEST(broken.status == 1);
  BOOST_TEST(has(broken.err, "bad.txt:2: not UTF-8"), broken.err);
}

BOOST_AUTO_TEST_SUITE_END()
