#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lodestone/core/file.hpp>

#include "../support/support.hpp"

namespace {

using lodestone::atomic_file;
using lodestone::io_error;
using lodestone::mapped_file;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

std::size_t entries(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for (const auto& item : std::filesystem::directory_iterator(folder)) count += item.exists() ? 1 : 0;
  return count;
}

/// Files past `bytes` cannot be written while this lives: the test's full disk.
class file_size_limit {
 public:
  explicit file_size_limit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  file_size_limit(const file_size_limit&) = delete;
  file_size_limit& operator=(const file_size_limit&) = delete;
  ~file_size_limit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(core_file)

BOOST_AUTO_TEST_CASE(mapping_gives_the_bytes_and_survives_moves) {
  const temporary_folder folder;
  write_file(folder / "a", "hello");
  write_file(folder / "b", "other");
  mapped_file a(folder / "a");
  BOOST_TEST(a.text() == "hello");
  BOOST_TEST(a.bytes().size() == 5U);
  const std::byte* address = a.bytes().data();
  mapped_file moved(std::move(a));
  BOOST_TEST(moved.bytes().data() == address);
  BOOST_TEST(moved.name() == folder / "a");
  mapped_file b(folder / "b");
  b = std::move(moved);
  BOOST_TEST(b.text() == "hello");
  mapped_file& self = b;
  b = std::move(self);
  BOOST_TEST(b.text() == "hello");
}

BOOST_AUTO_TEST_CASE(a_mapping_outlives_the_replacement_of_its_file) {
  const temporary_folder folder;
  write_file(folder / "a", "before");
  const mapped_file old(folder / "a");
  atomic_file file(folder / "a");
  file.write("after!");
  file.commit();
  BOOST_TEST(old.text() == "before");
  BOOST_TEST(read_file(folder / "a") == "after!");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_mapped_says_so) {
  const temporary_folder folder;
  write_file(folder / "empty", "");
  BOOST_TEST(mapped_file(folder / "empty").bytes().empty());
  BOOST_CHECK_EXCEPTION(mapped_file(folder / "none"), io_error, [&](const io_error& failure) {
    const std::string text = failure.what();
    return text.find((folder / "none").string()) == 0 && text.find("No such file") != std::string::npos;
  });
  BOOST_CHECK_THROW(mapped_file(folder.path()), io_error);
  BOOST_CHECK_THROW(mapped_file("/dev/null"), io_error);
}

BOOST_AUTO_TEST_CASE(read_text_reads_all_and_names_what_it_cannot) {
  const temporary_folder folder;
  const std::string big(200'000, 'x');
  write_file(folder / "big", big);
  BOOST_TEST((lodestone::read_text(folder / "big") == big));
  BOOST_TEST(lodestone::read_text("/dev/null").empty());
  BOOST_CHECK_THROW((void)lodestone::read_text(folder / "none"), io_error);
  BOOST_CHECK_THROW((void)lodestone::read_text(folder.path()), io_error);
}

BOOST_AUTO_TEST_CASE(nothing_appears_before_commit) {
  const temporary_folder folder;
  write_file(folder / "out", "old");
  {
    atomic_file file(folder / "out");
    file.write(std::string(3'000'000, 'a'));
    file.write("tail");
    BOOST_TEST(read_file(folder / "out") == "old");
  }
  BOOST_TEST(read_file(folder / "out") == "old");
  BOOST_TEST(entries(folder.path()) == 1U);  // the uncommitted one is gone
}

BOOST_AUTO_TEST_CASE(commit_replaces_at_once_and_only_once) {
  const temporary_folder folder;
  write_file(folder / "out", "old");
  atomic_file file(folder / "out");
  std::string expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
    file.write(piece);
    expected += piece;
  }
  BOOST_TEST(file.position() == expected.size());
  file.commit();
  BOOST_TEST((read_file(folder / "out") == expected));
  BOOST_TEST(entries(folder.path()) == 1U);
  BOOST_CHECK_THROW(file.write("more"), io_error);
  BOOST_CHECK_THROW(file.commit(), io_error);
}

BOOST_AUTO_TEST_CASE(seek_writes_out_of_order) {
  const temporary_folder folder;
  atomic_file file(folder / "out");
  file.seek(4);
  file.write("5678");
  file.seek(0);
  file.write("1234");
  file.seek(8);
  file.write("9");
  file.commit();
  BOOST_TEST(read_file(folder / "out") == "123456789");
}

BOOST_AUTO_TEST_CASE(a_moved_file_still_commits_and_the_shell_does_nothing) {
  const temporary_folder folder;
  {
    atomic_file first(folder / "out");
    first.write("abc");
    atomic_file second(std::move(first));
    atomic_file third(folder / "other");
    third = std::move(second);
    third.commit();
  }
  BOOST_TEST(read_file(folder / "out") == "abc");
  BOOST_TEST(entries(folder.path()) == 1U);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_that_leaves_nothing) {
  const temporary_folder folder;
  write_file(folder / "out", "old");
  {
    const file_size_limit limit(100'000);
    {
      atomic_file file(folder / "out");
      file.write(std::string(90'000, 'a'));
      file.write(std::string(90'000, 'a'));  // still in the buffer
      BOOST_CHECK_EXCEPTION(file.commit(), io_error, [](const io_error& failure) {
        return std::string(failure.what()).find("File too large") != std::string::npos;
      });
    }
    atomic_file file(folder / "out");
    BOOST_CHECK_THROW(file.write(std::string(4'000'000, 'a')), io_error);
  }
  BOOST_TEST(read_file(folder / "out") == "old");
  BOOST_TEST(entries(folder.path()) == 1U);
}

BOOST_AUTO_TEST_CASE(a_full_device_says_so) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  BOOST_REQUIRE(full >= 0);
  const std::vector<std::byte> bytes(10);
  BOOST_CHECK_EXCEPTION(lodestone::detail::write_all(full, bytes, -1, "/dev/full"), io_error, [](const io_error& e) {
    return std::string(e.what()).find("disk is full") != std::string::npos;
  });
  ::close(full);
}

BOOST_AUTO_TEST_CASE(folders_that_refuse_are_named) {
  const temporary_folder folder;
  BOOST_CHECK_THROW(atomic_file(folder / "none/out"), io_error);
  std::filesystem::create_directory(folder / "taken");
  write_file(folder / "taken/file", "x");
  {
    atomic_file file(folder / "taken");
    file.write("x");
    BOOST_CHECK_THROW(file.commit(), io_error);
  }
  BOOST_TEST(entries(folder.path()) == 1U);
}

BOOST_AUTO_TEST_CASE(a_killed_writer_leaves_the_old_file) {
  const temporary_folder folder;
  write_file(folder / "out", "old");
  for (int spin = 0; spin < 20; ++spin) {
    const pid_t child = fork();
    if (child == 0) {
      try {
        for (;;) {
          atomic_file file(folder / "out");
          file.write(std::string(2'000'000, 'n'));
          file.commit();
        }
      } catch (...) {
      }
      _exit(1);
    }
    usleep(static_cast<useconds_t>(500 + 700 * spin));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::string content = read_file(folder / "out");
    BOOST_TEST((content == "old" || content == std::string(2'000'000, 'n')));
  }
}

BOOST_AUTO_TEST_SUITE_END()
