// Groups of examples from preference records: the same prompt tokens, every answer token scored, chunks, limits.
#include <boost/test/unit_test.hpp>

#include <cmath>

#include <lodestone/data/preference_builder.hpp>
#include <lodestone/text/chat_families.hpp>

#include "../text/toy_tokenizer.hpp"

using namespace lodestone;
using lodestone_test::toy_tokenizer;

namespace {

using toy_encoder = chat_encoder<toy_tokenizer>;

struct outcome {
  std::vector<encoded_sequence> examples;
  data_summary counts;
};

special_tokens with_eos() {
  special_tokens specials;
  specials.eos = "</s>";
  return specials;
}

const toy_tokenizer& every() {
  static const toy_tokenizer tokenizer = lodestone_test::every_format();
  return tokenizer;
}

const toy_tokenizer& spaces() {
  static const toy_tokenizer tokenizer = lodestone_test::every_format(true);
  return tokenizer;
}

outcome build(const std::string& text, const preference_options& options = {}, const length_policy& length = {},
              const chat_template& form = families::llama_3(), const toy_tokenizer& tokenizer = every(),
              const chat_encoding& encoding = {}) {
  const toy_encoder encoder(tokenizer, form, encoding, with_eos());
  outcome result;
  result.counts.records = 1;
  preference_builder(encoder, options, length)
      .build(parse_preference({text, 3, 0}, "data.jsonl"), "data.jsonl:3", result.examples, result.counts);
  const data_summary& c = result.counts;
  BOOST_TEST(c.records - c.groups + c.answers == c.examples + c.over_long_dropped);
  BOOST_TEST(c.examples == static_cast<std::int64_t>(result.examples.size()));
  // What holds for every group.
  for (std::size_t j = 0; j < result.examples.size(); ++j) {
    const encoded_sequence& own = result.examples[j];
    const encoded_sequence& chosen = result.examples[0];
    BOOST_TEST(own.group == 0);
    BOOST_TEST(own.role == static_cast<std::int32_t>(j));
    BOOST_REQUIRE(own.prompt == chosen.prompt);
    BOOST_REQUIRE(own.prompt > 0);
    BOOST_REQUIRE(own.size() > own.prompt);
    BOOST_TEST(own.chunks == chosen.chunks, boost::test_tools::per_element());
    BOOST_TEST(std::equal(own.tokens.begin(), own.tokens.begin() + own.prompt, chosen.tokens.begin()));
    for (std::int64_t row = 0; row < own.prompt - 1; ++row)
      BOOST_TEST(own.labels[static_cast<std::size_t>(row)] == no_label);
    BOOST_TEST(own.labels.back() == no_label);
    if (length.max_tokens > 0) BOOST_TEST(own.size() <= length.max_tokens);
  }
  return result;
}

/// Every row from the prompt's last on predicts the next token.
bool scores_every_answer_token(const encoded_sequence& example) {
  for (std::size_t r = static_cast<std::size_t>(example.prompt) - 1; r + 1 < example.tokens.size(); ++r)
    if (example.labels[r] != example.tokens[r + 1] || example.weights[r] != 1.0F) return false;
  return true;
}

std::string spell(const encoded_sequence& example, const toy_tokenizer& tokenizer = every()) {
  return tokenizer.spell(example.tokens);
}

std::string spell_prompt(const encoded_sequence& example, const toy_tokenizer& tokenizer = every()) {
  return tokenizer.spell(std::span(example.tokens).first(static_cast<std::size_t>(example.prompt)));
}

std::string fault(const std::string& text, const preference_options& options = {}, const length_policy& length = {}) {
  try {
    (void)build(text, options, length);
  } catch (const error& failure) {
    return failure.what();
  }
  return "(no error)";
}

const std::string talk = R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "old"},
    {"role": "user", "content": "r"}], "chosen": "good", "rejected": ["bad", "worse still"]})";

}  // namespace

BOOST_AUTO_TEST_SUITE(data_preference_builder)

BOOST_AUTO_TEST_CASE(all_answers_stand_behind_one_prompt) {
  const std::string head =
      "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant"
      "<|end_header_id|>\n\nold<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nr<|eot_id|>";
  const std::string header = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  const outcome scored = build(talk);
  BOOST_REQUIRE(scored.examples.size() == 3U);
  BOOST_TEST(spell(scored.examples[0]) == head + header + "good<|eot_id|>");
  BOOST_TEST(spell(scored.examples[2]) == head + header + "worse still<|eot_id|>");
  BOOST_TEST(spell_prompt(scored.examples[0]) == head);
  preference_options plain;
  plain.score_header = false;
  const outcome masked = build(talk, plain);
  BOOST_TEST(spell_prompt(masked.examples[0]) == head + header);
  for (std::size_t j = 0; j < 3; ++j) {
    BOOST_TEST(scores_every_answer_token(scored.examples[j]));
    BOOST_TEST(scores_every_answer_token(masked.examples[j]));
    BOOST_TEST(scored.examples[j].tokens == masked.examples[j].tokens, boost::test_tools::per_element());
  }
  BOOST_TEST(scored.counts.groups == 1);
  BOOST_TEST(scored.counts.answers == 3);
  BOOST_TEST(scored.counts.seams == 0);
  BOOST_TEST(scored.counts.conversations == 1);
}

