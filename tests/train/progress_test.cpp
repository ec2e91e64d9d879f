#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <lodestone/train/recorders/progress.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::progress_recorder;

// What a recorder of the given style writes for `steps` steps of one second and 1,000 tokens.
template <class Send>
std::string written(progress_recorder::style style, const Send& send) {
  const lodestone_test::temporary_folder folder;
  std::FILE* stream = std::fopen((folder / "out").c_str(), "w");
  BOOST_REQUIRE(stream != nullptr);
  progress_recorder recorder(stream, style);
  send(recorder);
  std::fclose(stream);
  return lodestone_test::read_file(folder / "out");
}

lodestone::step_record step(std::int64_t number, std::int64_t steps, double seconds = 1.0) {
  return {.step = number, .steps = steps, .loss = 1.5, .learning_rate = 2e-5, .gradient_norm = 0.25, .tokens = 1000,
          .seconds = seconds};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  return lines;
}

bool has_control_codes(const std::string& text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_progress)

BOOST_AUTO_TEST_CASE(a_file_gets_plain_lines) {
  const std::string text = written(progress_recorder::style::automatic, [](auto& r) {
    r.record(lodestone::run_started{.title = "tuning", .steps = 3, .parameters = 656'000});
    for (int i = 1; i <= 3; ++i) r.record(step(i, 3));
    r.record(lodestone::evaluation_record{.step = 3, .loss = 1.25, .token_loss = 1.5, .targets = 12'345, .best = true});
    r.record(lodestone::message{lodestone::message_level::warning, "two examples were cut", 3});
    r.record(lodestone::run_finished{.step = 3, .steps = 3, .seconds = 4.0, .tokens = 3000, .text = "written to out"});
  });
  BOOST_TEST(!has_control_codes(text));
  const std::vector<std::string> expected{
      "tuning: 3 steps, 656k parameters",
      "step 1/3  loss 1.5000  lr 2e-05  |g| 0.25  1k tok/s  ETA 2.0s",
      "step 2/3  loss 1.5000  lr 2e-05  |g| 0.25  1k tok/s  ETA 1.0s",
      "step 3/3  loss 1.5000  lr 2e-05  |g| 0.25  1k tok/s",
      "step 3  held-out loss 1.2500  per token 1.5000  12,345 targets in 0.0s  best so far",
      "warning: two examples were cut",
      "completed after step 3 of 3, 4.0s, 750 tokens/s over all",
      "written to out"};
  BOOST_TEST(lines_of(text) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_long_run_writes_about_a_hundred_lines_and_one_every_thirty_seconds) {
  const auto count = [](double seconds) {
    return lines_of(written(progress_recorder::style::lines, [&](auto& r) {
             for (int i = 1; i <= 5000; ++i) r.record(step(i, 5000, seconds));
           })).size();
  };
  BOOST_TEST(count(0.01) == 101U);  // the first, and every fiftieth
  BOOST_TEST(count(31.0) == 5000U);
}

BOOST_AUTO_TEST_CASE(the_speed_covers_the_steps_since_the_last_line) {
  const auto lines = lines_of(written(progress_recorder::style::lines, [](auto& r) {
    for (int i = 1; i <= 200; ++i) r.record(step(i, 200, i % 2 == 0 ? 3.0 : 1.0));  // lines at even steps
  }));
  BOOST_TEST(lines[2].find("500 tok/s") != std::string::npos, lines[2]);  // 2,000 tokens in 4 s
}

BOOST_AUTO_TEST_CASE(a_terminal_gets_one_line_that_is_redrawn) {
  const std::string text = written(progress_recorder::style::bar, [](auto& r) {
    for (int i = 1; i <= 4; ++i) {
      r.record(step(i, 4));
      if (i == 2) r.record(lodestone::message{lodestone::message_level::note, "checkpoint written", 2});
    }
  });
  // Four drawings, each cleared to the end; the message first clears the line and stands on its own.
  BOOST_TEST(std::ranges::count(text, '\n') == 2);
  BOOST_TEST(text.find("[######..................] 1/4") != std::string::npos, text);
  BOOST_TEST(text.find("[########################] 4/4") != std::string::npos, text);
  BOOST_TEST(text.find("\r\x1b[Kcheckpoint written\n") != std::string::npos, text);
  BOOST_TEST(text.ends_with("\x1b[K\n"));
}

BOOST_AUTO_TEST_CASE(time_left_follows_recent_steps_and_forgets_the_slow_first) {
  const auto lines = lines_of(written(progress_recorder::style::lines, [](auto& r) {
    r.record(step(1, 10, 100.0));
    for (int i = 2; i <= 10; ++i) r.record(step(i, 10, 2.0));
  }));
  BOOST_TEST(lines[0].ends_with("ETA 15:00"), lines[0]);
  BOOST_TEST(lines[1].ends_with("ETA 16s"), lines[1]);
  BOOST_TEST(lines[8].ends_with("ETA 2.0s"), lines[8]);
}

BOOST_AUTO_TEST_SUITE_END()
