// Judged tasks: replies without a rating, failures, runs that are killed at any point, turns, and the published tasks.
#include <lodestone/eval/judge.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/eval/longbench_chat.hpp>
#include <lodestone/eval/longbench_rated.hpp>
#include <lodestone/eval/mt_bench.hpp>
#include <lodestone/eval/record_json.hpp>
#include <lodestone/generate/endpoint.hpp>
#include <lodestone/text/jsonl.hpp>

#include "support/http_server.hpp"
#include "support/support.hpp"

namespace eval = lodestone::eval;
namespace generate = lodestone::generate;
using lodestone::chat_message;
using lodestone::chat_role;
using lodestone::result_log;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;

namespace {

/// The messages of a request, one a line.
std::string text_of(const generate::request& asked) {
  if (const auto* text = std::get_if<std::string>(&asked.prompt)) return *text;
  std::string all;
  for (const chat_message& message : std::get<std::vector<chat_message>>(asked.prompt))
    all += std::string(to_string(message.role)) + ": " + message.content + "\n";
  return all;
}

/// Answers by a function, last request first, and breaks down when `left` answers are given.
struct scripted {
  std::function<generate::answer(const generate::request&)> reply;
  std::size_t left = 1'000'000;
  std::vector<generate::request> heard{};

  static std::string name() { return "scripted"; }
  void generate(std::span<const generate::request> requests, const generate::answer_listener& each) {
    for (std::size_t k = requests.size(); k-- > 0;) {
      if (left == 0) throw std::runtime_error("killed");
      --left;
      heard.push_back(requests[k]);
      each(k, reply(requests[k]));
    }
  }
};

generate::answer says(std::string text) { return {.text = std::move(text)}; }
generate::answer fails(std::string why) { return {.why = generate::finish::failed, .error = std::move(why)}; }

/// Question i wants i; its rating is what the judge says of it.
struct numbers {
  std::size_t count = 6;
  static std::string name() { return "numbers"; }
  [[nodiscard]] std::size_t size() const { return count; }
  [[nodiscard]] static eval::question ask(std::size_t i) {
    return {
        .id = "n" + std::to_string(i), .prompt = "Say " + std::to_string(i), .labels = {{"half", i < 3 ? "a" : "b"}}};
  }
  [[nodiscard]] static std::vector<chat_message> judge(std::size_t i, std::string_view answer, std::int64_t attempt) {
    return {{chat_role::user,
             "Rate " + std::to_string(i) + ": " + std::string(answer) + " try " + std::to_string(attempt),
             {}}};
  }
  [[nodiscard]] static std::optional<double> rating(std::string_view reply) {
    return eval::last_bracketed_rating(reply);
  }
  [[nodiscard]] static std::vector<eval::score> marks(std::size_t, double rating) { return {{"rating", rating}}; }
};
static_assert(eval::judged_task<numbers>);

/// Two turns, a record of each, the second of two ratings.
struct dialogues {
  std::size_t count = 3;
  static std::string name() { return "dialogues"; }
  [[nodiscard]] std::size_t size() const { return count; }
  [[nodiscard]] static std::string id(std::size_t i) { return "d" + std::to_string(i); }
  [[nodiscard]] static std::size_t turns(std::size_t) { return 2; }
  [[nodiscard]] static eval::question ask(std::size_t i, std::span<const std::string> answers) {
    return {.id = id(i) + "." + std::to_string(answers.size()),
            .prompt = "Question " + std::to_string(i) + "." + std::to_string(answers.size()),
            .max_new_tokens = 9,
            .temperature = 0.25};
  }
  [[nodiscard]] static std::vector<eval::judged_part> parts(std::size_t i) {
    return {{.id = id(i) + "/1"}, {.id = id(i) + "/2", .turns = 2, .ratings = 2}};
  }
  [[nodiscard]] static std::vector<chat_message> judge(eval::rating_place place, std::span<const std::string> answers,
                                                       std::int64_t attempt) {
    std::string text = id(place.dialogue) + " part " + std::to_string(place.part) + " number " +
                       std::to_string(place.number) + " try " + std::to_string(attempt);
    for (const std::string& answer : answers) text += " | " + answer;
    return {{chat_role::user, text, {}}};
  }
  [[nodiscard]] static std::optional<double> rating(eval::rating_place, std::string_view reply) {
    return eval::last_bracketed_rating(reply);
  }
  [[nodiscard]] static std::vector<eval::score> marks(std::size_t, std::size_t, std::span<const double> ratings) {
    double sum = 0;
    for (const double rating : ratings) sum += rating;
    return {{"rating", sum / static_cast<double>(ratings.size())}};
  }
};
static_assert(eval::judged_dialogue<dialogues>);

std::vector<eval::record> records_in(const std::filesystem::path& file) {
  std::vector<eval::record> all;
  lodestone::jsonl_reader reader(file);
  for (lodestone::json_record line; reader.next(line);)
    all.push_back(eval::read_task_record(line.text, reader.where(line.line)).own);
  return all;
}

struct files {
  temporary_folder folder{};
  [[nodiscard]] std::filesystem::path records() const { return folder / "records.jsonl"; }
  [[nodiscard]] std::filesystem::path work() const { return folder / "work.jsonl"; }
};

/// Runs to the end and publishes both files.
eval::judged_report run_whole(const files& to, const eval::any_judged& task, scripted& model, scripted& judge,
                              const eval::run_options& options = {}, const eval::judge_options& judging = {}) {
  result_log log(to.records(), "{}");
  result_log work(to.work(), "{}");
  eval::judged_report report = eval::run_judged(task, generate::any_generator(model), generate::any_generator(judge),
                                                log, work, options, judging);
  if (log.size() == eval::record_ids(task).size()) {
    log.commit(eval::record_ids(task));
    work.commit(eval::work_ids(task, work));
  }
  return report;
}

/// Answers what was asked last.
scripted echo() {
  return {[](const generate::request& asked) {
    const auto& messages = std::get<std::vector<chat_message>>(asked.prompt);
    return says("answer to " + messages.back().content);
  }};
}

/// The CRC-32 of zlib: published texts are compared with their checksums.
std::uint32_t crc32(std::string_view text) {
  std::uint32_t crc = ~0U;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB8'8320U : 0U);
  }
  return ~crc;
}

