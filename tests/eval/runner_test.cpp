// Running tasks: what is asked and recorded, failures, prompts that are too long, and runs that are interrupted.
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/data/result_log.hpp>
#include <lodestone/eval/progress.hpp>
#include <lodestone/eval/runner.hpp>

#include "support/support.hpp"

namespace eval = lodestone::eval;
namespace generate = lodestone::generate;

namespace {

/// Question i asks for i times two.
struct doubles {
  std::size_t count = 10;
  static std::string name() { return "doubles"; }
  [[nodiscard]] std::size_t size() const { return count; }
  [[nodiscard]] static eval::question ask(std::size_t i) {
    return {.id = std::to_string(i),
            .prompt = "What is twice " + std::to_string(i) + "?",
            .is_chat = i % 2 == 0,
            .max_new_tokens = 8,
            .stop = {"\n"},
            .labels = {{"parity", i % 2 == 0 ? "even" : "odd"}}};
  }
  [[nodiscard]] static std::vector<eval::score> mark(std::size_t i, std::string_view answer) {
    return {{.metric = "exact_match", .value = answer == std::to_string(2 * i) ? 1.0 : 0.0}};
  }
};
static_assert(eval::task<doubles>);

std::string text_of(const generate::prompt_input& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  std::string all;
  for (const auto& message : std::get<std::vector<lodestone::chat_message>>(prompt))
    all += std::string(to_string(message.role)) + ": " + message.content + "|";
  return all;
}

/// Answers doubles, last request first; question 5 wrongly, and not at all what a rule says.
struct calculator {
  std::vector<std::string> heard;
  std::vector<std::size_t> batches;
  std::size_t left = 1'000;  ///< answers before it breaks down
  bool refuses_seven = true;

  static std::string name() { return "calculator"; }
  void generate(std::span<const generate::request> requests, const generate::answer_listener& each) {
    batches.push_back(requests.size());
    for (std::size_t k = requests.size(); k-- > 0;) {
      if (left == 0) throw std::runtime_error("killed");
      --left;
      const std::string prompt = text_of(requests[k].prompt);
      heard.push_back(prompt);
      const int number = std::stoi(prompt.substr(prompt.find("twice ") + 6));
      generate::answer given{.text = std::to_string(number == 5 ? 11 : 2 * number)};
      if (number == 7 && refuses_seven) given = {.why = generate::finish::failed, .error = "refused"};
      each(k, std::move(given));
    }
  }
};

std::vector<std::string> order_of(const doubles& t) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < t.size(); ++i) all.push_back("doubles/" + std::to_string(i));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_runner)

BOOST_AUTO_TEST_CASE(every_question_is_asked_once_and_recorded) {
  const lodestone_test::temporary_folder folder;
  lodestone::result_log log(folder / "results.jsonl", "{}");
  calculator model;
  std::vector<std::size_t> heard;
  const auto report = eval::run(doubles{}, model, log, {.batch = 4, .system = "Be brief.", .hears = [&](const auto& p) {
                                                          heard.push_back(p.done);
                                                          BOOST_TEST(p.questions == 10U);
                                                        }});
  BOOST_TEST(report.asked == 10U);
  BOOST_TEST(report.reused == 0U);
  BOOST_TEST(model.batches == (std::vector<std::size_t>{4, 4, 2}), boost::test_tools::per_element());
  BOOST_TEST(heard.size() == 11U);
  BOOST_TEST(model.heard[0] == "What is twice 3?");
  BOOST_TEST(model.heard[1] == "system: Be brief.|user: What is twice 2?|");
  const auto records = eval::records_of(doubles{}, log);
  BOOST_TEST_REQUIRE(records.size() == 10U);
  for (std::size_t i = 0; i < 10; ++i) {
    const eval::record& own = records[i];
    BOOST_TEST(own.id == "doubles/" + std::to_string(i));
    BOOST_TEST((own.labels == doubles::ask(i).labels));
    BOOST_TEST(own.error == (i == 7 ? "refused" : ""));
    BOOST_TEST(own.scores.size() == (i == 7 ? 0U : 1U));
    if (i != 7) BOOST_TEST(own.scores[0].value == (i == 5 ? 0.0 : 1.0));
  }
  BOOST_TEST(report.failures.size() == 1U);
}

