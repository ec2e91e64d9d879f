// Long examples: every policy on documents and conversations, and what is counted.
#include <boost/test/unit_test.hpp>

#include <numeric>

#include <lodestone/data/example_builder.hpp>
#include <lodestone/data/over_long.hpp>
#include <lodestone/data/summary.hpp>

#include "../text/toy_tokenizer.hpp"

using namespace lodestone;
using lodestone_test::toy_tokenizer;

namespace {

const toy_tokenizer& toy() {
  static const toy_tokenizer tokenizer({"<s>", "</s>"}, {0});
  return tokenizer;
}

using toy_encoder = chat_encoder<toy_tokenizer>;

std::string spell(const encoded_sequence& example) { return toy().spell(example.tokens); }

std::string targets(const encoded_sequence& example) {
  std::vector<std::int32_t> labels;
  for (const std::int32_t label : example.labels) {
    if (label != no_label) labels.push_back(label);
  }
  return toy().spell(labels);
}

training_record document(const std::string& text) {
  training_record record;
  record.text = text;
  record.is_text = true;
  return record;
}

training_record talk(std::vector<chat_message> messages) {
  training_record record;
  record.messages = std::move(messages);
  return record;
}

struct outcome {
  std::vector<encoded_sequence> examples;
  data_summary counts;
};

outcome build(const training_record& record, const example_options& options, const chat_encoding& encoding = {}) {
  const toy_encoder encoder(toy(), families::longalign_llama(), encoding);
  outcome result;
  result.counts.records = 1;
  example_builder(encoder, options).build(record, "data.jsonl:3", result.examples, result.counts);
  const data_summary& c = result.counts;
  BOOST_TEST(c.records - c.split + c.split_parts ==
             c.examples + c.skipped + c.over_long_dropped + c.without_targets_dropped);
  BOOST_TEST(c.examples == static_cast<std::int64_t>(result.examples.size()));
  return result;
}

example_options limit(std::int64_t tokens, over_long action, bool keep_answers = true) {
  example_options options;
  options.length = {tokens, action, keep_answers};
  return options;
}

std::string fault(const training_record& record, const example_options& options) {
  try {
    (void)build(record, options);
  } catch (const data_error& failure) {
    return failure.what();
  }
  return "(no error)";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(data_over_long)

BOOST_AUTO_TEST_CASE(error_and_drop) {
  BOOST_TEST(fault(document("ABCDEFGH"), limit(8, over_long::error))
                 .rfind("data.jsonl:3: the example has 9 tokens, the limit is 8", 0) == 0U);
  BOOST_TEST(build(document("ABCDEFG"), limit(8, over_long::error)).examples.size() == 1U);  // exactly full is allowed
  const outcome dropped = build(document("ABCDEFGH"), limit(8, over_long::drop));
  BOOST_TEST(dropped.examples.empty());
  BOOST_TEST(dropped.counts.over_long_dropped == 1);
  BOOST_TEST(dropped.counts.tokens_read == 9);
  BOOST_TEST(dropped.counts.tokens == 0);
}

BOOST_AUTO_TEST_CASE(documents_are_cut_by_tokens) {
  const auto cut = [](over_long action) { return build(document("ABCDEFGH"), limit(6, action)).examples.at(0); };
  BOOST_TEST(spell(cut(over_long::truncate_right)) == "<s>ABCDE");
  BOOST_TEST(targets(cut(over_long::truncate_right)) == "ABCDE");  // the last row's successor is gone
  BOOST_TEST(spell(cut(over_long::truncate_left)) == "<s>DEFGH");
  BOOST_TEST(targets(cut(over_long::truncate_left)) == "EFGH");  // <s> does not predict D
  BOOST_TEST(spell(cut(over_long::truncate_middle)) == "<s>ABFGH");
  BOOST_TEST(targets(cut(over_long::truncate_middle)) == "ABGH");
  BOOST_TEST(build(document("ABCDEFGH"), limit(6, over_long::truncate_left)).counts.truncated == 1);
}

BOOST_AUTO_TEST_CASE(split_documents_train_every_target_once) {
  const std::string text = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (std::int64_t size = 3; size < 30; ++size) {
    const outcome result = build(document(text), limit(size, over_long::split));
    std::string all;
    for (const encoded_sequence& part : result.examples) {
      BOOST_TEST(part.size() <= size);
      BOOST_TEST(part.tokens.front() == 0);  // every part begins with <s>
      all += targets(part);
    }
    BOOST_TEST(all == text);
    const bool is_split = result.examples.size() > 1;
    BOOST_TEST(result.counts.split == (is_split ? 1 : 0));
    BOOST_TEST(result.counts.split_parts == (is_split ? static_cast<std::int64_t>(result.examples.size()) : 0));
  }
}

BOOST_AUTO_TEST_CASE(answers_survive_truncation) {
  const std::string document_text(100, 'D');
  const training_record record = talk({{chat_role::user, document_text + "\nwhy?"}, {chat_role::assistant, "because"}});
  // <s>[INST] ... [/INST]because</s>: 1 + 6 + question + 7 + 7 + 1 tokens.
  for (const over_long side : {over_long::truncate_left, over_long::truncate_right, over_long::truncate_middle}) {
    const outcome result = build(record, limit(60, side));
    BOOST_REQUIRE(result.examples.size() == 1U);
    const std::string text = spell(result.examples[0]);
    BOOST_TEST(result.examples[0].size() <= 60);
    BOOST_TEST(result.examples[0].size() >= 55);
    BOOST_TEST(text.starts_with("<s>[INST]"));
    BOOST_TEST(text.ends_with("[/INST]because</s>"));
    BOOST_TEST(targets(result.examples[0]) == "because</s>");
    BOOST_TEST((text.find("why?") != std::string::npos) == (side != over_long::truncate_right));
    BOOST_TEST(result.counts.truncated == 1);
  }
  // The original's right cut removes the answer, and with it the example.
  example_options original = limit(60, over_long::truncate_right, false);
  BOOST_TEST(fault(record, original).find("nothing to train on") != std::string::npos);
  original.no_targets = no_target_policy::drop;
  BOOST_TEST(build(record, original).counts.without_targets_dropped == 1);
  original.no_targets = no_target_policy::keep;
  const outcome kept = build(record, original);
  BOOST_TEST(kept.counts.without_targets_kept == 1);
  BOOST_TEST(kept.examples.at(0).size() == 60);
  // An answer that is too long by itself: dropped, never cut.
  const training_record longer = talk({{chat_role::user, "q"}, {chat_role::assistant, std::string(80, 'A')}});
  BOOST_TEST(build(longer, limit(60, over_long::truncate_middle)).counts.over_long_dropped == 1);
}

BOOST_AUTO_TEST_CASE(truncation_keeps_characters_whole) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += i % 2 == 0 ? "\xE4\xBD\xA0" : "\xF0\x9F\x98\x80";
  const training_record record = talk({{chat_role::user, text}, {chat_role::assistant, "A"}});
  for (std::int64_t size = 20; size < 120; ++size) {
    for (const over_long side : {over_long::truncate_left, over_long::truncate_right, over_long::truncate_middle}) {
      const outcome result = build(record, limit(size, side));
      BOOST_REQUIRE(result.examples.size() == 1U);
      BOOST_TEST(result.examples[0].size() <= size);
      BOOST_TEST(find_broken_utf8(spell(result.examples[0])) == std::string_view::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(conversations_split_between_rounds) {
  std::vector<chat_message> messages{{chat_role::system, "S"}};
  std::string answers;
  for (int i = 0; i < 20; ++i) {
    messages.push_back({chat_role::user, "Q" + std::to_string(i) + std::string(static_cast<std::size_t>(i), 'q')});
    messages.push_back({chat_role::assistant, "A" + std::to_string(i)});
    answers += "A" + std::to_string(i) + "</s>";
  }
  for (const std::int64_t size : {70, 100, 200, 400, 5000}) {
    const outcome result = build(talk(messages), limit(size, over_long::split));
    std::string all;
    for (const encoded_sequence& part : result.examples) {
      BOOST_TEST(part.size() <= size);
      BOOST_TEST(spell(part).starts_with("<s>[INST]<<SYS>>\nS\n<</SYS>>\n\nQ"));
      all += targets(part);
    }
    BOOST_TEST(all == answers);
    BOOST_TEST(result.counts.split == (result.examples.size() > 1 ? 1 : 0));
  }
  BOOST_TEST(build(talk(messages), limit(40, over_long::split)).counts.over_long_dropped == 1);
  const toy_encoder last(toy(), families::longalign_llama(), {.targets = target_choice::last_answer});
  BOOST_CHECK_THROW(example_builder(last, limit(40, over_long::split)), config_error);
}

BOOST_AUTO_TEST_CASE(parts_without_targets_are_counted) {
  std::vector<chat_message> messages;
  for (int i = 0; i < 4; ++i) {
    messages.push_back({chat_role::user, std::string(30, 'Q')});
    messages.push_back({chat_role::assistant, i == 2 ? "" : "A"});
  }
  const outcome result = build(talk(messages), limit(60, over_long::split));
  BOOST_TEST(result.counts.split_parts == 4);
  BOOST_TEST(result.examples.size() == 3U);
  BOOST_TEST(result.counts.without_targets_dropped == 1);
}

BOOST_AUTO_TEST_CASE(settings_that_cannot_work) {
  const toy_encoder encoder(toy(), families::longalign_llama());
  BOOST_CHECK_THROW(example_builder(encoder, limit(-1, over_long::drop)), config_error);
  BOOST_CHECK_THROW(example_builder(encoder, limit(2, over_long::split)), config_error);
  BOOST_CHECK_NO_THROW(example_builder(encoder, limit(3, over_long::split)));
  for (const char* name : {"error", "drop", "truncate-left", "truncate-right", "truncate-middle", "split"}) {
    BOOST_TEST(to_string(parse_over_long(name)) == name);
  }
  BOOST_CHECK_THROW((void)parse_over_long("truncate"), config_error);
}

BOOST_AUTO_TEST_CASE(empty_and_masked_answers) {
  const training_record half = talk(
      {{chat_role::user, "q"}, {chat_role::assistant, " \n"}, {chat_role::user, "r"}, {chat_role::assistant, "A"}});
  BOOST_TEST(build(half, {}).counts.empty_answers == 1);
  BOOST_TEST(targets(build(half, {}).examples.at(0)) == "A</s>");
  example_options strict;
  strict.empty_answer_is_error = true;
  BOOST_TEST(fault(half, strict).rfind("data.jsonl:3: an answer is empty", 0) == 0U);
  const training_record masked = talk({{chat_role::user, "q"}, {chat_role::assistant, "A", 0.0}});
  BOOST_TEST(fault(masked, {}).rfind("data.jsonl:3: nothing to train on", 0) == 0U);
}

BOOST_AUTO_TEST_CASE(summaries_warn) {
  data_summary summary;
  BOOST_TEST(summary.warnings().empty());
  BOOST_TEST(summary.unknown_share() == 0.0);
  summary.tokens_read = 1000;
  summary.unknown_tokens = 10;  // exactly 1% is not above 1%
  BOOST_TEST(summary.warnings().empty());
  summary.unknown_tokens = 11;
  BOOST_REQUIRE(summary.warnings().size() == 1U);
  BOOST_TEST(summary.warnings()[0].rfind("1.10% of the tokens are <unk>", 0) == 0U);
  summary.doubled_bos = summary.skipped = summary.over_long_dropped = summary.without_targets_dropped = 1;
  summary.without_targets_kept = summary.literal_tokens = 1;
  BOOST_TEST(summary.warnings().size() == 7U);
  data_summary other;
  other.longest = 5;
  other.faults.assign(20, "fault");
  summary.add(other);
  summary.add(other);
  BOOST_TEST(summary.longest == 5);
  BOOST_TEST(summary.faults.size() == data_summary::most_faults);
  BOOST_TEST(summary.to_text().find("unknown tokens: 11 (1.10%)") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
