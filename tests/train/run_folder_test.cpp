#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/train/run_folder.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::resume_from;
using lodestone::run_folder;
namespace fs = std::filesystem;

std::vector<std::int64_t> steps(const run_folder& run) {
  std::vector<std::int64_t> out;
  for (const fs::path& folder : lodestone::detail::state_folders(run.checkpoints()))
    out.push_back(*lodestone::detail::step_of(folder));
  return out;
}

void save(const run_folder& run, std::int64_t step) {
  lodestone::training_state_writer(run.checkpoints(), step, {}, {}).commit();
}

bool says(const lodestone::error& e, std::string_view text) {
  return std::string_view(e.what()).find(text) != std::string_view::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_run_folder)

BOOST_AUTO_TEST_CASE(what_a_killed_process_left_goes_at_the_next_start) {
  const lodestone_test::temporary_folder folder;
  { const run_folder run(folder / "out", resume_from::automatic); }
  const fs::path checkpoints = folder / "out" / "checkpoints";
  const fs::path left = checkpoints / ".step_000006.999999999-0.partial";  // no process has this number
  fs::create_directory(left);
  fs::create_directory(checkpoints / "other");
  const run_folder again(folder / "out", resume_from::automatic);
  BOOST_TEST(!fs::exists(left));
  BOOST_TEST(fs::exists(checkpoints / "other"));
}

BOOST_AUTO_TEST_CASE(a_folder_with_other_things_is_refused) {
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(folder / "thesis.tex", "x");
  for (const resume_from resume : {resume_from::automatic, resume_from::never})
    BOOST_CHECK_EXCEPTION(run_folder(folder.path(), resume), lodestone::config_error,
                          [](const auto& e) { return says(e, "choose another output"); });
  { const run_folder run(folder / "out", resume_from::never); }
  BOOST_CHECK_EXCEPTION(run_folder(folder / "out", resume_from::never), lodestone::config_error,
                        [](const auto& e) { return says(e, "resume = \"auto\""); });
  BOOST_CHECK_NO_THROW(run_folder(folder / "out", resume_from::automatic));
  BOOST_CHECK_THROW(run_folder("", resume_from::automatic), lodestone::config_error);
  BOOST_CHECK_THROW(run_folder(folder / "thesis.tex" / "out", resume_from::automatic), lodestone::io_error);
}

BOOST_AUTO_TEST_CASE(two_runs_cannot_share_a_folder) {
  const lodestone_test::temporary_folder folder;
  const run_folder first(folder / "out", resume_from::automatic);
  BOOST_CHECK_EXCEPTION(run_folder(folder / "out", resume_from::automatic), lodestone::config_error,
                        [](const auto& e) { return says(e, "another process is training"); });
}

BOOST_AUTO_TEST_CASE(resuming_from_an_older_checkpoint_forgets_the_newer) {
  const lodestone_test::temporary_folder folder;
  const run_folder run(folder / "out", resume_from::automatic);
  for (const std::int64_t step : {10, 20, 30}) save(run, step);
  run.forget_after(20);
  BOOST_TEST(steps(run) == (std::vector<std::int64_t>{10, 20}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