auto has(std::string part) {
  return [part = std::move(part)](const lodestone::error& failure) {
    const bool is_there = std::string_view(failure.what()).find(part) != std::string_view::npos;
    if (!is_there) BOOST_TEST_MESSAGE(failure.what());
    return is_there;
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_judge)

BOOST_AUTO_TEST_CASE(replies_without_a_rating_are_asked_again_and_failures_are_counted_not_averaged) {
  const files to;
  scripted model{[](const generate::request& asked) {
    return text_of(asked).find("Say 4") != std::string::npos ? fails("out of memory") : says("good");
  }};
  scripted judge{[](const generate::request& asked) {
    const std::string text = text_of(asked);
    if (text.find("Rate 1:") != std::string::npos && text.find("try 2") == std::string::npos)
      return says("I would say 9");
    if (text.find("Rate 2:") != std::string::npos) return says("");
    if (text.find("Rate 3:") != std::string::npos && text.find("try 0") != std::string::npos) return fails("time-out");
    return says("Fine. [[8]]");
  }};
  const eval::any_judged task{numbers{}};
  const auto report = run_whole(to, task, model, judge);
  BOOST_TEST(report.asked == 6U);
  BOOST_TEST(report.replies == 5U + 3U + 2U + 1U + 1U);  // numbers 1 and 2 go on, 3 is lucky at its second try
  BOOST_TEST(report.unrated == 1U);
  const auto records = records_in(to.records());
  BOOST_REQUIRE(records.size() == 6U);
  for (const std::size_t i : {0, 1, 3, 5}) {
    BOOST_TEST((records[i].scores == std::vector<eval::score>{{"rating", 8.0}}));
    BOOST_TEST(records[i].answer == "good");
    BOOST_TEST(records[i].error.empty());
  }
  BOOST_TEST(records[0].id == "numbers/n0");
  BOOST_TEST((records[4].labels == std::vector<eval::label>{{"half", "b"}}));
  BOOST_TEST(records[2].scores.empty());
  BOOST_TEST(records[2].answer == "good");
  BOOST_TEST(records[2].error == "no rating in 5 attempts: the reply is \"\"");
  BOOST_TEST(records[4].scores.empty());
  BOOST_TEST(records[4].error == "out of memory");
  BOOST_TEST(report.failures.size() == 2U);
  const eval::rating_summary summary = eval::summarise_ratings(records);
  BOOST_TEST(summary.rated == 4U);
  BOOST_TEST(summary.failed == 2U);
  BOOST_TEST(summary.sum == 32.0);
  BOOST_TEST(summary.mean == 8.0);

  // The judge's words are kept.
  const std::string work = read_file(to.work());
  BOOST_TEST(work.find(R"({"id":"numbers/n1/rating/1","rating":8.0,"reply":"Fine. [[8]]","attempt":3})") !=
             std::string::npos);
  BOOST_TEST(work.find(R"({"id":"numbers/n0/answer/1","answer":"good"})") != std::string::npos);
  BOOST_TEST(work.find(R"({"id":"numbers/n4/answer/1","error":"out of memory"})") != std::string::npos);

  // The first attempt takes the most likely reply; later ones draw, each with a seed of its own.
  std::set<std::uint64_t> seeds;
  for (const generate::request& asked : judge.heard) {
    const bool is_first = text_of(asked).find("try 0") != std::string::npos;
    BOOST_TEST(asked.draw.temperature == (is_first ? 0.0 : 0.5));
    BOOST_TEST(asked.max_new_tokens == 2048);
    seeds.insert(asked.draw.seed);
  }
  BOOST_TEST(seeds.size() == judge.heard.size());
}

BOOST_AUTO_TEST_CASE(later_turns_have_the_answers_before_them_and_parts_have_their_ratings) {
  const files to;
  scripted model = echo();
  scripted judge{[](const generate::request& asked) {
    const std::string text = text_of(asked);
    if (text.find("part 0") != std::string::npos) return says("[[2]]");
    return says(text.find("number 0") != std::string::npos ? "[[4]]" : "[[9]]");
  }};
  eval::run_options options;
  options.system = "Be kind.";
  options.draw.temperature = 1.0;
  const eval::any_judged task{dialogues{.count = 1}};
  const auto report = run_whole(to, task, model, judge, options);
  BOOST_TEST(report.asked == 2U);
  BOOST_REQUIRE(model.heard.size() == 2U);
  BOOST_TEST(text_of(model.heard[0]) == "system: Be kind.\nuser: Question 0.0\n");
  BOOST_TEST(text_of(model.heard[1]) ==
             "system: Be kind.\nuser: Question 0.0\nassistant: answer to Question 0.0\n"
             "user: Question 0.1\n");
  BOOST_TEST(model.heard[1].max_new_tokens == 9);
  BOOST_TEST(model.heard[1].draw.temperature == 0.25);  // the question's own
  const auto records = records_in(to.records());
  BOOST_REQUIRE(records.size() == 2U);
  BOOST_TEST(records[0].id == "dialogues/d0/1");
  BOOST_TEST(records[0].answer == "answer to Question 0.0");
  BOOST_TEST(records[0].scores[0].value == 2.0);
  BOOST_TEST(records[1].answer == "answer to Question 0.1");
  BOOST_TEST(records[1].scores[0].value == 6.5);
  for (const generate::request& asked : judge.heard) {  // the first part's judge sees one answer
    const std::string text = text_of(asked);
    BOOST_TEST(std::count(text.begin(), text.end(), '|') == (text.find("part 0") != std::string::npos ? 1 : 2));
  }
}

BOOST_AUTO_TEST_CASE(a_turn_that_fails_leaves_the_parts_before_it) {
  const files to;
  scripted model{[](const generate::request& asked) {
    return text_of(asked).find(".1") != std::string::npos ? fails("broke") : says("fine");
  }};
  scripted judge{[](const generate::request&) { return says("[[7]]"); }};
  run_whole(to, eval::any_judged{dialogues{.count = 1}}, model, judge);
  const auto records = records_in(to.records());
  BOOST_TEST(records[0].scores[0].value == 7.0);
  BOOST_TEST(records[1].error == "broke");
  BOOST_TEST(records[1].scores.empty());
}

BOOST_AUTO_TEST_CASE(runs_that_are_killed_anywhere_go_on_without_repeating_or_losing_anything) {
  const eval::any_judged task{dialogues{}};
  const auto judge_reply = [](const generate::request& asked) {
    const std::string text = text_of(asked);
    if (text.find("d1 part 1 number 1") != std::string::npos) return says("never");
    if (text.find("d2 part 0") != std::string::npos && text.find("try 0") != std::string::npos) return says("hm");
    return says("[[" + std::to_string(1 + text.size() % 9) + "]]");
  };
  for (const std::size_t batch : {2, 100}) {
    eval::run_options options;
    options.batch = batch;
    const files whole;
    scripted whole_model = echo();
    scripted whole_judge{judge_reply};
    run_whole(whole, task, whole_model, whole_judge, options);
    const std::size_t rated = whole_judge.heard.size();
    for (std::size_t after = 0; after < whole_model.heard.size() + rated; after += batch == 2 ? 3 : 1) {
      const files to;
      std::map<std::string, int> answered;  // prompts of both, and how often each was answered
      std::size_t model_answers = 0;
      for (int runs = 0;; ++runs) {
        BOOST_REQUIRE(runs < 60);
        scripted model = echo();
        scripted judge{judge_reply};
        // The same number of answers of either kind in each run, at least one so that runs get on.
        model.left = after % whole_model.heard.size() + 1;
        judge.left = after % rated + 1;
        bool is_killed = false;
        try {
          run_whole(to, task, model, judge, options);
        } catch (const std::runtime_error&) {
          is_killed = true;
        }
        model_answers += model.heard.size();
        for (const auto& asked : model.heard) ++answered[text_of(asked)];
        for (const auto& asked : judge.heard) ++answered[text_of(asked)];
        if (!is_killed) break;
      }
      BOOST_TEST(model_answers == whole_model.heard.size());
      for (const auto& [prompt, count] : answered) BOOST_TEST(count == 1, prompt);
      BOOST_REQUIRE(read_file(to.records()) == read_file(whole.records()));
      BOOST_REQUIRE(read_file(to.work()) == read_file(whole.work()));
    }
  }
}

BOOST_AUTO_TEST_CASE(failures_that_are_not_kept_are_tried_again_by_the_next_run) {
  const files to;
  const eval::any_judged task{numbers{}};
  eval::run_options options;
  options.keeps_failures = false;
  bool is_well = false;
  scripted model{[&](const generate::request& asked) {
    return !is_well && text_of(asked).find("Say 2") != std::string::npos ? fails("busy") : says("good");
  }};
  scripted judge{[&](const generate::request& asked) {
    return says(!is_well && text_of(asked).find("Rate 3") != std::string::npos ? "hm" : "[[5]]");
  }};
  auto report = run_whole(to, task, model, judge, options);
  BOOST_TEST(report.failures.size() == 2U);
  BOOST_TEST(!std::filesystem::exists(to.records()));
  is_well = true;
  model.heard.clear();
  report = run_whole(to, task, model, judge, options);
  BOOST_TEST(report.reused == 4U);
  BOOST_TEST(report.failures.empty());
  BOOST_TEST(model.heard.size() == 1U);  // number 3 has its answer
  for (const eval::record& one : records_in(to.records())) BOOST_TEST(one.scores[0].value == 5.0);
}

BOOST_AUTO_TEST_CASE(records_and_work_may_share_a_log) {
  const files to;
  scripted model = echo();
  scripted judge{[](const generate::request&) { return says("[[5]]"); }};
  const eval::any_judged task{dialogues{}};
  result_log log(to.records(), "{}");
  eval::run_judged(task, generate::any_generator(model), generate::any_generator(judge), log, log);
  log.commit(eval::record_ids(task));
  BOOST_TEST(records_in(to.records()).size() == 6U);
}

BOOST_AUTO_TEST_CASE(a_judge_behind_an_endpoint_that_forgets_the_format) {
  setenv("no_proxy", "127.0.0.1", 1);
  if (!generate::has_endpoint()) return;
  lodestone_test::http_server server(
      [](const lodestone_test::http_request& what, lodestone_test::http_connection& back) {
        const bool is_second = what.body.find("try 1") != std::string::npos;
        const std::string reply = what.body.find("Rate 0") != std::string::npos ? "no rating at all"
                                  : is_second                                   ? "now: [[6]]"
                                                                                : "";
        back.reply(200, nlohmann::json{{"choices", {{{"message", {{"content", reply}}}}}}}.dump());
      });
  generate::endpoint judge({.url = server.url(), .model = "judge", .key_variable = ""});
  scripted model = echo();
  const files to;
  result_log log(to.records(), "{}");
  const eval::any_judged task{numbers{.count = 3}};
  eval::judge_options judging;
  judging.attempts = 3;
  eval::run_judged(task, generate::any_generator(model), generate::any_generator(judge), log, log, {}, judging);
  log.commit(eval::record_ids(task));
  const auto records = records_in(to.records());
  BOOST_TEST(records[0].error == "no rating in 3 attempts: the reply is \"no rating at all\"");
  BOOST_TEST(records[1].scores[0].value == 6.0);
  BOOST_TEST(server.requests().size() == 3U + 2U + 2U);
}

// --- LongBench-Chat --------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(longbench_chat_is_read_and_its_judge_asked_as_published) {
  BOOST_TEST(crc32(eval::longbench_chat_few_shot_template()) == 0x8e33'7223U);  // of prompt_fs.txt, by zlib
  const temporary_folder folder;
  write_file(folder / "test_cases.json",
             R"([{"idx": 2, "prompt": "document\n\nquery", "query": "Why {}?", "answer": "Because."},
                 {"idx": 1, "prompt": "文档", "query": "为什么？", "answer": "因为", "extra": null}])");
  write_file(folder / "few_shots.json",
             R"([[{"answer": "a1", "score": 1}], [{"answer": "A", "score": 3}, {"answer": "B", "score": 10},
                 {"answer": "C", "score": 7.5}], []])");
  const auto cases = eval::read_longbench_chat(folder / "test_cases.json", folder / "few_shots.json");
  BOOST_REQUIRE(cases.size() == 2U);
  BOOST_TEST(cases[0].shots[2].score == "7.5");
  BOOST_TEST(cases[1].shots[0].answer == "a1");
  BOOST_CHECK_EXCEPTION(eval::longbench_chat{cases}, lodestone::data_error,
                        has("longbench_chat 1: the case has 1 of the 3"));

  eval::longbench_chat_options options;
  options.shuffles = false;
  const eval::longbench_chat task({cases[0]}, eval::judge_template("{};{};{}={};{}={};{}={};{}"), options);
  const eval::question asked = task.ask(0, {});
  BOOST_TEST(asked.id == "2");
  BOOST_TEST(asked.prompt == "document\n\nquery");
  BOOST_TEST(asked.max_new_tokens == 1024);
  BOOST_TEST(asked.temperature.value() == 1.0);
  const std::vector<std::string> answer{" first\nsecond \n"};
  const auto messages = task.judge({0, 0, 0}, answer, 0);
  BOOST_REQUIRE(messages.size() == 2U);
  BOOST_TEST(messages[0].content == "You're a good assistant at evaluating the quality of texts.");
  BOOST_TEST(messages[1].content == "Why {}?;Because.;A=3;B=10;C=7.5;first second");
  BOOST_TEST(task.parts(0)[0].labels[0].value == "en");
  const eval::longbench_chat zero({cases[1]}, eval::judge_template(eval::longbench_chat_zero_shot_template()));
  BOOST_TEST(zero.parts(0)[0].labels[0].value == "zh");
  const std::string text = zero.judge({0, 0, 0}, answer, 0)[1].content;
  BOOST_TEST(text.find("为什么？") != std::string::npos);
  BOOST_TEST(text.find("examples") == std::string::npos);
  BOOST_TEST(text.ends_with("first second\n[Assistant's answer ends]\n\nRating: "));
}

