#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/train/recorders/jsonl.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::jsonl_recorder;
using lodestone_test::read_file;
using lodestone_test::write_file;

lodestone::step_record step(std::int64_t number) {
  return {.step = number, .steps = 6, .epoch = 0.25 * static_cast<double>(number), .loss = 1.0 / 3.0,
          .learning_rate = 2e-5, .gradient_norm = 0.5, .tokens = 4096, .targets = 100, .sequences = 12,
          .without_targets = 1, .packs = 3, .seconds = 0.5, .clipped = true};
}

lodestone::evaluation_record evaluation(std::int64_t number) {
  return {.step = number, .name = "held-out", .loss = 2.5, .token_loss = 2.25, .tokens = 100, .targets = 50,
          .sequences = 5, .seconds = 0.25, .best = true, .buckets = {{0, 256, 2.0, 40}, {256, 512, 3.0, 10}}};
}

// The run of `steps` steps in one piece.
void run(jsonl_recorder& recorder, std::int64_t first, std::int64_t last) {
  recorder.record(lodestone::run_started{.steps = 6, .resumed_step = first});
  for (std::int64_t i = first + 1; i <= last; ++i) {
    recorder.record(step(i));
    if (i % 2 == 0) recorder.record(evaluation(i));
  }
}

// Lines of the given events only.
std::vector<std::string> lines_of(const std::string& text, const std::string& event) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    if (nlohmann::json::parse(line).at("event") == event) lines.push_back(line);
  }
  return lines;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_jsonl)

BOOST_AUTO_TEST_CASE(what_is_written_reads_back_equal) {
  const lodestone_test::temporary_folder folder;
  {
    jsonl_recorder recorder(folder / "m.jsonl");
    run(recorder, 0, 4);
  }
  const lodestone::metrics_history history = lodestone::read_metrics(folder / "m.jsonl");
  BOOST_REQUIRE(history.steps.size() == 4U);
  const lodestone::step_record a = history.steps[2], b = step(3);
  BOOST_TEST(a.step == b.step);
  BOOST_TEST(a.steps == b.steps);
  BOOST_TEST(a.epoch == b.epoch);
  BOOST_TEST(a.loss == b.loss);  // every bit: the shortest text that reads back
  BOOST_TEST(a.learning_rate == b.learning_rate);
  BOOST_TEST(a.gradient_norm == b.gradient_norm);
  BOOST_TEST(a.tokens == b.tokens);
  BOOST_TEST(a.targets == b.targets);
  BOOST_TEST(a.sequences == b.sequences);
  BOOST_TEST(a.without_targets == b.without_targets);
  BOOST_TEST(a.packs == b.packs);
  BOOST_TEST(a.seconds == b.seconds);
  BOOST_TEST(a.clipped == b.clipped);
  BOOST_TEST(a.skipped == b.skipped);
  BOOST_REQUIRE(history.evaluations.size() == 2U);
  const lodestone::evaluation_record c = history.evaluations[0], d = evaluation(2);
  BOOST_TEST(c.loss == d.loss);
  BOOST_TEST(c.token_loss == d.token_loss);
  BOOST_TEST(c.targets == d.targets);
  BOOST_TEST(c.name == d.name);
  BOOST_TEST(c.best == d.best);
  BOOST_TEST((c.buckets == d.buckets));
  BOOST_TEST(lodestone::read_metrics(folder / "m.jsonl", 2).steps.size() == 2U);
  BOOST_TEST(lodestone::read_metrics(folder / "absent.jsonl").steps.empty());
}

