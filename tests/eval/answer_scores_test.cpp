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

BOOST_AUTO_TEST_CASE(articles_punctuation_and_scripts_are_treated_as_the_scorers_do) {
  BOOST_TEST(normalise_answer("The  Eiffel\tTower, a-n answer!") ==
             "eiffel tower answer");  // "an" of "a-n" is an article
  BOOST_TEST(normalise_answer("theatre an_ a") == "theatre");
  BOOST_TEST(normalise_answer("\xEF\xBC\xB4he \xE2\x80\x9Cthe\xE2\x80\x9D cat\xE3\x80\x80sat") ==
             "\xEF\xBD\x94he \xE2\x80\x9C \xE2\x80\x9D cat sat");  // a full-width T is another letter
  BOOST_TEST(normalise_answer("a\xCC\x81 b") == "\xCC\x81 b");     // a mark ends the word before it
  BOOST_TEST(normalise_chinese_answer("答案：《红楼梦》 ( A b )。") == "答案《红楼梦ab");
  BOOST_TEST(is_exact_match("The answer.", "answer"));
  BOOST_TEST(!is_exact_match("caf\xC3\xA9", "cafe"));
  BOOST_TEST(is_exact_match("", "the"));
  BOOST_TEST(is_substring_match("It is the Eiffel Tower, I think.", "Eiffel tower"));
  BOOST_TEST(!is_substring_match("", "x"));
  BOOST_TEST(is_chinese_substring_match("答案是“红楼梦”。", "红楼梦。"));
  BOOST_TEST(answer_f1("the the cat", "a cat sat") == 2 * 1.0 * 0.5 / 1.5);
  BOOST_TEST(answer_f1("", "") == 0.0);
  BOOST_TEST(answer_f1("cat cat", "cat") == 2 * 0.5 * 1.0 / 1.5);
  BOOST_TEST(lower_case("\xCE\xA3\xCE\x91\xCE\xA3") == "\xCF\x83\xCE\xB1\xCF\x82");
  BOOST_TEST(utf8_of(code_points("a\xFFz")) == "a\xEF\xBF\xBDz");
}

BOOST_AUTO_TEST_CASE(very_long_answers_are_marked) {
  std::string answer;
  for (int i = 0; i < 40'000; ++i) answer += "word" + std::to_string(i % 977) + (i % 50 == 49 ? ". " : " ");
  const std::string reference = answer.substr(0, 60'000);
  BOOST_TEST(answer_f1(answer, reference) > 0.2);
  BOOST_TEST(rouge_l_of_sets(answer, reference) > 0.998);  // one word is cut
  BOOST_TEST(indel_ratio(answer, reference) == 2.0 * 60'000 / (60'000 + static_cast<double>(answer.size())),
             boost::test_tools::tolerance(1e-12));
  BOOST_TEST(chinese_words::load(lodestone_test::data("eval/jieba"))(std::string(30'000, 'a')).size() > 0U);
}

BOOST_AUTO_TEST_CASE(damaged_dictionaries_are_named_with_their_line) {
  const lodestone_test::temporary_folder folder;
  const auto copy = [&](const std::string& name, const std::string& change, const std::string& by) {
    std::string text = lodestone_test::read_file(lodestone_test::data("eval/jieba/" + name));
    if (!change.empty()) text.replace(text.find(change), change.size(), by);
    lodestone_test::write_file(folder / name, text);
  };
  const auto message = [&] {
    try {
      (void)chinese_words::load(folder.path());
    } catch (const error& failure) {
      return std::string(failure.what()).substr(folder.path().string().size() + 1);
    }
    return std::string();
  };
  const auto all = [&] {
    for (const char* name : {"dict.txt", "finalseg/prob_start.py", "finalseg/prob_trans.py", "finalseg/prob_emit.py"})
      copy(name, "", "");
  };
  std::filesystem::create_directory(folder / "finalseg");
  BOOST_TEST(message().starts_with("dict.txt: cannot be read; name the folder of the package jieba"));
  all();
  BOOST_TEST(message().empty());
  lodestone_test::write_file(folder / "dict.txt", "\xE4\xB8\x80 3 m\n\xE4\xBA\x8C x\n");
  BOOST_TEST(message().starts_with("dict.txt:2: this line is not a word and its frequency"));
  lodestone_test::write_file(folder / "dict.txt", "");
  BOOST_TEST(message().starts_with("dict.txt: there are no words"));
  all();
  copy("finalseg/prob_trans.py", "'E': {", "'E' {");
  BOOST_TEST(message().starts_with("finalseg/prob_trans.py:2: ':' is missing"));
  all();
  copy("finalseg/prob_start.py", "'M'", "'X'");
  BOOST_TEST(message().starts_with("finalseg/prob_start.py:3: a state is not one of B, E, M and S"));
  all();
  copy("finalseg/prob_emit.py", "P={", "Q={");
  BOOST_TEST(message().starts_with("finalseg/prob_emit.py:1: there is no \"P={\""));
}

BOOST_AUTO_TEST_CASE(copies_of_a_dictionary_share_it) {
  const chinese_words words = chinese_words::load(lodestone_test::data("eval/jieba"));
  const std::vector<chinese_words> copies(100'000, words);  // as marks of questions hold them
  BOOST_TEST(copies.back()("北京大学") == words("北京大学"), boost::test_tools::per_element());
}