BOOST_AUTO_TEST_CASE(longbench_chat_shuffles_examples_by_run_and_attempt_and_averages_runs) {
  eval::longbench_chat_case one{.id = "1", .prompt = "p", .query = "q", .reference = "r"};
  for (const char* name : {"A", "B", "C"}) one.shots.push_back({name, "5"});
  eval::longbench_chat_options options;
  options.runs = 2;
  const auto form = eval::judge_template("{}{}{}{}{}{}{}{}{}");
  const eval::longbench_chat task({one}, form, options);
  const std::vector<std::string> answer{"x"};
  const auto order = [&](const eval::longbench_chat& of, std::size_t run, std::int64_t attempt) {
    return of.judge({0, 0, run}, answer, attempt)[1].content;
  };
  std::map<std::string, int> orders;
  for (std::size_t run = 0; run < 2; ++run)
    for (std::int64_t attempt = 0; attempt < 300; ++attempt) {
      ++orders[order(task, run, attempt)];
      BOOST_REQUIRE(order(task, run, attempt) == order(task, run, attempt));
    }
  BOOST_TEST(orders.size() == 6U);  // all of them, about equally often
  for (const auto& [text, count] : orders) BOOST_TEST((count > 60 && count < 140), text << " " << count);
  options.seed = 43;
  const eval::longbench_chat other({one}, form, options);
  int differ = 0;
  for (std::int64_t attempt = 0; attempt < 20; ++attempt) differ += order(task, 0, attempt) != order(other, 0, attempt);
  BOOST_TEST(differ > 5);

  const files to;
  scripted model = echo();
  int replies = 0;
  scripted judge{[&](const generate::request&) { return says(replies++ == 0 ? "[[6]]" : "[[9]]"); }};
  run_whole(to, eval::any_judged{task}, model, judge);
  const auto records = records_in(to.records());
  BOOST_TEST(records[0].scores[0].value == 7.5);
  BOOST_TEST(eval::summarise_ratings(records).sum == 7.5);
}

