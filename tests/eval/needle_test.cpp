// Needle in a haystack: length, depth and sentence ends for tokenizers of several kinds, and how answers are marked.
#include <map>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/eval/needle.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "support/support.hpp"

namespace eval = lodestone::eval;
using lodestone_test::source_dir;

namespace {

std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

eval::token_count counter(const lodestone::tokenizer& words, const std::string& before = {}) {
  return [&words, before](std::string_view prompt) { return std::ssize(words.encode(before + std::string(prompt))); };
}

const eval::haystack& speeches() {
  static const eval::haystack hay = eval::haystack::read(source_dir() / "examples/data/state_union");
  return hay;
}

/// The context between "[" and "]": forms of the tests mark it.
eval::needle_form marked() {
  eval::needle_form form;
  form.prompt = "Text: [[{context}]]\n{question}";
  return form;
}
std::string context_of(const std::string& prompt) {
  const std::size_t begin = prompt.find("[[") + 2;
  return prompt.substr(begin, prompt.rfind("]]") - begin);
}

double score_of(const eval::needle& test, std::size_t i, std::string_view answer, std::string_view metric) {
  for (const eval::score& one : test.mark(i, answer))
    if (one.metric == metric) return one.value;
  return -1.0;
}

std::string message(const std::function<void()>& act) {
  try {
    act();
  } catch (const lodestone::config_error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_needle)

BOOST_AUTO_TEST_CASE(prompts_have_the_asked_length_and_depth_for_every_tokenizer) {
  for (const char* folder :
       {"tests/data/tokenizer/gpt2", "tests/data/models/stories260k", "examples/data/models/tinystories-656k",
        "examples/data/retrieval", "tests/data/tokenizer/sentencepiece/unigram_bytes.model"}) {
    BOOST_TEST_CONTEXT(folder) {
      const auto words = lodestone::tokenizer::load(source_dir() / folder);
      const eval::needle_options options{.lengths = {600, 3000}, .depths = {0, 12.5, 50, 90, 100}, .repeats = 2};
      const eval::needle test(speeches(), counter(words, "<chat>"), options, marked());
      BOOST_TEST_REQUIRE(test.size() == 20U);
      std::map<std::string, int> ids;
      for (std::size_t i = 0; i < test.size(); ++i) {
        const eval::question asked = test.ask(i);
        ++ids[asked.id];
        const std::int64_t length = i < 10 ? 600 : 3000;
        const double depth = options.depths[i / 2 % 5];
        BOOST_TEST((asked.labels.at(0) == eval::label{"length", std::to_string(length)}));

        // As long as sentences make it: with the next one it would be too long.
        const std::int64_t tokens = std::ssize(words.encode("<chat>" + asked.prompt));
        BOOST_TEST(tokens <= length);
        const std::string context = context_of(asked.prompt);
        const std::string fact = test.facts(i).at(0);
        BOOST_TEST_REQUIRE(occurrences(asked.prompt, fact) == 1U);
        const std::size_t at = context.find(fact);
        const std::string before = context.substr(0, at), after = context.substr(at + fact.size());

        // Behind a sentence: where the sentences of the text end, found again without the needle.
        const std::size_t end = before.find_last_not_of(" \n") + 1;
        const std::vector<std::size_t> ends = eval::sentence_ends(before.substr(0, end) + after);
        BOOST_TEST((end == 0 || std::find(ends.begin(), ends.end(), end) != ends.end()),
                   before.substr(at - std::min<std::size_t>(at, 60)));

        // At its depth, but for the sentence that the depth falls into.
        const auto count = [&](std::string_view text) { return static_cast<double>(words.encode(text, false).size()); };
        const double whole = count(before) + count(after);
        double longest = 0.0;
        for (std::size_t k = 0, begin = 0; k < ends.size(); begin = ends[k++])
          longest = std::max(longest, count((before.substr(0, end) + after).substr(begin, ends[k] - begin)));
        BOOST_TEST(count(before) <= depth / 100.0 * whole + 0.03 * whole);
        BOOST_TEST(count(before) >= depth / 100.0 * whole - 0.03 * whole - longest);
        BOOST_TEST(static_cast<double>(tokens) >= static_cast<double>(length) - 8.0 * longest);
        if (depth == 0.0) BOOST_TEST(before.empty());
        if (depth == 100.0) BOOST_TEST(after.empty());

        BOOST_TEST((test.ask(i).prompt == asked.prompt));
      }
      BOOST_TEST(ids.size() == test.size());
    }
  }
}

BOOST_AUTO_TEST_CASE(with_one_more_sentence_a_prompt_would_be_too_long) {
  const auto words = lodestone::tokenizer::load(source_dir() / "tests/data/tokenizer/gpt2");
  std::string text;
  for (int k = 0; k < 50; ++k) text += "This is sentence number " + std::to_string(10 + k) + " of a text. ";
  const std::int64_t one = std::ssize(words.encode(" This is sentence number 12 of a text.", false));
  for (const std::int64_t length : {120, 200, 201, 202, 203, 1000, 5000}) {  // the last ones repeat the text
    const eval::needle test(eval::haystack({text}), counter(words), {.lengths = {length}, .depths = {40}});
    const std::int64_t tokens = std::ssize(words.encode(test.ask(0).prompt));
    BOOST_TEST(tokens <= length);
    BOOST_TEST(tokens > length - one - 2, length);
  }
}

BOOST_AUTO_TEST_CASE(several_values_and_other_keys_stand_once_each) {
  const auto words = lodestone::tokenizer::load(source_dir() / "tests/data/tokenizer/gpt2");
  const eval::needle test(speeches(), counter(words),
                          {.lengths = {2000}, .depths = {10, 60}, .repeats = 3, .values = 4, .others = 6});
  for (std::size_t i = 0; i < test.size(); ++i) {
    const eval::question asked = test.ask(i);
    const auto facts = test.facts(i);
    BOOST_TEST_REQUIRE(facts.size() == 4U);
    std::vector<std::size_t> places;
    for (const std::string& fact : facts) {
      BOOST_TEST(occurrences(asked.prompt, fact) == 1U);
      places.push_back(asked.prompt.find(fact) * 4 / asked.prompt.size());
    }
    std::sort(places.begin(), places.end());
    BOOST_TEST(places == (std::vector<std::size_t>{0, 1, 2, 3}), boost::test_tools::per_element());
    BOOST_TEST(occurrences(asked.prompt, "The access code of the ") == 10U);
    BOOST_TEST(occurrences(asked.prompt, "What are all access codes of the ") == 1U);
    const auto all = test.expected(i);
    BOOST_TEST(score_of(test, i, all[2] + ", " + all[0], "found") == 0.5);
    BOOST_TEST(score_of(test, i, all[2] + ", " + all[0], "exact_match") == 0.0);
    BOOST_TEST(score_of(test, i, all[3] + all[2], "found") == 0.0);
    BOOST_TEST(score_of(test, i, all[0] + "," + all[1] + " and " + all[2] + "\n" + all[3] + ".", "exact_match") == 1.0);
  }
}

BOOST_AUTO_TEST_CASE(words_of_the_user_and_chinese_text) {
  const auto words = lodestone::tokenizer::load(source_dir() / "tests/data/tokenizer/gpt2");
  const eval::needle_form published{.fact = "The best thing to do in the harbour is to eat a sandwich in the sun.",
                                    .question = "What is the best thing to do in the harbour?",
                                    .answer = "eat a sandwich in the sun",
                                    .prompt = "{context}\n\n{question}"};
  const eval::needle test(speeches(), counter(words), {.lengths = {500}, .depths = {50}}, published);
  BOOST_TEST(test.expected(0).at(0) == published.answer);
  BOOST_TEST(score_of(test, 0, "You should Eat a Sandwich in the sun!", "exact_match") == 1.0);
  BOOST_TEST(score_of(test, 0, "eat a sandwich in the sunset", "exact_match") == 0.0);
  BOOST_TEST(score_of(test, 0, "", "found") == 0.0);
  BOOST_TEST(score_of(test, 0, "", "rouge1_precision") == 0.0);
  BOOST_TEST(score_of(test, 0, "\n Eat a sandwich quickly.\nin the sun", "rouge1_precision") == 0.75);

  std::string text;
  for (int k = 0; k < 60; ++k) text += "今天天气很好。我们去公园！";
  const eval::needle_form chinese{.fact = "{key}的密码是{value}。",
                                  .question = "{key}的密码是什么？",
                                  .prompt = "{context}\n{question}",
                                  .letters = true};
  const eval::needle other(eval::haystack({text}), counter(words), {.lengths = {800}, .depths = {30}}, chinese);
  const std::string prompt = other.ask(0).prompt;
  const std::size_t at = prompt.find(other.facts(0).at(0));
  BOOST_TEST_REQUIRE(at != std::string::npos);
  const std::string before = prompt.substr(0, at);
  BOOST_TEST((before.ends_with("。") || before.ends_with("！")));
}

BOOST_AUTO_TEST_CASE(compact_facts_are_those_of_the_look_up_model) {
  const auto words = lodestone::tokenizer::load(source_dir() / "examples/data/retrieval");
  const eval::needle test(speeches(), counter(words), {.lengths = {512}, .depths = {50}, .others = 7, .is_chat = false},
                          eval::needle_form::compact("<|question|>"));
  const eval::question asked = test.ask(0);
  const std::string fact = test.facts(0).at(0), value = test.expected(0).at(0);
  BOOST_TEST(fact.size() == 12U);
  BOOST_TEST(asked.prompt.ends_with("<|question|>" + fact.substr(0, 6)));
  BOOST_TEST(fact.substr(6, 5) == value);
  BOOST_TEST(occurrences(asked.prompt, "{") == 9U);
  BOOST_TEST(!asked.is_chat);
  BOOST_TEST(score_of(test, 0, value + "}", "exact_match") == 1.0);
}

BOOST_AUTO_TEST_CASE(settings_without_sense_are_refused_with_their_name) {
  const auto words = lodestone::tokenizer::load(source_dir() / "tests/data/tokenizer/gpt2");
  const auto refused = [&](eval::needle_options options, eval::needle_form form = {}) {
    return message([&] { eval::needle(eval::haystack({"One. Two."}), counter(words), options, form); });
  };
  const auto has = [](const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(has(refused({.lengths = {}}), "needle lengths"));
  BOOST_TEST(has(refused({.lengths = {30}}), "has no room for its words alone"));
  BOOST_TEST(has(refused({.depths = {101}}), "needle depths"));
  BOOST_TEST(has(refused({.repeats = 0}), "needle repeats"));
  BOOST_TEST(has(refused({.values = 2}, {.fact = "x", .answer = "y"}), "needle values"));
  BOOST_TEST(has(refused({}, {.fact = "x"}), "in neither"));
  BOOST_TEST(has(refused({}, {.fact = "One.", .answer = "y"}), "stands in the text already"));
  BOOST_TEST(has(refused({}, {.prompt = "{context}"}), "lacks {question}"));
}

BOOST_AUTO_TEST_CASE(a_judge_rates_in_brackets) {
  using eval::judged_needle;
  BOOST_TEST(judged_needle::rating("It is [[7]].").value() == 7.0);
  BOOST_TEST(judged_needle::rating("[[1]] at first, but then [[10]]").value() == 10.0);
  BOOST_TEST(judged_needle::rating("[[3]] and [[unclear]]").value() == 3.0);
  for (const char* reply : {"", "7", "[7]", "[[11]]", "[[0]]", "[[", "[[5", "[[]]"})
    BOOST_TEST(!judged_needle::rating(reply).has_value(), reply);
  const auto words = lodestone::tokenizer::load(source_dir() / "tests/data/tokenizer/gpt2");
  const eval::needle test(speeches(), counter(words), {.lengths = {500}, .depths = {50}});
  const judged_needle judged(test);
  const std::string asked = judged.judge(0, "no idea", 0).at(0).content;
  BOOST_TEST(occurrences(asked, test.facts(0).at(0)) == 1U);
  BOOST_TEST(occurrences(asked, "no idea") == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
