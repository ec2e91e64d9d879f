// Questions as they are read, the language of documents, and the prompts and answers of Self-Instruct.
#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

#include <lodestone/synthesis/language.hpp>
#include <lodestone/synthesis/questions.hpp>
#include <lodestone/synthesis/self_instruct.hpp>

#include "support/complaint.hpp"
#include "support/support.hpp"

namespace synthesis = lodestone::synthesis;
using boost::test_tools::per_element;
using lodestone_test::complaint;
using lodestone_test::has;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;
using texts = std::vector<std::string>;

BOOST_AUTO_TEST_SUITE(synthesis_texts)

BOOST_AUTO_TEST_CASE(questions_name_their_document) {
  const temporary_folder folder;
  const std::vector<lodestone::text_document> documents{{.id = "a.txt", .text = "x"}, {.id = "b.txt", .text = "y"}};
  const auto read = [&](const std::string& content) {
    write_file(folder / "q.jsonl", content);
    return synthesis::read_questions(folder / "q.jsonl", documents);
  };
  const auto questions = read(
      "{\"document\":\"a.txt\",\"question\":\"Who?\",\"answer\":\"Me\"}\n{\"document\":\"b.txt\",\"question\":\"Why?\"}"
      "\n"
      "{\"document\":\"a.txt\",\"question\":\"When?\",\"id\":\"mine\"}\n{\"document\":\"a.txt\",\"question\":\"How?\"}"
      "\n");
  BOOST_TEST_REQUIRE(questions.size() == 4U);
  BOOST_TEST(questions[0].id == "a.txt/0");
  BOOST_TEST(questions[0].answer == "Me");
  BOOST_TEST(questions[1].id == "b.txt/0");
  BOOST_TEST(questions[2].id == "mine");
  BOOST_TEST(questions[3].id == "a.txt/2");
  const auto error_of = [&](const std::string& content) {
    return complaint<lodestone::data_error>([&] { static_cast<void>(read(content)); });
  };
  BOOST_TEST(has(error_of("{\"document\":\"c.txt\",\"question\":\"Who?\"}\n"), "q.jsonl:1: there is no document"));
  BOOST_TEST(has(error_of("{\"question\":\"Who?\"}\n"), "q.jsonl:1: no field document"));
  BOOST_TEST(has(error_of("{\"document\":\"a.txt\"}\n"), "q.jsonl:1: no field question"));
}

BOOST_AUTO_TEST_CASE(the_language_is_that_of_most_characters) {
  using synthesis::language;
  BOOST_TEST((synthesis::language_of("The capital of China is 北京.") == language::english));
  BOOST_TEST((synthesis::language_of("中国的首都是北京（Beijing），人口两千多万。") == language::chinese));
  BOOST_TEST((synthesis::language_of("12345 !") == language::english));
  BOOST_TEST(synthesis::cjk_share("ab中文") == 0.5);
}

BOOST_AUTO_TEST_CASE(prompts_stand_behind_the_document_and_name_the_format) {
  for (const synthesis::question_kind kind : synthesis::all_question_kinds) {
    const std::string english = synthesis::question_prompt("DOC", kind, synthesis::language::english, 5);
    BOOST_TEST(english.starts_with("DOC\n\nRead the text above and write 5 English questions"), english);
    BOOST_TEST(english.ends_with("\"1: \", \"2: \", ..."), english);
    const std::string chinese = synthesis::question_prompt("DOC", kind, synthesis::language::chinese, 5);
    BOOST_TEST(has(chinese, "提出5个"), chinese);
    BOOST_TEST(chinese.ends_with("\"1: \", \"2: \", ..."), chinese);
    BOOST_TEST(!has(english + chinese, "{n}"));
    BOOST_TEST((synthesis::parse_question_kind(synthesis::to_string(kind)) == kind));
  }
  BOOST_CHECK_THROW(static_cast<void>(synthesis::parse_question_kind("other")), lodestone::config_error);
}

BOOST_AUTO_TEST_CASE(numbered_questions_are_found_in_every_common_form) {
  const texts three{"Who?", "When?", "Why so?"};
  const auto parse = [](const char* text) { return synthesis::parse_numbered_questions(text); };
  BOOST_TEST(parse("1: Who?\n2: When?\n3: Why so?") == three, per_element());
  BOOST_TEST(parse("Here are three:\n\n1. Who?\n\n2. When?\r\n\n3. Why so?\n\nI hope this helps.") == three,
             per_element());
  BOOST_TEST(parse("1) Who?\n2) When?\n3) Why\nso?") == three, per_element());
  BOOST_TEST(parse("**1:** Who?\n**2:** When?\n**3: Why so?**") == three, per_element());
  BOOST_TEST(parse("Question 1: Who?\nQ2: When?\n- 3. Why so?") == three, per_element());
  BOOST_TEST(parse("１：谁？\n2、何时？\n3．为什么？") == (texts{"谁？", "何时？", "为什么？"}), per_element());
  BOOST_TEST(parse("问题1：谁？\n（其他）\n问题2：何时？").size() == 2U);
  // Numbers inside a question, numbers out of order, repetitions, empty ones.
  BOOST_TEST(parse("1: What happened in\n1945. Was it\n3.5 percent?\n2: When?") ==
                 (texts{"What happened in 1945. Was it 3.5 percent?", "When?"}),
             per_element());
  BOOST_TEST(parse("1: Is it\n7. or\n1: more?\n2: When?") == (texts{"Is it 7. or 1: more?", "When?"}), per_element());
  BOOST_TEST(parse("1: Who?\n2: Who?\n3:\n4: Why?") == (texts{"Who?", "Why?"}), per_element());
  BOOST_TEST(parse("1:\nWho?\n2:\nWhen?") == (texts{"Who?", "When?"}), per_element());
  BOOST_TEST(parse("I cannot help with that.").empty());
  BOOST_TEST(parse("").empty());
}

BOOST_AUTO_TEST_SUITE_END()