BOOST_AUTO_TEST_CASE(longbench_chat_names_the_line_of_a_fault) {
  const temporary_folder folder;
  const auto read = [&](const std::string& cases, const std::string& shots = "") {
    write_file(folder / "cases.json", cases);
    if (!shots.empty()) write_file(folder / "shots.json", shots);
    return eval::read_longbench_chat(folder / "cases.json",
                                     shots.empty() ? std::filesystem::path() : folder / "shots.json");
  };
  using lodestone::data_error;
  const std::string good = R"({"idx": 1, "prompt": "p", "query": "q", "answer": "a"})";
  BOOST_TEST(read(good + "\n").size() == 1U);
  BOOST_CHECK_EXCEPTION(read(good + "\n{\"idx\": 2}"), data_error, has("cases.json:2: \"prompt\" is missing"));
  BOOST_CHECK_EXCEPTION(read("[" + good + ",\n" + good + "]"), data_error, has("cases.json:2: idx 1 stands twice"));
  BOOST_CHECK_EXCEPTION(read(R"({"idx": 1, "prompt": 5, "query": "q", "answer": "a"})"), data_error,
                        has("\"prompt\" must be text"));
  BOOST_CHECK_EXCEPTION(read("[]"), data_error, has("holds no record"));
  BOOST_CHECK_EXCEPTION(read("[3]"), data_error, has("must be an object"));
  BOOST_CHECK_EXCEPTION(read("{\"idx\": "), data_error, has("cases.json:1: is not JSON"));
  BOOST_CHECK_EXCEPTION(read("\xff\xfe"), lodestone::format_error, has("UTF-16"));
  BOOST_CHECK_EXCEPTION(read("{\"idx\": \"\xe4\"}"), data_error, has("cases.json:1: broken UTF-8"));
  BOOST_CHECK_EXCEPTION(read(R"({"idx": 2, "prompt": "p", "query": "q", "answer": "a"})", "[[]]"), data_error,
                        has("idx 2 has no entry among the 1 of"));
  BOOST_CHECK_EXCEPTION(read(good, R"([[{"answer": "a"}]])"), data_error,
                        has("shots.json:1: \"[0].score\" is missing"));
}

