// Multiple choice against lm-evaluation-harness's prompts and transformers' log-probabilities
// (tests/oracle/scoring_cases.py), sharing against one by one, and data files as they are published.
#include <cmath>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/eval/choice_data.hpp>
#include <lodestone/eval/multiple_choice.hpp>
#include <lodestone/model/llama.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

namespace {

std::filesystem::path file(const std::string& name) { return lodestone_test::data("eval/" + name); }

std::vector<eval::choice_task> tasks() {
  return {eval::read_arc(file("arc.jsonl")), eval::read_hellaswag(file("hellaswag.jsonl")),
          eval::read_truthfulqa(file("truthfulqa.jsonl"), eval::truthful_choices::mc1),
          eval::read_truthfulqa(file("truthfulqa.jsonl"), eval::truthful_choices::mc2),
          eval::read_mmlu(file("mmlu_test.jsonl"), file("mmlu_dev.jsonl"))};
}

/// Counts rows; every token is equally likely.
struct uniform_model {
  model_config own{};
  std::int64_t batches = 0;
  std::int64_t rows = 0;
  [[nodiscard]] const model_config& config() const { return own; }
  std::vector<double> log_probs(const token_batch& batch) {
    ++batches;
    rows += batch.size();
    return std::vector<double>(batch.scored.size(), -1.0);
  }
};

auto says(const std::string& part) {
  return [part](const error& e) {
    BOOST_TEST_INFO(e.what());
    return std::string(e.what()).find(part) != std::string::npos;
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_multiple_choice)

BOOST_AUTO_TEST_CASE(prompts_log_probabilities_and_marks_equal_the_harness) {
  const auto oracle = nlohmann::json::parse(lodestone_test::read_file(file("choices.json")));
  for (const auto& [name, folder] :
       {std::pair{"stories260k", lodestone_test::data("models/stories260k")},
        std::pair{"tinystories-656k", lodestone_test::source_dir() / "examples/data/models/tinystories-656k"}}) {
    const tokenizer words = tokenizer::load(folder);
    auto store = lodestone_test::load<double>(folder, parameters::purpose::inference);
    llama<host<double>, blocked_attention> model(store.config(), store);
    auto row = oracle.at(name).begin();
    double worst = 0.0;
    for (const eval::choice_task& task : tasks()) {
      std::vector<eval::record> records;
      eval::multiple_choice(model, words, task, {}, [&](eval::record&& own) { records.push_back(std::move(own)); });
      BOOST_REQUIRE_EQUAL(records.size(), task.questions.size());
      eval::score_choices(model, words, task.questions, {}, [&](std::size_t i, std::span<const double> log_probs) {
        const eval::choice_question& own = task.questions[i];
        BOOST_TEST_CONTEXT(name << ", " << task.name << " " << own.id) {
          BOOST_TEST(row->at("task").get<std::string>() == task.name);
          BOOST_TEST(row->at("prompt").get<std::string>() == own.prompt);
          BOOST_TEST((row->at("choices").get<std::vector<std::string>>() == own.choices));
          BOOST_TEST((row->at("right").get<std::vector<bool>>() == own.is_right));
          const auto expected = row->at("log_probs").get<std::vector<double>>();
          BOOST_REQUIRE_EQUAL(expected.size(), log_probs.size());
          for (std::size_t c = 0; c < expected.size(); ++c) {
            const double apart = std::abs(log_probs[c] - expected[c]) / std::abs(expected[c]);
            BOOST_TEST(apart < 1e-11);
            worst = std::max(worst, apart);
          }
          for (const eval::score& mark : records[i].scores)
            BOOST_CHECK_CLOSE_FRACTION(mark.value + 1.0, row->at(mark.metric).get<double>() + 1.0, 1e-12);
          BOOST_TEST(records[i].scores.size() ==
                     (row->contains("acc_norm") && task.metric == eval::choice_metric::normalised ? 3U : 1U));
        }
        ++row;
      });
    }
    BOOST_TEST((row == oracle.at(name).end()));
    BOOST_TEST_MESSAGE(name << ": the worst log-probability apart by " << worst);
  }
}

BOOST_AUTO_TEST_CASE(shared_prompts_give_the_numbers_of_one_choice_at_a_time) {
  const auto folder = lodestone_test::data("models/stories260k");
  const tokenizer words = tokenizer::load(folder);
  auto store = lodestone_test::load<double>(folder, parameters::purpose::inference);
  llama<host<double>, blocked_attention> model(store.config(), store);
  for (const eval::choice_task& task : tasks())
    for (const std::int64_t rows : {1, 700, 100'000})
      eval::score_choices(model, words, task.questions, {.max_tokens = 300, .batch_tokens = rows},
                          [&](std::size_t i, std::span<const double> log_probs) {
                            const eval::choice_question& own = task.questions[i];
                            for (std::size_t c = 0; c < own.choices.size(); ++c) {
                              const auto alone = eval::encode_choice(words, own.prompt, own.choices[c], 300);
                              double sum = 0.0;
                              for (const double value : eval::score_tail(model, alone.tokens, alone.first))
                                sum += value;
                              BOOST_TEST(std::abs(sum - log_probs[c]) < 1e-11 * std::abs(sum));
                            }
                          });
}

BOOST_AUTO_TEST_CASE(examples_and_prompts_are_computed_once) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const eval::choice_task task = eval::read_mmlu(file("mmlu_test.jsonl"), file("mmlu_dev.jsonl"));
  const auto ignore = [](std::size_t, std::span<const double>) {};
  uniform_model together;
  eval::score_choices(together, words, task.questions, {.batch_tokens = 1 << 20}, ignore);
  std::int64_t separate = 0;
  for (const eval::choice_question& own : task.questions)
    for (const std::string& choice : own.choices)
      separate += std::ssize(eval::encode_choice(words, own.prompt, choice).tokens) - 1;
  BOOST_TEST(together.batches == 1);
  BOOST_TEST(together.rows * 6 < separate);
  together.own.layers = 1;
  together.own.windows = {8};  // a window needs whole sequences
  together.rows = 0;
  eval::score_choices(together, words, task.questions, {.batch_tokens = 1 << 20}, ignore);
  BOOST_TEST(together.rows == separate);
}

BOOST_AUTO_TEST_CASE(tokens_are_cut_at_the_front_and_choices_keep_theirs) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const auto whole = eval::encode_choice(words, "Tom has a dog and a cat. ", "They play.");
  BOOST_TEST(whole.tokens == words.encode("Tom has a dog and a cat.  They play."), boost::test_tools::per_element());
  BOOST_TEST(whole.first == std::ssize(words.encode("Tom has a dog and a cat.")));
  const auto cut = eval::encode_choice(words, "Tom has a dog and a cat. ", "They play.", 10);
  BOOST_TEST(cut.tokens.size() == 11U);
  BOOST_TEST(cut.tokens == std::vector<std::int32_t>(whole.tokens.end() - 11, whole.tokens.end()),
             boost::test_tools::per_element());
  BOOST_TEST(std::ssize(cut.tokens) - cut.first == std::ssize(whole.tokens) - whole.first);
  BOOST_TEST(eval::encode_choice(words, "Tom", "They play with the dog.", 4).first == 1);
}

BOOST_AUTO_TEST_CASE(marks_have_known_values) {
  const eval::choice_question own{.choices = {"a", "bcde", "\xC3\xA9\xC3\xA9", ""},
                                  .is_right = {false, true, true, false}};
  const std::vector<double> log_probs{-1.0, -2.0, -1.5, -1.0};
  using scores = std::vector<eval::score>;
  BOOST_TEST((eval::mark_choices(own, eval::choice_metric::accuracy, log_probs) == scores{{"acc", 0.0}}));
  // by characters: -1, -0.5, -0.75; by bytes: -1, -0.5, -0.375
  BOOST_TEST((eval::mark_choices(own, eval::choice_metric::normalised, log_probs) ==
              scores{{"acc", 0.0}, {"acc_norm", 1.0}, {"acc_bytes", 1.0}}));
  const auto mass =
      eval::mark_choices(own, eval::choice_metric::mass, std::vector<double>{-900.0, -900.0, -901.0, -900.0});
  BOOST_CHECK_CLOSE_FRACTION(mass.at(0).value, (1.0 + std::exp(-1.0)) / (3.0 + std::exp(-1.0)), 1e-14);
  BOOST_TEST(eval::most_likely(std::vector<double>{-2.0, -1.0, -1.0}) == 1U);
}

BOOST_AUTO_TEST_CASE(a_stopped_run_goes_on_where_it_ended) {
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const eval::choice_task task = eval::read_arc(file("arc.jsonl"));
  uniform_model model;
  const std::set<std::string, std::less<>> there{"Own_1", "Own_3", "Own_6"};
  std::vector<std::string> ids;
  eval::multiple_choice(model, words, task,
                        {.batch_tokens = 60, .is_done = [&](std::string_view id) { return there.contains(id); }},
                        [&](eval::record&& own) { ids.push_back(own.id); });
  BOOST_TEST(ids == (std::vector<std::string>{"Own_2", "Own_4", "Own_5"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(mmlu_as_csv_asks_what_jsonl_asks) {
  const lodestone_test::temporary_folder folder;
  std::filesystem::create_directories(folder / "test");
  lodestone_test::write_file(folder / "test/toys_test.csv",
                             "Which toy do you hug?,a saw,a nail,a bear,a bus,C\r\n"
                             "\"What\nspins, \"\"fast\"\"?\",a top,\"a sock, red\",a cup,a rug,A\n");
  lodestone_test::write_file(folder / "toys_dev.csv", "What bounces?,a ball,a brick,a bed,a lake,A\n");
  const eval::choice_task task = eval::read_mmlu(folder / "test", folder / "toys_dev.csv", 1);
  BOOST_REQUIRE_EQUAL(task.questions.size(), 2U);
  BOOST_TEST(task.questions[0].id == "toys/0");
  BOOST_TEST(task.questions[1].prompt ==
             "The following are multiple choice questions (with answers) about toys.\n\n"
             "What bounces?\nA. a ball\nB. a brick\nC. a bed\nD. a lake\nAnswer: A\n\n"
             "What\nspins, \"fast\"?\nA. a top\nB. a sock, red\nC. a cup\nD. a rug\nAnswer:");
  BOOST_TEST((task.questions[0].is_right == std::vector<bool>{false, false, true, false}));
  BOOST_TEST((task.questions[0].labels == std::vector<eval::label>{{"subject", "toys"}}));
}

BOOST_AUTO_TEST_CASE(arc_of_its_authors_asks_what_the_flat_records_ask) {
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(
      folder / "authors.jsonl",
      R"({"id": "Own_1", "question": {"stem": "What melts?", "choices": [{"text": "ice", "label": "A"}, )"
      R"({"text": "a stone", "label": "B"}, {"text": "air", "label": "C"}]}, "answerKey": "C"})");
  lodestone_test::write_file(folder / "flat.jsonl",
                             R"({"id": "Own_1", "question": "What melts?", "choices": {"text": ["ice", "a stone", )"
                             R"("air"], "label": ["A", "B", "C"]}, "answerKey": "C"})");
  const eval::choice_question own = eval::read_arc(folder / "authors.jsonl").questions.at(0);
  const eval::choice_question flat = eval::read_arc(folder / "flat.jsonl").questions.at(0);
  BOOST_TEST(own.id == "Own_1");
  BOOST_TEST(own.prompt == "Question: What melts?\nAnswer:");
  BOOST_TEST(own.prompt == flat.prompt);
  BOOST_TEST(own.choices == flat.choices, boost::test_tools::per_element());
  BOOST_TEST((own.is_right == std::vector<bool>{false, false, true}));
  BOOST_TEST((own.is_right == flat.is_right));
}

BOOST_AUTO_TEST_CASE(truthfulqa_of_its_authors_asks_what_the_flat_records_ask) {
  const lodestone_test::temporary_folder folder;
  lodestone_test::write_file(folder / "mc_task.json",
                             "[\n{\"question\": \"Is snow hot?\",\n \"mc1_targets\": {\"No.\": 1, \"Always.\": 0},\n"
                             " \"mc2_targets\": {\"No.\": 1, \"It is cold.\": 1, \"Always.\": 0}}\n]\n");
  lodestone_test::write_file(
      folder / "flat.jsonl",
      R"({"question": "Is snow hot?", "mc1_targets": {"choices": ["No.", "Always."], "labels": [1, 0]}, )"
      R"("mc2_targets": {"choices": ["No.", "It is cold.", "Always."], "labels": [1, 1, 0]}})");
  for (const auto which : {eval::truthful_choices::mc1, eval::truthful_choices::mc2}) {
    const eval::choice_question own = eval::read_truthfulqa(folder / "mc_task.json", which).questions.at(0);
    const eval::choice_question flat = eval::read_truthfulqa(folder / "flat.jsonl", which).questions.at(0);
    BOOST_TEST(own.choices == flat.choices, boost::test_tools::per_element());
    BOOST_TEST((own.is_right == flat.is_right));
    BOOST_TEST(own.is_right.front());
    BOOST_TEST(own.prompt == flat.prompt);
  }
}

BOOST_AUTO_TEST_CASE(wrong_records_are_errors_with_their_line) {
  const lodestone_test::temporary_folder folder;
  using reader = std::function<void(const std::filesystem::path&)>;
  const reader arc = [](const auto& name) { (void)eval::read_arc(name); };
  const reader hellaswag = [](const auto& name) { (void)eval::read_hellaswag(name); };
  const reader truthful = [](const auto& name) { (void)eval::read_truthfulqa(name, eval::truthful_choices::mc2); };
  const reader mmlu = [](const auto& name) { (void)eval::read_mmlu(name, {}, 0); };
  const auto refuse = [&](const reader& read, const std::string& name, const std::string& content,
                          const std::string& part) {
    lodestone_test::write_file(folder / name, content);
    BOOST_CHECK_EXCEPTION(read(folder / name), data_error, says(part));
  };
  const std::string good =
      "{\"question\": \"q\", \"choices\": {\"text\": [\"x\"], \"label\": [\"A\"]}, \"answerKey\": \"A\"}\n";
  refuse(arc, "a.jsonl", good + "{\"question\": \"q\"}\n", "a.jsonl:2: \"choices\" is missing");
  refuse(arc, "a.jsonl",
         "{\"question\": \"q\", \"choices\": {\"text\": [\"x\"], \"label\": [\"A\"]}, \"answerKey\": \"B\"}\n",
         "a.jsonl:1: no choice has the label 'B'");
  refuse(arc, "a.jsonl", "{\"question\": \"q\", \"choices\": [\"x\"], \"answerKey\": \"B\"}\n",
         "\"choices\" must be an object");
  refuse(arc, "a.jsonl",
         "{\"question\": \"q\", \"choices\": {\"text\": [\"x\"], \"label\": []}, \"answerKey\": \"B\"}\n",
         "a.jsonl:1: as many labels");
  refuse(arc, "a.jsonl", "{\"question\": {\"stem\": \"q\", \"choices\": [{\"text\": \"x\"}]}, \"answerKey\": \"A\"}\n",
         "a.jsonl:1: \"question.choices[0].label\" is missing");
  refuse(arc, "a.jsonl", "{\"question\": {\"stem\": \"q\", \"choices\": [\"x\"]}, \"answerKey\": \"A\"}\n",
         "a.jsonl:1: \"question.choices[0]\" must be an object");
  refuse(arc, "a.jsonl", "", "holds no question");
  refuse(hellaswag, "h.jsonl",
         "{\"activity_label\": \"a\", \"ctx_a\": \"b\", \"ctx_b\": \"\", \"endings\": [\"x\"], \"label\": \"\"}\n",
         "h.jsonl:1: \"label\" must be a whole number");
  refuse(hellaswag, "h.jsonl",
         "{\"activity_label\": \"a\", \"ctx_a\": \"b\", \"ctx_b\": \"\", \"endings\": [\"x\"], \"label\": 1}\n",
         "h.jsonl:1: the label 1 names none of 1 endings");
  refuse(truthful, "t.jsonl", "{\"question\": \"q\", \"mc2_targets\": {\"choices\": [\"x\"], \"labels\": [0]}}\n",
         "t.jsonl:1: no choice is right");
  refuse(truthful, "t.jsonl", "{\"question\": \"q\", \"mc2_targets\": {\"choices\": [\"x\"], \"labels\": [2]}}\n",
         "t.jsonl:1: the labels of choices are 0 and 1");
  refuse(truthful, "t.jsonl", "{\"question\": \"q\", \"mc2_targets\": {\"x\": 1, \"y\": 2}}\n",
         "t.jsonl:1: the labels of choices are 0 and 1");
  refuse(truthful, "t.jsonl", "{\"question\": \"q\", \"mc2_targets\": {\"x\": \"right\"}}\n",
         "t.jsonl:1: \"mc2_targets.x\" must be a whole number");
  refuse(truthful, "t.jsonl", "{\"question\": \"q\", \"mc2_targets\": {}}\n",
         "t.jsonl:1: \"mc2_targets.choices\" is missing");
  refuse(truthful, "t.jsonl", "{\"question\": \"q\", \"mc2_targets\": {\"choices\": [3], \"labels\": [1]}}\n",
         "t.jsonl:1: \"mc2_targets.choices\" must be a list of texts");
  refuse(mmlu, "m.jsonl", "{\"question\": \"q\", \"choices\": [\"a\", \"b\", \"c\"], \"answer\": 1}\n",
         "m.jsonl:1: 3 choices");
  refuse(mmlu, "m.jsonl", "{\"question\": \"q\", \"choices\": [\"a\", \"b\", \"c\", \"d\"], \"answer\": 4}\n",
         "m.jsonl:1: the answer 4");
  refuse(mmlu, "m.csv", "q,a,b,c,d,A\n\"two\nlines\",a,b,c,d,B\nq,a,b,A\n", "m.csv:4: 4 fields");
  refuse(mmlu, "m.csv", "question,A,B,C,D,answer\n", "m.csv:1: the answer 'answer'");
  refuse(mmlu, "m.csv", "q,a,b,c,d,A\n\"open,a\n", "m.csv:2: a quotation has no end");
  refuse(mmlu, "m.csv", "q,a,b,c,d,A\nq\xFF,a,b,c,d,A\n", "m.csv:2: a byte that is not UTF-8");
  refuse([&](const auto& name) { (void)eval::read_mmlu(name, name, 2); }, "toys_test.csv", "q,a,b,c,d,A\n",
         "1 examples of the subject toys, not 2");

  uniform_model model;
  const tokenizer words = tokenizer::load(lodestone_test::data("models/stories260k"));
  const auto score = [&](const eval::choice_question& own) {
    eval::score_choices(model, words, {&own, 1}, {}, [](std::size_t, std::span<const double>) {});
  };
  BOOST_CHECK_EXCEPTION(score({.id = "7", .choices = {"a"}, .is_right = {true}}), data_error,
                        says("question 7: has no prompt"));
  BOOST_CHECK_EXCEPTION(score({.id = "7", .prompt = "q"}), data_error, says("question 7: has 0 choices"));
  BOOST_CHECK_EXCEPTION(score({.id = "7", .prompt = "q", .choices = {"a"}, .is_right = {false}}), data_error,
                        says("question 7: no choice is right"));
}

BOOST_AUTO_TEST_SUITE_END()
