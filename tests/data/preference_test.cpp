// Preference records in every form, what TRL makes of a prompt that is not named, and the message for every fault.
#include <boost/test/unit_test.hpp>

#include <lodestone/data/preference.hpp>

#include "../support/support.hpp"

using namespace lodestone;

namespace {

preference_record read(const std::string& text, const record_options& options = {}) {
  return parse_preference({text, 17, 0}, "data.jsonl", options);
}

std::string talk(const std::vector<chat_message>& messages) {
  std::string text;
  for (const chat_message& message : messages) {
    if (!text.empty()) text += '|';
    text += std::string(to_string(message.role)) + ":" + message.content;
  }
  return text;
}

/// "prompt => chosen / rejected / rejected".
std::string show(const preference_record& record) {
  std::string text = record.is_text ? "'" + record.text + "'" : talk(record.messages);
  for (const std::string& chunk : record.context) text += "[" + chunk + "]";
  if (!record.context.empty()) text += "?" + record.question;
  text += " =>";
  for (const preference_answer& answer : record.answers) {
    text += " / " + (record.is_text ? "'" + answer.text + "'" : talk(answer.messages));
  }
  return text;
}

std::string shown(const std::string& text, const record_options& options = {}) { return show(read(text, options)); }

std::string fault(const std::string& text, const record_options& options = {}) {
  try {
    return show(read(text, options));
  } catch (const data_error& failure) {
    return failure.what();
  }
}

bool begins(const std::string& text, const std::string& part) { return text.rfind("data.jsonl:17: " + part, 0) == 0; }

}  // namespace

BOOST_AUTO_TEST_SUITE(data_preference)

BOOST_AUTO_TEST_CASE(plain_text_is_standard_form) {
  const std::string standard = R"({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."})";
  BOOST_TEST(shown(standard) == "'The sky is' => / ' blue.' / ' green.'");
  record_options chat;
  chat.plain = plain_prompt::chat;
  BOOST_TEST(shown(standard, chat) == "user:The sky is => / assistant: blue. / assistant: green.");
  BOOST_TEST(read(standard).line == 17);
  // One or many rejected answers, as many as there are.
  BOOST_TEST(shown(R"({"prompt": "p", "chosen": "a", "rejected": ["b", "c", "d"]})") ==
             "'p' => / 'a' / 'b' / 'c' / 'd'");
  BOOST_TEST(shown(R"({"prompt": "p", "chosen": "a", "rejected": ["b"], "score": 3})") == "'p' => / 'a' / 'b'");
}

BOOST_AUTO_TEST_CASE(conversations_hold_the_answer_or_the_whole) {
  const std::string want = "user:q => / assistant:a / assistant:b";
  BOOST_TEST(shown(R"({"prompt": [{"role": "user", "content": "q"}],
                       "chosen": [{"role": "assistant", "content": "a"}],
                       "rejected": [{"role": "assistant", "content": "b"}]})") == want);
  BOOST_TEST(shown(R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": ["b"]})") == want);
  BOOST_TEST(shown(R"({"messages": [{"from": "human", "value": "q"}], "chosen": {"role": "assistant", "content": "a"},
                       "rejected": [[{"role": "assistant", "content": "b"}]]})") == want);
  BOOST_TEST(shown(R"({"prompt": [{"role": "user", "content": "q"}],
                       "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                       "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]})") ==
             want);
  BOOST_TEST(shown(R"({"prompt": "q", "chosen": [{"role": "assistant", "content": "a"}],
                       "rejected": [{"role": "assistant", "content": "b"}]})") == want);
  BOOST_TEST(shown(R"({"system": "S", "messages": [{"role": "user", "content": "q"}], "chosen": "a",
                       "rejected": ["b", "c"]})") == "system:S|user:q => / assistant:a / assistant:b / assistant:c");
}

BOOST_AUTO_TEST_CASE(a_prompt_that_is_not_named_is_what_the_answers_share) {
  const std::string chosen = R"("chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])";
  const std::string rejected =
      R"("rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}])";
  BOOST_TEST(shown("{" + chosen + ", " + rejected + "}") == "user:q => / assistant:a / assistant:b");
  // UltraFeedback names the question, and the chosen conversation once more, beside whole conversations.
  BOOST_TEST(shown(R"({"prompt": "q", "messages": [], )" + chosen + ", " + rejected + "}") ==
             "user:q => / assistant:a / assistant:b");
  // Conversations that part early have answers of several turns.
  BOOST_TEST(shown(R"({"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                                  {"role": "user", "content": "r"}, {"role": "assistant", "content": "c"}],)" +
                   rejected + "}") == "user:q => / assistant:a|user:r|assistant:c / assistant:b");
  BOOST_TEST(shown(R"({"chosen": "Human: q Assistant: yes", "rejected": "Human: q Assistant: no"})") ==
             "'Human: q Assistant:' => / ' yes' / ' no'");
  BOOST_TEST(shown(R"({"chosen": "p: ab", "rejected": ["p: ac", "p: b"]})") == "'p:' => / ' ab' / ' ac' / ' b'");
  // Characters are never cut: these two share their first bytes.
  BOOST_TEST(shown("{\"chosen\": \"x\xC3\xA9\", \"rejected\": \"x\xC3\xA8\"}") == "'x' => / '\xC3\xA9' / '\xC3\xA8'");
}

