#include <lodestone/eval/judge_rating.hpp>
#include <lodestone/eval/judge_template.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>

#include "support/support.hpp"

namespace {

using lodestone::eval::first_bracketed_rating;
using lodestone::eval::judge_template;
using lodestone::eval::last_bracketed_rating;

double or_none(std::optional<double> rating) { return rating.value_or(-1.0); }

struct reply_case {
  std::string_view reply;
  double last;   // what Python's re gives with LongBench-Chat's patterns; -1: nothing, or outside 1 to 10
  double first;  // with FastChat's
};

// Found with Python's re on these very texts.
constexpr reply_case replies[] = {
    {"[[7]]", 7, 7},
    {"Rating: [[5.5]]", 5.5, 5.5},
    {"", -1, -1},
    {"7", -1, -1},
    {"Rating: 7/10", -1, -1},
    {"[7]", -1, 7},
    {"[[7]", -1, 7},
    {"[7]]", -1, 7},
    {"[[]]", -1, -1},
    {"[[ 7 ]]", 7, -1},
    {"[[rating]] is [[8]]", 8, 8},
    {"[[3]] then, on reflection, [[9]]", 9, 3},
    {"[[9]] and no more [[good]]", -1, 9},
    {"[[rating: 6]]", 6, -1},
    {"[[8/10]]", 8, -1},
    {"[[1-10]]", 1, -1},
    {"[[10]]", 10, 10},
    {"[[10.]]", 10, 10},
    {"[[.5]]", 5, -1},
    {"[[7.25.1]]", 7.25, -1},
    {"[[[5]]]", 5, 5},
    {"[[5]]]", 5, 5},
    {"[ [5] ]", -1, 5},
    {"[[five]]", -1, -1},
    {"[[\n4\n]]", 4, -1},
    {"see [1] and [2]: [[6]]", 6, 6},
    {"see [1] and [2]", -1, 1},
    {"[[a] b] [[3]]", 3, 3},
    {"[[2]\n[[4]]", 4, 4},
    {"**[[9]]**", 9, 9},
    {"评分：[[８]]", 8, 8},
    {"［［8］］", -1, -1},
    {"[[0]]", -1, -1},
    {"[[11]]", -1, -1},
    {"[[100]]", -1, -1},
    {"[[99999999999999999999999999]]", -1, -1},
    {"[[\xff" "7]]", 7, -1},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_judge_rating)

BOOST_AUTO_TEST_CASE(ratings_are_found_as_the_published_patterns_find_them) {
  for (const reply_case& one : replies) {
    BOOST_TEST(or_none(last_bracketed_rating(one.reply)) == one.last, "last of " << one.reply);
    BOOST_TEST(or_none(first_bracketed_rating(one.reply)) == one.first, "first of " << one.reply);
  }
}

BOOST_AUTO_TEST_CASE(ratings_outside_the_scale_are_none) {
  BOOST_TEST(or_none(last_bracketed_rating("[[4]]", {1, 3})) == -1.0);
  BOOST_TEST(or_none(last_bracketed_rating("[[3]]", {1, 3})) == 3.0);
  BOOST_TEST(or_none(last_bracketed_rating("[[0]]", {0, 1})) == 0.0);
}

BOOST_AUTO_TEST_CASE(any_reply_is_read) {
  constexpr std::string_view alphabet = "[[[]]]0123.5 \n\xEF\xBC\x98r";
  lodestone::random_stream random(3, lodestone::random_purpose::user);
  int found = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::string reply(random.below(14), ' ');
    for (char& c : reply) c = alphabet[random.below(alphabet.size())];
    const auto last = last_bracketed_rating(reply);
    const auto first = first_bracketed_rating(reply);
    if (last) BOOST_REQUIRE((*last >= 1 && *last <= 10));
    if (first) BOOST_REQUIRE((*first >= 1 && *first <= 10));
    // Whatever stands in front, a rating that ends the reply is the last one.
    BOOST_REQUIRE(or_none(last_bracketed_rating(reply + "]] [[4]]")) == 4.0);
    found += last ? 1 : 0;
  }
  BOOST_TEST(found > 30);
}

BOOST_AUTO_TEST_CASE(templates_fill_slots_in_order_or_by_name_and_take_values_as_they_are) {
  using named = judge_template::named_value;
  const judge_template in_order("Q: {}\nA: {} {{kept}}");
  BOOST_TEST(in_order.slots() == 2U);
  BOOST_TEST(in_order.fill(std::array<std::string_view, 2>{"{}", "b{{"}) == "Q: {}\nA: b{{ {kept}");
  const judge_template by_name("{answer}, {question}, {answer}");
  const std::array<named, 3> values{named{"question", "q"}, named{"answer", "{question}"}, named{"x", ""}};
  BOOST_TEST(by_name.fill(values) == "{question}, q, {question}");
  BOOST_TEST(by_name.has("answer"));
  BOOST_TEST(!by_name.has("x"));
  BOOST_TEST(judge_template("no slot").fill(std::span<const std::string_view>{}) == "no slot");
}

BOOST_AUTO_TEST_CASE(templates_that_are_broken_name_their_line) {
  const auto says = [](std::string_view part) {
    return [part](const lodestone::format_error& e) {
      return std::string_view(e.what()).find(part) != std::string_view::npos;
    };
  };
  const auto make = [](std::string_view text) { return judge_template(text, "judge.txt"); };
  using lodestone::format_error;
  BOOST_CHECK_EXCEPTION(make("a\nb {"), format_error, says("judge.txt:2: a brace is not closed"));
  BOOST_CHECK_EXCEPTION(make("a } b"), format_error, says("judge.txt:1: a brace closes nothing"));
  BOOST_CHECK_EXCEPTION(make("{}\n{name}"), format_error, says("judge.txt:2: some slots have names"));
  BOOST_CHECK_EXCEPTION(make("{0}"), format_error, says("{0} is no slot"));
  BOOST_CHECK_EXCEPTION(make("{a:>3}"), format_error, says("is no slot"));
  const std::array<std::string_view, 1> one{"x"};
  BOOST_CHECK_EXCEPTION((void)make("{} {}").fill(one), format_error, says("has 2 slots for 1 texts"));
  BOOST_CHECK_EXCEPTION((void)make("{name}").fill(one), format_error, says("have names"));
  const std::array<judge_template::named_value, 1> named{{{"answer", "x"}}};
  BOOST_CHECK_EXCEPTION((void)make("{query}").fill(named), format_error, says("to fill {query} with; use answer"));
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(folder / "t.txt", "Rate {}: ");
  BOOST_TEST(judge_template::read(folder / "t.txt").fill(one) == "Rate x: ");
  BOOST_CHECK_THROW((void)judge_template::read(folder / "none.txt"), lodestone::io_error);
}

BOOST_AUTO_TEST_SUITE_END()
