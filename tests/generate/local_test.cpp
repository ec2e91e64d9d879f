// The generator on this machine: text in, text out, with a real small model behind it.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/generate/local.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/jsonl.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;
using generate::answer;
using generate::finish;
using generate::request;
using ids = std::vector<std::int32_t>;

namespace {

using model_type = llama<host<float>, blocked_attention>;
static_assert(generate::streaming_generator<generate::local<model_type>>);

struct machine {
  std::filesystem::path folder = lodestone_test::source_dir() / "examples/data/models/tinystories-656k";
  lodestone_test::oracle_store<float> store =
      lodestone_test::load<float>(folder, parameters::purpose::inference);
  model_type model{store.config(), store};
  tokenizer words = tokenizer::load(folder);

  [[nodiscard]] generate::model_text text() const {
    return {&words, words.prefix(), store.config().eos_tokens, {}, {}};
  }
};

machine& shared_machine() {
  static machine one;
  return one;
}

struct heard {
  std::vector<answer> answers;
  std::vector<std::string> grown;  ///< the pieces of each, joined
  std::vector<std::size_t> order;
};

template <class Generator>
heard ask(Generator& generator, const std::vector<request>& requests) {
  heard all{std::vector<answer>(requests.size()), std::vector<std::string>(requests.size()), {}};
  generator.generate(
      requests,
      [&](std::size_t i, answer&& one) {
        all.answers[i] = std::move(one);
        all.order.push_back(i);
      },
      [&](std::size_t i, std::string_view piece) {
        BOOST_TEST(find_broken_utf8(piece) == std::string_view::npos);
        all.grown[i] += piece;
      });
  return all;
}

request of(generate::prompt_input prompt, std::int64_t most = 30) {
  request one;
  one.prompt = std::move(prompt);
  one.max_new_tokens = most;
  return one;
}

const std::string tale = "Once upon a time, there was a little girl named";

}  // namespace

BOOST_AUTO_TEST_SUITE(generate_local)

BOOST_AUTO_TEST_CASE(text_goes_on_as_the_tokenizer_would_write_it) {
  machine& m = shared_machine();
  generate::local local(m.model, m.text(), {.name = "tiny"});
  BOOST_TEST(local.name() == "tiny");
  ids prompt = m.words.encode(tale);
  const ids expected = generate::greedy(m.model, prompt, 30, m.store.config().eos_tokens);
  const heard all = ask(local, {of(tale), of(prompt)});
  for (const answer& one : all.answers) {
    BOOST_TEST(one.tokens == expected, boost::test_tools::per_element());
    ids whole = prompt;
    whole.insert(whole.end(), expected.begin(), expected.end());
    BOOST_TEST(tale + one.text == m.words.decode(whole, true));
    BOOST_TEST(one.prompt_tokens == std::ssize(prompt));
    BOOST_TEST((one.why == finish::length));
  }
  BOOST_TEST(all.grown[0] == all.answers[0].text);
}

BOOST_AUTO_TEST_CASE(answers_come_as_they_end_and_are_the_same_alone) {
  machine& m = shared_machine();
  std::vector<request> requests;
  for (std::uint64_t i = 0; i < 9; ++i) {
    requests.push_back(of(std::string("Tom and his dog went to the ").substr(0, 4 + 3 * i), i % 3 == 0 ? 5 : 60));
    requests.back().draw = {.temperature = 0.9, .top_p = 0.95, .seed = i};
    requests.back().stop = {"."};
  }
  generate::local together(m.model, m.text(), {.serving = {.sequences = 4, .cache_tokens = 300, .chunk_tokens = 8}});
  const heard all = ask(together, requests);
  std::vector<std::size_t> sorted = all.order;
  std::ranges::sort(sorted);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    BOOST_TEST(sorted.at(i) == i);
    generate::local alone(m.model, m.text(), {.serving = {.cache_tokens = 100}});
    const heard one = ask(alone, {requests[i]});
    BOOST_TEST(one.answers[0].text == all.answers[i].text);
    BOOST_TEST(one.answers[0].tokens == all.answers[i].tokens, boost::test_tools::per_element());
    BOOST_TEST(all.grown[i] == all.answers[i].text);
    BOOST_TEST(all.answers[i].text.find('.') == std::string::npos);
  }
  BOOST_TEST(all.order.front() != 1U);  // the short ones end first
  BOOST_TEST(std::ranges::any_of(all.answers, [](const answer& a) { return a.why == finish::stop; }));
}

