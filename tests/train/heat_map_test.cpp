// The heat map: a cell for each value, in its place and colour, readable with few and with many cells.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/train/recorders/heat_map.hpp>
#include <lodestone/train/recorders/html_report.hpp>

namespace {

using lodestone::heat_map;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// What an attribute of the first element behind `at` says.
double number_behind(const std::string& text, std::size_t at, const std::string& name) {
  const std::size_t begin = text.find(" " + name + "=\"", at) + name.size() + 3;
  return std::stod(text.substr(begin));
}

heat_map grid(std::size_t columns, std::size_t rows) {
  heat_map map{.title = "A < B", .x_label = "length", .y_label = "depth"};
  for (std::size_t c = 0; c < columns; ++c) map.columns.push_back(std::to_string(1024 * (c + 1)));
  for (std::size_t r = 0; r < rows; ++r) map.rows.push_back(std::to_string(10 * r));
  for (std::size_t k = 0; k < rows * columns; ++k)
    map.values.push_back(static_cast<double>(k) / static_cast<double>(rows * columns - 1));
  return map;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_heat_map)

BOOST_AUTO_TEST_CASE(every_value_is_a_cell_in_its_place) {
  heat_map map = grid(3, 2);
  map.values[4] = std::numeric_limits<double>::quiet_NaN();
  const std::string html = to_html(map);
  BOOST_TEST(count(html, "depth ") == 5U);  // hints; one cell is empty
  BOOST_TEST(html.find("A &lt; B") != std::string::npos);
  const std::size_t first = html.find("<rect"), right = html.find("<rect", first + 1);
  const std::size_t below = html.find("depth 10, length 1024");
  BOOST_TEST(html.find("depth 0, length 1024: 0<") < right);
  BOOST_TEST(number_behind(html, right, "x") > number_behind(html, first, "x"));
  BOOST_TEST(number_behind(html, right, "y") == number_behind(html, first, "y"));
  const std::size_t third = html.rfind("<rect", below);
  BOOST_TEST(number_behind(html, third, "x") == number_behind(html, first, "x"));
  BOOST_TEST(number_behind(html, third, "y") > number_behind(html, first, "y"));
  BOOST_TEST(html.find(">0.6</text>") != std::string::npos);  // wide cells show their value
  BOOST_TEST(count(to_html(grid(30, 11)), "font-size:11px") == 0U);
  BOOST_TEST(count(to_html(grid(30, 11)), "<title>depth") == 330U);
  // Names of thirty columns would run into each other.
  BOOST_TEST(count(to_html(grid(30, 2)), "text-anchor=\"middle\">1024") +
                 count(to_html(grid(30, 2)), "text-anchor=\"middle\">2048") ==
             1U);
}

BOOST_AUTO_TEST_CASE(colours_run_from_red_to_blue_and_stop_at_the_ends) {
  using lodestone::plot::heat_colour;
  BOOST_TEST(heat_colour(0.0) == "#b22c26");
  BOOST_TEST(heat_colour(-3.0) == heat_colour(0.0));
  BOOST_TEST(heat_colour(0.5) == "#f6e4a8");
  BOOST_TEST(heat_colour(1.0) == "#2264aa");
  BOOST_TEST(heat_colour(7.0) == heat_colour(1.0));
  heat_map rated = grid(2, 1);
  rated.low = 1.0;
  rated.high = 10.0;
  rated.values = {1.0, 10.0};
  BOOST_TEST(to_html(rated).find("fill=\"#b22c26\"><title>depth 0, length 1024: 1<") != std::string::npos);
  BOOST_TEST(to_html(rated).find("fill=\"#2264aa\"><title>depth 0, length 2048: 10<") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(no_values_and_wrong_numbers_of_them) {
  heat_map map = grid(2, 2);
  map.values.pop_back();
  BOOST_CHECK_THROW(static_cast<void>(to_html(map)), lodestone::shape_error);
  BOOST_TEST(to_html(heat_map{.title = "x"}).find("no values") != std::string::npos);
  lodestone::html_report report("r");
  report.add_heat_map(grid(2, 2));
  BOOST_TEST(count(report.page(), "<figure>") == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