BOOST_AUTO_TEST_CASE(interrupted_runs_repeat_and_lose_nothing) {
  const lodestone_test::temporary_folder folder;
  const doubles questions{.count = 23};
  const auto finish = [&](const std::string& name) {
    lodestone::result_log log(folder / name, "{}");
    calculator model;
    eval::run(questions, model, log, {.batch = 5});
    log.commit(order_of(questions));
    return model.heard.size();
  };
  BOOST_TEST(finish("whole.jsonl") == 23U);
  const std::string whole = lodestone_test::read_file(folder / "whole.jsonl");
  for (std::size_t answers = 0; answers < 23; answers += 3) {
    const std::string name = "cut" + std::to_string(answers) + ".jsonl";
    for (int again = 0; again < 2; ++again) {  // twice, with other batches
      lodestone::result_log log(folder / name, "{}");
      calculator model;
      model.left = answers / 2;
      BOOST_CHECK_THROW(eval::run(questions, model, log, {.batch = again == 0 ? 4U : 100U}), std::runtime_error);
    }
    // Half a line, as a kill leaves it.
    std::ofstream(folder / (name + ".partial"), std::ios::app) << R"({"id": "doubles/22", "ta)";
    BOOST_TEST(finish(name) == 23 - 2 * (answers / 2));
    BOOST_TEST(lodestone_test::read_file(folder / name) == whole);
  }
}

BOOST_AUTO_TEST_CASE(failures_that_are_not_kept_are_asked_again) {
  const lodestone_test::temporary_folder folder;
  lodestone::result_log log(folder / "results.jsonl", "{}");
  calculator model;
  const auto first = eval::run(doubles{}, model, log, {.keeps_failures = false});
  BOOST_TEST(first.failures.size() == 1U);
  BOOST_TEST(log.size() == 9U);
  const auto with = eval::records_of(doubles{}, log, first.failures);
  BOOST_TEST_REQUIRE(with.size() == 10U);
  BOOST_TEST(with[7].error == "refused");
  model.refuses_seven = false;
  const auto second = eval::run(doubles{}, model, log, {.keeps_failures = false});
  BOOST_TEST(second.asked == 1U);
  BOOST_TEST(second.reused == 9U);
  BOOST_TEST(second.failures.empty());
  BOOST_TEST(log.size() == 10U);
}

/// One long prompt; a token is a character.
struct long_prompt {
  std::int64_t answer = 10;
  static std::string name() { return "long"; }
  static std::size_t size() { return 2; }
  [[nodiscard]] eval::question ask(std::size_t i) const {
    return {.id = std::to_string(i),
            .prompt = i == 0 ? "begin " + std::string(200, '.') + "twice 4 end" : "twice 6",
            .max_new_tokens = answer};
  }
  static std::vector<eval::score> mark(std::size_t, std::string_view) { return {{.metric = "m", .value = 1.0}}; }
};