BOOST_AUTO_TEST_CASE(contexts) {
  BOOST_TEST(shown(R"({"context": "long text", "question": "why?", "chosen": "a", "rejected": "b"})") ==
             "[long text]?why? => / assistant:a / assistant:b");
  BOOST_TEST(shown(R"({"context": ["one", "two"], "question": "why?", "chosen": "a", "rejected": ["b", "c"],
                       "system": "S"})") == "system:S[one][two]?why? => / assistant:a / assistant:b / assistant:c");
}

BOOST_AUTO_TEST_CASE(weights_and_references) {
  const preference_record record = read(R"({"prompt": "p", "chosen": "a", "rejected": ["b", "c"], "weight": 2.5,
      "rejected_weights": [0.5, 1], "reference_chosen": -1.5, "reference_rejected": [-2, -3.25]})");
  BOOST_TEST(record.answers[0].weight == 2.5);
  BOOST_TEST(record.answers[1].weight == 0.5);
  BOOST_TEST(record.answers[2].weight == 1.0);
  BOOST_TEST(record.answers[0].reference == -1.5);
  BOOST_TEST(record.answers[2].reference == -3.25);
  const preference_record one = read(R"({"prompt": "p", "chosen": "a", "rejected": "b", "rejected_weights": 0.5,
      "reference_chosen": 0, "reference_rejected": -2})");
  BOOST_TEST(one.answers[1].weight == 0.5);
  BOOST_TEST(one.answers[1].reference == -2.0);
  const preference_record none = read(R"({"prompt": "p", "chosen": "a", "rejected": "b"})");
  BOOST_TEST(none.answers[0].weight == 1.0);
  BOOST_TEST(std::isnan(none.answers[1].reference));
}

BOOST_AUTO_TEST_CASE(faults_name_the_line) {
  BOOST_TEST(begins(fault("[1]"), "the record is not a JSON object"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "rejected": "b"})"), "no field chosen"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "b"})"), "no field rejected"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": 3, "rejected": "b"})"), "chosen is neither text nor"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "a", "rejected": ["b", 3]})"), "rejected 2 is neither"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "a", "rejected": []})"), "rejected is an empty list"));
  BOOST_TEST(begins(fault(R"({"prompt": 3, "chosen": "a", "rejected": "b"})"), "field prompt: the content is neither"));
  BOOST_TEST(begins(fault(R"({"prompt": "", "chosen": "a", "rejected": "b"})"), "the prompt is empty"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "a", "rejected": [[{"role": "assistant", "content": "b"}]]})"),
                    "the rejected answer and the chosen one are of two kinds"));
  BOOST_TEST(
      begins(fault(R"({"prompt": "p", "system": "S", "chosen": "a", "rejected": "b"})"), "a system message beside"));
  BOOST_TEST(
      begins(fault(R"({"messages": [], "chosen": "a", "rejected": "b"})"), "messages is not a list of messages"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                              "chosen": "a", "rejected": "b"})"),
                    "the prompt does not end with a user turn"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "tool", "content": "q"}], "chosen": "a", "rejected": "b"})"),
                    "messages, message 1: unknown role 'tool'"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "cut)"), "invalid JSON at column"));
}

BOOST_AUTO_TEST_CASE(empty_and_equal_answers) {
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "", "rejected": "b"})"), "the chosen answer is empty"));
  BOOST_TEST(
      begins(fault(R"({"prompt": "p", "chosen": "a", "rejected": ["b", " \n"]})"), "rejected answer 2 is empty"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a",
                              "rejected": [{"role": "assistant", "content": null}]})"),
                    "the rejected answer and the chosen one are of two kinds"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": "q"}],
                              "chosen": [{"role": "assistant", "content": "a"}],
                              "rejected": [{"role": "assistant", "content": null}]})"),
                    "the rejected answer is empty"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "a", "rejected": "a"})"),
                    "the rejected answer equals the chosen answer"));
  BOOST_TEST(begins(fault(R"({"prompt": "p", "chosen": "a", "rejected": ["b", "c", "b"]})"),
                    "rejected answer 3 equals rejected answer 1"));
  const std::string talk = R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])";
  BOOST_TEST(begins(fault("{\"chosen\": " + talk + ", \"rejected\": " + talk + "}"),
                    "the rejected answer equals the chosen answer"));
  BOOST_TEST(begins(fault(R"({"chosen": "same", "rejected": "same"})"), "the rejected answer equals the chosen"));
}

