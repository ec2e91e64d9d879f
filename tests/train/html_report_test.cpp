#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/train/recorders/html_recorder.hpp>
#include <lodestone/train/recorders/html_report.hpp>
#include <lodestone/train/recorders/plot.hpp>
#include <lodestone/train/recorders/plot_axis.hpp>

#include "../support/support.hpp"

namespace {

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// The number that follows `name="` in each element of a kind, in order.
std::vector<double> attributes(std::string_view text, std::string_view element, std::string_view name) {
  std::vector<double> out;
  for (std::size_t at = text.find(element); at != std::string_view::npos; at = text.find(element, at + 1)) {
    const std::string key = " " + std::string(name) + "=\"";
    const std::size_t value = text.find(key, at) + key.size();
    out.push_back(std::stod(std::string(text.substr(value, text.find('"', value) - value))));
  }
  return out;
}

// Every element is closed in its order; void elements and self-closed ones stand alone.
bool balanced(std::string_view page) {
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string_view::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    if (end == std::string_view::npos) return false;
    const std::string_view tag = page.substr(at + 1, end - at - 1);
    if (tag.starts_with("!") || tag.ends_with("/") || tag.starts_with("meta")) continue;
    const std::string name(tag.substr(tag.starts_with("/") ? 1 : 0, tag.find(' ') - (tag.starts_with("/") ? 1 : 0)));
    if (!tag.starts_with("/")) {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != name) return false;
      open.pop_back();
    }
  }
  return open.empty();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_html_report)

BOOST_AUTO_TEST_CASE(ticks_are_round_inside_and_neither_few_nor_many) {
  using lodestone::plot::nice_ticks;
  const std::vector<double> zero_to_one{0.0, 0.2, 0.4, 0.6, 0.8, 1.0};
  BOOST_TEST(nice_ticks(0.0, 1.0, 6) == zero_to_one, boost::test_tools::per_element());
  const std::vector<double> around_zero{-0.1, 0.0, 0.1, 0.2, 0.3};
  BOOST_TEST(nice_ticks(-0.13, 0.31, 6) == around_zero, boost::test_tools::per_element());
  for (const double low : {-7.3, 0.0, 0.01, 3.14159, 1e6})
    for (const double width : {1e-7, 0.013, 0.5, 1.0, 7.7, 123.0, 65536.0, 1e12})
      for (const int target : {3, 6, 10}) {
        const auto ticks = nice_ticks(low, low + width, target);
        BOOST_TEST(static_cast<int>(ticks.size()) <= target + 1);
        BOOST_TEST(static_cast<int>(ticks.size()) >= target / 3);
        const double slack = 1e-8 * width + 1e-12 * std::abs(low);
        BOOST_TEST(ticks.front() >= low - slack);
        BOOST_TEST(ticks.back() <= low + width + slack);
        if (ticks.size() < 2 || width < 1e-5 * std::abs(low)) continue;
        const double step = ticks[1] - ticks[0];
        const double leading = step / std::pow(10.0, std::floor(std::log10(step * (1 + 1e-6))));
        BOOST_TEST((std::abs(leading - 1) < 1e-4 || std::abs(leading - 2) < 1e-4 || std::abs(leading - 5) < 1e-4));
      }
}

BOOST_AUTO_TEST_CASE(labels_of_an_axis) {
  const auto labels = [](double low, double high) {
    const auto axis = lodestone::plot::linear_axis(low, high, 0, 100, 5, false);
    std::string text = axis.factor;
    for (const std::string& label : axis.labels) text += " " + label;
    return text;
  };
  BOOST_TEST(labels(0, 2e-5) == "×10⁻⁵ 0 0.5 1.0 1.5 2.0");
  BOOST_TEST(labels(0, 65536) == " 0 20k 40k 60k");
  BOOST_TEST(labels(0, 15000) == " 0 5k 10k 15k");
  BOOST_TEST(labels(0, 2000) == " 0 500 1000 1500 2000");
  BOOST_TEST(labels(-1, 1) == " -1.0 -0.5 0 0.5 1.0");
  BOOST_TEST(labels(0, 5e9) == " 0 1B 2B 3B 4B 5B");
  BOOST_TEST(labels(4.57, 6.63) == " 5.0 5.5 6.0 6.5");
  BOOST_TEST(labels(3, 3) == " 2.8 3.0 3.2");  // a constant has an axis too
}

