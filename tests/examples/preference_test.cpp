// prefer, ablate and score on preferences, as their users run them.
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
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
using lodestone_test::temporary_folder;
using lodestone_test::words;
using lodestone_test::fs::path;
using result = lodestone_test::program_result;

/// Records with two rejected answers, the last one with a single one.
void write_preferences(const path& file, int count) {
  const std::vector<std::string> things{"ball", "cat", "dog", "cake", "hat", "car"};
  std::ofstream out(file);
  for (int i = 0; i < count; ++i) {
    const auto thing = [&](int k) { return " a big " + things[static_cast<std::size_t>(i + k) % things.size()] + "."; };
    nlohmann::json record{{"prompt", "Once upon a time, there was a child. One day the child saw" + thing(0) +
                                         " What did the child see? It saw"},
                          {"chosen", thing(0)},
                          {"rejected", {thing(1), thing(2)}}};
    if (i + 1 == count) record["rejected"] = thing(3);
    out << record.dump() << "\n";
  }
}

words prefer_arguments(const std::string& output, const words& more = {}) {
  words arguments{"prefer", "--model",         model(), "--data",       "train.jsonl", "--output",
                  output,   "--tokens",        "256",   "--epochs",     "2",           "--groups-per-step",
                  "6",      "--learning-rate", "1e-3",  "--save-every", "0",           "--threads",
                  "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// The events of a metrics.jsonl of one kind.
std::vector<nlohmann::json> events(const path& file, const std::string& kind) {
  std::vector<nlohmann::json> all;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);)
    if (auto event = nlohmann::json::parse(line); event.at("event") == kind) all.push_back(std::move(event));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_preference, *boost::unit_test::precondition(lodestone_test::skip_without_program()))

BOOST_AUTO_TEST_CASE(preferences_are_trained_and_scored) {
  const temporary_folder folder;
  write_preferences(folder / "train.jsonl", 24);
  write_preferences(folder / "held.jsonl", 7);
  const result trained =
      run(folder.path(), prefer_arguments("out", {"--held-out", "held.jsonl", "--export-dtype", "f32"}));
  BOOST_TEST_REQUIRE(trained.status == 0, trained.err);
  BOOST_TEST(has(trained.err, "accuracy"), trained.err);
  const auto steps = events(folder / "out" / "metrics.jsonl", "step");
  BOOST_TEST_REQUIRE(!steps.empty());
  for (const auto& step : steps) {
    for (const char* key : {"rewards_chosen", "rewards_rejected", "margin", "accuracy", "log_probs_chosen",
                            "log_probs_rejected", "sft", "learning_rate"})
      BOOST_TEST(step.contains(key), key);
    BOOST_TEST(step.at("margins").size() == step.at("groups"));
  }
  BOOST_TEST(steps.back().at("margin") > steps.front().at("margin"));
  const auto held_out = events(folder / "out" / "metrics.jsonl", "evaluation");
  BOOST_TEST_REQUIRE(held_out.size() >= 2U);
  BOOST_TEST(held_out.front().at("groups") == 7);
  BOOST_TEST(held_out.back().at("margins").size() == 7U);
  BOOST_TEST(has(read_file(folder / "out" / "report.html"), "Margins"));

  // score finds on the trained model what the run's last evaluation found.
  const result scored = run(folder.path(), {"score", "--model", "out", "--data", "held.jsonl", "--threads", "1"});
  BOOST_TEST_REQUIRE(scored.status == 0, scored.err);
  std::istringstream lines(scored.out);
  std::vector<nlohmann::json> groups;
  for (std::string line; std::getline(lines, line);) groups.push_back(nlohmann::json::parse(line));
  BOOST_TEST_REQUIRE(groups.size() == 8U);
  const nlohmann::json& sum = groups.back();
  BOOST_TEST(sum.at("groups") == 7);
  BOOST_TEST(std::abs(sum.at("margin").get<double>() - held_out.back().at("margin").get<double>()) < 1e-4);
  BOOST_TEST(sum.at("accuracy").get<double>() == held_out.back().at("accuracy").get<double>());
  const auto& first = groups.front();
  BOOST_TEST(first.at("log_probs").size() == 3U);
  const double mean_w = first["log_probs"][0].get<double>() / first["targets"][0].get<double>();
  BOOST_TEST(std::abs(first.at("reward_chosen").get<double>() - 10.0 * mean_w) < 1e-9);
  BOOST_TEST(groups[6].at("log_probs").size() == 2U);
}

BOOST_AUTO_TEST_CASE(answers_one_by_one_or_behind_a_shared_prompt_train_the_same_model) {
  const temporary_folder folder;
  write_preferences(folder / "train.jsonl", 12);
  const words same{"--dtype", "f64", "--groups-per-step", "12", "--tokens", "2048", "--export-dtype", "f64"};
  words separate = same;
  separate.insert(separate.end(), {"--batching", "separate", "--max-tokens", "0"});
  BOOST_TEST_REQUIRE(run(folder.path(), prefer_arguments("shared", same)).status == 0);
  const result other = run(folder.path(), prefer_arguments("separate", separate));
  BOOST_TEST_REQUIRE(other.status == 0, other.err);
  const auto a = events(folder / "shared" / "metrics.jsonl", "step");
  const auto b = events(folder / "separate" / "metrics.jsonl", "step");
  BOOST_TEST_REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    for (const char* key : {"loss", "gradient_norm", "margin"})
      BOOST_TEST(std::abs(a[i].at(key).get<double>() - b[i].at(key).get<double>()) <
                     1e-8 * std::abs(b[i].at(key).get<double>()),
                 key << " of step " << i + 1);
}