BOOST_AUTO_TEST_CASE(prompts_that_differ) {
  const std::string answers = R"("chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                                 "rejected": [{"role": "user", "content": "r"},
                                              {"role": "assistant", "content": "b"}])";
  BOOST_TEST(begins(fault("{" + answers + "}"), "the prompt of the rejected answer differs from that of the chosen"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": "q"}],)" + answers + "}"),
                    "the prompt of the rejected answer differs from messages"));
  BOOST_TEST(begins(fault(R"({"prompt": [{"role": "user", "content": "r"}],)" + answers + "}"),
                    "the prompt of the chosen answer differs from prompt"));
  BOOST_TEST(begins(fault(R"({"chosen": "ab", "rejected": "cd"})"), "no prompt: the answers share no beginning"));
  BOOST_TEST(begins(fault(R"({"chosen": [{"role": "assistant", "content": "a"}],
                              "rejected": [{"role": "assistant", "content": "b"}]})"),
                    "no prompt: the answers share"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "r"}],
                              "chosen": "a", "rejected": "b"})"),
                    "the prompt, message 2: a second user turn"));
  BOOST_TEST(shown(R"({"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "r"}],
                       "chosen": "a", "rejected": "b"})",
                   {.join_turns = true}) == "user:q\n\nr => / assistant:a / assistant:b");
}

BOOST_AUTO_TEST_CASE(contexts_numbers_and_counts_that_are_wrong) {
  const auto with = [](const std::string& extra) {
    return fault(R"({"prompt": "p", "chosen": "a", "rejected": ["b", "c"], )" + extra + "}");
  };
  BOOST_TEST(begins(with(R"("weight": -1)"), "the record: weight must be finite"));
  BOOST_TEST(begins(with(R"("rejected_weights": [1])"), "rejected_weights has 1 numbers for 2 rejected answers"));
  BOOST_TEST(begins(with(R"("rejected_weights": 1)"), "rejected_weights has 1 numbers for 2"));
  BOOST_TEST(begins(with(R"("rejected_weights": [1, -1])"), "rejected_weights must be finite and not negative"));
  BOOST_TEST(begins(with(R"("rejected_weights": [1, "x"])"), "rejected_weights holds something that is not a number"));
  BOOST_TEST(begins(with(R"("rejected_weights": [0, 0])"), "all rejected_weights are 0"));
  BOOST_TEST(begins(with(R"("reference_chosen": -1)"), "reference_chosen and reference_rejected go together"));
  BOOST_TEST(begins(with(R"("reference_chosen": -1, "reference_rejected": [-1])"), "reference_rejected has 1 numbers"));
  BOOST_TEST(begins(with(R"("reference_chosen": 1, "reference_rejected": [-1, -2])"), "reference_chosen is 1.0"));
  BOOST_TEST(begins(with(R"("context": "x")"), "both prompt and context with question"));
  const auto about = [](const std::string& fields) {
    return fault(R"({"chosen": "a", "rejected": "b", )" + fields + "}");
  };
  BOOST_TEST(begins(about(R"("context": "x")"), "no field question"));
  BOOST_TEST(begins(about(R"("question": "x")"), "no field context"));
  BOOST_TEST(begins(about(R"("question": "x", "context": [])"), "the context is empty"));
  BOOST_TEST(begins(about(R"("question": "x", "context": ["a", ""])"), "chunk 2 of the context is empty"));
  BOOST_TEST(begins(about(R"("question": "x", "context": ["a", 3])"), "chunk 2 of the context is not text"));
  BOOST_TEST(begins(about(R"("question": "x", "context": 3)"), "the field context is neither"));
  BOOST_TEST(begins(about(R"("question": 3, "context": "x")"), "the field question is not text"));
}

BOOST_AUTO_TEST_CASE(the_fields_tell_which_kind_a_record_is) {
  const auto is_preference = [](const std::string& text, data_format format = data_format::automatic) {
    record_options options;
    options.format = format;
    return std::holds_alternative<preference_record>(parse_any_record({text, 1, 0}, "x", options));
  };
  BOOST_TEST(is_preference(R"({"prompt": "p", "chosen": "a", "rejected": "b"})"));
  BOOST_TEST(!is_preference(R"({"prompt": "p", "completion": "a"})"));
  BOOST_TEST(
      !is_preference(R"({"prompt": "p", "completion": "a", "chosen": "a", "rejected": "b"})", data_format::prompt));
  BOOST_CHECK_THROW(is_preference(R"({"prompt": "p", "completion": "a"})", data_format::preference), data_error);
  BOOST_CHECK_THROW((void)parse_record({R"({"prompt": "p"})", 1, 0}, "x", {.format = data_format::preference}),
                    data_error);
  BOOST_TEST((parse_data_format("preference") == data_format::preference));
}

BOOST_AUTO_TEST_SUITE_END()
