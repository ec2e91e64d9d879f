// The template language against jinja2 set up as transformers does (tests/oracle/chat_templates.py), its errors, its
// bounds, and the marks that data keep on their way through.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/text/jinja_interpreter.hpp>

#include "support/support.hpp"

namespace {

using namespace lodestone::jinja;
using names = std::vector<std::pair<std::string, value>>;
using nlohmann::ordered_json;

names values_of(const ordered_json& object) {
  names result;
  const value all = parse_json(object.dump(), "values");
  for (const auto& [key, what] : all.entries().entries) result.emplace_back(key.string().bytes(), what);
  return result;
}

std::string render(const std::string& source, const names& values = {}, const environment& around = {}) {
  return run(parse(source, "t"), values, around).output.bytes();
}

/// The message of a failure, or "wrote ..." when there is none.
std::string fault(const std::string& source, const names& values = {}, const environment& around = {}) {
  try {
    return "wrote " + render(source, values, around);
  } catch (const lodestone::error& failure) {
    return failure.what();
  }
}

std::vector<ordered_json> lines_of(const std::string& name) {
  std::ifstream file(std::filesystem::path(LODESTONE_SOURCE_DIR) / "tests/data/chat" / name);
  std::vector<ordered_json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(ordered_json::parse(line));
  return lines;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(text_jinja)

BOOST_AUTO_TEST_CASE(every_feature_writes_what_jinja2_writes) {
  const std::vector<ordered_json> lines = lines_of("features.jsonl");
  BOOST_REQUIRE(lines.size() > 100);
  const names values = values_of(lines.front()["values"]);
  std::size_t refused = 0;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::string source = lines[i]["template"];
    const std::string written = fault(source, values);
    if (lines[i].contains("text")) {
      BOOST_TEST(written == "wrote " + lines[i]["text"].get<std::string>(), source << "\n  wrote " << written);
    } else {
      ++refused;
      BOOST_TEST(!written.starts_with("wrote "), source << " should fail: " << lines[i]["error"] << ", " << written);
    }
  }
  BOOST_TEST(refused > 30U);
}

/// LODESTONE_TEST_TEMPLATES names a folder of *.jinja with the expected.json that chat_templates.py --real writes.
BOOST_AUTO_TEST_CASE(real_templates_write_what_jinja2_writes) {
  const char* folder = std::getenv("LODESTONE_TEST_TEMPLATES");
  if (folder == nullptr) {
    BOOST_TEST_MESSAGE("skipped: LODESTONE_TEST_TEMPLATES names no folder of templates");
    std::fprintf(stderr, "real_templates_write_what_jinja2_writes: skipped, LODESTONE_TEST_TEMPLATES is not set\n");
    return;
  }
  const ordered_json cases =
      ordered_json::parse(lodestone_test::read_file(std::filesystem::path(folder) / "expected.json"));
  std::size_t equal = 0;
  std::size_t refused = 0;
  for (const ordered_json& one : cases) {
    const std::string file = one["file"];
    const std::string written =
        fault(lodestone_test::read_file(std::filesystem::path(folder) / file), values_of(one["values"]));
    const bool holds =
        one.contains("text") ? written == "wrote " + one["text"].get<std::string>() : !written.starts_with("wrote ");
    if (holds) ++(one.contains("text") ? equal : refused);
    BOOST_TEST(holds, file << " " << one["conversation"] << ": " << written.substr(0, 300));
  }
  std::fprintf(stderr, "%zu of %zu equal, of which %zu are refusals of both\n", equal + refused, cases.size(), refused);
}

BOOST_AUTO_TEST_CASE(errors_name_template_line_and_column) {
  BOOST_TEST(fault("a\n  {{ 1 +* 2 }}").starts_with("t:2:9: expected an expression, found '*'"));
  BOOST_TEST(fault("a\n\n{% include 'x' %}").starts_with("t:3:4: the block 'include' is not supported"));
  BOOST_TEST(fault("{{ x.y.z }}", {{"x", value::dict(mapping{})}}).starts_with("t:1:7: 'y' is undefined"));
  BOOST_TEST(fault("\n{{ 'a' | nothing }}").starts_with("t:2:10: the filter 'nothing' is not supported"));
  BOOST_TEST(fault("{{ 1 is nothing }}").starts_with("t:1:6: the test 'nothing' is not supported"));
  BOOST_TEST(fault("{% for x in y recursive %}{% endfor %}").starts_with("t:1:15: a recursive loop is not supported"));
  BOOST_TEST(fault("{% if x %}\nab").starts_with("t:1:1: the block has no end; close it with {% endif %}"));
  BOOST_TEST(fault("ab{# c\nd").starts_with("t:1:3: the comment has no end"));
  BOOST_TEST(fault("{{ 'ab\n\n }}").starts_with("t:1:4: the string has no end"));
  BOOST_TEST(fault("{{ [].append(1) }}").find("only a namespace changes") != std::string::npos);
  BOOST_TEST(fault("{{ raise_exception('no ' ~ 'way') }}") == "no way");
  BOOST_CHECK_THROW((void)render("{{ raise_exception('x') }}"), template_refusal);
  BOOST_CHECK_THROW((void)render("{{ 1 / 0 }}"), template_error);
}

/// A template from the net must not hang, fill the memory or the stack.
BOOST_AUTO_TEST_CASE(templates_are_bounded) {
  const environment few{.steps = 100'000};
  const auto ends = [&](const std::string& source) {
    const std::string message = fault(source, {{"t", "text"}}, few);
    BOOST_TEST(!message.starts_with("wrote "), source << " " << message.substr(0, 80));
    return message;
  };
  BOOST_TEST(ends("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}").find("steps") !=
             std::string::npos);
  ends("{% set n = namespace(t='ab') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}");
  ends("{% set n = namespace(t=[1]) %}{% for i in range(99) %}{% set n.t = [n.t, n.t] %}{% endfor %}");
  ends("{% set n = namespace(t=[1]) %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}");
  ends("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  ends("{{ 'x' * 9999999999 }}");
  ends("{{ [0] * 9999999999 }}");
  ends("{{ 'x'.center(9999999999) }}");
  ends("{{ 'x' | indent(9999999999, true) }}");
  ends("{{ '%999999999d' % 3 }}");
  ends("{{ ('a' * 20000) | replace('', 'b' * 20000) }}");
  ends("{{ 9223372036854775807 + 1 }}");
  ends("{{ 10 ** 30 }}");
  ends("{{ 9999999999999999999 }}");
  ends("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}");
  ends("{{ " + std::string(5000, '-') + "1 }}");
  std::string nots = "1";
  std::string sum = "1";
  std::string blocks;
  for (int i = 0; i < 5000; ++i) {
    nots = "not " + nots;
    sum += " + 1";
    blocks += "{% if t %}";
  }
  ends("{{ " + nots + " }}");
  ends("{{ " + sum + " }}");
  ends(blocks);
  // What holds itself is released all the same (the leak checker of sanitised builds looks).
  BOOST_TEST(
      render("{% set n = namespace() %}{% set n.me = n %}{% macro m() %}{{ m is callable }}{% endmacro %}{{ m() }}") ==
      "True");
}

BOOST_AUTO_TEST_CASE(numbers_at_the_edges) {
  BOOST_TEST(render("{{ (-9223372036854775807 - 1) // -1 if false else 'x' }}{{ 5 // -1 }}{{ 5 % -1 }}") == "x-50");
  BOOST_TEST(fault("{{ (-9223372036854775807 - 1) // -1 }}").find("64 bits") != std::string::npos);
  BOOST_TEST(fault("{{ (-9223372036854775807 - 1) | abs }}").find("64 bits") != std::string::npos);
  BOOST_TEST(render("{{ numbers[::9223372036854775807] }}{{ numbers[::-9223372036854775807] }}",
                    {{"numbers", value::list({1.0, 2.0})}}) == "[1.0][2.0]");
}

BOOST_AUTO_TEST_CASE(the_date_is_the_users) {
  environment around;
  around.now = [] {
    std::tm date{};
    date.tm_year = 124;
    date.tm_mon = 6;
    date.tm_mday = 26;
    return date;
  };
  BOOST_TEST(render("{{ strftime_now('%d %b %Y') }}", {}, around) == "26 Jul 2024");
  BOOST_TEST(render("{{ strftime_now('%Y') | int > 2020 }}") == "True");
}

/// Every byte of data keeps its mark, whatever carries it; no other byte has one.
BOOST_AUTO_TEST_CASE(data_are_followed_byte_by_byte) {
  const names values{{"x", value::data("  dAta, mOre ", 3)}, {"y", value::data("Q", 4)}};
  const auto marked = [&](const std::string& source) {
    const text output = run(parse(source, "t"), values).output;
    std::string shown = output.bytes();
    for (std::size_t i = output.marks().size(); i-- > 0;) {
      const mark& one = output.marks()[i];
      shown.insert(one.end, "}");
      shown.insert(one.begin, std::to_string(one.source) + "{");
    }
    return shown;
  };
  BOOST_TEST(marked("a{{ x }}b") == "a3{  dAta, mOre }b");
  BOOST_TEST(marked("<{{ x | trim }}>{{ '(' + y + ')' ~ y }}") == "<3{dAta, mOre}>(4{Q})4{Q}");
  BOOST_TEST(marked("{{ x.strip().split(', ')[1] }}.{{ x[2:4] }}") == "3{mOre}.3{dA}");
  BOOST_TEST(marked("{{ (x|trim|upper).replace(', ', '-') }}") == "3{DATA}-3{MORE}");
  BOOST_TEST(marked("{{ 'a_b'.replace('_', y) }}{{ [y, 'z', y]|join('+') }}") == "a4{Q}b4{Q}+z+4{Q}");
  BOOST_TEST(marked("{% set s %}[{{ y }}]{% endset %}{{ s }}{% macro m(a) %}({{ a }}){% endmacro %}{{ m(y) }}") ==
             "[4{Q}](4{Q})");
  BOOST_TEST(marked("{{ {'k': y}|tojson }}{{ [y] }}{{ '%s!' % y }}{{ '{}?'.format(y) }}") ==
             "{\"k\": \"4{Q}\"}['4{Q}']4{Q}!4{Q}?");
  BOOST_TEST(marked("{{ ('n' + y)|capitalize }}") == "4{Nq}");  // what mixes bytes is marked as a whole
  BOOST_TEST(marked("{{ 'p' if y == 'Q' }}{{ y|length }}") == "p1");
}

BOOST_AUTO_TEST_CASE(generation_blocks_are_ranges_of_the_output) {
  const rendering done = run(parse("ab{% generation %}cd{% endgeneration %}e{% for i in range(2) %}{% generation -%} f"
                                   "{% endgeneration %}{% endfor %}",
                                   "t"),
                             {});
  BOOST_TEST(done.output.bytes() == "abcdeff");
  BOOST_TEST((done.generated == std::vector<range>{{2, 4}, {5, 6}, {6, 7}}));
  BOOST_TEST(fault("{% set x %}{% generation %}a{% endgeneration %}{% endset %}").find("not supported") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
