#include <string_view>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/ascii.hpp>

using namespace lodestone;

namespace {
bool holds(std::string_view kind, char c) { return kind.find(c) != std::string_view::npos; }
}  // namespace

BOOST_AUTO_TEST_SUITE(core_ascii)

BOOST_AUTO_TEST_CASE(every_byte_is_of_the_kinds_that_ascii_gives_it) {
  constexpr std::string_view blanks = " \n\t\r", capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                             small = "abcdefghijklmnopqrstuvwxyz", digits = "0123456789";
  for (int byte = 0; byte < 256; ++byte) {  // those above 127 are negative where char is signed
    const auto c = static_cast<char>(static_cast<unsigned char>(byte));
    BOOST_TEST_CONTEXT("byte " << byte) {
      BOOST_TEST(detail::is_blank(c) == holds(blanks, c));
      BOOST_TEST(detail::is_capital(c) == holds(capitals, c));
      BOOST_TEST(detail::is_small(c) == holds(small, c));
      BOOST_TEST(detail::is_digit(c) == holds(digits, c));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