BOOST_AUTO_TEST_CASE(tokens_are_those_of_the_conversation_in_every_format) {
  preference_options options;
  for (const chat_family& family : chat_families())
    for (const toy_tokenizer* tokenizer : {&every(), &spaces()})
      for (const bool score_header : {true, false}) {
        options.score_header = score_header;
        const outcome group = build(talk, options, {}, family.form, *tokenizer);
        const toy_encoder encoder(*tokenizer, family.form, {.targets = target_choice::last_answer}, with_eos());
        const auto turn = [](chat_role role, const char* text) { return chat_message{role, text, std::nullopt}; };
        const std::vector<chat_message> prompt{turn(chat_role::user, "q"), turn(chat_role::assistant, "old"),
                                               turn(chat_role::user, "r")};
        std::vector<chat_message> whole = prompt;
        whole.push_back(turn(chat_role::assistant, "worse still"));
        const encoded_sequence expected = encoder.encode(whole);
        const encoded_sequence& own = group.examples[2];
        BOOST_TEST(own.tokens == expected.tokens, boost::test_tools::per_element());
        BOOST_TEST(scores_every_answer_token(own));
        const auto asked = static_cast<std::int64_t>(encoder.encode_prompt(prompt).size());
        BOOST_TEST((score_header ? own.prompt <= asked : own.prompt == asked));
        if (!score_header) {
          BOOST_TEST(own.labels == expected.labels, boost::test_tools::per_element());
          BOOST_TEST(own.weights == expected.weights, boost::test_tools::per_element());
        }
      }
}

BOOST_AUTO_TEST_CASE(plain_text_ends_with_the_end_of_sequence) {
  const outcome group = build(R"({"prompt": "The sky is", "chosen": " blue", "rejected": [" green", " sad"]})");
  BOOST_TEST(spell(group.examples[0]) == "<|begin_of_text|>The sky is blue</s>");
  BOOST_TEST(spell_prompt(group.examples[2]) == "<|begin_of_text|>The sky is");
  BOOST_TEST(scores_every_answer_token(group.examples[1]));
  BOOST_TEST(group.counts.documents == 1);
  // Behind a SentencePiece tokenizer's beginning no answer gets a space of its own.
  const outcome piece =
      build(R"({"prompt": "ab", "chosen": "cd", "rejected": "ce"})", {}, {}, families::llama_2(), spaces());
  BOOST_TEST(spell(piece.examples[0], spaces()) == "<s> abcd</s>");
  const toy_encoder nameless(every(), families::llama_3());
  outcome none;
  BOOST_CHECK_THROW(preference_builder(nameless, {}, {})
                        .build(parse_preference({R"({"prompt": "p", "chosen": "a", "rejected": "b"})", 1, 0}, "x"),
                               "x:1", none.examples, none.counts),
                    config_error);
}

BOOST_AUTO_TEST_CASE(seams_where_joint_tokens_differ_are_counted) {
  // " b" is one token, " " and "b" are two: the cut between them is felt in one of the two answers.
  const outcome group = build(R"({"prompt": "a ", "chosen": "b", "rejected": "X"})");
  BOOST_TEST(group.counts.seams == 1);
  BOOST_TEST(build(R"({"prompt": "a", "chosen": " b", "rejected": " X"})").counts.seams == 0);
  BOOST_TEST(group.counts.to_text().find("answers whose joint tokenisation would differ: 1\n") != std::string::npos);
  BOOST_TEST(group.counts.to_text().find("preference groups: 1\nanswers in them: 2\n") != std::string::npos);
  // A long prompt and answer change nothing about the seam, and a cut elsewhere is none.
  const std::string far(5000, 'x');
  BOOST_TEST(build(R"({"prompt": ")" + far + R"( ", "chosen": "b)" + far + R"(", "rejected": "X"})").counts.seams == 1);
  const outcome cut = build(R"({"context": ["a ", "b"], "question": "q", "chosen": "c", "rejected": "d"})");
  BOOST_TEST(cut.counts.seams == 0);
}

