// A log of results: what was written is there after any kill, nothing twice, nothing half.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <lodestone/data/result_log.hpp>

#include "support/support.hpp"

using lodestone::result_log;
using lodestone_test::temporary_folder;

namespace {

std::string line_of(int i, std::size_t size = 3) {
  return "{\"id\": \"" + std::to_string(i) + "\", \"text\": \"" + std::string(size, 'x') + "\"}";
}

template <class Error, class Call>
std::string message(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_SUITE(data_result_log)

BOOST_AUTO_TEST_CASE(a_job_in_two_parts_writes_the_file_of_a_whole_one) {
  const temporary_folder folder;
  const std::vector<std::string> order{"2", "0", "1"};
  {
    result_log log(folder / "out.jsonl", "{\"t\": 1}");
    log.append("0", line_of(0));
    log.append("1", line_of(1));
    BOOST_TEST(log.read("1") == line_of(1));
  }
  BOOST_TEST(!std::filesystem::exists(folder / "out.jsonl"));
  result_log log(folder / "out.jsonl", "{\"t\": 1}");
  BOOST_TEST(log.size() == 2U);
  BOOST_TEST(log.contains("0"));
  BOOST_TEST(!log.contains("2"));
  log.append("2", line_of(2));
  log.append("10", line_of(10));
  BOOST_TEST(log.ids() == (std::vector<std::string>{"0", "1", "2", "10"}), boost::test_tools::per_element());
  BOOST_TEST(log.ids("1") == (std::vector<std::string>{"1", "10"}), boost::test_tools::per_element());
  BOOST_TEST(log.ids("3").empty());
  log.commit(order);
  BOOST_TEST(lodestone::read_text(folder / "out.jsonl") == line_of(2) + "\n" + line_of(0) + "\n" + line_of(1) + "\n");
  BOOST_TEST(!std::filesystem::exists(folder / "out.jsonl.partial"));
  BOOST_TEST(has(message<lodestone::config_error>([&] { log.append("3", line_of(3)); }), "committed"));
  BOOST_TEST(has(message<lodestone::config_error>([&] { result_log(folder / "out.jsonl", "{}"); }), "already"));
}

BOOST_AUTO_TEST_CASE(a_file_cut_anywhere_loses_at_most_the_line_that_was_cut) {
  const temporary_folder folder;
  {
    result_log log(folder / "whole", "{\"t\": 1}");
    for (int i = 0; i < 3; ++i) log.append(std::to_string(i), line_of(i));
  }
  const std::string whole = lodestone::read_text(folder / "whole.partial");
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    const std::string name = "cut" + std::to_string(cut);
    lodestone::atomic_file file(folder / (name + ".partial"));
    file.write(std::string_view(whole).substr(0, cut));
    file.commit();
    result_log log(folder / name, "{\"t\": 1}");
    const auto lines =
        static_cast<std::size_t>(std::count(whole.begin(), whole.begin() + static_cast<long>(cut), '\n'));
    BOOST_TEST_REQUIRE(log.size() == (lines == 0 ? 0 : lines - 1));
    for (int i = static_cast<int>(log.size()); i < 3; ++i) log.append(std::to_string(i), line_of(i));
    const std::vector<std::string> order{"0", "1", "2"};
    log.commit(order);
    BOOST_TEST_REQUIRE(lodestone::read_text(folder / name) ==
                       line_of(0) + "\n" + line_of(1) + "\n" + line_of(2) + "\n");
  }
}

BOOST_AUTO_TEST_CASE(a_killed_writer_leaves_whole_results_only) {
  const temporary_folder folder;
  const auto size = [&] {
    std::error_code is_missing;
    const auto bytes = std::filesystem::file_size(folder / "out.partial", is_missing);
    return is_missing ? 0 : bytes;
  };
  for (int round = 0; round < 8; ++round) {
    const auto before = size();
    const pid_t child = fork();
    BOOST_TEST_REQUIRE(child >= 0);
    if (child == 0) {
      result_log log(folder / "out", "{}");
      for (int i = static_cast<int>(log.size());; ++i) log.append(std::to_string(i), line_of(i, 100'000));
    }
    for (int wait = 0; wait < 20'000 && size() < before + 150'000; ++wait)  // a busy machine starts it late
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(2 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const result_log log(folder / "out", "{}");
    for (int i = 0; i < static_cast<int>(log.size()); ++i)
      BOOST_TEST_REQUIRE(log.read(std::to_string(i)) == line_of(i, 100'000));
  }
  BOOST_TEST(result_log(folder / "out", "{}").size() > 0U);
}

BOOST_AUTO_TEST_CASE(results_of_other_settings_never_mix) {
  const temporary_folder folder;
  {
    result_log log(folder / "out", R"({"seed": 1, "model": "a"})");
    log.append("0", line_of(0));
  }
  const std::string text =
      message<lodestone::config_error>([&] { result_log(folder / "out", R"({"seed": 2, "model": "a", "top_k": 5})"); });
  BOOST_TEST(has(text, "seed 1 (now 2)"), text);
  BOOST_TEST(has(text, "top_k none (now 5)"), text);
  BOOST_TEST(!has(text, "model \""), text);
  BOOST_TEST(result_log(folder / "out", R"({"model": "a", "seed": 1})").size() == 1U);
}

BOOST_AUTO_TEST_CASE(what_is_no_result_is_refused) {
  const temporary_folder folder;
  result_log log(folder / "out", "{}");
  log.append("0", line_of(0));
  for (const char* wrong : {"", "[]", "{\"id\": \"1\"", "{\"id\": \"2\"}", "{\"id\": 1}", "{\"id\":\n\"1\"}"})
    BOOST_TEST(has(message<lodestone::data_error>([&] { log.append("1", wrong); }), "not one line"), wrong);
  BOOST_TEST(has(message<lodestone::data_error>([&] { log.append("0", line_of(0)); }), "already"));
  BOOST_TEST(has(message<lodestone::data_error>([&] { (void)log.read("7"); }), "no result"));
  const std::vector<std::string> order{"0", "7"};
  BOOST_TEST(has(message<lodestone::data_error>([&] { log.commit(order); }), "no result"));
  BOOST_TEST(!std::filesystem::exists(folder / "out"));
  BOOST_TEST(has(message<lodestone::config_error>([&] { result_log(folder / "out", "{}"); }), "another process"));

  lodestone::atomic_file file(folder / "foreign.partial");
  file.write(std::string_view("{\"a\": 1}\n"));
  file.commit();
  BOOST_TEST(has(message<lodestone::data_error>([&] { result_log(folder / "foreign", "{}"); }), "foreign.partial:1"));
  BOOST_TEST(lodestone::read_text(folder / "foreign.partial") == "{\"a\": 1}\n");
}

BOOST_AUTO_TEST_SUITE_END()
