// The task generator of the demonstration's small model, and the files that are shipped with it.
#include "../../examples/retrieval/task.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/data/groups.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/position/layout.hpp>
#include <lodestone/position/logo.hpp>

#include "../../examples/retrieval/folder.hpp"
#include "../support/support.hpp"

using namespace lodestone;
using retrieval::question;
using retrieval::task;
using retrieval::task_maker;
using retrieval::token_list;

namespace {

std::filesystem::path examples_data() { return lodestone_test::source_dir() / "examples" / "data"; }

const tokenizer& words() {
  static const tokenizer own = tokenizer::load(examples_data() / "retrieval");
  return own;
}

const task_maker& maker() {
  static const task_maker own(words(), examples_data() / "state_union", false);
  return own;
}

random_stream stream(std::uint64_t seed) { return {seed, random_purpose::synthesis, 9, 0}; }

/// How often `piece` stands in `text`.
std::int64_t count(const token_list& text, const token_list& piece) {
  std::int64_t found = 0;
  for (auto at = text.begin();; ++at) {
    at = std::search(at, text.end(), piece.begin(), piece.end());
    if (at == text.end()) return found;
    ++found;
  }
}

token_list joined(token_list a, const token_list& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_retrieval)

BOOST_AUTO_TEST_CASE(every_answer_stands_once_behind_the_words_that_ask_for_it) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    random_stream random = stream(seed);
    const task_maker& make = maker();
    const std::int64_t tokens = seed % 2 == 0 ? 512 : 4096;
    const task one = make.make({.context = tokens}, random);
    BOOST_TEST(std::ssize(one.context) == tokens);
    BOOST_TEST(one.context.front() == make.begin());
    BOOST_TEST(one.facts.size() == 8U);
    BOOST_TEST(one.quotations.size() == 2U);
    std::vector<token_list> answers;
    for (const question& fact : one.facts) {
      BOOST_TEST(count(one.context, fact.asked) == 1, "asked once in the context of seed " << seed);
      BOOST_TEST(count(one.context, joined(fact.asked, fact.answer)) == 1);
      BOOST_TEST(std::ranges::count(answers, fact.answer) == 0);
      answers.push_back(fact.answer);
      BOOST_TEST(fact.others.size() == 7U);
      BOOST_TEST(std::ranges::count(fact.others, fact.answer) == 0);
      for (const token_list& other : fact.others) BOOST_TEST(count(one.context, other) == 1);
    }
    for (const question& quotation : one.quotations)
      BOOST_TEST(count(one.context, joined(quotation.asked, quotation.answer)) == 1);
  }
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_task_and_another_one_another) {
  const auto make = [](std::uint64_t seed) {
    random_stream random = stream(seed);
    return maker().make(task_maker::size_of_example(512), random);
  };
  const task first = make(1);
  const task again = make(1);
  BOOST_TEST(first.context == again.context);
  BOOST_TEST(first.chunks == again.chunks);
  BOOST_TEST(first.facts.front().answer == again.facts.front().answer);
  BOOST_TEST(first.context != make(2).context);
}

BOOST_AUTO_TEST_CASE(examples_have_the_tokens_asked_for_and_score_their_answers) {
  for (const std::int64_t tokens : {128, 256, 512}) {
    random_stream random = stream(static_cast<std::uint64_t>(tokens));
    const retrieval::task_size size = task_maker::size_of_example(tokens);
    const task one = maker().make(size, random);
    const encoded_sequence made = maker().example(one, 0.0F);
    BOOST_TEST(made.size() == tokens);
    std::int64_t answer_tokens = 0;
    for (const question& fact : one.facts) answer_tokens += std::ssize(fact.answer) + 1;  // and where it ends
    for (const question& quotation : one.quotations) answer_tokens += std::ssize(quotation.answer);
    BOOST_TEST(made.targets() == answer_tokens);
    for (std::size_t row = 0; row + 1 < made.tokens.size(); ++row)
      if (made.labels[row] != no_label) BOOST_TEST(made.labels[row] == made.tokens[row + 1]);
  }
}

BOOST_AUTO_TEST_CASE(chunks_cover_the_context_and_cut_no_fact) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    random_stream random = stream(seed);
    const task one = maker().make({.context = 500}, random);
    BOOST_TEST(one.chunks.front() == 1);
    BOOST_TEST(one.chunks.back() == 500);
    std::vector<token_list> pieces;
    for (std::size_t k = 0; k + 1 < one.chunks.size(); ++k) {
      BOOST_TEST(one.chunks[k] < one.chunks[k + 1]);
      BOOST_TEST(one.chunks[k + 1] - one.chunks[k] <= task_maker::chunk_tokens);
      pieces.emplace_back(one.context.begin() + one.chunks[k], one.context.begin() + one.chunks[k + 1]);
    }
    const auto in_one_piece = [&](const token_list& text) {
      return std::ranges::any_of(pieces, [&](const token_list& piece) { return count(piece, text) == 1; });
    };
    for (const question& fact : one.facts)
      BOOST_TEST(in_one_piece(joined(fact.asked, fact.answer)), "a fact of seed " << seed << " is cut");
    const encoded_sequence made = maker().example(one, 0.0F);
    const position::layout parts = position::layout_rule{}.parts(made.view(), made.size());
    BOOST_TEST(parts.prefix == 1);
    BOOST_TEST(parts.context() == 499);
  }
}

BOOST_AUTO_TEST_CASE(a_preference_group_is_whole_and_rejects_other_facts_of_its_text) {
  random_stream random = stream(3);
  const task one = maker().make({.context = 498, .quotations = 0}, random);
  in_memory_store store;
  for (std::int64_t group = 0; group < 3; ++group)
    for (encoded_sequence& answer : maker().preference(one, one.facts[static_cast<std::size_t>(group)], group))
      store.add(std::move(answer));
  BOOST_TEST(store.size() == 9);
  BOOST_TEST(unit_begins(store) == (std::vector<std::int64_t>{0, 3, 6, 9}), boost::test_tools::per_element());
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const example_view answer = store[i];
    BOOST_TEST(std::ssize(answer.tokens) <= 512);
    const token_list text(answer.tokens.begin() + answer.prompt, answer.tokens.end());
    BOOST_TEST(count(one.context, text) == 1);
    BOOST_TEST((text == one.facts[static_cast<std::size_t>(answer.group)].answer) == (answer.role == 0));
    std::vector<std::int32_t> ids(answer.tokens.size());
    position::logo_mix{.window = 4096}.fill(answer, 1, 0, ids);
    position::check_ids(ids, 4096);
  }
}

BOOST_AUTO_TEST_CASE(the_shipped_tokenizer_and_config_are_those_the_trainer_writes) {
  const lodestone_test::temporary_folder folder;
  retrieval::write_folder(folder.path(), {});
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "config.json"})
    BOOST_TEST(
        lodestone_test::read_file(folder / file) == lodestone_test::read_file(examples_data() / "retrieval" / file),
        file);
  std::string bytes;
  for (int byte = 0; byte < 128; ++byte) bytes += static_cast<char>(byte);
  BOOST_TEST(words().decode(words().encode(bytes, false)) == bytes);
  BOOST_TEST(words().encode(bytes, false).size() == 128U);
  BOOST_TEST(!words().unknown_id());
  BOOST_TEST(std::filesystem::file_size(examples_data() / "retrieval" / "model.safetensors") <= 2'000'000U);
}

BOOST_AUTO_TEST_SUITE_END()