BOOST_AUTO_TEST_CASE(chunks_are_bounds_of_tokens) {
  const std::string record = R"({"system": "S", "context": ["one ", "two", " x"], "question": "why",
                                 "chosen": "a", "rejected": "b"})";
  const outcome group = build(record);
  const encoded_sequence& own = group.examples[0];
  BOOST_TEST(spell_prompt(own) ==
             "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user"
             "<|end_header_id|>\n\none two x\n\nwhy<|eot_id|>");
  BOOST_REQUIRE(own.chunks.size() == 4U);
  const auto chunk = [&](std::size_t j) {
    return every().spell(std::span(own.tokens)
                             .subspan(static_cast<std::size_t>(own.chunks[j]),
                                      static_cast<std::size_t>(own.chunks[j + 1] - own.chunks[j])));
  };
  BOOST_TEST(chunk(0) == "one ");
  BOOST_TEST(chunk(1) == "two");  // alone: behind "one " the space would have merged with t
  BOOST_TEST(chunk(2) == " x");
  BOOST_TEST(own.chunks[3] - own.chunks[2] == 1);
  preference_options options;
  options.context_form = "Q: {question} C: {context}";
  options.chunk_separator = " . ";
  const outcome other = build(record, options);
  BOOST_TEST(spell_prompt(other.examples[1]).find("\n\nQ: why C: one  . two .  x<|eot_id|>") != std::string::npos);
  BOOST_TEST(other.examples[1].chunks.size() == 4U);
  // One text is one chunk; blanks that a template trims away are none.
  BOOST_TEST(
      build(R"({"context": "long", "question": "q", "chosen": "a", "rejected": "b"})").examples[0].chunks.size() == 2U);
  const outcome blank = build(R"({"context": ["  ", " ab", "c"], "question": "q", "chosen": "a", "rejected": "b"})");
  BOOST_TEST(blank.examples[0].chunks.size() == 3U);
  BOOST_TEST(spell_prompt(blank.examples[0]).find("\n\nabc\n\nq") != std::string::npos);
  BOOST_TEST(fault(record, {.context_form = "{context}"}).rfind("context_form: must hold {question} once", 0) == 0U);
  BOOST_TEST(fault(record, {.context_form = "{context}{question}{context}"}).rfind("context_form: must hold", 0) == 0U);
}

BOOST_AUTO_TEST_CASE(weights_and_references_go_with_the_answers) {
  const outcome group = build(R"({"prompt": "p", "chosen": "a", "rejected": ["b", "c"], "weight": 2,
      "rejected_weights": [0.5, 0], "reference_chosen": -1, "reference_rejected": [-2, -3]})");
  BOOST_TEST(group.examples[0].weight == 2.0);
  BOOST_TEST(group.examples[1].weight == 0.5);
  BOOST_TEST(group.examples[2].weight == 0.0);
  BOOST_TEST(group.examples[0].reference == -1.0);
  BOOST_TEST(group.examples[2].reference == -3.0);
  BOOST_TEST(std::isnan(build(talk).examples[0].reference));
}

BOOST_AUTO_TEST_CASE(answers_of_several_turns_train_their_assistant_turns) {
  const outcome group = build(R"({"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                                             {"role": "user", "content": "r"}, {"role": "assistant", "content": "c"}],
                                  "rejected": [{"role": "user", "content": "q"},
                                               {"role": "assistant", "content": "b"}]})",
                              {.score_header = false});
  std::vector<std::int32_t> labels;
  for (const std::int32_t label : group.examples[0].labels)
    if (label != no_label) labels.push_back(label);
  BOOST_TEST(every().spell(labels) == "a<|eot_id|>c<|eot_id|>");
}

BOOST_AUTO_TEST_CASE(answers_that_become_equal_or_unscored_are_errors) {
  // llama-3 trims messages: these differ in the record and not in the tokens.
  BOOST_TEST(fault(R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": ["b", "a "]})")
                 .rfind("data.jsonl:3: answers 0 and 2 have the same tokens", 0) == 0U);
  BOOST_TEST(fault(R"({"messages": [{"role": "user", "content": "q"}], "chosen": "a",
                       "rejected": {"role": "assistant", "content": "b", "weight": 0}})") != "(no error)");
  BOOST_TEST(fault(R"({"messages": [{"role": "user", "content": "q"}],
                       "chosen": {"role": "assistant", "content": "a"},
                       "rejected": {"role": "assistant", "content": "b", "weight": 0}})")
                 .rfind("data.jsonl:3: nothing of answer 1 is scored", 0) == 0U);
}

