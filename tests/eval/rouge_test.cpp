// ROUGE: equal to ROUGE-1.5.5 to its five digits and to the package rouge_score; stems; very long texts.
#include <boost/test/unit_test.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/eval/rouge.hpp>
#include <lodestone/eval/subsequence.hpp>

#include "../support/support.hpp"

using namespace lodestone;
using namespace lodestone::eval;

namespace {

std::vector<nlohmann::json> cases() {
  std::ifstream lines(lodestone_test::data("eval/rouge.jsonl"));
  std::vector<nlohmann::json> result;
  for (std::string line; std::getline(lines, line);) result.push_back(nlohmann::json::parse(line));
  return result;
}

rouge_score scored(const nlohmann::json& given, const std::string& metric, rouge_stems stems) {
  std::vector<rouge_text> references;
  for (const nlohmann::json& reference : given.at("references"))
    references.push_back(rouge_words(reference.get<std::string>(), stems));
  const rouge_text answer = rouge_words(given.at("answer").get<std::string>(), stems);
  if (metric == "ROUGE-L" || metric == "rougeLsum") return rouge_l(answer, references);
  return rouge_n(answer, references, static_cast<std::size_t>(metric.back() - '0'));
}

/// Rounded as ROUGE-1.5.5 prints it.
double five_digits(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.5f", value);
  return std::stod(text.data());
}

/// Longest common subsequence by the table of its definition.
std::vector<std::vector<std::size_t>> table_of(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  std::vector<std::vector<std::size_t>> table(a.size() + 1, std::vector<std::size_t>(b.size() + 1, 0));
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j)
      table[i][j] = a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1 : std::max(table[i - 1][j], table[i][j - 1]);
  return table;
}

std::vector<std::int32_t> random_symbols(std::mt19937& random, std::size_t length, int alphabet) {
  std::vector<std::int32_t> result;
  for (std::size_t i = 0; i < length; ++i)
    result.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(alphabet)));
  return result;
}

}  // namespace

BOOST_AUTO_TEST_CASE(rouge_equals_rouge_1_5_5_to_five_digits) {
  const word_exceptions exceptions = word_exceptions::load(lodestone_test::data("eval/exceptions"));
  std::size_t count = 0;
  for (const nlohmann::json& expected : cases()) {
    for (const auto& [name, stems] : {std::pair<const char*, rouge_stems>{"plain", {}},
                                      {"porter", {.is_on = true}},
                                      {"wordnet", {.is_on = true, .exceptions = &exceptions}}}) {
      for (const auto& [metric, wanted] : expected.at(name).items()) {
        const rouge_score got = scored(expected, metric, stems);
        BOOST_TEST(five_digits(got.recall) == wanted.at(0).get<double>(), name << ' ' << metric << ' ' << got.hits
                                                                               << ' ' << got.reference << ' '
                                                                               << got.answer << wanted.dump());
        BOOST_TEST(five_digits(got.precision) == wanted.at(1).get<double>(), name << ' ' << metric << ' ' << got.hits
                                                                                  << ' ' << got.reference << ' '
                                                                                  << got.answer << wanted.dump());
        // The program makes F of shares that it has rounded already: so rounded it is the same, else within a digit.
        const double r = five_digits(got.recall);
        const double p = five_digits(got.precision);
        const double f = p + r > 0 ? p * r / (0.5 * p + 0.5 * r) : 0.0;
        BOOST_TEST(five_digits(f) == wanted.at(2).get<double>(), name << ' ' << metric << ' ' << got.hits << ' '
                                                                      << got.reference << ' ' << got.answer
                                                                      << wanted.dump());
        BOOST_TEST(std::abs(got.f - wanted.at(2).get<double>()) < 1.01e-5, name << ' ' << metric << ' ' << got.hits
                                                                                << ' ' << got.reference << ' '
                                                                                << got.answer << wanted.dump());
        ++count;
      }
    }
    if (!expected.contains("rouge_score")) continue;
    for (const auto& [metric, wanted] : expected.at("rouge_score").items()) {
      if (expected.at("answer").get<std::string>().find("\xC3") != std::string::npos) continue;  // it keeps its ï
      const rouge_score got = scored(expected, metric, {});
      BOOST_TEST(std::abs(got.recall - wanted.at(0).get<double>()) < 1e-12);
      BOOST_TEST(std::abs(got.precision - wanted.at(1).get<double>()) < 1e-12);
      BOOST_TEST(std::abs(got.f - wanted.at(2).get<double>()) < 1e-12);
    }
  }
  BOOST_TEST(count == cases().size() * 15);
  BOOST_CHECK_THROW((void)rouge_n({}, {}, 0), config_error);
  BOOST_TEST(rouge_l({}, {}).f == 0.0);
}

