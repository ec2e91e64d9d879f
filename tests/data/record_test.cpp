// Records in every accepted format, and the message for every fault.
#include <boost/test/unit_test.hpp>

#include <lodestone/data/record.hpp>

#include "../support/support.hpp"

using namespace lodestone;

namespace {

training_record read(const std::string& text, const record_options& options = {}) {
  return parse_record({text, 17, 0}, "data.jsonl", options);
}

std::string fault(const std::string& text, const record_options& options = {}) {
  try {
    (void)read(text, options);
  } catch (const data_error& failure) {
    return failure.what();
  }
  return "(no error)";
}

/// "user:q|assistant:a*0.5", one part a message.
std::string talk(const training_record& record) {
  std::string text;
  for (const chat_message& message : record.messages) {
    if (!text.empty()) text += '|';
    text += std::string(to_string(message.role)) + ":" + message.content;
    if (message.weight) text += "*" + std::to_string(*message.weight).substr(0, 3);
  }
  return text;
}

bool begins(const std::string& text, const std::string& part) { return text.rfind("data.jsonl:17: " + part, 0) == 0; }

}  // namespace

BOOST_AUTO_TEST_SUITE(data_record)

BOOST_AUTO_TEST_CASE(messages) {
  const training_record record = read(
      R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "q"},
          {"role": "assistant", "content": "a"}], "length": 9000, "weight": 2.5})");
  BOOST_TEST(talk(record) == "system:S|user:q|assistant:a");
  BOOST_TEST(record.weight == 2.5);
  BOOST_TEST(record.line == 17);
  BOOST_TEST(!record.is_text);
  BOOST_TEST(talk(read(R"({"messages": [{"role": "developer", "content": "S"}, {"role": "user", "content": "q"},
                           {"role": "assistant", "content": null}]})")) == "system:S|user:q|assistant:");
}

BOOST_AUTO_TEST_CASE(conversations) {
  BOOST_TEST(talk(read(R"({"id": "x", "system": "S", "conversations": [{"from": "human", "value": "q"},
                           {"from": "gpt", "value": "a"}]})")) == "system:S|user:q|assistant:a");
  // long-llm-data writes conversations with role and content; its readers drop what stands before the first question.
  const training_record record = read(
      R"({"conversations": [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "q"},
          {"role": "assistant", "content": "a"}], "length": 3})");
  BOOST_TEST(talk(record) == "user:q|assistant:a");
  BOOST_TEST(record.leading_dropped == 1);
  BOOST_TEST(talk(read(R"({"conversation": [{"from": "user", "value": "q"}, {"from": "chatgpt", "value": "a"}]})")) ==
             "user:q|assistant:a");
}

BOOST_AUTO_TEST_CASE(alpaca_and_prompt_and_text) {
  BOOST_TEST(talk(read(R"({"instruction": "i", "input": "", "output": "o", "file": "paper.pdf"})")) ==
             "user:i|assistant:o");  // LongAlpaca
  BOOST_TEST(talk(read(R"({"instruction": "i", "input": "n", "output": "o", "system": "S",
                           "history": [["q", "a"]]})")) == "system:S|user:q|assistant:a|user:i\nn|assistant:o");
  BOOST_TEST(talk(read(R"({"prompt": "p", "completion": "c"})")) == "user:p|assistant:c");
  BOOST_TEST(talk(read(R"({"prompt": [{"role": "user", "content": "p"}], "response": "r"})")) == "user:p|assistant:r");
  const training_record document = read(R"({"text": "once\nupon", "weight": 0})");
  BOOST_TEST(document.is_text);
  BOOST_TEST(document.text == "once\nupon");
  BOOST_TEST(document.weight == 0.0);
  // A named format wins over the order in which automatic looks.
  BOOST_TEST(read(R"({"messages": [], "text": "t"})", {.format = data_format::text}).text == "t");
  BOOST_TEST((parse_data_format("sharegpt") == data_format::conversations));
  BOOST_CHECK_THROW((void)parse_data_format("parquet"), config_error);
}

BOOST_AUTO_TEST_CASE(text_parts_are_joined) {
  BOOST_TEST(talk(read(R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"},
                           {"type": "text", "value": "b"}, "c"]}, {"role": "assistant", "content": []}]})")) ==
             "user:abc|assistant:");
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]})"),
                    "message 1: a content part of type 'image_url'; only text parts"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": 3}]})"), "message 1: the content is neither"));
}

