// Conversations through real tokenizers: the targets are the answers, and the ids are those of the whole text.
#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <iostream>

#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/tokenizer.hpp>

#include "../support/support.hpp"

using namespace lodestone;

namespace {

using ids = std::vector<std::int32_t>;

ids labels_of(const encoded_sequence& example) {
  ids labels;
  for (const std::int32_t label : example.labels) {
    if (label != no_label) labels.push_back(label);
  }
  return labels;
}

/// Ends with a token of the vocabulary; spaces, newlines and scripts around every boundary.
chat_template plain_format(const std::string& end) {
  chat_template form;
  form.user_prefix = "Question: ";
  form.user_suffix = "\n";
  form.assistant_prefix = "Answer: ";
  form.turn_separator = "\n";
  form.end_token = end;
  return form;
}

std::vector<chat_message> two_rounds() {
  return {{chat_role::user, "Who are you?"},
          {chat_role::assistant, "I am a model, yes."},
          {chat_role::user, "What is 你好?  Tell me.\n\nPlease"},
          {chat_role::assistant, "It means hello. 好"}};
}

/// The folder of a tokenizer whose licence keeps it out of this repository, or nothing, said aloud.
std::filesystem::path licensed(const std::string& name) {
  const char* root = std::getenv("LODESTONE_TEST_MODELS");
  if (root != nullptr) return std::filesystem::path(root) / "tokenizers" / name;
  std::cout << "SKIPPED chat formats of " << name << ": set LODESTONE_TEST_MODELS to a folder that holds tokenizers/"
            << name << "/tokenizer.json\n";
  return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(text_chat_encoder)

BOOST_AUTO_TEST_CASE(decoded_targets_are_the_answers) {
  const tokenizer gpt2 = tokenizer::load(lodestone_test::data("tokenizer/gpt2/tokenizer.json"));
  const chat_encoder encoder(gpt2, plain_format("<|endoftext|>"));
  const std::vector<std::string> answers{"It is.",   "是的，没错。", "", "Line one\n\nline two ",
                                         "  spaced", "😀👍🏽", "a"};
  for (const std::size_t turns : {1U, 2U, 7U, 50U}) {
    std::vector<chat_message> messages;
    std::string expected;
    for (std::size_t turn = 0; turn < turns; ++turn) {
      const std::string& answer = answers[turn % answers.size()];
      messages.push_back({chat_role::user, turn % 2 == 0 ? "Is it so?" : "是这样吗？"});
      messages.push_back({chat_role::assistant, answer});
      if (!answer.empty()) expected += " " + answer + "<|endoftext|>";
    }
    BOOST_TEST(gpt2.decode(labels_of(encoder.encode(messages))) == expected);
  }
}

BOOST_AUTO_TEST_CASE(documents_and_prompts) {
  const tokenizer gpt2 = tokenizer::load(lodestone_test::data("tokenizer/gpt2/tokenizer.json"));
  const chat_encoder encoder(gpt2, plain_format("<|endoftext|>"));
  const std::string text = "Once upon a time 从前, there was <|endoftext|> in a text.";
  encoding_report report;
  const encoded_sequence document = encoder.encode_text(text, &report);
  BOOST_TEST(gpt2.decode(document.tokens) == text);
  BOOST_TEST(report.literal_tokens == 1);
  BOOST_TEST(std::count(document.tokens.begin(), document.tokens.end(), 50256) == 0);
  const std::vector<chat_message> messages = two_rounds();
  const ids prompt = encoder.encode_prompt(std::span(messages).first(3));
  BOOST_TEST(gpt2.decode(prompt) == to_text(render_prompt(encoder.form(), std::span(messages).first(3))));
  const ids whole = encoder.encode(messages).tokens;
  BOOST_TEST(std::equal(prompt.begin(), prompt.end(), whole.begin()));
}

BOOST_AUTO_TEST_CASE(a_model_folder_names_its_end_token) {
  const std::filesystem::path folder = lodestone_test::source_dir() / "examples/data/models/tinystories-656k";
  const tokenizer stories = tokenizer::load(folder);
  const special_tokens specials = read_special_tokens(folder);
  const chat_encoder encoder(stories, plain_format("{eos}"), {}, specials);
  const encoded_sequence example = encoder.encode(two_rounds());
  BOOST_TEST(example.tokens.front() == 1);  // <|start_story|>, from the post-processor
  BOOST_TEST(example.tokens.back() == 2);   // <|end_story|>
  BOOST_TEST(std::count(example.labels.begin(), example.labels.end(), 2) == 2);
  BOOST_CHECK_THROW(
      (void)detect_chat_template(specials.chat_template,
                                 [&](std::string_view token) { return stories.id_of(token).has_value(); }),
      config_error);
}

// The ids are those of Hugging Face's tokenizers 0.23 for the whole text, for example
// "<s>[INST] Who are you? [/INST] I am a model, yes. </s><s>[INST] ...", with control tokens parsed.
BOOST_AUTO_TEST_CASE(ids_of_llama_formats) {
  if (const std::filesystem::path folder = licensed("llama2"); !folder.empty()) {
    const tokenizer llama = tokenizer::load(folder);
    const ids llama_2{1,     518,   25580, 29962, 11644, 526,   366,   29973, 518,   29914, 25580, 29962, 306,
                      626,   263,   1904,  29892, 4874,  29889, 29871, 2,     1,     518,   25580, 29962, 1724,
                      338,   29871, 30919, 31076, 29973, 29871, 24948, 592,   29889, 13,    13,    12148, 518,
                      29914, 25580, 29962, 739,   2794,  22172, 29889, 29871, 31076, 29871, 2};
    BOOST_TEST(chat_encoder(llama, find_chat_template("llama-2")).encode(two_rounds()).tokens == llama_2);
    const ids mistral{1,   518,   25580, 29962, 11644, 526,   366,   29973, 518,   29914, 25580, 29962,
                      306, 626,   263,   1904,  29892, 4874,  29889, 2,     518,   25580, 29962, 1724,
                      338, 29871, 30919, 31076, 29973, 29871, 24948, 592,   29889, 13,    13,    12148,
                      518, 29914, 25580, 29962, 739,   2794,  22172, 29889, 29871, 31076, 2};
    BOOST_TEST(chat_encoder(llama, find_chat_template("mistral")).encode(two_rounds()).tokens == mistral);
    // LongAlign's form has no space before the answer, and none is added inside the conversation.
    const chat_encoder encoder(llama, find_chat_template("longalign-llama"));
    BOOST_TEST(llama.decode(labels_of(encoder.encode(two_rounds()))) == "I am a model, yes.</s>It means hello. 好</s>");
  }
  if (const std::filesystem::path folder = licensed("llama3"); !folder.empty()) {
    const tokenizer llama = tokenizer::load(folder);
    const ids llama_3{128000, 128006, 882,   128007, 271,    15546, 527,  499,   30,    128009, 128006, 78191,
                      128007, 271,    40,    1097,   264,    1646,  11,   10035, 13,    128009, 128006, 882,
                      128007, 271,    3923,  374,    118195, 53901, 30,   220,   25672, 757,    382,    5618,
                      128009, 128006, 78191, 128007, 271,    2181,  3445, 24748, 13,    116431, 128009};
    BOOST_TEST(chat_encoder(llama, find_chat_template("llama-3")).encode(two_rounds()).tokens == llama_3);
    const special_tokens specials = read_special_tokens(folder);
    BOOST_TEST(detect_chat_template(specials.chat_template, [&](std::string_view token) {
                 return llama.id_of(token).has_value();
               }).name == "llama-3");
  }
}

BOOST_AUTO_TEST_SUITE_END()