BOOST_AUTO_TEST_CASE(long_groups_lose_their_prompt_or_all) {
  const std::string words = "one two three four five six seven eight";
  const std::string question = R"({"messages": [{"role": "user", "content": ")" + words +
                               R"("}], "chosen": "yes", "rejected": ["no", "no answer at all"]})";
  const std::int64_t full = build(question).examples[2].size();
  const auto limit = [&](over_long action, std::int64_t tokens, bool keep = true) {
    return length_policy{tokens, action, keep};
  };
  BOOST_TEST(build(question, {}, limit(over_long::error, full)).counts.truncated == 0);
  BOOST_TEST(fault(question, {}, limit(over_long::error, full - 1))
                 .rfind("data.jsonl:3: prompt and longest answer have " + std::to_string(full) +
                            " tokens, the limit is " + std::to_string(full - 1),
                        0) == 0U);
  for (const over_long action : {over_long::drop, over_long::split}) {
    const outcome dropped = build(question, {}, limit(action, full - 1));
    BOOST_TEST(dropped.examples.empty());
    BOOST_TEST(dropped.counts.over_long_dropped == 1);
  }
  for (const over_long action : {over_long::truncate_left, over_long::truncate_right, over_long::truncate_middle}) {
    for (std::int64_t tokens = full - 1; tokens > full - 30; tokens -= 7) {
      const outcome cut = build(question, {}, limit(action, tokens));
      BOOST_REQUIRE(cut.examples.size() == 3U);
      BOOST_TEST(cut.counts.truncated == 1);
      BOOST_TEST(spell(cut.examples[2]).ends_with("\n\nno answer at all<|eot_id|>"));
      BOOST_TEST(spell(cut.examples[0]).starts_with("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"));
      for (const encoded_sequence& example : cut.examples) BOOST_TEST(scores_every_answer_token(example));
    }
  }
  BOOST_TEST(spell(build(question, {}, limit(over_long::truncate_left, full - 5)).examples[0]).find("eight<") !=
             std::string::npos);
  BOOST_TEST(spell(build(question, {}, limit(over_long::truncate_right, full - 5)).examples[0]).find("\n\none") !=
             std::string::npos);
  // The answers and the template alone are too long.
  BOOST_TEST(build(question, {}, limit(over_long::truncate_left, full - 60)).counts.over_long_dropped == 1);
  // Without keep_answers tokens go wherever they are in the prompt, yet never the answers' own.
  const outcome anywhere = build(question, {}, limit(over_long::truncate_left, full - 20, false));
  BOOST_TEST(spell(anywhere.examples[0]).starts_with("<|begin_of_text|>"));
  BOOST_TEST(spell(anywhere.examples[0]).find("user") == std::string::npos);
  BOOST_TEST(anywhere.examples[2].size() == full - 20);
  BOOST_TEST(scores_every_answer_token(anywhere.examples[2]));
}

BOOST_AUTO_TEST_CASE(long_contexts_and_plain_prompts_lose_tokens) {
  const std::string record = R"({"context": ["AAAA", "BBBB", "CCCC"], "question": "why", "chosen": "x",
      "rejected": "y", "reference_chosen": -1, "reference_rejected": -2})";
  const std::int64_t full = build(record).examples[0].size();
  const auto cut = [&](over_long action, std::int64_t less) { return build(record, {}, {full - less, action, true}); };
  const auto context = [&](const outcome& group) {
    const std::string text = spell_prompt(group.examples[1]);
    const std::size_t begin = text.find("\n\n") + 2;
    return text.substr(begin, text.find("\n\nwhy") - begin);
  };
  const outcome left = cut(over_long::truncate_left, 5);
  BOOST_TEST(context(left) == "BBBCCCC");
  BOOST_TEST(left.examples[0].size() == full - 5);
  const std::int64_t begin = build(record).examples[0].chunks[0];
  BOOST_TEST(left.examples[0].chunks == (std::vector<std::int64_t>{begin, begin + 3, begin + 7}),
             boost::test_tools::per_element());
  BOOST_TEST(context(cut(over_long::truncate_right, 5)) == "AAAABBB");
  const outcome middle = cut(over_long::truncate_middle, 6);
  BOOST_TEST(context(middle) == "AAACCC");
  BOOST_TEST(middle.examples[0].chunks == (std::vector<std::int64_t>{begin, begin + 3, begin + 6}),
             boost::test_tools::per_element());
  BOOST_TEST(std::isnan(middle.examples[0].reference));  // it was computed behind another prompt
  BOOST_TEST(cut(over_long::truncate_left, 11).examples.size() == 2U);
  BOOST_TEST(cut(over_long::truncate_left, 12).counts.over_long_dropped == 1);

  const std::string plain = R"({"prompt": "abcdefgh", "chosen": "XY", "rejected": "Z"})";
  const outcome end = build(plain, {}, {6, over_long::truncate_left, true});  // <|begin_of_text|> fgh? XY </s>
  BOOST_TEST(spell(end.examples[0]) == "<|begin_of_text|>ghXY</s>");
  BOOST_TEST(spell(build(plain, {}, {6, over_long::truncate_right, true}).examples[1]) == "<|begin_of_text|>abZ</s>");
  BOOST_TEST(build(plain, {}, {4, over_long::truncate_left, true}).counts.over_long_dropped == 1);
}

BOOST_AUTO_TEST_SUITE_END()
