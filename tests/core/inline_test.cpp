#include <lodestone/core/inline.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

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
  // What a header reads after its last line of code, where there is no archive.
  const auto read_behind = [](const std::string& text) {
    const std::string begin = "\n#ifndef LODESTONE_COMPILED\n#include <";
    const std::size_t at = text.rfind(begin);
    return at == std::string::npos || !text.ends_with(".ipp>\n#endif\n") ? std::string{} : text.substr(at);
  };
  std::vector<std::string> headers;      // the ends of headers
  std::vector<std::string> definitions;  // files of definitions, whole
  std::vector<std::string> names;        // and theirs
  for (const auto& item : std::filesystem::recursive_directory_iterator(include)) {
    const auto extension = item.path().extension();
    if (extension == ".hpp") headers.push_back(read_behind(text_of(item.path())));
    if (extension != ".ipp") continue;
    definitions.push_back(text_of(item.path()));
    names.push_back(std::filesystem::relative(item.path(), include).string());
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto includes = [&](const std::string& text) {
      return text.find("#include <" + names[i] + ">\n") != std::string::npos;
    };
    BOOST_TEST_CONTEXT(names[i]) {
      // A header reads it at its end, or other definitions do, which the archive has too. A part of these may hold
      // classes alone, whose functions need no mark.
      const bool is_part = !std::ranges::any_of(headers, includes);
      BOOST_TEST((!is_part || std::ranges::any_of(definitions, includes)));
      const bool marks = definitions[i].find("LODESTONE_INLINE ") != std::string::npos;
      BOOST_TEST((marks || is_part));
      BOOST_TEST((definitions[i].find("#include <lodestone/core/inline.hpp>\n") != std::string::npos) == marks);
    }
  }
  const int files = static_cast<int>(names.size());
  BOOST_TEST(files > 50);
}

BOOST_AUTO_TEST_SUITE_END()