BOOST_AUTO_TEST_CASE(preferences_read_back_equal_and_other_steps_have_none) {
  const lodestone_test::temporary_folder folder;
  lodestone::preference_summary p{.groups = 2,
                                  .chosen_reward = -1.0 / 3.0,
                                  .rejected_reward = -0.5,
                                  .chosen_log_prob = -0.7,
                                  .rejected_log_prob = -0.9,
                                  .sft = 0.7,
                                  .margin = 1.0 / 6.0,
                                  .accuracy = 0.5,
                                  .margins = {0.5, -1.0 / 6.0}};
  {
    jsonl_recorder recorder(folder / "m.jsonl");
    recorder.record(step(1));
    lodestone::step_record with = step(2);
    with.preference = p;
    recorder.record(with);
    lodestone::evaluation_record held_out = evaluation(2);
    held_out.preference = p;
    recorder.record(held_out);
  }
  BOOST_TEST(lines_of(read_file(folder / "m.jsonl"), "step")[0].find("margin") == std::string::npos);
  const lodestone::metrics_history history = lodestone::read_metrics(folder / "m.jsonl");
  BOOST_TEST(history.steps.at(0).preference.groups == 0);
  for (const lodestone::preference_summary& read :
       {history.steps.at(1).preference, history.evaluations.at(0).preference}) {
    BOOST_TEST(read.groups == p.groups);
    BOOST_TEST(read.chosen_reward == p.chosen_reward);
    BOOST_TEST(read.rejected_reward == p.rejected_reward);
    BOOST_TEST(read.chosen_log_prob == p.chosen_log_prob);
    BOOST_TEST(read.rejected_log_prob == p.rejected_log_prob);
    BOOST_TEST(read.sft == p.sft);
    BOOST_TEST(read.margin == p.margin);
    BOOST_TEST(read.accuracy == p.accuracy);
    BOOST_TEST(read.margins == p.margins, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(every_line_is_in_the_file_as_soon_as_the_event_has_passed) {
  const lodestone_test::temporary_folder folder;
  jsonl_recorder recorder(folder / "m.jsonl");
  recorder.record(lodestone::run_started{});
  recorder.record(step(1));
  const std::string text = read_file(folder / "m.jsonl");
  BOOST_TEST(text.ends_with("}\n"));
  BOOST_TEST(lines_of(text, "step").size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_resumed_run_continues_as_if_never_interrupted) {
  const lodestone_test::temporary_folder folder;
  {
    jsonl_recorder recorder(folder / "whole.jsonl");
    run(recorder, 0, 6);
  }
  {
    jsonl_recorder recorder(folder / "cut.jsonl");
    run(recorder, 0, 5);  // killed after step 5, in the middle of a line; the checkpoint is that of step 3
  }
  write_file(folder / "cut.jsonl", read_file(folder / "cut.jsonl") + R"({"event":"step","st)");
  {
    jsonl_recorder recorder(folder / "cut.jsonl");
    run(recorder, 3, 6);
  }
  for (const char* event : {"step", "evaluation"})
    BOOST_TEST(lines_of(read_file(folder / "cut.jsonl"), event) == lines_of(read_file(folder / "whole.jsonl"), event),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_new_run_replaces_the_file) {
  const lodestone_test::temporary_folder folder;
  for (int i = 0; i < 2; ++i) {
    jsonl_recorder recorder(folder / "m.jsonl");
    run(recorder, 0, 2);
  }
  BOOST_TEST(lodestone::read_metrics(folder / "m.jsonl").steps.size() == 2U);
}

BOOST_AUTO_TEST_CASE(values_that_json_does_not_have) {
  const lodestone_test::temporary_folder folder;
  {
    jsonl_recorder recorder(folder / "m.jsonl");
    lodestone::step_record bad = step(1);
    bad.loss = std::numeric_limits<double>::quiet_NaN();
    bad.gradient_norm = std::numeric_limits<double>::infinity();
    bad.skipped = true;
    recorder.record(bad);
    recorder.record(lodestone::message{lodestone::message_level::error, "broken \xff\xfe UTF-8 \"quoted\"\n", 1});
  }
  const std::string text = read_file(folder / "m.jsonl");
  BOOST_TEST(lines_of(text, "message").size() == 1U);  // parses, and the newline is escaped
  const auto history = lodestone::read_metrics(folder / "m.jsonl");
  BOOST_TEST(std::isnan(history.steps.at(0).loss));
  BOOST_TEST(history.steps.at(0).skipped);
}

BOOST_AUTO_TEST_CASE(a_bad_line_is_named) {
  const lodestone_test::temporary_folder folder;
  write_file(folder / "m.jsonl", "{\"event\":\"message\"}\n{\"event\":\"step\"}\n");
  BOOST_CHECK_EXCEPTION((void)lodestone::read_metrics(folder / "m.jsonl"), lodestone::format_error, [](const auto& e) {
    return std::string(e.what()).find("m.jsonl:2: ") != std::string::npos;
  });
  jsonl_recorder nowhere(folder / "absent" / "m.jsonl");
  BOOST_CHECK_THROW(nowhere.record(step(1)), lodestone::io_error);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error) {
  jsonl_recorder full("/dev/full");
  BOOST_CHECK_THROW(full.record(step(1)), lodestone::io_error);
}

BOOST_AUTO_TEST_SUITE_END()
