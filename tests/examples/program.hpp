// Running the built program as its users do, for tests of the command line.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.hpp"

namespace lodestone_test {

namespace fs = std::filesystem;
using words = std::vector<std::string>;

/// The built program: LODESTONE_PROGRAM, which the build sets. Without it the tests say so and pass.
inline const char* program() {
#ifdef LODESTONE_CLI
  static const char* const path =
      std::getenv("LODESTONE_PROGRAM") != nullptr ? std::getenv("LODESTONE_PROGRAM") : LODESTONE_CLI;
#else
  static const char* const path = std::getenv("LODESTONE_PROGRAM");
#endif
  return path;
}

struct skip_without_program {
  boost::test_tools::assertion_result operator()(boost::unit_test::test_unit_id) const {
    boost::test_tools::assertion_result result(program() != nullptr);
    if (!result) {
      result.message() << "LODESTONE_PROGRAM does not name the built program";
      std::fputs("skipped: the tests of the command-line program; LODESTONE_PROGRAM does not name it\n", stderr);
    }
    return result;
  }
};

struct program_result {
  int status = -1;  ///< exit status, 128 + n for signal n
  std::string out;
  std::string err;
};

/// Starts the program in `folder` with both streams in files there; it reads the file `in` if one is named.
inline pid_t start(const fs::path& folder, const words& arguments, const std::string& out = "out.txt",
                   const std::string& in = "") {
  std::vector<char*> argv{const_cast<char*>(program())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    if (chdir(folder.c_str()) != 0) _exit(126);
    const int output = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int error = open("err.txt", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (!in.empty()) dup2(open(in.c_str(), O_RDONLY), STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  return child;
}

inline int finish(pid_t child) {
  int status = 0;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline program_result run(const fs::path& folder, const words& arguments, const std::string& in = "") {
  program_result r;
  r.status = finish(start(folder, arguments, "out.txt", in));
  r.out = read_file(folder / "out.txt");
  r.err = read_file(folder / "err.txt");
  return r;
}

inline std::string model() { return (source_dir() / "examples/data/models/tinystories-656k").string(); }

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A refused command line: status 2, nothing on standard output, one line that holds all of `parts`.
inline void check_refused(const program_result& r, const words& parts) {
  BOOST_TEST(r.status == 2);
  BOOST_TEST(r.out.empty(), r.out);
  BOOST_TEST(std::ranges::count(r.err, '\n') == 1, r.err);
  for (const std::string& part : parts) BOOST_TEST(has(r.err, part), r.err + " lacks " + part);
}

}  // namespace lodestone_test
