#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <lodestone/train/run_folder.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::keep_policy;
using lodestone::resume_from;
using lodestone::run_folder;
namespace fs = std::filesystem;

std::vector<std::int64_t> steps(const run_folder& run) {
  std::vector<std::int64_t> out;
  for (const auto& c : run.checkpoints()) out.push_back(c.step);
  return out;
}

void save(const run_folder& run, std::int64_t step) {
  fs::create_directory(run.checkpoint(step));
  lodestone_test::write_file(run.checkpoint(step) / "state", "x");
}

bool says(const lodestone::error& e, std::string_view text) {
  return std::string_view(e.what()).find(text) != std::string_view::npos;
}

const std::vector<std::int64_t> none;

}  // namespace

BOOST_AUTO_TEST_SUITE(train_run_folder)

BOOST_AUTO_TEST_CASE(the_newest_and_the_best_checkpoints_stay) {
  const lodestone_test::temporary_folder folder;
  const run_folder run(folder / "out", keep_policy{.last = 2, .best = true}, resume_from::automatic);
  BOOST_TEST(!run.latest().has_value());
  for (const std::int64_t step : {200, 400, 1'000'000'000, 600}) save(run, step);
  BOOST_TEST(steps(run) == (std::vector<std::int64_t>{200, 400, 600, 1'000'000'000}), boost::test_tools::per_element());
  run.mark_best({200, 1.0 / 3.0});
  BOOST_TEST(run.prune() == (std::vector<std::int64_t>{400}), boost::test_tools::per_element());
  BOOST_TEST(steps(run) == (std::vector<std::int64_t>{200, 600, 1'000'000'000}), boost::test_tools::per_element());
  BOOST_TEST(run.latest()->step == 1'000'000'000);
  BOOST_TEST(run.best()->step == 200);
  BOOST_TEST(run.best()->loss == 1.0 / 3.0);  // every bit
  run.mark_best({600, 0.25});
  BOOST_TEST(run.prune() == (std::vector<std::int64_t>{200}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(zero_keeps_all) {
  const lodestone_test::temporary_folder folder;
  const run_folder run(folder / "out", keep_policy{.last = 0}, resume_from::automatic);
  for (const std::int64_t step : {1, 2, 3}) save(run, step);
  BOOST_TEST(run.prune() == none, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(only_whole_checkpoints_count_and_leftovers_go_at_the_next_start) {
  const lodestone_test::temporary_folder folder;
  {
    const run_folder run(folder / "out", {}, resume_from::automatic);
    save(run, 5);
    for (const char* name : {".step-00000006.partial", ".removed-step-00000001", "step-", "step-7x", "other"})
      fs::create_directory(run.root() / "checkpoints" / name);
    lodestone_test::write_file(run.root() / "checkpoints" / "step-00000009", "a file");
    BOOST_TEST(steps(run) == (std::vector<std::int64_t>{5}), boost::test_tools::per_element());
  }
  const run_folder again(folder / "out", {}, resume_from::automatic);
  BOOST_TEST(!fs::exists(again.root() / "checkpoints" / ".step-00000006.partial"));
  BOOST_TEST(!fs::exists(again.root() / "checkpoints" / ".removed-step-00000001"));
  BOOST_TEST(fs::exists(again.root() / "checkpoints" / "other"));
}

BOOST_AUTO_TEST_CASE(a_folder_with_other_things_is_refused) {
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(folder / "thesis.tex", "x");
  for (const resume_from resume : {resume_from::automatic, resume_from::never})
    BOOST_CHECK_EXCEPTION(run_folder(folder.path(), {}, resume), lodestone::config_error,
                          [](const auto& e) { return says(e, "choose another output"); });
  { const run_folder run(folder / "out", {}, resume_from::never); }
  BOOST_CHECK_EXCEPTION(run_folder(folder / "out", {}, resume_from::never), lodestone::config_error,
                        [](const auto& e) { return says(e, "resume = \"auto\""); });
  BOOST_CHECK_NO_THROW(run_folder(folder / "out", {}, resume_from::automatic));
  BOOST_CHECK_THROW(run_folder("", {}, resume_from::automatic), lodestone::config_error);
  BOOST_CHECK_THROW(run_folder(folder / "thesis.tex" / "out", {}, resume_from::automatic), lodestone::io_error);
}

BOOST_AUTO_TEST_CASE(two_runs_cannot_share_a_folder) {
  const lodestone_test::temporary_folder folder;
  const run_folder first(folder / "out", {}, resume_from::automatic);
  BOOST_CHECK_EXCEPTION(run_folder(folder / "out", {}, resume_from::automatic), lodestone::config_error,
                        [](const auto& e) { return says(e, "another process is training"); });
}

BOOST_AUTO_TEST_CASE(resuming_from_an_older_checkpoint_forgets_the_newer) {
  const lodestone_test::temporary_folder folder;
  const run_folder run(folder / "out", {}, resume_from::automatic);
  for (const std::int64_t step : {10, 20, 30}) save(run, step);
  run.mark_best({30, 1.0});
  run.forget_after(20);
  BOOST_TEST(steps(run) == (std::vector<std::int64_t>{10, 20}), boost::test_tools::per_element());
  BOOST_TEST(!run.best().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