BOOST_AUTO_TEST_CASE(stems_equal_those_of_rouge_1_5_5) {
  std::ifstream lines(lodestone_test::data("eval/stems.txt"));
  std::size_t count = 0;
  for (std::string word, stem; lines >> word >> stem; ++count) BOOST_TEST(porter_stem(word) == stem, word);
  BOOST_TEST(count == 800U);
  BOOST_TEST(porter_stem("as") == "as");
  BOOST_TEST(porter_stem("") == "");
}

BOOST_AUTO_TEST_CASE(lists_of_irregular_words_are_checked) {
  const lodestone_test::temporary_folder folder;
  const auto message = [&] {
    try {
      (void)word_exceptions::load(folder.path());
    } catch (const error& failure) {
      return std::string(failure.what()).substr(folder.path().string().size());
    }
    return std::string();
  };
  BOOST_TEST(message() == ": none of adj.exc, adv.exc, noun.exc and verb.exc is here; name the folder dict of WordNet");
  lodestone_test::write_file(folder / "verb.exc", "abode abide\r\n\nlain  lie lay\n");
  const word_exceptions words = word_exceptions::load(folder.path());
  BOOST_TEST(words.size() == 2U);
  BOOST_TEST(words.find("lain").value() == "lie");
  BOOST_TEST(words.find("abode").value() == "abide");
  BOOST_TEST(!words.find("lie").has_value());
  lodestone_test::write_file(folder / "verb.exc", "abode abide\nlain\n");
  BOOST_TEST(message().starts_with("/verb.exc:2: this line is not an irregular word and its base form"));
}

BOOST_AUTO_TEST_CASE(common_subsequences_equal_the_table_of_their_definition) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const int alphabet = 1 + static_cast<int>(random() % 9);
    const auto a = random_symbols(random, random() % 200, alphabet);
    const auto b = random_symbols(random, random() % 200, alphabet);
    const auto table = table_of(a, b);
    const auto symbols = static_cast<std::size_t>(alphabet);
    BOOST_TEST(common_subsequence_length(a, b, symbols) == table.back().back());
    std::vector<std::pair<std::size_t, std::size_t>> wanted;
    for (std::size_t i = a.size(), j = b.size(); i > 0 && j > 0;) {
      if (a[i - 1] == b[j - 1]) {
        wanted.emplace_back(--i, --j);
      } else {
        (table[i - 1][j] > table[i][j - 1] ? i : j) -= 1;
      }
    }
    std::vector<std::pair<std::size_t, std::size_t>> got;
    walk_common_subsequence(a, b, symbols, [&](std::size_t i, std::size_t j) { got.emplace_back(i, j); });
    BOOST_TEST((got == wanted));
  }
}

BOOST_AUTO_TEST_CASE(very_long_texts_are_compared_without_their_table) {
  std::mt19937 random(6);
  const auto a = random_symbols(random, 100'000, 500);
  auto b = a;
  std::erase_if(b, [&](std::int32_t) { return random() % 10 != 0; });
  b.resize(10'000, 0);
  std::size_t hits = 0;
  walk_common_subsequence(a, b, 500, [&](std::size_t i, std::size_t j) { hits += a[i] == b[j] ? 1 : 0; });
  BOOST_TEST(hits == common_subsequence_length(a, b, 500));
  BOOST_TEST(hits > 9'000U);
}