// --- MT-Bench --------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(mt_bench_asks_two_turns_and_judges_each_as_published) {
  const eval::mt_bench_prompts prompts = eval::published_mt_bench_prompts();
  const temporary_folder folder;
  write_file(folder / "question.jsonl",
             R"({"question_id": 81, "category": "writing", "turns": ["Compose {a}.", "Shorter."]})"
             "\n"
             R"({"question_id": 111, "category": "math", "turns": ["1+1?", "And 2+2?"], "reference": ["x", "y"]})"
             "\n"
             R"({"question_id": 151, "category": "humanities", "turns": ["Why?", "Sure?"]})"
             "\n");
  write_file(folder / "gpt-4.jsonl", R"({"question_id": 111, "choices": [{"index": 0, "turns": ["2", "4"]}]})"
                                     "\n");
  const auto questions = eval::read_mt_bench(folder / "question.jsonl", folder / "gpt-4.jsonl");
  BOOST_REQUIRE(questions.size() == 3U);
  BOOST_TEST(questions[0].references.empty());
  BOOST_TEST(questions[1].references[1] == "4");
  const eval::mt_bench task(questions);
  BOOST_TEST(task.ask(0, {}).temperature.value() == 0.7);
  BOOST_TEST(task.ask(1, {}).temperature.value() == 0.0);
  BOOST_TEST(task.ask(2, {}).temperature.value() == 0.1);
  const std::vector<std::string> answers{"first {}", "second"};
  const auto text = [&](std::size_t i, std::size_t part) {
    const auto messages = task.judge({i, part, 0}, std::span(answers).first(part + 1), 0);
    return messages[0].content + "\n===\n" + messages[1].content;
  };
  BOOST_TEST(
      text(0, 0).starts_with("You are a helpful assistant.\n===\n[Instruction]\nPlease act as an impartial judge"));
  BOOST_TEST(
      text(0, 0).ends_with("[Question]\nCompose {a}.\n\n[The Start of Assistant's Answer]\nfirst {}\n"
                           "[The End of Assistant's Answer]"));
  BOOST_TEST(text(1, 0).find("[The Start of Reference Answer]\n2\n[The End of Reference Answer]") != std::string::npos);
  BOOST_TEST(
      text(0, 1).ends_with("### User:\nCompose {a}.\n\n### Assistant A:\nfirst {}\n\n### User:\nShorter.\n\n"
                           "### Assistant A:\nsecond\n\n<|The End of Assistant A's Conversation with User|>"));
  BOOST_TEST(text(1, 1).find("### Reference answer:\n4\n") != std::string::npos);

  // The texts are FastChat's: checksums of judge_prompts.jsonl's own fields, by zlib.
  const auto rebuilt = [](const eval::judge_template& form) {
    std::vector<std::string> names;
    for (const std::string& name : form.names()) names.push_back("{" + name + "}");
    std::vector<eval::judge_template::named_value> values;
    for (std::size_t k = 0; k < names.size(); ++k) values.push_back({form.names()[k], names[k]});
    return crc32(form.fill(std::span<const eval::judge_template::named_value>(values)));
  };
  const std::uint32_t systems[] = {0xa398'9997U, 0xa398'9997U, 0xffbd'428bU, 0x98ab'343aU};
  const std::uint32_t users[] = {0x79b2'e3afU, 0x6f8a'3b1cU, 0x8b7b'7e12U, 0xe4e7'd3d7U};
  std::string file = R"({"name": "pair-v2", "type": "pairwise"})"
                     "\n";
  const char* const names[] = {"single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn"};
  for (std::size_t k = 0; k < 4; ++k) {
    BOOST_TEST(crc32(prompts[k].system) == systems[k]);
    BOOST_TEST(rebuilt(prompts[k].user) == users[k]);
    file += nlohmann::json{{"name", names[k]},
                           {"system_prompt", "s" + std::to_string(k)},
                           {"prompt_template", "{answer" + std::string(k < 2 ? "" : "_2") + "} of " + names[k]}}
                .dump() +
            "\n";
  }
  write_file(folder / "judge_prompts.jsonl", file);
  const eval::mt_bench own(questions, eval::read_mt_bench_prompts(folder / "judge_prompts.jsonl"));
  BOOST_TEST(own.judge({1, 1, 0}, answers, 0)[1].content == "second of single-math-v1-multi-turn");
  BOOST_TEST(own.judge({1, 1, 0}, answers, 0)[0].content == "s3");

  const files to;
  scripted model = echo();
  scripted judge{[](const generate::request& asked) {
    return says(text_of(asked).find("Reference") != std::string::npos ? "[[10]] rather than [[1]]" : "so [4]");
  }};
  run_whole(to, eval::any_judged{task}, model, judge);
  const auto records = records_in(to.records());
  BOOST_REQUIRE(records.size() == 6U);
  BOOST_TEST(records[3].id == "mt_bench/111/2");
  BOOST_TEST((records[3].labels == std::vector<eval::label>{{"category", "math"}, {"turn", "2"}}));
  BOOST_TEST(records[3].scores[0].value == 10.0);
  BOOST_TEST(records[0].scores[0].value == 4.0);
  BOOST_TEST(eval::summarise_ratings(records).mean == (4.0 * 4 + 10 * 2) / 6);
}