BOOST_AUTO_TEST_CASE(an_axis_maps_its_ends_to_its_pixels) {
  const auto axis = lodestone::plot::linear_axis(2.0, 6.0, 300.0, 20.0, 6, true);
  BOOST_TEST(axis.pixel(2.0) == 300.0);
  BOOST_TEST(axis.pixel(6.0) == 20.0);
  BOOST_TEST(axis.pixel(4.0) == 160.0);
  const auto octaves = lodestone::plot::binary_axis(100, 5000, 0.0, 70.0);
  BOOST_TEST(octaves.low == 64.0);
  BOOST_TEST(octaves.high == 8192.0);
  BOOST_TEST(octaves.pixel(128.0) == 10.0, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(octaves.labels.front() == "64");
  BOOST_TEST(octaves.labels.back() == "8Ki");
}

BOOST_AUTO_TEST_CASE(bars_are_as_high_as_their_values_and_stand_on_zero) {
  const std::string html = lodestone::to_html(lodestone::bar_plot{
      .categories = {"a", "b", "c"},
      .series = {{"x", {1.0, 2.0, 4.0}}, {"y", {3.0, std::numeric_limits<double>::quiet_NaN(), 0.0}}}});
  const auto heights = attributes(html, "<rect", "height");
  const auto tops = attributes(html, "<rect", "y");
  BOOST_REQUIRE(heights.size() == 5U);  // the missing value has no bar
  BOOST_TEST(heights[1] / heights[0] == 2.0, boost::test_tools::tolerance(0.01));
  BOOST_TEST(heights[2] / heights[0] == 4.0, boost::test_tools::tolerance(0.01));
  BOOST_TEST(heights[3] / heights[0] == 3.0, boost::test_tools::tolerance(0.01));
  BOOST_TEST(heights[4] == 0.0);
  for (std::size_t i = 0; i < heights.size(); ++i)
    BOOST_TEST(tops[i] + heights[i] == tops[0] + heights[0], boost::test_tools::tolerance(0.002));
}

BOOST_AUTO_TEST_CASE(a_histogram_counts_every_value_once) {
  std::vector<double> values;
  for (int i = 0; i < 1000; ++i) values.push_back(30.0 + i * i % 7919);
  for (const bool octaves : {false, true}) {
    const std::string html = lodestone::to_html(lodestone::histogram_plot{.values = values, .powers_of_two = octaves});
    double sum = 0.0;
    for (std::size_t at = html.find("<title>"); at != std::string::npos; at = html.find("<title>", at + 1))
      sum += std::stod(html.substr(at + 7));
    BOOST_TEST(sum == 1000.0);
    BOOST_TEST(html.find("1,000 values, median ") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_histogram_puts_values_where_the_axis_says) {
  // 0 to 10 in steps of 2, five bins a step: 0 falls in bin 0, 5 in bin 12, 10 in the last, number 24.
  const std::string html = lodestone::to_html(lodestone::histogram_plot{.values = {0.0, 0.1, 5.0, 10.0}});
  const auto x = attributes(html, "<rect", "x");
  const auto height = attributes(html, "<rect", "height");
  BOOST_REQUIRE(x.size() == 3U);
  const double bin = (x[2] - x[0]) / 24.0;
  BOOST_TEST(x[0] == lodestone::plot::left + 4.5, boost::test_tools::tolerance(0.01));
  BOOST_TEST(x[1] == x[0] + 12.0 * bin, boost::test_tools::tolerance(0.01));
  BOOST_TEST(height[0] == 2.0 * height[1], boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_CASE(a_long_line_is_thinned_but_keeps_its_extremes) {
  lodestone::plot_series s;
  for (int i = 0; i < 100'000; ++i) s.x.push_back(i), s.y.push_back(std::sin(i * 0.001));
  s.y[54'321] = 7.0;
  s.y[12'345] = -9.0;
  const auto points = lodestone::plot::thin(s);
  BOOST_TEST(points.size() <= 2 * 520U);
  BOOST_TEST((std::ranges::count(points, std::pair{54'321.0, 7.0}) == 1));
  BOOST_TEST((std::ranges::count(points, std::pair{12'345.0, -9.0}) == 1));
  BOOST_TEST(std::ranges::is_sorted(points, {}, &std::pair<double, double>::first));
}

BOOST_AUTO_TEST_CASE(a_gap_lifts_the_pen_and_empty_plots_say_so) {
  const double gap = std::numeric_limits<double>::quiet_NaN();
  const std::string html =
      lodestone::to_html(lodestone::line_plot{.series = {{.x = {1, 2, 3, 4, 5}, .y = {1, 2, gap, 2, 1}}}});
  const std::string path = html.substr(html.find(" d=\""), html.find("\"/>", html.find(" d=\"")) - html.find(" d=\""));
  BOOST_TEST(count(path, "M") == 2U);
  BOOST_TEST(count(html, "<circle") == 4U);
  BOOST_TEST(html.find("NaN") == std::string::npos);
  BOOST_TEST(html.find("nan") == std::string::npos);
  for (const std::string& empty :
       {lodestone::to_html(lodestone::line_plot{}), lodestone::to_html(lodestone::bar_plot{}),
        lodestone::to_html(lodestone::histogram_plot{.values = {gap}})})
    BOOST_TEST(empty.find("no values") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_page_is_self_contained_balanced_and_escaped) {
  lodestone::html_report page("<script>alert('1')</script>", "a & b \"c\"");
  page.add_heading("First <i>");
  page.add_text("one\n\ntwo\n\n");
  page.add_table(
      {.header = {"name<", "value"}, .rows = {{"<b>", "1,024"}, {"x\x01y", "2e-05"}}, .caption = "<caption>"});
  page.add_line_plot({.title = "<t>", .x_label = "<x>", .y_label = "<y>", .caption = "<c>",
                      .series = {{.name = "<n>", .x = {1, 2}, .y = {1, 2}}, {.name = "m", .x = {1, 2}, .y = {3, 4}}}});
  page.add_bar_plot({.categories = {"<cat>"}, .series = {{"<s>", {1.0}}}});
  page.add_heading("Second");
  page.add_subheading("<sub>");
  page.add_code("a < b && c");
  page.add_key_numbers({{"<v>", "<l>", "<n>"}});
  const std::string html = page.page();
  BOOST_TEST(balanced(html));
  for (const std::string_view evil : {"<script", "<i>", "<b>", "<x>", "<n>", "<cat>", "<sub>", "<v>", "<t>", "\x01"})
    BOOST_TEST(html.find(evil) == std::string::npos, evil);
  for (const std::string_view outside : {"http://", "https://", "src=", "@import", "url(", "<link"})
    BOOST_TEST(html.find(outside) == std::string::npos, outside);
  BOOST_TEST(html.find("prefers-color-scheme:dark") != std::string::npos);
  BOOST_TEST(count(html, "<p>") == 2U);
  BOOST_TEST(html.find("<td class=\"n\">1,024</td>") != std::string::npos);
  BOOST_TEST(html.find("<td>&lt;b&gt;</td>") != std::string::npos);
  BOOST_TEST(html.find("href=\"#s2\">Second</a>") != std::string::npos);
  // The checker itself: a page with one closing mark too few is not balanced.
  BOOST_TEST(!balanced("<p><b></p>"));
}

BOOST_AUTO_TEST_CASE(a_mean_over_recent_values) {
  const auto same = lodestone::smoothed({2.0, 2.0, 2.0}, 10.0);
  for (const double value : same) BOOST_TEST(value == 2.0, boost::test_tools::tolerance(1e-12));
  const auto two = lodestone::smoothed({1.0, 3.0}, 2.0);
  BOOST_TEST(two[1] == (0.5 * 1.0 + 3.0) / 1.5, boost::test_tools::tolerance(1e-12));
  const auto gap = lodestone::smoothed({1.0, std::numeric_limits<double>::quiet_NaN(), 1.0}, 2.0);
  BOOST_TEST(gap[1] == 1.0);
}

BOOST_AUTO_TEST_CASE(the_recorder_writes_a_whole_run_and_a_resumed_one_knows_the_past) {
  const lodestone_test::temporary_folder folder;
  const std::vector<std::int64_t> lengths{100, 200, 400, 3000}, packs{4000, 4096};
  const auto run = [&](std::int64_t first, std::int64_t last) {
    // The page comes first: it must leave out by itself what the other recorder is about to cut away.
    lodestone::recorders both{lodestone::html_recorder(folder / "report.html", folder / "metrics.jsonl"),
                              lodestone::jsonl_recorder(folder / "metrics.jsonl")};
    both.record(lodestone::run_started{.title = "tuning", .steps = 80, .resumed_step = first,
                                       .settings = {{"learning_rate", "<2e-5>"}}, .lengths = lengths, .packs = packs,
                                       .pack_capacity = 4096});
    for (std::int64_t i = first + 1; i <= last; ++i) {
      if (i % 20 == 1)
        both.record(lodestone::evaluation_record{.step = i - 1, .loss = 3.0 / static_cast<double>(i),
                                                 .buckets = {{0, 1024, 1.0, 5}, {1024, 4096, 2.0, 5}}});
      both.record(lodestone::step_record{.step = i, .steps = 80, .loss = 1.0, .tokens = 10, .seconds = 1.0});
    }
    both.record(lodestone::message{lodestone::message_level::warning, "watch <this>", last});
    both.record(lodestone::run_finished{.step = last, .steps = 80});
  };
  run(0, 50);
  run(40, 80);
  const std::string html = lodestone_test::read_file(folder / "report.html");
  BOOST_TEST(balanced(html));
  BOOST_TEST(html.find("Completed: step 80 of 80") != std::string::npos);
  BOOST_TEST(html.find("0 of 80 steps clipped") != std::string::npos);  // all 80 steps, none twice
  for (const char* part : {"Training loss", "Held-out loss", "Learning rate", "Gradient norm", "Pack fill",
                           "Length of the training examples", "Loss by position: held-out", "before training",
                           "watch &lt;this&gt;", "&lt;2e-5&gt;"})
    BOOST_TEST(html.find(part) != std::string::npos, part);
}

BOOST_AUTO_TEST_CASE(a_run_that_compares_answers_shows_their_margins) {
  const lodestone_test::temporary_folder folder;
  const auto page_of = [&](std::int64_t groups, bool is_held_out) {
    lodestone::html_recorder recorder(folder / "report.html");
    recorder.record(lodestone::run_started{.steps = 30});
    const auto preference = [&](std::int64_t step) {
      lodestone::preference_summary p{.groups = groups, .margin = 0.1 * static_cast<double>(step), .accuracy = 0.5};
      p.margins.assign(static_cast<std::size_t>(groups), p.margin);
      return p;
    };
    for (std::int64_t i = 0; i <= 30; ++i) {
      if (is_held_out && i % 15 == 0)
        recorder.record(lodestone::evaluation_record{.step = i, .loss = 1.0, .preference = preference(i)});
      if (i > 0) recorder.record(lodestone::step_record{.step = i, .steps = 30, .preference = preference(i)});
    }
    recorder.record(lodestone::run_finished{.step = 30, .steps = 30});
    return lodestone_test::read_file(folder / "report.html");
  };
  const std::string both = page_of(4, true);
  BOOST_TEST(balanced(both));
  for (const char* part : {"Preferences", "Accuracy", "Rewards", "Log-probabilities", "Supervised term",
                           "Margins before training, held out", "Margins at step 30, held out", "held-out accuracy"})
    BOOST_TEST(both.find(part) != std::string::npos, part);
  const std::string alone = page_of(4, false);
  BOOST_TEST(alone.find("Margins of the first tenth of the steps") != std::string::npos);
  BOOST_TEST(alone.find("held out") == std::string::npos);
  BOOST_TEST(page_of(0, true).find("Preferences") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
