// Scores of answers: equal to what the published scorers give, on real answers and on those that are hard to compare.
#include <boost/test/unit_test.hpp>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/chinese_words.hpp>
#include <lodestone/eval/edit_similarity.hpp>
#include <lodestone/eval/rouge.hpp>

#include "../support/support.hpp"

using namespace lodestone;
using namespace lodestone::eval;

namespace {

std::vector<nlohmann::json> published_scores(std::string_view kind = {}) {
  std::ifstream lines(lodestone_test::data("eval/scores.jsonl"));
  std::vector<nlohmann::json> result;
  for (std::string line; std::getline(lines, line);) {
    result.push_back(nlohmann::json::parse(line));
    if (!kind.empty() && result.back().at("kind") != kind) result.pop_back();
  }
  return result;
}

/// Compares score(answer, reference) with a field of every case of a kind.
template <class Score>
void agrees(const std::string& field, const Score& score, std::size_t at_least, std::string_view kind = {}) {
  std::size_t count = 0;
  std::size_t above_0 = 0;
  for (const nlohmann::json& expected : published_scores(kind)) {
    const std::string answer = expected.at("answer");
    const std::string reference = expected.at("reference");
    const double got = score(std::string_view(answer), std::string_view(reference));
    const double wanted =
        expected.at(field).is_boolean() ? (expected.at(field).get<bool>() ? 1 : 0) : expected.at(field).get<double>();
    BOOST_TEST(std::abs(got - wanted) <= 1e-9,
               field << " of \"" << answer << "\" for \"" << reference << "\": " << got << ", not " << wanted);
    ++count;
    above_0 += wanted > 0 ? 1 : 0;
  }
  BOOST_TEST(count >= at_least);
  BOOST_TEST(above_0 > 3U);
}

}  // namespace

BOOST_AUTO_TEST_CASE(scores_of_answers_equal_the_published_scorers) {
  agrees("f1", answer_f1, 500);
  agrees("exact", is_exact_match, 500);
  agrees("substring", is_substring_match, 500);
  agrees("characters_f1", character_f1, 500);
  agrees("code", code_similarity, 500);
  agrees("indel", indel_ratio, 500);
  agrees("rouge_l", rouge_l_of_sets, 500);
}

BOOST_AUTO_TEST_CASE(choices_numbers_and_classes_equal_the_published_scorers) {
  for (const nlohmann::json& expected : published_scores("choice")) {
    const std::string answer = expected.at("answer");
    const std::string reference = expected.at("reference");
    const bool got = is_right_choice(answer, expected.at("letter").get<std::string>().front(), reference);
    BOOST_TEST(got == expected.at("choice").get<bool>(), answer);
  }
  for (const char* kind : {"word", "number"}) {
    for (const nlohmann::json& expected : published_scores(kind)) {
      const std::string answer = expected.at("answer");
      BOOST_TEST(has_word(answer, expected.at("reference").get<std::string>()) == expected.at("has_word").get<bool>());
      BOOST_TEST(first_number(answer) == expected.at("first_number").get<std::string>());
    }
  }
  for (const nlohmann::json& expected : published_scores("class")) {
    const auto classes = expected.at("classes").get<std::vector<std::string>>();
    const std::string answer = expected.at("answer");
    const std::string reference = expected.at("reference");
    BOOST_TEST(class_score(answer, reference, classes) == expected.at("class").get<double>(),
               boost::test_tools::tolerance(1e-9));
  }
  agrees("count", number_share, 10, "count");
}

BOOST_AUTO_TEST_CASE(chinese_words_and_scores_over_them_equal_the_published_scorers) {
  const chinese_words words = chinese_words::load(lodestone_test::data("eval/jieba"));
  std::size_t count = 0;
  for (const nlohmann::json& expected : published_scores()) {
    if (!expected.contains("words")) continue;
    ++count;
    const auto wanted = expected.at("words").get<std::vector<std::string>>();
    const std::vector<std::string> got = words(expected.at("answer").get<std::string>());
    BOOST_TEST(got == wanted, boost::test_tools::per_element());
  }
  BOOST_TEST(count > 100U);
  agrees(
      "f1_zh", [&](auto answer, auto reference) { return chinese_answer_f1(answer, reference, words); }, 500);
  agrees(
      "rouge_zh", [&](auto answer, auto reference) { return chinese_rouge_l(answer, reference, words); }, 500);
}