BOOST_AUTO_TEST_CASE(stop_strings_and_end_tokens) {
  machine& m = shared_machine();
  generate::local local(m.model, m.text());
  const std::string full = ask(local, {of(tale, 60)}).answers[0].text;
  // A stop string that begins inside one token and ends inside another.
  const std::string stop = full.substr(20, 9);
  request stopped = of(tale, 60);
  stopped.stop = {"never there", stop};
  request later = stopped;
  later.min_new_tokens = 50;
  request by_token = of(tale, 60);
  by_token.stop_tokens = {ask(local, {of(tale, 60)}).answers[0].tokens[7]};
  const heard all = ask(local, {stopped, later, by_token});
  BOOST_TEST(all.answers[0].text == full.substr(0, full.find(stop)));
  BOOST_TEST((all.answers[0].why == finish::stop));
  BOOST_TEST(all.answers[1].tokens.size() >= 50U);
  BOOST_TEST(all.answers[1].text.find(stop) != std::string::npos);
  BOOST_TEST(all.answers[2].tokens.size() <= 8U);
  BOOST_TEST(all.answers[2].tokens.back() == by_token.stop_tokens[0]);
  BOOST_TEST((all.answers[2].why == finish::stop));
  BOOST_TEST(full.starts_with(all.answers[2].text));
  BOOST_TEST(all.answers[2].text.size() < full.size());
}

BOOST_AUTO_TEST_CASE(the_end_of_a_story_is_an_end_token_without_text) {
  machine& m = shared_machine();
  generate::local local(m.model, m.text());
  const ids prompt = m.words.encode(tale + " Lily.");
  const answer one = ask(local, {of(prompt, 200)}).answers[0];
  BOOST_TEST((one.why == finish::stop));
  BOOST_TEST(one.tokens.back() == m.store.config().eos_tokens[0]);
  ids whole = prompt;
  whole.insert(whole.end(), one.tokens.begin(), one.tokens.end() - 1);
  BOOST_TEST(tale + " Lily." + one.text == m.words.decode(std::span(whole).subspan(1)));  // all but the first
}

BOOST_AUTO_TEST_CASE(conversations_are_written_by_the_chat_format) {
  machine& m = shared_machine();
  chat_template form;
  form.user_prefix = "Q: ";
  form.assistant_prefix = "\nA:";
  form.end_token = "<|end_story|>";
  chat_encoder<tokenizer> encoder(m.words, form, {}, {});
  generate::local local(m.model, generate::text_of(encoder, m.store.config().eos_tokens));
  const std::vector<chat_message> messages{{chat_role::user, "Who is Lily?"}};
  const ids prompt = encoder.encode_prompt(messages);
  const heard all = ask(local, {of(messages), of(prompt)});
  BOOST_TEST(all.answers[0].tokens == all.answers[1].tokens, boost::test_tools::per_element());
  BOOST_TEST(all.answers[0].prompt_tokens == std::ssize(prompt));
  BOOST_TEST(all.answers[0].text == m.words.decode(all.answers[0].tokens, true));  // a text of its own
}

BOOST_AUTO_TEST_CASE(what_cannot_be_served_fails_alone) {
  machine& m = shared_machine();
  std::vector<std::string> warnings;
  generate::local local(m.model, m.text(),
                        {.serving = {.cache_tokens = 700},
                         .warns = [&](std::string_view text) { warnings.emplace_back(text); }});
  request empty_stop = of(tale);
  empty_stop.stop = {""};
  request bad_draw = of(tale);
  bad_draw.draw.top_p = 0.0;
  const heard all = ask(local, {of(ids{}), of(ids{1, 99'999}), of(tale, 0), of(std::vector<chat_message>{}),
                                of(std::vector<chat_message>{{chat_role::user, "Hi"}}), of(tale, 5'000), empty_stop,
                                bad_draw, of(tale, 5), of(ids{1}, 600)});
  for (std::size_t i = 0; i < 8; ++i) {
    BOOST_TEST((all.answers[i].why == finish::failed), i);
    BOOST_TEST(!all.answers[i].error.empty());
  }
  BOOST_TEST((all.answers[8].why == finish::length));
  BOOST_TEST(all.answers[8].tokens.size() == 5U);
  BOOST_REQUIRE(warnings.size() == 1U);
  BOOST_TEST(warnings[0] == "1 prompt tokens and 600 new ones pass the 512 positions that the model was trained for");
  const heard nothing = ask(local, {});
  BOOST_TEST(nothing.order.empty());
}

BOOST_AUTO_TEST_SUITE_END()
