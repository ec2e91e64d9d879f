#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <lodestone/checkpoint/training_state.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::dtype;
using lodestone::training_state;
using lodestone::training_state_writer;
using lodestone::verification;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

/// What a state of `step` holds, so that a reader can tell whether it is whole.
std::vector<double> moments(std::int64_t step) {
  std::vector<double> values(20'000);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(step) * 1000.0 + static_cast<double>(i);
  return values;
}
std::vector<float> weights(std::int64_t step) { return std::vector<float>(10'000, static_cast<float>(step)); }

std::filesystem::path write_state(const std::filesystem::path& root, std::int64_t step) {
  training_state_writer writer(root, step,
                               {{"position", dtype::i64, {1}},
                                {"model.weight", dtype::f32, {100, 100}},
                                {"model.weight.first", dtype::f64, {20'000}},
                                {"nothing", dtype::f32, {0}}},
                               {{"seed", "17"}, {"step", std::to_string(step)}});
  const std::array<std::int64_t, 1> position{step * 3};
  writer.write_values<std::int64_t>(position);
  writer.write_values<float>(weights(step));
  writer.write_values<double>(moments(step));
  return writer.commit();
}

bool is_whole(const training_state& state, std::int64_t step) {
  const auto first = state.tensors().values<double>("model.weight.first");
  const auto weight = state.tensors().values<float>("model.weight");
  const auto expected = moments(step);
  const auto expected_weights = weights(step);
  return state.step() == step && state.metadata("step") == std::to_string(step) &&
         std::equal(first.begin(), first.end(), expected.begin(), expected.end()) &&
         std::equal(weight.begin(), weight.end(), expected_weights.begin(), expected_weights.end()) &&
         state.tensors().values<std::int64_t>("position")[0] == step * 3;
}

std::vector<std::string> names(const std::filesystem::path& root) {
  std::vector<std::string> result;
  for (const auto& item : std::filesystem::directory_iterator(root)) result.push_back(item.path().filename().string());
  std::sort(result.begin(), result.end());
  return result;
}

/// Temporary folders lie in memory while this lives, where the machine has such a place.
class memory_file_system {
 public:
  memory_file_system() {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
  }
  memory_file_system(const memory_file_system&) = delete;
  memory_file_system& operator=(const memory_file_system&) = delete;
  ~memory_file_system() { before_ ? ::setenv("TMPDIR", before_->c_str(), 1) : ::unsetenv("TMPDIR"); }

 private:
  std::optional<std::string> before_;
};

std::string reason(const std::filesystem::path& folder, verification check = verification::content) {
  try {
    const training_state state(folder, check);
  } catch (const lodestone::error& failure) {
    return failure.what();
  }
  return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_training_state)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  const temporary_folder folder;
  const auto root = folder / "run/checkpoints";
  const auto written = write_state(root, 123);
  BOOST_TEST(written == root / "step_000123");
  const training_state state(written);
  BOOST_TEST(is_whole(state, 123));
  BOOST_TEST(state.metadata("seed") == "17");
  BOOST_CHECK_THROW((void)state.metadata("none"), lodestone::format_error);
  BOOST_TEST(names(written) == (std::vector<std::string>{"manifest.json", "state.safetensors"}),
             boost::test_tools::per_element());
  BOOST_TEST(lodestone::training_state_folder(root, 12'345'678) == root / "step_12345678");
}

BOOST_AUTO_TEST_CASE(the_same_step_is_replaced) {
  const temporary_folder folder;
  write_state(folder.path(), 5);
  training_state_writer writer(folder.path(), 5, {{"a", dtype::u8, {1}}});
  writer.write_values<std::uint8_t>(std::array<std::uint8_t, 1>{9});
  writer.commit();
  BOOST_TEST(training_state(folder / "step_000005").tensors().values<std::uint8_t>("a")[0] == 9);
  BOOST_TEST(names(folder.path()).size() == 1U);
}

BOOST_AUTO_TEST_CASE(an_unfinished_state_leaves_nothing) {
  const temporary_folder folder;
  {
    training_state_writer writer(folder.path(), 1, {{"a", dtype::u8, {3}}});
    writer.write_values<std::uint8_t>(std::array<std::uint8_t, 2>{1, 2});
    BOOST_CHECK_THROW(writer.commit(), lodestone::format_error);
    BOOST_CHECK_THROW(writer.write_values<std::uint8_t>(std::array<std::uint8_t, 2>{1, 2}), lodestone::format_error);
  }
  BOOST_TEST(names(folder.path()).empty());
  BOOST_CHECK_THROW(training_state_writer(folder.path(), -1, {}), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(the_newest_undamaged_state_is_found) {
  const temporary_folder folder;
  BOOST_TEST(!lodestone::latest_training_state(folder / "none").has_value());
  for (const std::int64_t step : {1, 20, 300}) write_state(folder.path(), step);
  std::filesystem::create_directory(folder / "step_best");
  write_file(folder / "step_000999", "a file");
  BOOST_TEST(*lodestone::latest_training_state(folder.path()) == folder / "step_000300");

  const auto tensors = folder / "step_000300/state.safetensors";
  const std::string whole = read_file(tensors);
  std::string damaged = whole;
  damaged[damaged.size() - 5] = static_cast<char>(damaged[damaged.size() - 5] ^ 1);
  write_file(tensors, damaged);
  BOOST_TEST(reason(folder / "step_000300").find("checksum") != std::string::npos);
  BOOST_TEST(reason(folder / "step_000300", verification::sizes).empty());
  std::vector<lodestone::skipped_state> skipped;
  BOOST_TEST(*lodestone::latest_training_state(folder.path(), &skipped) == folder / "step_000020");
  BOOST_REQUIRE(skipped.size() == 1U);
  BOOST_TEST(skipped[0].folder == folder / "step_000300");

  write_file(tensors, whole.substr(0, whole.size() - 1));
  BOOST_TEST(!reason(folder / "step_000300", verification::sizes).empty());
  std::filesystem::remove(folder / "step_000020/manifest.json");
  BOOST_TEST(*lodestone::latest_training_state(folder.path()) == folder / "step_000001");
}

BOOST_AUTO_TEST_CASE(every_single_damage_of_the_manifest_is_found) {
  const temporary_folder folder;
  write_state(folder.path(), 1);
  const auto file = folder / "step_000001/manifest.json";
  const std::string whole = read_file(file);
  int harmless = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 2);
    write_file(file, damaged);
    if (reason(folder / "step_000001").empty()) ++harmless;
  }
  BOOST_TEST(harmless == 0);
  for (std::size_t size = 0; size + 2 < whole.size(); size += 7) {
    write_file(file, whole.substr(0, size));
    BOOST_TEST(!reason(folder / "step_000001").empty());
  }
}

BOOST_AUTO_TEST_CASE(pruning_keeps_the_newest_good_ones) {
  const temporary_folder folder;
  for (std::int64_t step = 1; step <= 6; ++step) write_state(folder.path(), step);
  std::filesystem::remove(folder / "step_000006/state.safetensors");  // damaged: must not count
  const std::array<std::int64_t, 1> best{2};
  lodestone::prune_training_states(folder.path(), 2, best);
  BOOST_TEST(
      names(folder.path()) == (std::vector<std::string>{"step_000002", "step_000004", "step_000005", "step_000006"}),
      boost::test_tools::per_element());
  lodestone::prune_training_states(folder.path(), 0);
  BOOST_TEST(*lodestone::latest_training_state(folder.path()) == folder / "step_000005");
  BOOST_TEST(!std::filesystem::exists(folder / "step_000004"));
}

BOOST_AUTO_TEST_CASE(leftovers_of_dead_processes_are_removed_and_those_of_living_ones_kept) {
  const temporary_folder folder;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  const std::string dead = ".step_000001." + std::to_string(child) + "-0.partial";
  const std::string living = ".step_000001." + std::to_string(getppid()) + "-0.partial";
  std::filesystem::create_directory(folder / dead);
  write_file(folder / (dead + "/state.safetensors"), "half");
  std::filesystem::create_directory(folder / living);
  std::filesystem::create_directory(folder / ".keep.partial");
  write_state(folder.path(), 2);
  BOOST_TEST(!std::filesystem::exists(folder / dead));
  BOOST_TEST(std::filesystem::exists(folder / living));
  BOOST_TEST(std::filesystem::exists(folder / ".keep.partial"));
}

// A process that writes states without pause, replacing and pruning, is killed at many moments. Whatever the moment,
// the newest state that it reported is there, or a newer one, and it is whole.
BOOST_AUTO_TEST_CASE(kill_at_any_moment_leaves_the_last_good_state) {
  const memory_file_system in_memory;  // a kill, unlike a power cut, loses no page: waiting for a disk shows nothing
  const temporary_folder folder;
  const auto begin = std::chrono::steady_clock::now();
  write_state(folder.path(), 1);
  const auto one = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  std::int64_t reported = 1;
  int with_leftovers = 0;
  constexpr int rounds = 60;  // the kills spread over the time of about three states
  // A busy machine may give a child no time before its kill: then later kills come later.
  for (int round = 0; round < rounds || (round < 20 * rounds && (reported <= 5 || with_leftovers == 0)); ++round) {
    std::array<int, 2> channel{};
    BOOST_REQUIRE(pipe(channel.data()) == 0);
    const pid_t child = fork();
    if (child == 0) {
      try {
        for (std::int64_t step = reported + 1;; ++step) {
          write_state(folder.path(), step);
          if (write(channel[1], &step, sizeof step) != sizeof step) _exit(1);
          if (step % 2 == 0) write_state(folder.path(), step);  // replaces a state that was reported
          lodestone::prune_training_states(folder.path(), 2);
        }
      } catch (...) {
      }
      _exit(1);
    }
    close(channel[1]);
    usleep(static_cast<useconds_t>(200 + 3 * one.count() * (1 + round / rounds) * (round % rounds) / rounds));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    BOOST_TEST(WIFSIGNALED(status));  // it did not fail by itself
    std::int64_t step = 0;
    while (read(channel[0], &step, sizeof step) == sizeof step) reported = step;
    close(channel[0]);
    for (const std::string& name : names(folder.path())) with_leftovers += name.starts_with('.') ? 1 : 0;
    const auto latest = lodestone::latest_training_state(folder.path());
    BOOST_REQUIRE(latest.has_value());
    const training_state state(*latest);
    BOOST_TEST(state.step() >= reported);
    BOOST_TEST(is_whole(state, state.step()));
    reported = state.step();
  }
  BOOST_TEST(reported > 5);
  BOOST_TEST(with_leftovers > 0);  // some kills did hit a state that was being written
  write_state(folder.path(), reported + 1);
  for (const std::string& name : names(folder.path())) BOOST_TEST(!name.starts_with('.'), name);
}

BOOST_AUTO_TEST_SUITE_END()
