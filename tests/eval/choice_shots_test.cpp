// Examples before questions: Python's draws, the harness's text, and what is left out.
#include <cstddef>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/eval/choice_shots.hpp>

#include "support/support.hpp"

using namespace lodestone;
using numbers = std::vector<std::size_t>;

namespace {

eval::choice_task letters(std::size_t count) {
  eval::choice_task task{.name = "letters"};
  for (std::size_t i = 0; i < count; ++i)
    task.questions.push_back({.id = std::to_string(i),
                              .prompt = "Q" + std::to_string(i) + ":",
                              .choices = {"no", "yes " + std::to_string(i)},
                              .is_right = {false, true}});
  return task;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_choice_shots)

// random.Random(1234).sample(range(SIZE), COUNT), twice in a row, of CPython 3.11.
BOOST_AUTO_TEST_CASE(samples_equal_those_of_python) {
  struct known {
    std::size_t size, count;
    numbers first, second;
  };
  const std::vector<known> all{{6, 3, {3, 0, 4}, {0, 4, 5}},
                               {100, 3, {99, 56, 14}, {0, 11, 74}},
                               {100, 6, {99, 56, 14, 0, 11, 74}, {4, 85, 88, 10, 12, 98}},
                               {60, 6, {49, 28, 7, 0, 5, 51}, {37, 2, 42, 44, 5, 6}},
                               {4, 4, {3, 0, 2, 1}, {0, 2, 3, 1}},
                               {1119,
                                25,
                                {902, 239, 15,  185, 71,  171, 201, 726,  484, 35,  63,  32,  708,
                                 991, 949, 304, 186, 374, 234, 29,  1030, 996, 511, 132, 1108},
                                {954, 140,  182, 1054, 94,  552, 129, 619, 985, 727, 545, 510, 409,
                                 928, 1085, 39,  1040, 144, 11,  683, 294, 968, 772, 342, 110}},
                               {39905,
                                11,
                                {28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519, 1142},
                                {2019, 1038, 22681, 31735, 30379, 9735, 5982, 11999, 7498, 958, 32970}}};
  for (const known& own : all) {
    eval::python_random random(1234);
    BOOST_TEST(random.sample(own.size, own.count) == own.first, boost::test_tools::per_element());
    BOOST_TEST(random.sample(own.size, own.count) == own.second, boost::test_tools::per_element());
  }
  BOOST_TEST(eval::python_random(7).sample(30, 5) == (numbers{10, 4, 12, 20, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(each_question_draws_answered_examples_of_its_own) {
  eval::choice_task task = letters(2);
  eval::add_shots(task, letters(100), {.count = 3});
  BOOST_TEST(task.questions[0].prompt == "Q99: yes 99\n\nQ56: yes 56\n\nQ14: yes 14\n\nQ0:");
  BOOST_TEST(task.questions[1].prompt == "Q0: yes 0\n\nQ11: yes 11\n\nQ74: yes 74\n\nQ1:");
  BOOST_TEST(task.questions[0].choices == letters(1).questions[0].choices, boost::test_tools::per_element());
  eval::choice_task none = letters(1);
  eval::add_shots(none, {}, {});
  BOOST_TEST(none.questions[0].prompt == "Q0:");
}

BOOST_AUTO_TEST_CASE(a_question_is_no_example_of_itself_and_a_spare_one_takes_its_place) {
  eval::choice_task task = letters(6);
  eval::add_shots(task, letters(6), {.count = 2, .has_spare = true});
  // Drawn: 3 0 4, then 0 4 5. The first question is number 0; the second is not among its own, so its third goes.
  BOOST_TEST(task.questions[0].prompt == "Q3: yes 3\n\nQ4: yes 4\n\nQ0:");
  BOOST_TEST(task.questions[1].prompt == "Q0: yes 0\n\nQ4: yes 4\n\nQ1:");
  for (std::size_t i = 0; i < 6; ++i) {
    const std::string& own = task.questions[i].prompt;
    BOOST_TEST(own.find("yes " + std::to_string(i)) == std::string::npos);
    BOOST_TEST(own.find("\n\n", own.find("\n\n") + 1) + 2 == own.rfind('Q'));  // two examples each
  }
}

BOOST_AUTO_TEST_CASE(too_few_examples_and_those_without_an_answer_are_refused) {
  const auto refuse = [](eval::choice_task examples, const eval::shot_options& options, const std::string& part) {
    eval::choice_task task = letters(2);
    BOOST_CHECK_EXCEPTION(eval::add_shots(task, examples, options), error,
                          [&](const error& e) { return std::string(e.what()).find(part) != std::string::npos; });
    BOOST_TEST(task.questions[0].prompt == "Q0:");
  };
  refuse(letters(3), {.count = 4}, "3 examples, and 4 are drawn");
  refuse(letters(4), {.count = 4, .has_spare = true}, "4 examples, and 5 are drawn");
  refuse(letters(4), {.count = -1}, "must be 0 or more");
  eval::choice_task open = letters(3);
  open.questions[1].is_right = {false, false};
  refuse(open, {.count = 1}, "example 1: no choice is right");
}

BOOST_AUTO_TEST_SUITE_END()