BOOST_AUTO_TEST_CASE(weights) {
  const auto with = [](const std::string& extra) {
    return R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", )" + extra + "}]}";
  };
  BOOST_TEST(talk(read(with(R"("weight": 0)"))) == "user:q|assistant:a*0.0");
  BOOST_TEST(talk(read(with(R"("loss_weight": 0.5)"))) == "user:q|assistant:a*0.5");
  BOOST_TEST(talk(read(with(R"("train": false)"))) == "user:q|assistant:a*0.0");
  BOOST_TEST(talk(read(with(R"("train": true)"))) == "user:q|assistant:a*1.0");
  BOOST_TEST(talk(read(with(R"("train": true, "weight": 0.5)"))) == "user:q|assistant:a*0.5");
  BOOST_TEST(talk(read(with(R"("weight": null)"))) == "user:q|assistant:a");
  BOOST_TEST(begins(fault(with(R"("weight": -1)")), "message 2: weight must be finite and not negative"));
  BOOST_TEST(begins(fault(with(R"("weight": "1")")), "message 2: weight is not a number"));
  BOOST_TEST(begins(fault(with(R"("train": "yes")")), "message 2: train is neither"));
  BOOST_TEST(begins(fault(with(R"("train": false, "weight": 1)")), "message 2: weight and train contradict"));
  BOOST_TEST(begins(fault(with(R"("weight": 1, "loss_weight": 2)")), "message 2: weight and loss_weight contradict"));
  BOOST_TEST(begins(fault(R"({"text": "t", "weight": -2})"), "the record: weight must be finite"));
}

BOOST_AUTO_TEST_CASE(turns_in_order) {
  const std::string twice = R"({"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "r"},
                                {"role": "assistant", "content": "a"}]})";
  BOOST_TEST(begins(fault(twice), "message 2: a second user turn in a row"));
  const training_record joined = read(twice, {.join_turns = true});
  BOOST_TEST(talk(joined) == "user:q\n\nr|assistant:a");
  BOOST_TEST(joined.joined_turns == 1);
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "q"},
             {"role": "assistant", "content": "a", "weight": 1}, {"role": "assistant", "content": "b"}]})",
                          {.join_turns = true}),
                    "message 4: turns with different weights"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user", "content": "q"}]})"), "no assistant turn"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "assistant", "content": "a"}]})"), "no assistant turn follows"));
  BOOST_TEST(begins(fault(R"({"messages": []})"), "the conversation has no messages"));
}

BOOST_AUTO_TEST_CASE(zero_width_characters) {
  const std::string text =
      "{\"messages\": [{\"role\": \"user\", \"content\": \"q\xE2\x80\x8B\"}, "
      "{\"role\": \"assistant\", \"content\": "
      "\"\xEF\xBB\xBF"
      "a\\u200bb\\u200cc\\u200d\xE2\x80\x8E\"}]}";
  BOOST_TEST(talk(read(text)) ==
             "user:q\xE2\x80\x8B|assistant:\xEF\xBB\xBF"
             "a\xE2\x80\x8B"
             "b\xE2\x80\x8C"
             "c\xE2\x80\x8D\xE2\x80\x8E");
  // U+200E is no zero-width joiner or space: it stays, and so does everything in a question.
  BOOST_TEST(talk(read(text, {.strip_zero_width = true})) == "user:q\xE2\x80\x8B|assistant:abc\xE2\x80\x8E");
}

BOOST_AUTO_TEST_CASE(faults_name_the_line) {
  BOOST_TEST(begins(fault("[1]"), "the record is not a JSON object"));
  BOOST_TEST(begins(fault(R"({"a": 1, "b": 2})"), "the record has none of the fields messages"));
  BOOST_TEST(fault(R"({"a": 1, "b": 2})").find("it has: a, b") != std::string::npos);
  BOOST_TEST(begins(fault(R"({"messages": 3})"), "messages is not a list"));
  BOOST_TEST(begins(fault(R"({"messages": [3]})"), "message 1: not an object"));
  BOOST_TEST(begins(fault(R"({"messages": [{"content": "q"}]})"), "message 1: no role"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "user"}]})"), "message 1: no content"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "tool", "content": "x"}]})"), "message 1: unknown role 'tool'"));
  BOOST_TEST(begins(fault(R"({"messages": [{"role": "assistant", "content": null, "tool_calls": [1]}]})"),
                    "message 1: tool_calls cannot be trained on"));
  BOOST_TEST(begins(fault(R"({"instruction": "i"})"), "no field output"));
  BOOST_TEST(begins(fault(R"({"instruction": "i", "output": "o", "history": [["q"]]})"), "history is not a list"));
  BOOST_TEST(begins(fault(R"({"prompt": "p"})"), "no field completion"));
  BOOST_TEST(begins(fault(R"({"text": ""})"), "the document is empty"));
  BOOST_TEST(begins(fault(R"({"text": 3})"), "the field text is not a string"));
  BOOST_TEST(begins(fault(R"({"text": "cut)"), "invalid JSON at column 13"));
  // In an array's record over several lines the line is the one of the fault.
  BOOST_TEST(fault("{\n\"text\":\n oops}").rfind("data.jsonl:19: invalid JSON at column 2", 0) == 0U);
  // Depth costs no stack.
  BOOST_TEST(begins(fault(std::string(1'000'000, '[')), "invalid JSON"));
  BOOST_TEST(begins(fault(std::string("{\"text\": \"abc\"}\0, lost", 22)), "invalid JSON: a zero byte"));
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  BOOST_TEST(begins(fault("{\"x\":" + deep + "}"), "the record has none"));
}

BOOST_AUTO_TEST_SUITE_END()