BOOST_AUTO_TEST_CASE(prompts_are_cut_in_their_middle_to_leave_room_for_the_answer) {
  const eval::prompt_meter meter{
      .tokens = [](std::string_view text, bool is_chat) { return std::ssize(text) + (is_chat ? 7 : 0); },
      .cut = [](std::string_view text, std::int64_t limit) {  // two characters more than asked, as tokenisers may do
        const auto half = static_cast<std::size_t>(limit / 2);
        return std::string(text.substr(0, half)) + "<>" + std::string(text.substr(text.size() - half));
      }};
  for (const bool plain : {false, true}) {
    const lodestone_test::temporary_folder folder;
    lodestone::result_log log(folder / "results.jsonl", "{}");
    calculator model;
    const auto report = eval::run(long_prompt{}, model, log, {.window = 60, .meter = meter, .always_plain = plain});
    BOOST_TEST(report.cut == 1U);
    const std::string prompt = model.heard[1];
    BOOST_TEST(prompt.find("begin ") == (plain ? 0U : 6U));
    BOOST_TEST(prompt.find("twice 4 end") != std::string::npos);
    const auto size = static_cast<std::int64_t>(plain ? prompt.size() : prompt.size() - 7 + 7);  // "user: " and "|"
    BOOST_TEST(size <= 50);
    BOOST_TEST(size >= 48);
    const auto records = eval::records_of(long_prompt{}, log);
    BOOST_TEST((records[0].labels == std::vector<eval::label>{{"cut", "yes"}}));
    BOOST_TEST(records[1].labels.empty());
  }
  // An answer as long as the window: the questions fail, each with its reason.
  const lodestone_test::temporary_folder folder;
  lodestone::result_log log(folder / "results.jsonl", "{}");
  calculator model;
  const auto report = eval::run(long_prompt{.answer = 60}, model, log, {.window = 60, .meter = meter});
  BOOST_TEST(report.failures.size() == 2U);
  BOOST_TEST(model.heard.empty());
  BOOST_TEST(report.failures[0].error.find("window") == 0U, report.failures[0].error);
  BOOST_CHECK_THROW(eval::run(long_prompt{}, model, log, {.window = 60}), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(seeds_differ_by_question_and_not_by_run) {
  bool is_cut = false;
  const auto seed = [&](std::string id, std::uint64_t from) {
    return eval::detail::make_request({.id = std::move(id), .prompt = "x"}, {.draw = {.seed = from}}, is_cut).draw.seed;
  };
  BOOST_TEST(seed("a", 1) == seed("a", 1));
  BOOST_TEST(seed("a", 1) != seed("b", 1));
  BOOST_TEST(seed("a", 1) != seed("a", 2));
  BOOST_TEST(seed("needle/0", 42) == 0xb6e3'0fec'9ee2'c80cU);  // runs that were stopped go on with it
}

BOOST_AUTO_TEST_CASE(progress_in_a_file_is_a_few_lines) {
  const lodestone_test::temporary_folder folder;
  std::FILE* file = std::fopen((folder / "progress.txt").c_str(), "w");
  eval::progress_line line(file, 5);
  for (std::size_t done = 3; done <= 100; ++done)
    line({.task = "a", .done = done, .questions = 100, .failed = done / 50, .seconds = static_cast<double>(done - 3)});
  line({.task = "b", .done = 4, .questions = 4});
  for (std::size_t done = 0; done <= 10; ++done) line({.task = "c", .done = done});  // of how many, nobody knows yet
  line({.task = "c", .done = 10, .questions = 10, .seconds = 5.0});
  std::fclose(file);
  const std::string text = lodestone_test::read_file(folder / "progress.txt");
  BOOST_TEST(text ==
             "a: 3 of 100, 3 of them from before\n"
             "a: 23 of 100, 1/s, 1:17 left\n"
             "a: 43 of 100, 1/s, 57s left\n"
             "a: 63 of 100, 1/s, 37s left, 1 failed\n"
             "a: 83 of 100, 1/s, 17s left, 1 failed\n"
             "a: 100 of 100, 1/s, 2 failed\n"
             "b: 4 of 4, 4 of them from before\n"
             "c: 0 done\n"
             "c: 1 done\n"
             "c: 2 done\n"
             "c: 4 done\n"
             "c: 8 done\n"
             "c: 10 of 10, 2/s\n");
}

BOOST_AUTO_TEST_CASE(records_read_back_equal) {
  const eval::task_record full{
      .task = "t",
      .own = {.id = "t/1",
              .labels = {{"length", "8k"}, {"depth", "10"}, {"a", ""}},
              .scores = {{.metric = "nll", .value = 1.0 / 3.0, .weight = 511.0}, {.metric = "f1", .value = -0.0}},
              .answer = "line\none \"two\" \u00e9 \t",
              .error = "why"}};
  const std::string line = eval::to_json_line(full);
  BOOST_TEST(line.find('\n') == std::string::npos);
  BOOST_TEST((eval::read_task_record(line, "x:1") == full));
  const eval::task_record bare{.task = "t", .own = {.id = "t/2"}};
  BOOST_TEST((eval::read_task_record(eval::to_json_line(bare), "x:1") == bare));
  const eval::task_record half{.task = "t", .own = {.id = "t/3", .answer = "half \xe4\xbb"}};
  BOOST_TEST(eval::read_task_record(eval::to_json_line(half), "x").own.answer == "half \uFFFD");

  eval::task_record wrong = bare;
  wrong.own.scores = {{.metric = "f1", .value = std::numeric_limits<double>::quiet_NaN()}};
  BOOST_CHECK_THROW(static_cast<void>(eval::to_json_line(wrong)), lodestone::numeric_error);
  for (const auto& [text, part] : std::map<std::string, std::string>{
           {"{", "x:9: is not JSON"},
           {"[]", "x:9"},
           {R"({"task":"t","labels":{},"scores":{}})", "x:9: id: this key is missing"},
           {R"({"id":"1","task":"t","labels":{"a":1},"scores":{}})", "labels.a: this must be a string"},
           {R"({"id":"1","task":"t","labels":[],"scores":{}})", "labels: this must be an object"},
           {R"({"id":"1","task":"t","labels":{},"scores":{"f1":"x"}})", "scores.f1: this must be a number"}}) {
    try {
      static_cast<void>(eval::read_task_record(text, "x:9"));
      BOOST_ERROR("read " << text);
    } catch (const lodestone::format_error& e) {
      BOOST_TEST(std::string(e.what()).find(part) != std::string::npos, e.what());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
