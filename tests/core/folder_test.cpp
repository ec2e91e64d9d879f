#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <lodestone/core/checksum.hpp>
#include <lodestone/core/folder.hpp>

#include "../support/support.hpp"

namespace {

namespace fs = std::filesystem;
using lodestone::atomic_folder;
using lodestone::existing_folder;
using lodestone::io_error;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

std::size_t entries(const fs::path& folder) {
  std::size_t count = 0;
  for (const auto& item : fs::directory_iterator(folder)) count += item.exists() ? 1 : 0;
  return count;
}

std::uint64_t checksum(const std::string& text, std::size_t piece) {
  lodestone::checksum64 sum;
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    sum.update(bytes.subspan(at, std::min(piece, bytes.size() - at)));
  return sum.value();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(core_folder)

BOOST_AUTO_TEST_CASE(a_folder_appears_with_commit_and_with_all_it_holds) {
  const temporary_folder root;
  atomic_folder folder(root / "new/deep/out");
  write_file(folder.path() / "a", "1");
  fs::create_directory(folder.path() / "sub");
  write_file(folder.path() / "sub/b", "2");
  BOOST_TEST(!fs::exists(root / "new/deep/out"));
  folder.commit();
  BOOST_TEST(read_file(root / "new/deep/out/sub/b") == "2");
  BOOST_TEST(entries(root / "new/deep") == 1U);
  BOOST_CHECK_THROW(folder.commit(), io_error);
}

BOOST_AUTO_TEST_CASE(an_uncommitted_folder_leaves_nothing) {
  const temporary_folder root;
  {
    const atomic_folder folder(root / "out");
    write_file(folder.path() / "a", "1");
  }
  BOOST_TEST(entries(root.path()) == 0U);
}

BOOST_AUTO_TEST_CASE(an_existing_folder_is_refused_even_empty_even_when_it_comes_late) {
  const temporary_folder root;
  fs::create_directory(root / "out");
  BOOST_CHECK_THROW(atomic_folder(root / "out"), io_error);
  BOOST_CHECK_THROW(atomic_folder((root / "out").string() + "/"), io_error);
  fs::remove(root / "out");
  {
    atomic_folder folder(root / "out");
    write_file(root / "out", "someone else was faster");
    BOOST_CHECK_THROW(folder.commit(), io_error);
  }
  BOOST_TEST(read_file(root / "out") == "someone else was faster");
  BOOST_TEST(entries(root.path()) == 1U);
  BOOST_CHECK_THROW(atomic_folder("."), io_error);
  BOOST_CHECK_THROW(atomic_folder(root / "out/below_a_file"), io_error);
}

BOOST_AUTO_TEST_CASE(replacing_exchanges_and_removes_the_old_one) {
  const temporary_folder root;
  fs::create_directory(root / "out");
  write_file(root / "out/old", "1");
  atomic_folder folder(root / "out", existing_folder::replace);
  write_file(folder.path() / "new", "2");
  BOOST_TEST(fs::exists(root / "out/old"));
  folder.commit();
  BOOST_TEST(!fs::exists(root / "out/old"));
  BOOST_TEST(read_file(root / "out/new") == "2");
  BOOST_TEST(entries(root.path()) == 1U);
}

BOOST_AUTO_TEST_CASE(moved_folders_commit_once) {
  const temporary_folder root;
  {
    atomic_folder first(root / "out");
    write_file(first.path() / "a", "1");
    atomic_folder second(std::move(first));
    atomic_folder third(root / "other");
    third = std::move(second);
    third.commit();
  }
  BOOST_TEST(fs::exists(root / "out/a"));
  BOOST_TEST(entries(root.path()) == 1U);
}

BOOST_AUTO_TEST_CASE(only_leftovers_of_dead_processes_are_removed) {
  const temporary_folder root;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  const std::string pid = std::to_string(child);
  for (const std::string& name : {".out." + pid + "-3.partial", ".out.with.dots." + pid + "-0.partial"})
    fs::create_directory(root / name);
  write_file(root / (".file.txt." + pid + "-12.partial"), "half");
  fs::create_directory(root / (".mine." + std::to_string(getpid()) + "-0.partial"));
  for (const char* name : {"out.1-1.partial", ".out.partial", ".x-1.partial", ".out.-1.partial", ".out.12a-1.partial"})
    fs::create_directory(root / name);
  lodestone::remove_abandoned(root.path());
  BOOST_TEST(entries(root.path()) == 6U);
  lodestone::remove_abandoned(root / "none");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(core_checksum)

// The published test vectors of XXH64 with seed 0.
BOOST_AUTO_TEST_CASE(agrees_with_published_vectors) {
  BOOST_TEST(checksum("", 1) == 0xef46db3751d8e999U);
  BOOST_TEST(checksum("a", 1) == 0xd24ec4f1a98c6e5bU);
  BOOST_TEST(checksum("abc", 3) == 0x44bc2cf5ad770999U);
  BOOST_TEST(checksum("Nobody inspects the spammish repetition", 64) == 0xfbcea83c8a378bf1U);
}

BOOST_AUTO_TEST_CASE(the_split_does_not_matter_and_every_byte_does) {
  std::string text;
  for (int i = 0; i < 133; ++i) text += static_cast<char>(i * 7);
  const std::uint64_t whole = checksum(text, text.size());
  for (std::size_t piece = 1; piece < text.size(); ++piece) BOOST_TEST(checksum(text, piece) == whole);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    BOOST_TEST(checksum(other, 64) != whole);
    BOOST_TEST(checksum(text.substr(0, i), 64) != whole);
  }
}

BOOST_AUTO_TEST_SUITE_END()
