// Whoever embeds a packer or a loss installs nothing: the closure of their includes is the standard library and ours.
#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/optim/clip.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/rope.hpp>

// Nothing that the headers above leave behind may come from another package.
#if defined(EIGEN_WORLD_VERSION) || defined(NLOHMANN_JSON_VERSION_MAJOR) || defined(RANGES_V3_VERSION_HPP) || \
    defined(BOOST_VERSION) || defined(TOML_LIB_MAJOR) || defined(CLI11_VERSION)
#error "a batching, loss, position, dist or optim header includes a third-party package"
#endif

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "support/support.hpp"

namespace {

/// What `name`, a path below include/, and everything of ours that it includes, includes from elsewhere.
void walk(const std::string& name, std::set<std::string>& visited, std::set<std::string>& foreign) {
  if (!visited.insert(name).second) return;
  std::istringstream lines(lodestone_test::read_file(lodestone_test::source_dir() / "include" / name));
  for (std::string line; std::getline(lines, line);) {
    const std::string directive = "#include ";
    if (line.rfind(directive, 0) != 0) continue;
    const std::string target =
        line.substr(directive.size() + 1, line.find_first_of(">\"", directive.size() + 1) - directive.size() - 1);
    if (target.rfind("lodestone/", 0) == 0)
      walk(target, visited, foreign);
    else
      foreign.insert(target);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(batching_embedding)

BOOST_AUTO_TEST_CASE(packers_and_losses_include_only_the_standard_library) {
  std::set<std::string> visited, foreign;
  for (const char* header :
       {"lodestone/batching/assemble.hpp", "lodestone/batching/naive.hpp", "lodestone/batching/packed.hpp",
        "lodestone/batching/parity.hpp", "lodestone/batching/report.hpp", "lodestone/batching/sorted.hpp",
        "lodestone/dist/single.hpp", "lodestone/dist/threads.hpp", "lodestone/loss/cpo.hpp", "lodestone/loss/dpo.hpp",
        "lodestone/loss/logo.hpp", "lodestone/loss/orpo.hpp", "lodestone/loss/weighted_sft.hpp",
        "lodestone/optim/adamw.hpp", "lodestone/optim/clip.hpp", "lodestone/position/contiguous.hpp",
        "lodestone/position/rope.hpp"})
    walk(header, visited, foreign);
  BOOST_TEST(visited.size() > 20U);
  for (const std::string& name : foreign)  // standard headers have neither a folder nor an extension
    BOOST_TEST_CONTEXT("#include <" << name << ">") { BOOST_TEST((name.find_first_of("/.") == std::string::npos)); }
  // A room that others embed knows nothing of models, backends or trainers.
  for (const std::string& name : visited)
    for (const char* room : {"/host/", "/train/", "/cuda/", "/text/", "/data/", "/checkpoint/"})
      BOOST_TEST_CONTEXT(name) { BOOST_TEST((name.find(room) == std::string::npos)); }
}

BOOST_AUTO_TEST_SUITE_END()
