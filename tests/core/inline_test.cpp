#include <lodestone/core/inline.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include <boost/test/unit_test.hpp>

#include "support/support.hpp"

#define LODESTONE_TEST_TEXT_OF(...) #__VA_ARGS__
#define LODESTONE_TEST_EXPANDED(word) LODESTONE_TEST_TEXT_OF(word)

BOOST_AUTO_TEST_SUITE(core_inline)

BOOST_AUTO_TEST_CASE(definitions_in_a_program_are_inline) {
  BOOST_TEST(std::string_view(LODESTONE_TEST_EXPANDED(LODESTONE_INLINE)) == "inline");
}

BOOST_AUTO_TEST_CASE(definitions_are_read_by_their_header_alone_and_left_out_where_the_archive_has_them) {
  const std::filesystem::path include = lodestone_test::source_dir() / "include";
  const auto text_of = [](const std::filesystem::path& name) {
    std::ostringstream text;
    text << std::ifstream(name).rdbuf();
    return text.str();
  };
  int files = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(include)) {
    if (item.path().extension() != ".ipp") continue;
    ++files;
    const std::string name = std::filesystem::relative(item.path(), include).string();
    const std::string stem = name.substr(0, name.size() - 4);
    const std::string definitions = text_of(item.path());
    BOOST_TEST_CONTEXT(name) {
      BOOST_TEST(definitions.find("#include <lodestone/core/inline.hpp>\n") != std::string::npos);
      BOOST_TEST(definitions.find("#include <" + stem + ".hpp>\n") != std::string::npos);
      BOOST_TEST(text_of(include / (stem + ".hpp"))
                     .ends_with("\n#ifndef LODESTONE_COMPILED\n#include <" + name + ">\n#endif\n"));
    }
  }
  BOOST_TEST(files > 50);
}

BOOST_AUTO_TEST_SUITE_END()
