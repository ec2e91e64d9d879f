// Tests made on the spot: their length, and that a reader of the text alone finds what is expected, by other means.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/eval/drawn_words.hpp>
#include <lodestone/eval/ruler.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "support/support.hpp"

namespace eval = lodestone::eval;
using eval::ruler_kind;
using names = std::vector<std::string>;

namespace {

const lodestone::tokenizer& words() {
  static const auto loaded = lodestone::tokenizer::load(lodestone_test::source_dir() / "tests/data/tokenizer/gpt2");
  return loaded;
}
std::int64_t tokens(std::string_view prompt) { return std::ssize(words().encode(prompt)); }

names split(const std::string& text) {
  std::istringstream in(text);
  names all;
  for (std::string word; in >> word;) all.push_back(word);
  return all;
}

/// What stands between two strings, each time.
names all_between(const std::string& text, const std::string& before, const std::string& after) {
  names all;
  for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + 1)) {
    const std::size_t begin = at + before.size();
    all.push_back(text.substr(begin, text.find(after, begin) - begin));
  }
  return all;
}

/// The answer that a careful reader gives, from the prompt alone.
std::string read(ruler_kind kind, const std::string& prompt) {
  const std::size_t cut = prompt.rfind("\n\n"), begin = prompt.find("\n\n") + 2;
  const std::string text = prompt.substr(begin, cut - begin), asked = prompt.substr(cut + 2);
  std::string answer;
  switch (kind) {
    case ruler_kind::kv_single:
    case ruler_kind::kv_multikey:
    case ruler_kind::kv_multivalue:
    case ruler_kind::kv_multiquery: {
      const names quoted = all_between(asked, "\"", "\"");
      for (std::size_t k = 0; k < quoted.size(); k += 2)  // every second one stands between two names
        for (const std::string& value : all_between(text, "number of \"" + quoted[k] + "\" is ", "."))
          answer += value + ", ";
      return answer;
    }
    case ruler_kind::variable_tracking: {
      std::map<std::string, std::string> value;
      for (const std::string& line : all_between(". " + text, ". VAR ", ".")) {
        const std::size_t equals = line.find(" = ");
        const std::string right = line.substr(equals + 3);
        value[line.substr(0, equals)] = right.starts_with("VAR ") ? value.at(right.substr(4)) : right;
      }
      BOOST_TEST(value.size() == 10U);
      for (const auto& [name, number] : value)
        if (asked.find(" " + number + " ") != std::string::npos) answer += name + " ";
      return answer;
    }
    case ruler_kind::common_words:
    case ruler_kind::frequent_words: {
      std::map<std::string, int> count;
      for (const std::string& word : split(text))
        if (word.back() != '.') ++count[word];
      std::vector<std::pair<int, std::string>> order;
      for (const auto& [word, times] : count) order.emplace_back(times, word);
      std::sort(order.rbegin(), order.rend());
      const std::size_t asked_for = kind == ruler_kind::common_words ? 10 : 3;
      BOOST_TEST_REQUIRE(order.size() > asked_for);
      BOOST_TEST(order[asked_for - 1].first > order[asked_for].first);  // no tie
      if (kind == ruler_kind::common_words) BOOST_TEST(order[asked_for].first == 1);
      for (std::size_t k = 0; k < asked_for; ++k) answer += order[k].second + " ";
      return answer;
    }
    case ruler_kind::multi_hop: {
      const std::string thing = all_between(asked, "has the ", " at").front();
      const names takers = all_between(text, "gave the " + thing + " to ", ".");
      BOOST_TEST(takers.size() == 4U);
      return takers.back();
    }
  }
  return answer;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_ruler)

BOOST_AUTO_TEST_CASE(a_careful_reader_of_the_prompt_answers_everything) {
  for (const ruler_kind kind : eval::ruler_kinds) {
    BOOST_TEST_CONTEXT(to_string(kind)) {
      const eval::ruler test(kind, tokens, {.lengths = {700, 2500}, .repeats = 4});
      BOOST_TEST_REQUIRE(test.size() == 8U);
      std::set<std::string> ids, prompts;
      for (std::size_t i = 0; i < test.size(); ++i) {
        const eval::question asked = test.ask(i);
        ids.insert(asked.id);
        prompts.insert(asked.prompt);
        const auto marks = test.mark(i, read(kind, asked.prompt));
        BOOST_TEST_REQUIRE(marks.size() == 2U);
        BOOST_TEST(marks[0].value == 1.0, read(kind, asked.prompt) << " of " << asked.prompt);
        BOOST_TEST(marks[1].value == 1.0);
        BOOST_TEST(test.mark(i, "")[0].value == 0.0);
        BOOST_TEST(test.ask(i).prompt == asked.prompt);
      }
      BOOST_TEST(ids.size() == 8U);
      BOOST_TEST(prompts.size() == 8U);
      // Another seed asks something else.
      const eval::ruler other(kind, tokens, {.lengths = {700, 2500}, .repeats = 4, .seed = 43});
      BOOST_TEST((other.expected(0) != test.expected(0)));
    }
  }
}

BOOST_AUTO_TEST_CASE(prompts_are_as_long_as_asked_and_no_longer) {
  for (const ruler_kind kind : eval::ruler_kinds)
    for (const std::int64_t length : {600, 601, 1024, 4096}) {
      const eval::ruler test(kind, tokens, {.lengths = {length}, .repeats = 2});
      for (std::size_t i = 0; i < test.size(); ++i) {
        const std::int64_t own = tokens(test.ask(i).prompt);
        BOOST_TEST(own <= length);
        // A sentence, or in lists ten words that all stand once more.
        BOOST_TEST(own > length - 80, to_string(kind) << " " << own << " of " << length);
      }
    }
}

BOOST_AUTO_TEST_CASE(a_partial_answer_scores_its_share) {
  const eval::ruler test(ruler_kind::kv_multiquery, tokens, {.lengths = {600}, .repeats = 1});
  const names all = test.expected(0);
  BOOST_TEST_REQUIRE(all.size() == 4U);
  BOOST_TEST(test.mark(0, all[0] + " " + all[3])[0].value == 0.5);
  BOOST_TEST(test.mark(0, all[0] + " " + all[3])[1].value == 0.0);
  BOOST_TEST(test.mark(0, "1" + all[0])[0].value == 0.0);  // a longer number is another number
}

BOOST_AUTO_TEST_CASE(too_short_a_prompt_is_refused_with_the_length_it_needs) {
  try {
    const eval::ruler test(ruler_kind::common_words, tokens, {.lengths = {50}});
    BOOST_ERROR("not refused");
  } catch (const lodestone::config_error& e) {
    BOOST_TEST(std::string(e.what()).find("common_words lengths: a prompt of 50 tokens") == 0U, e.what());
  }
  BOOST_CHECK_THROW(eval::ruler(ruler_kind::kv_single, tokens, {.lengths = {}}), lodestone::config_error);
  BOOST_CHECK_THROW(eval::ruler(ruler_kind::kv_single, tokens, {.repeats = 0}), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(made_up_words_are_distinct) {
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < 200'000; ++i) seen.insert(eval::made_up_word(i));
  BOOST_TEST(seen.size() == 200'000U);
}

BOOST_AUTO_TEST_SUITE_END()