BOOST_AUTO_TEST_CASE(mt_bench_names_the_line_of_a_fault) {
  const temporary_folder folder;
  const auto read = [&](const std::string& text, const std::string& references = "") {
    write_file(folder / "q.jsonl", text);
    if (!references.empty()) write_file(folder / "r.jsonl", references);
    return eval::read_mt_bench(folder / "q.jsonl", references.empty() ? std::filesystem::path() : folder / "r.jsonl");
  };
  using lodestone::data_error;
  const std::string math = R"({"question_id": 1, "category": "math", "turns": ["a", "b"]})";
  BOOST_CHECK_EXCEPTION(read(math), data_error, has("q.jsonl:1: question 1 (math) has no reference answer; give"));
  BOOST_CHECK_EXCEPTION(read(math, R"({"question_id": 2, "choices": [{"turns": ["a", "b"]}]})"), data_error,
                        has("has no reference answer in"));
  BOOST_CHECK_EXCEPTION(read(math, R"({"question_id": 1, "choices": []})"), data_error,
                        has("r.jsonl:1: \"choices[0]\" is missing"));
  BOOST_CHECK_EXCEPTION(read("\n"
                             R"({"question_id": 1, "category": "stem", "turns": ["a"]})"),
                        data_error, has("q.jsonl:2: has 1 turns, not 2"));
  BOOST_CHECK_EXCEPTION(read(R"({"question_id": 1, "category": "stem", "turns": "a"})"), data_error,
                        has("\"turns\" must be a list"));
  BOOST_CHECK_EXCEPTION(read(R"({"question_id": 1, "category": "stem", "turns": ["a", 2]})"), data_error,
                        has("\"turns[1]\" must be text"));
  write_file(folder / "p.jsonl", R"({"name": "single-v1", "system_prompt": "", "prompt_template": "{answer}"})");
  BOOST_CHECK_EXCEPTION(eval::read_mt_bench_prompts(folder / "p.jsonl"), data_error,
                        has("no prompt of the name single-math-v1"));
}