BOOST_AUTO_TEST_CASE(a_killed_run_of_preferences_resumes_to_the_same_bits) {
  const temporary_folder folder;
  write_preferences(folder / "train.jsonl", 24);
  const words more{"--epochs",          "8",   "--save-every",     "3", "--position",          "logo-mix",
                   "--position-window", "512", "--position-chunk", "8", "--position-question", "8"};
  BOOST_TEST_REQUIRE(run(folder.path(), prefer_arguments("whole", more)).status == 0);
  for (int attempt = 0; attempt < 200; ++attempt) {  // killed as soon as a checkpoint is there
    const pid_t child = lodestone_test::start(folder.path(), prefer_arguments("cut", more));
    for (int wait = 0; wait < 2'000 && !std::filesystem::exists(folder / "cut/checkpoints/step_000006"); ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    kill(child, SIGKILL);
    if (lodestone_test::finish(child) == 128 + SIGKILL) break;
    std::filesystem::remove_all(folder / "cut");  // it was done before it could be killed
  }
  BOOST_TEST_REQUIRE(!std::filesystem::exists(folder / "cut/model"));
  const result resumed = run(folder.path(), prefer_arguments("cut", more));
  BOOST_TEST_REQUIRE(resumed.status == 0, resumed.err);
  BOOST_TEST(has(resumed.err, "resuming from"), resumed.err);
  BOOST_TEST(read_file(folder / "cut/model/model.safetensors") == read_file(folder / "whole/model/model.safetensors"));
}

BOOST_AUTO_TEST_CASE(an_ablation_compares_four_runs) {
  const temporary_folder folder;
  write_preferences(folder / "train.jsonl", 12);
  write_preferences(folder / "held.jsonl", 5);
  words arguments = prefer_arguments("grid", {"--held-out", "held.jsonl", "--position-window", "512",
                                              "--position-chunk", "8", "--position-question", "8"});
  arguments.front() = "ablate";
  const result compared = run(folder.path(), arguments);
  BOOST_TEST_REQUIRE(compared.status == 0, compared.err);
  BOOST_TEST(std::ranges::count(compared.out, '\n') == 6, compared.out);
  for (const char* row : {"before training", "supervised, normal positions", "logo, normal positions",
                          "supervised, logo-mix", "logo, logo-mix"})
    BOOST_TEST(has(compared.out, row), compared.out);
  const std::string page = read_file(folder / "grid" / "report.html");
  BOOST_TEST(has(page, "Held-out groups"));
  // The runs differ in what their names say.
  const auto setting = [&](const char* name, const std::string& line) {
    return has(read_file(folder / "grid" / name / "run.toml"), line);
  };
  BOOST_TEST(setting("supervised", "loss = \"chosen\""));
  BOOST_TEST(setting("supervised", "position = \"contiguous\""));
  BOOST_TEST(setting("positions", "position = \"logo-mix\""));
  BOOST_TEST(setting("preference", "loss = \"logo\""));
  BOOST_TEST(setting("both", "position = \"logo-mix\""));
  BOOST_TEST(setting("both", "lodestone prefer --config run.toml"));
  // What is done is not done again, and gives the same table.
  const result again = run(folder.path(), arguments);
  BOOST_TEST(again.out == compared.out);
  BOOST_TEST(has(again.err, "resuming from"));
}

BOOST_AUTO_TEST_CASE(settings_that_contradict_a_preference_loss_are_refused) {
  const temporary_folder folder;
  write_preferences(folder / "train.jsonl", 4);
  lodestone_test::write_file(folder / "plain.jsonl", "{\"text\": \"Once upon a time.\"}\n");
  const auto refused = [&](const words& more, const words& parts) {
    check_refused(run(folder.path(), prefer_arguments("out", more)), parts);
  };
  refused({"--batching", "packed"}, {"batching", "shared-prefix"});
  refused({"--sequences-per-step", "4", "--groups-per-step", "0"}, {"sequences_per_step", "groups_per_step"});
  refused({"--gamma", "3", "--gamma-beta-ratio", "0.3"}, {"gamma", "give one of the two"});
  refused({"--loss", "orpo", "--gamma", "3"}, {"gamma", "orpo"});
  refused({"--loss", "cpo", "--penalty-weight", "1"}, {"penalty_weight"});
  refused({"--beta", "-1"}, {"beta", "positive"});
  refused({"--loss", "logos"}, {"did you mean \"logo\""});
  for (const auto& [more, part] : {std::pair<words, std::string>{{"--data", "plain.jsonl"}, "no chosen and rejected"},
                                   {{"--loss", "dpo"}, "reference"},
                                   {{"--tokens", "38"}, "a stream holds 38"}}) {
    const result r = run(folder.path(), prefer_arguments("out", more));
    BOOST_TEST(r.status == 1);
    BOOST_TEST(has(r.err, part), r.err);
  }
  BOOST_TEST(!std::filesystem::exists(folder / "out" / "model"));
}

BOOST_AUTO_TEST_SUITE_END()
