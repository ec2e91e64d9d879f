// Whole runs of both methods with a generator of a few lines: what is asked, what is written, and what a kill leaves.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/data/preference.hpp>
#include <lodestone/data/record.hpp>
#include <lodestone/synthesis/logo.hpp>
#include <lodestone/synthesis/longalign.hpp>

#include "support/support.hpp"
#include "synthesis/reader.hpp"

namespace synthesis = lodestone::synthesis;
namespace fs = std::filesystem;
using boost::test_tools::per_element;
using lodestone::tokenizer;
using lodestone_test::read_file;
using lodestone_test::reader;
using lodestone_test::temporary_folder;
using nlohmann::json;

namespace {

const tokenizer& words() {
  static const tokenizer loaded = tokenizer::load(lodestone_test::data("tokenizer/gpt2"));
  return loaded;
}
const synthesis::chunker& cutter() {
  static const synthesis::chunker made(words(), {.tokens = 48});
  return made;
}

/// Documents of many short sentences, with a fact "NAME is worth N." in some of them.
std::vector<lodestone::text_document> documents() {
  std::vector<lodestone::text_document> all;
  for (int d = 0; d < 6; ++d) {
    std::string text;
    for (int k = 0; k < 60; ++k) {
      text += "This sentence of a long text says nothing at all. ";
      if (k % 10 == 5)
        text +=
            "Zor" + std::to_string(d) + "q" + std::to_string(k) + " is worth " + std::to_string(1000 * d + k) + ". ";
    }
    all.push_back({.id = "doc" + std::to_string(d), .source = d < 3 ? "wiki" : "books", .text = text, .where = "test"});
  }
  return all;
}

std::vector<synthesis::document_question> questions() {
  std::vector<synthesis::document_question> all;
  for (int d = 0; d < 6; ++d)
    for (const int k : {5, 25, 45})
      all.push_back({.id = "q" + std::to_string(d) + "-" + std::to_string(k),
                     .document = "doc" + std::to_string(d),
                     .question = "What is Zor" + std::to_string(d) + "q" + std::to_string(k) + " worth?",
                     .answer = std::to_string(1000 * d + k),
                     .where = "test"});
  return all;
}

synthesis::logo_options logo_options() {
  synthesis::logo_options options;
  options.select = {.important = 2, .context = 6, .rejected = 2};
  options.filter.metric = synthesis::agreement;
  options.ask.at_once = 4;
  return options;
}

std::vector<json> lines_of(const fs::path& file) {
  std::vector<json> all;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) all.push_back(json::parse(line));
  return all;
}

/// All files of a run by name.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    all[entry.path().filename().string()] = read_file(entry.path());
  return all;
}