// --- LongBench's ratings ---------------------------------------------------------------------------------------------

namespace {

struct three_questions {
  static std::string name() { return "longbench"; }
  static std::size_t size() { return 3; }
  static eval::question ask(std::size_t i) {
    return {.id = "q" + std::to_string(i), .prompt = "context " + std::to_string(i), .labels = {{"dataset", "d"}}};
  }
  static std::vector<eval::score> mark(std::size_t, std::string_view) { return {}; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(longbench_ratings_take_the_best_reference_and_map_their_scale) {
  BOOST_TEST(crc32(eval::judge_template(eval::longbench_answer_template()).names()[0]) == crc32("question"));
  BOOST_TEST(crc32(eval::longbench_answer_template()) == 0xfa02'9cfaU);  // of LongReward's, with our slots, by zlib
  BOOST_TEST(crc32(eval::longbench_summary_template()) == 0xa3ca'be3eU);
  const temporary_folder folder;
  write_file(folder / "data.jsonl",
             R"({"dataset": "qasper", "input": "What?", "context": "c", "answers": ["one", "two"]})"
             "\n"
             R"({"dataset": "gov_report_e", "input": "", "context": "c", "answers": ["sum"]})"
             "\n"
             R"({"dataset": "musique", "input": "Who?", "context": "c", "answers": ["me"]})"
             "\n");
  const auto references = eval::read_rated_references(folder / "data.jsonl");
  const eval::longbench_rated task(eval::any_task(three_questions{}), references);
  const std::vector<std::string> answer{"given"};
  BOOST_TEST(task.judge({0, 0, 1}, answer, 0)[1].content.ends_with(
      "[Question]\nWhat?\n[Reference answer]\ntwo\n[Assistant's answer]\ngiven\nRating:"));
  BOOST_TEST(task.judge({1, 0, 0}, answer, 0)[1].content.ends_with(
      "[Reference summary]\nsum\n[Assistant's summary]\ngiven\nRating:"));
  const files to;
  scripted model = echo();
  scripted judge{[](const generate::request& asked) {
    const std::string text = text_of(asked);
    if (text.find("\none\n") != std::string::npos) return says("[[1]]");
    if (text.find("\ntwo\n") != std::string::npos) return says("[[2]]");
    return says("[[4]]");  // on the scale of summaries alone
  }};
  run_whole(to, eval::any_judged{task}, model, judge);
  const auto records = records_in(to.records());
  BOOST_REQUIRE(records.size() == 3U);
  BOOST_TEST(records[0].id == "longbench_rated/q0");
  BOOST_TEST((records[0].scores == std::vector<eval::score>{{"rating", 2.0}, {"rating_share", 0.5}}));
  BOOST_TEST((records[0].labels == std::vector<eval::label>{{"dataset", "d"}, {"group", "S-Doc QA"}}));
  BOOST_TEST((records[1].scores == std::vector<eval::score>{{"rating", 4.0}, {"rating_share", 0.75}}));
  BOOST_TEST(records[1].labels[1].value == "Summ");
  BOOST_TEST(records[2].error.find("[[4]]") != std::string::npos);

  write_file(folder / "code.jsonl", R"({"dataset": "lcc", "input": "", "context": "c", "answers": ["x"]})");
  BOOST_CHECK_EXCEPTION(eval::read_rated_references(folder / "code.jsonl"), lodestone::data_error,
                        has("code.jsonl:1: data set lcc is not rated"));
  BOOST_CHECK_EXCEPTION(eval::longbench_rated(eval::any_task(three_questions{}), {references[0]}),
                        lodestone::shape_error, has("3 questions, but references of 1"));
  const auto with = [&](const char* answers, const char* summaries) {
    return eval::longbench_rated(eval::any_task(three_questions{}), references, eval::judge_template(answers),
                                 eval::judge_template(summaries));
  };
  BOOST_TEST(with("Rate {answer}.", "Is {answer} {reference}?").judge({1, 0, 0}, answer, 0)[1].content ==
             "Is given sum?");
  BOOST_CHECK_EXCEPTION(with("Rate {reference}.", "{answer}"), lodestone::format_error, has("no slot {answer}"));
  BOOST_CHECK_EXCEPTION(with("{answer}", "{answer} {summary}"), lodestone::format_error,
                        has("nothing to fill {summary} with"));
  BOOST_CHECK_EXCEPTION(with("{}", "{answer}"), lodestone::format_error, has("use question, reference, answer"));
}

BOOST_AUTO_TEST_SUITE_END()
