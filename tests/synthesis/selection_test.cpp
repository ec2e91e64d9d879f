// What a chunk shares with a question, which chunks answers are made from, and which answers make a pair.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <lodestone/synthesis/importance.hpp>
#include <lodestone/synthesis/pairs.hpp>
#include <lodestone/synthesis/selection.hpp>

#include "support/support.hpp"

namespace synthesis = lodestone::synthesis;
using lodestone::random_purpose;
using lodestone::random_stream;
using numbers = std::vector<std::int64_t>;
using texts = std::vector<std::string>;
using boost::test_tools::per_element;

namespace {

random_stream stream(std::uint64_t k) { return {1, random_purpose::synthesis, 0, k}; }

texts of_kind(const std::string& text, synthesis::feature_kind kind) {
  texts found;
  for (const synthesis::feature& one : synthesis::features_of(text))
    if (one.kind == kind) found.push_back(one.text);
  return found;
}

/// In the order of the document, and no chunk twice.
bool rises(const numbers& list) { return std::ranges::adjacent_find(list, std::greater_equal<>()) == list.end(); }
bool holds(const numbers& whole, const numbers& part) { return std::ranges::includes(whole, part); }
numbers both(const numbers& a, const numbers& b) {
  numbers result;
  std::ranges::set_intersection(a, b, std::back_inserter(result));
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(synthesis_selection)

BOOST_AUTO_TEST_CASE(inflected_forms_of_a_word_have_one_stem) {
  const std::vector<texts> words{{"country", "countries"},        {"vote", "voted", "voting", "votes"},
                                 {"plan", "planned", "planning"}, {"class", "classes"},
                                 {"carry", "carried", "carries"}, {"wish", "wishes", "wished"}};
  std::set<std::string> stems;
  for (const texts& forms : words) {
    for (const std::string& one : forms) BOOST_TEST(synthesis::stem_of(one) == synthesis::stem_of(forms.front()), one);
    stems.insert(synthesis::stem_of(forms.front()));
  }
  BOOST_TEST(stems.size() == words.size());
  for (const char* short_word : {"is", "as", "bed", "red", "ring", "this", "gas", "bus", "see"})
    BOOST_TEST(!synthesis::stem_of(short_word).empty());
  BOOST_TEST(synthesis::stem_of("bus") == "bus");
  BOOST_TEST(synthesis::stem_of("ring") == "ring");
}

BOOST_AUTO_TEST_CASE(names_numbers_and_words_are_told_apart) {
  using synthesis::feature_kind;
  const std::string text =
      "When did President Harry Truman's friend ask for $1,000.50 in 1949? Taxes were voted on, 3.5 percent.";
  BOOST_TEST(of_kind(text, feature_kind::name) == (texts{"harry", "president", "president harry truman", "truman"}),
             per_element());
  BOOST_TEST(of_kind(text, feature_kind::number) == (texts{"1000.50", "1949", "3.5"}), per_element());
  BOOST_TEST(of_kind(text, feature_kind::word) == (texts{"ask", "friend", "percent", "tax", "vot"}), per_element());
  BOOST_TEST(of_kind("Ünal met Émile in Zürich", feature_kind::name) == (texts{"zürich", "émil"}), per_element());
  BOOST_TEST(of_kind("北京市的人口", feature_kind::word) == (texts{"京市", "人口", "北京", "市的", "的人"}),
             per_element());
  BOOST_TEST(of_kind("a 中 b", feature_kind::word) == (texts{"中"}), per_element());
  BOOST_TEST(synthesis::features_of("").empty());
  BOOST_TEST(synthesis::features_of("\xff\xfe the \xe4").empty());
}

BOOST_AUTO_TEST_CASE(chunks_score_by_the_features_they_share_and_common_words_do_not_count) {
  std::vector<texts> documents(1);
  for (int k = 0; k < 20; ++k) documents[0].push_back("The nation needs more work, chunk number " + std::to_string(k));
  documents[0][7] += ". harry TRUMAN voted for 5,000 bridges";
  const synthesis::shared_features score(documents, 0.1);
  const auto scores = score.score("How many bridges did the nation's Harry Truman vote for, 5000?", "", documents[0]);
  BOOST_TEST(scores.size() == 20U);
  BOOST_TEST(scores[7] == 5.0);  // harry, truman, vot, bridg, 5000; "harry truman" stands there in other letters
  for (std::size_t k = 0; k < scores.size(); ++k)
    if (k != 7) BOOST_TEST(scores[k] == 0.0);
  BOOST_TEST(score.score("nation work", "", documents[0])[3] == 0.0);
  BOOST_TEST(synthesis::shared_features(documents, 1.0).score("nation work", "", documents[0])[3] == 2.0);
  BOOST_TEST(score.score("Which?", "bridges", documents[0])[7] == 0.0);
  BOOST_TEST(synthesis::shared_features(documents, 0.1, true).score("Which?", "bridges", documents[0])[7] == 1.0);
  BOOST_CHECK_THROW(synthesis::shared_features(documents, 0.0), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(scores_of_another_program_are_read_with_file_and_line) {
  const lodestone_test::temporary_folder folder;
  const auto read = [&](const std::string& text) {
    lodestone_test::write_file(folder / "s.jsonl", text);
    return synthesis::read_scores(folder / "s.jsonl");
  };
  const auto scores = read("{\"id\":\"a\",\"scores\":[1,2.5]}\n{\"id\":\"b\",\"scores\":[]}\n");
  BOOST_TEST(scores.at("a") == (std::vector<double>{1.0, 2.5}), per_element());
  for (const char* bad : {"{\"id\":\"a\"}", "{\"scores\":[1]}", "{\"id\":\"a\",\"scores\":[\"x\"]}",
                          "{\"id\":\"a\",\"scores\":[null]}"}) {
    const auto is_placed = [](const lodestone::data_error& error) {
      return std::string(error.what()).find("s.jsonl:1: ") != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(static_cast<void>(read(bad)), lodestone::data_error, is_placed);
  }
}

// The laws of every selection: order, and what each answer may see.
BOOST_AUTO_TEST_CASE(answers_see_the_chunks_that_the_method_gives_them) {
  for (std::uint64_t k = 0; k < 300; ++k) {
    random_stream random = stream(k);
    synthesis::selection_options options;
    options.rule = k % 2 == 0 ? synthesis::selection_rule::rank : synthesis::selection_rule::threshold;
    options.important = 1 + static_cast<std::int64_t>(random.below(6));
    options.context = options.important + 1 + static_cast<std::int64_t>(random.below(8));
    options.rejected = 1 + static_cast<std::int64_t>(random.below(4));
    options.threshold = 4;
    std::vector<double> scores(1 + random.below(40));
    for (double& one : scores) one = static_cast<double>(random.below(10));
    const auto chosen = synthesis::select_chunks(scores, options, stream(k));
    const auto at = [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)]; };
    if (!chosen) {
      const bool is_flat = std::ranges::all_of(scores, [&](double s) { return s > 4; }) ||
                           std::ranges::none_of(scores, [&](double s) { return s > 4; });
      BOOST_TEST((options.rule == synthesis::selection_rule::rank
                      ? static_cast<std::int64_t>(scores.size()) <= options.important ||
                            std::ranges::all_of(scores, [&](double s) { return s < options.least; })
                      : is_flat));
      continue;
    }
    for (const numbers* list : {&chosen->important, &chosen->preferred, &chosen->context}) BOOST_TEST(rises(*list));
    BOOST_TEST(!chosen->preferred.empty());
    BOOST_TEST(static_cast<std::int64_t>(chosen->preferred.size()) <= options.important);
    BOOST_TEST(holds(chosen->important, chosen->preferred));
    BOOST_TEST(holds(chosen->context, chosen->preferred));
    BOOST_TEST(static_cast<std::int64_t>(chosen->context.size()) ==
               std::min<std::int64_t>(options.context, std::ssize(scores)));
    BOOST_TEST(both(chosen->context, chosen->important).size() < chosen->context.size());  // a distractor at least
    for (const std::int64_t i : chosen->important)
      BOOST_TEST((options.rule == synthesis::selection_rule::rank ? at(i) >= options.least : at(i) > 4));
    BOOST_TEST(std::ssize(chosen->rejected) == options.rejected);
    for (std::size_t j = 0; j < chosen->rejected.size(); ++j) {
      const numbers& shown = chosen->rejected[j];
      BOOST_TEST(rises(shown));
      BOOST_TEST(shown.size() <= chosen->preferred.size());
      const std::size_t evidence = both(shown, chosen->important).size();
      if (j % 2 == 0) BOOST_TEST(evidence == 0U);
      if (j % 2 == 1) BOOST_TEST(evidence == chosen->preferred.size() / 2);
    }
    // The first dis-preferred answer sees the lowest scores there are.
    double highest_shown = -1.0;
    for (const std::int64_t i : chosen->rejected[0]) highest_shown = std::max(highest_shown, at(i));
    std::vector<double> sorted = scores;
    std::ranges::sort(sorted);
    BOOST_TEST(highest_shown <= sorted[chosen->rejected[0].size() - 1]);
    BOOST_TEST(synthesis::select_chunks(scores, options, stream(k))->context == chosen->context, per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_chunk_of_the_highest_scores_is_important_from_the_smallest_score_on) {
  const std::vector<double> scores{5, 3, 9, 4, 0};
  const synthesis::selection_options options{
      .rule = synthesis::selection_rule::rank, .important = 4, .least = 4, .context = 5};
  const auto chosen = synthesis::select_chunks(scores, options, stream(0));
  BOOST_TEST_REQUIRE(chosen.has_value());
  BOOST_TEST(chosen->important == (numbers{0, 2, 3}), per_element());
}

BOOST_AUTO_TEST_CASE(the_released_rule_takes_all_answers_from_the_best_chunks) {
  const std::vector<double> scores{5, 0, 9, 3, 7, 0, 4, 8, 1};
  synthesis::selection_options options{.rule = synthesis::selection_rule::original, .least = 3, .context = 6};
  const auto chosen = synthesis::select_chunks(scores, options, stream(0));
  BOOST_TEST_REQUIRE(chosen.has_value());
  BOOST_TEST(chosen->preferred == (numbers{0, 2, 3, 4, 6, 7}), per_element());
  BOOST_TEST(chosen->context == chosen->preferred, per_element());
  BOOST_TEST(chosen->rejected[0] == (numbers{2, 4, 7}), per_element());
  BOOST_TEST(chosen->rejected[1] == (numbers{0, 3, 6}), per_element());  // "wrong" ones passed the filter as well
  options.least = 4;
  BOOST_TEST(!synthesis::select_chunks(scores, options, stream(0)).has_value());
}

BOOST_AUTO_TEST_CASE(contradictory_selections_are_refused) {
  using lodestone::config_error;
  BOOST_CHECK_THROW(synthesis::check({.rejected = 0}), config_error);
  BOOST_CHECK_THROW(synthesis::check({.important = 0}), config_error);
  BOOST_CHECK_THROW(synthesis::check({.important = 16, .context = 16}), config_error);
  BOOST_CHECK_THROW(synthesis::check({.context = 1}), config_error);
}

BOOST_AUTO_TEST_CASE(answers_that_teach_nothing_are_left_out_and_counted) {
  const synthesis::pair_filter by_words{.metric = synthesis::agreement, .least = 0.5};
  synthesis::pair_drops drops;
  const auto kept = [&](const synthesis::candidate_answers& one) {
    return synthesis::worse_answers(one, by_words, drops);
  };
  using list = std::vector<std::size_t>;
  BOOST_TEST(
      kept({.gold = "42", .preferred = "It is 42.", .rejected = {"It is 43.", " ", "it is  42.", "It is 43. "}}) ==
          list{0},
      per_element());
  BOOST_TEST(drops.empty_rejected == 1);
  BOOST_TEST(drops.equal == 2);
  BOOST_TEST(kept({.gold = "42", .preferred = "42", .rejected = {"42, I think", "no"}}) == list{1}, per_element());
  BOOST_TEST(drops.not_worse == 1);
  BOOST_TEST(kept({.gold = "42", .preferred = "43", .rejected = {"44"}}).empty());
  BOOST_TEST(drops.poor_preferred == 1);
  BOOST_TEST(kept({.preferred = "\n", .rejected = {"44"}}).empty());
  BOOST_TEST(drops.empty_preferred == 1);
  BOOST_TEST(kept({.preferred = "a", .rejected = {"A"}}).empty());
  BOOST_TEST(drops.none_left == 1);
  // A preferred answer of a fifth of its words right is too poor, one of half of them is not.
  BOOST_TEST(synthesis::agreement("army of many more men", "red army") > 0.0);
  BOOST_TEST(kept({.gold = "red army", .preferred = "army of many more men", .rejected = {"no"}}).empty());
  BOOST_TEST(drops.poor_preferred == 2);
  BOOST_TEST(synthesis::agreement("army of", "red army") == 0.5);
  BOOST_TEST(kept({.gold = "red army", .preferred = "army of", .rejected = {"no", "of men"}}) == (list{0, 1}),
             per_element());
  // Without the right answer everything that differs is kept; a judge has a say.
  BOOST_TEST(kept({.preferred = "a", .rejected = {"b", "c"}}) == (list{0, 1}), per_element());
  BOOST_TEST(kept({.preferred = "a",
                   .rejected = {"b", "c", "d"},
                   .preferred_rating = 7.0,
                   .rejected_ratings = {7.0, 6.5, std::nullopt}}) == list{1},
             per_element());
  BOOST_TEST(drops.not_rated_worse == 2);
}

BOOST_AUTO_TEST_CASE(agreement_is_containment_or_the_share_of_common_words) {
  BOOST_TEST(synthesis::agreement("It was the Red Army, he said.", "red army") == 1.0);
  BOOST_TEST(synthesis::agreement("The army", "red army") == 2.0 / 3.0);
  BOOST_TEST(synthesis::agreement("Nobody", "red army") == 0.0);
  BOOST_TEST(synthesis::agreement("答案是北京市。", "北京") == 1.0);
  BOOST_TEST(synthesis::agreement("南京", "北京") == 0.5);
  BOOST_TEST(synthesis::agreement("anything", "...") == 0.0);
  BOOST_TEST(synthesis::agreement("", "red army") == 0.0);
}

BOOST_AUTO_TEST_CASE(a_judge_sees_question_answer_and_what_is_right) {
  const auto asked = synthesis::rating_prompt("Q?", "G", "A");
  BOOST_TEST(asked.size() == 1U);
  BOOST_TEST(asked[0].content.find("[Question]\nQ?\n\n[Reference answer]\nG\n\n[Answer to rate]\nA\n") !=
             std::string::npos);
  BOOST_TEST(synthesis::rating_prompt("Q?", "", "A")[0].content.find("Reference") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