synthesis::logo_summary make(reader& model, const fs::path& output, const synthesis::logo_options& options) {
  const lodestone::generate::any_generator any(model);
  const auto texts = documents();
  return synthesis::make_preferences(any, words(), cutter(), texts, questions(), options, output);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(synthesis_runs)

BOOST_AUTO_TEST_CASE(pairs_prefer_what_the_important_chunks_say) {
  const temporary_folder folder;
  for (const synthesis::prompt_kind kind :
       {synthesis::prompt_kind::chat, synthesis::prompt_kind::text, synthesis::prompt_kind::tokens}) {
    reader model{.words = &words()};
    synthesis::logo_options options = logo_options();
    options.prompt = kind;
    const fs::path output = folder / ("pairs" + std::to_string(static_cast<int>(kind)) + ".jsonl");
    const synthesis::logo_summary summary = make(model, output, options);
    BOOST_TEST(summary.is_complete);
    BOOST_TEST(summary.questions == 18);
    BOOST_TEST(summary.pairs == 18);
    BOOST_TEST(summary.answers.asked == 3 * 18);
    BOOST_TEST(summary.preferred_metric == 1.0);
    BOOST_TEST(summary.rejected_metric < 0.5);
    std::int64_t line = 0;
    for (const json& pair : lines_of(output)) {
      const auto record = lodestone::parse_preference({.text = pair.dump(), .line = ++line}, "pairs.jsonl");
      BOOST_TEST(record.context.size() == 6U);
      BOOST_TEST(record.answers.front().messages.front().content == pair.at("answer").get<std::string>());
      std::string context;
      for (const std::string& chunk : record.context) context += chunk;
      // The evidence stands in the context that training sees, and nothing else made the right answer.
      const std::string fact = record.question.substr(8, record.question.size() - 15) + " is worth ";
      BOOST_TEST(context.find(fact + pair.at("answer").get<std::string>()) != std::string::npos);
      const auto chunks = pair.at("chunks").get<std::vector<std::int64_t>>();
      const auto important = pair.at("important").get<std::vector<std::int64_t>>();
      BOOST_TEST(std::ranges::is_sorted(chunks));
      BOOST_TEST(std::ranges::includes(chunks, important));
    }
    BOOST_TEST(line == 18);
    // What the generator saw is the same text, however it was put.
    BOOST_TEST(std::ranges::any_of(model.prompts, [](const std::string& prompt) {
      return prompt.find(" is worth 5025. ") != std::string::npos && prompt.ends_with("\n\nWhat is Zor5q25 worth?");
    }));
  }
  BOOST_TEST(read_file(folder / "pairs0.jsonl").size() > 0U);
  const auto stages = lines_of(folder / "pairs2.chunks.jsonl");
  BOOST_TEST(stages.front().at("document") == "doc0");
  BOOST_TEST(words().decode(stages[3].at("tokens").get<std::vector<std::int32_t>>()) == stages[3].at("text"));
  BOOST_TEST(lines_of(folder / "pairs2.scores.jsonl").size() == 18U);
  BOOST_TEST(lines_of(folder / "pairs2.answers.jsonl").size() == 54U);
  BOOST_TEST(lines_of(folder / "pairs2.questions.jsonl").front().at("answer") == "5");
  for (const auto& [name, text] : contents(folder.path())) BOOST_TEST(!name.ends_with(".partial"), name);
}

// Text whose parts are other tokens when they stand alone: only the ids themselves say what the chunk was.
BOOST_AUTO_TEST_CASE(prompts_of_tokens_hold_the_ids_that_the_chunks_have) {
  struct listener : reader {
    std::vector<std::vector<std::int32_t>> heard{};
    void generate(std::span<const lodestone::generate::request> requests,
                  const lodestone::generate::answer_listener& each) {
      for (const auto& one : requests) heard.push_back(std::get<std::vector<std::int32_t>>(one.prompt));
      reader::generate(requests, each);
    }
  } model;
  model.words = &words();
  const std::vector<lodestone::text_document> texts{
      {.id = "d",
       .text = "thethe''thethethe'thethe'the'the'thethethethe'''''the''thethethethe'the'thethethe'the'thethe'the'''''"
               "thethethe'''thethe'thethe"}};
  const synthesis::chunker short_ones(words(), {.tokens = 8, .end = synthesis::chunk_end::token});
  const auto chunks = short_ones.cut(texts[0].text);
  const auto inexact =
      static_cast<std::size_t>(std::ranges::find(chunks, false, &synthesis::token_chunk::is_exact) - chunks.begin());
  BOOST_TEST_REQUIRE((inexact > 0 && inexact < chunks.size()));
  BOOST_TEST((short_ones.encode(chunks[inexact].text) != chunks[inexact].ids));
  synthesis::imported_scores scores{{"q", std::vector<double>(chunks.size(), 0.0)}};
  scores["q"][0] = scores["q"][inexact] = 9.0;
  synthesis::logo_options options;
  options.select = {.important = 2, .context = 3, .rejected = 1};
  options.prompt = synthesis::prompt_kind::tokens;
  options.scores = &scores;
  const std::vector<synthesis::document_question> asked{{.id = "q", .document = "d", .question = "What is it worth?"}};
  const temporary_folder folder;
  static_cast<void>(synthesis::make_preferences(lodestone::generate::any_generator(model), words(), short_ones, texts,
                                                asked, options, folder / "pairs.jsonl"));
  std::vector<std::int32_t> expected = words().prefix();
  for (const auto& part :
       {chunks[0].ids, chunks[inexact].ids, words().encode("\n\n", false, true), short_ones.encode(asked[0].question)})
    expected.insert(expected.end(), part.begin(), part.end());
  BOOST_TEST(std::ranges::count(model.heard, expected) == 1);
}

// Whenever a run is killed, what it was given is not asked again, and the files in the end are the same.
BOOST_AUTO_TEST_CASE(a_killed_run_goes_on_and_ends_as_if_it_had_not_been) {
  const temporary_folder whole;
  reader never{.words = &words()};
  const auto summary = make(never, whole / "pairs.jsonl", logo_options());
  BOOST_TEST(summary.is_complete);
  const temporary_folder parts;
  std::int64_t asked = 0, kills = 0;
  std::set<std::string> prompts;
  for (;;) {
    BOOST_TEST_REQUIRE(kills <= 7);
    reader killed{.words = &words(), .stop_after = 7};
    try {
      const auto resumed = make(killed, parts / "pairs.jsonl", logo_options());
      asked += killed.asked;
      prompts.insert(killed.prompts.begin(), killed.prompts.end());
      BOOST_TEST(resumed.pairs == summary.pairs);
      BOOST_TEST(resumed.answers.done_before == 54 - killed.asked);
      break;
    } catch (const std::runtime_error&) {
      ++kills;
      asked += killed.asked;
      prompts.insert(killed.prompts.begin(), killed.prompts.end());
      BOOST_TEST(!fs::exists(parts / "pairs.jsonl"));
    }
    // Half a line, as a kill in the middle of a write leaves it.
    std::ofstream(parts / "pairs.answers.log.partial", std::ios::app) << "{\"id\": \"q0-5/ch";
  }
  BOOST_TEST(kills == 7);
  BOOST_TEST(asked == 54);
  BOOST_TEST(prompts.size() == std::set<std::string>(never.prompts.begin(), never.prompts.end()).size());
  BOOST_TEST((contents(parts.path()) == contents(whole.path())));
  // Done: nothing is asked any more, and nothing changes; other settings are refused.
  reader idle{.words = &words(), .stop_after = 0};
  BOOST_TEST(make(idle, parts / "pairs.jsonl", logo_options()).is_complete);
  synthesis::logo_options other = logo_options();
  other.ask.seed = 7;
  const auto names_the_seed = [](const lodestone::config_error& error) {
    return std::string(error.what()).find("seed was 42 and is 7") != std::string::npos;
  };
  BOOST_CHECK_EXCEPTION(make(idle, parts / "pairs.jsonl", other), lodestone::config_error, names_the_seed);
  BOOST_TEST((contents(parts.path()) == contents(whole.path())));
}

BOOST_AUTO_TEST_CASE(a_kill_behind_the_output_and_before_the_summary_loses_nothing) {
  const temporary_folder folder;
  reader first{.words = &words(), .stop_after = 53};
  BOOST_CHECK_THROW(make(first, folder / "pairs.jsonl", logo_options()), std::runtime_error);
  lodestone_test::write_file(folder / "pairs.jsonl", "{}\n");
  lodestone_test::write_file(folder / "pairs.answers.jsonl", "{}\n");
  reader second{.words = &words()};
  BOOST_TEST(make(second, folder / "pairs.jsonl", logo_options()).is_complete);
  BOOST_TEST(second.asked == 1);
  BOOST_TEST(lines_of(folder / "pairs.jsonl").size() == 18U);
  // An output that is none of ours stays.
  lodestone_test::write_file(folder / "mine.jsonl", "{}\n");
  BOOST_CHECK_THROW(make(second, folder / "mine.jsonl", logo_options()), lodestone::config_error);
  BOOST_CHECK_THROW(make(second, folder / "mine.txt", logo_options()), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(failed_answers_are_recorded_and_asked_again) {
  const temporary_folder folder;
  reader model{.words = &words(), .error = [](const std::string& prompt, std::uint64_t) {
                 return std::string(prompt.ends_with("Zor2q25 worth?") ? "the server said no" : "");
               }};
  const auto summary = make(model, folder / "pairs.jsonl", logo_options());
  BOOST_TEST(!summary.is_complete);
  BOOST_TEST(summary.answers.failed.size() == 3U);
  BOOST_TEST(!fs::exists(folder / "pairs.jsonl"));
  const auto failed = lines_of(folder / "pairs.failed.jsonl");
  BOOST_TEST(failed.size() == 3U);
  BOOST_TEST(failed.front().at("error") == "the server said no");
  reader again{.words = &words()};
  const auto second = make(again, folder / "pairs.jsonl", logo_options());
  BOOST_TEST(second.is_complete);
  BOOST_TEST(second.pairs == 18);
  BOOST_TEST(again.asked == 3);
  BOOST_TEST(!fs::exists(folder / "pairs.failed.jsonl"));

  synthesis::logo_options accepting = logo_options();
  accepting.accept_failures = true;
  const auto partial = make(model, folder / "fewer.jsonl", accepting);
  BOOST_TEST(partial.is_complete);
  BOOST_TEST(partial.pairs == 17);
  BOOST_TEST(partial.unanswered == 1);
  BOOST_TEST(lines_of(folder / "fewer.failed.jsonl").size() == 3U);
}

BOOST_AUTO_TEST_CASE(questions_scores_and_ratings_can_come_from_others) {
  const temporary_folder folder;
  reader model{.words = &words()};
  const lodestone::generate::any_generator any(model);
  const auto texts = documents();
  synthesis::logo_options options = logo_options();
  options.only_scores = true;
  options.questions.kinds = {synthesis::question_kind::information};
  const auto scored = synthesis::make_preferences(any, words(), cutter(), texts, {}, options, folder / "own.jsonl");
  BOOST_TEST(!scored.is_complete);
  BOOST_TEST(scored.questions == 30);  // five about each document
  BOOST_TEST(model.asked == 6);
  BOOST_TEST(lines_of(folder / "own.questions.jsonl").front().at("id") == "doc0/information/1");
  // The questions of one run are those of the next, and its scores come from elsewhere: only chunk 4 matters.
  const auto made = synthesis::read_questions(folder / "own.questions.jsonl", texts);
  synthesis::imported_scores scores;
  for (json line : lines_of(folder / "own.scores.jsonl")) {
    std::vector<double> values(line.at("scores").size(), 0.0);
    values[4] = 9.0;
    scores[line.at("id")] = values;
  }
  options.only_scores = false;
  options.scores = &scores;
  options.filter.metric = {};
  struct judge : reader {
    void generate(std::span<const lodestone::generate::request> requests,
                  const lodestone::generate::answer_listener& each) {
      for (std::size_t i = 0; i < requests.size(); ++i) {
        lodestone::generate::answer answer;
        answer.text = asked++ % 3 == 0 ? "Fine. [[9]]" : asked % 2 == 0 ? "Bad. [[2]]" : "No idea";
        each(i, std::move(answer));
      }
    }
  } strict;
  const lodestone::generate::any_generator rater(strict);
  options.judge = &rater;
  options.accept_failures = true;
  const auto summary = synthesis::make_preferences(any, words(), cutter(), texts, made, options, folder / "b.jsonl");
  BOOST_TEST(summary.is_complete);
  for (const json& line : lines_of(folder / "b.scores.jsonl"))
    BOOST_TEST(line.at("preferred").get<std::vector<int>>() == std::vector<int>{4}, per_element());
  BOOST_TEST(summary.ratings.items == 90);
  BOOST_TEST(summary.drops.not_rated_worse > 0);
  BOOST_TEST(!lines_of(folder / "b.ratings.jsonl").empty());
  scores.begin()->second.pop_back();
  BOOST_CHECK_THROW(
      static_cast<void>(synthesis::make_preferences(any, words(), cutter(), texts, made, options, folder / "c.jsonl")),
      lodestone::data_error);
}

// --- LongAlign ------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(instructions_are_chat_records_about_documents) {
  const temporary_folder folder;
  reader model;
  const lodestone::generate::any_generator any(model);
  auto texts = documents();
  texts[1].text = "中文文档说了很多事情。" + texts[1].text.substr(0, 0);
  synthesis::longalign_options options;
  options.questions.prompts = 2;
  options.questions.tongue = synthesis::language::english;
  const auto summary = synthesis::make_instructions(any, texts, options, folder / "sft.jsonl");
  BOOST_TEST(summary.is_complete);
  BOOST_TEST(summary.records == 12);
  BOOST_TEST(summary.per_source.at("wiki") == 6);
  std::int64_t line = 0;
  std::set<std::string> ids;
  for (const json& one : lines_of(folder / "sft.jsonl")) {
    const auto record = lodestone::parse_record({.text = one.dump(), .line = ++line}, "sft.jsonl");
    BOOST_TEST_REQUIRE(record.messages.size() == 2U);
    const std::string id = one.at("id");
    const std::size_t d = static_cast<std::size_t>(id[3] - '0');
    BOOST_TEST(record.messages[0].content.starts_with(texts[d].text + "\n\nWhat is "));
    if (d != 1) {
      const std::string& answer = record.messages[1].content;
      BOOST_TEST(texts[d].text.find(" is worth " + answer + ".") != std::string::npos, answer);
    }
    ids.insert(id);
  }
  BOOST_TEST(ids.size() == 12U);
}

BOOST_AUTO_TEST_CASE(an_interrupted_synthesis_of_instructions_ends_the_same) {
  const temporary_folder whole, parts;
  const auto texts = documents();
  synthesis::longalign_options options;
  options.ask.at_once = 3;
  reader never;
  static_cast<void>(
      synthesis::make_instructions(lodestone::generate::any_generator(never), texts, options, whole / "sft.jsonl"));
  std::int64_t asked = 0;
  for (bool is_done = false; !is_done;) {
    BOOST_TEST_REQUIRE(asked < 12);
    reader killed{.stop_after = 2};
    try {
      is_done =
          synthesis::make_instructions(lodestone::generate::any_generator(killed), texts, options, parts / "sft.jsonl")
              .is_complete;
    } catch (const std::runtime_error&) {
      BOOST_TEST(!fs::exists(parts / "sft.jsonl"));
    }
    asked += killed.asked;
  }
  BOOST_TEST(asked == 12);
  BOOST_TEST((contents(parts.path()) == contents(whole.path())));
}

BOOST_AUTO_TEST_CASE(answers_without_enough_questions_are_asked_for_again) {
  const temporary_folder folder;
  struct lazy : reader {
    std::map<std::string, int> times{};
    void generate(std::span<const lodestone::generate::request> requests,
                  const lodestone::generate::answer_listener& each) {
      for (std::size_t i = 0; i < requests.size(); ++i) {
        const std::string prompt = text_of(requests[i].prompt);
        lodestone::generate::answer answer;
        const int time = ++times[prompt];
        answer.text = answer_to(prompt, requests[i].draw.seed);
        if (answer.text.starts_with("Here") && (time < 3 || prompt.find("Zor4q") != std::string::npos))
          answer.text = "1: Only one?";
        seeds.insert(requests[i].draw.seed);
        each(i, std::move(answer));
      }
    }
    std::set<std::uint64_t> seeds{};
  } model;
  const auto summary = synthesis::make_instructions(lodestone::generate::any_generator(model), documents(),
                                                    {.accept_failures = true}, folder / "sft.jsonl");
  BOOST_TEST(summary.records == 5);
  BOOST_TEST(summary.made_questions.failed.size() == 1U);
  BOOST_TEST(summary.made_questions.failed.front().id.starts_with("doc4/"));
  BOOST_TEST(model.seeds.size() == 6U * 3 + 5);  // every attempt has its own
}

BOOST_AUTO_TEST_CASE(longer_documents_are_drawn_more_often_and_quotas_hold) {
  std::vector<lodestone::text_document> texts;
  for (int d = 0; d < 400; ++d)
    texts.push_back({.id = "d" + std::to_string(d),
                     .source = d % 4 == 0 ? "a" : "b",
                     .text = std::string(d % 2 == 0 ? 300 : 100, 'x')});
  const auto draw = [&](const synthesis::sample_options& options, std::uint64_t seed) {
    return synthesis::sample_documents(texts, options, seed, {});
  };
  std::int64_t is_long = 0, is_long_alike = 0, total = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    for (const std::size_t d : draw({.count = 20}, seed)) is_long += d % 2 == 0 ? 1 : 0;
    for (const std::size_t d : draw({.count = 20, .length_power = 0.0}, seed)) is_long_alike += d % 2 == 0 ? 1 : 0;
    total += 20;
  }
  // 3/4 and 1/2 of 4,000 draws, nearly without replacement; five standard deviations are 140 and 160.
  BOOST_TEST(std::abs(is_long - 3 * total / 4) < 140);
  BOOST_TEST(std::abs(is_long_alike - total / 2) < 160);
  const auto by_quota = draw({.quotas = {{"a", 7}}}, 1);
  BOOST_TEST(std::ranges::count_if(by_quota, [](std::size_t d) { return d % 4 == 0; }) == 7);
  BOOST_TEST(by_quota.size() == 307U);
  BOOST_TEST(draw({.shortest = 200, .longest = 299}, 1).empty());
  synthesis::sample_counts counts;
  static_cast<void>(synthesis::sample_documents(texts, {.count = 10, .shortest = 200}, 1, {}, &counts));
  BOOST_TEST(counts.too_short == 200);
  BOOST_TEST(counts.not_drawn == 190);
  // A document's chance does not hang on its neighbours: without the first half the rest keeps its order.
  const auto before = draw({.count = 100}, 3);
  const std::vector<lodestone::text_document> half(texts.begin() + 200, texts.end());
  const auto after = synthesis::sample_documents(half, {.count = 100}, 3, {});
  for (const std::size_t d : before)
    if (d >= 200) BOOST_TEST(std::ranges::count(after, d - 200) == 1);
  BOOST_CHECK_THROW(static_cast<void>(draw({.length_power = -1.0}, 0)), lodestone::config_error);
}

BOOST_AUTO_TEST_SUITE_END()
