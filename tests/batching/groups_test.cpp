// Preference groups: who belongs together, in which stream, and what such a stream looks like.
#include <lodestone/batching/groups.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/cost.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/logo.hpp>

#include "batching/answers.hpp"

using namespace lodestone;
using lodestone_test::answer_set;

namespace {

/// The groups of random sizes that strategies are tried on.
answer_set random_answers(std::size_t groups, std::uint64_t seed = 5) {
  answer_set data;
  random_stream random(seed, random_purpose::user);
  for (std::size_t g = 0; g < groups; ++g) {
    std::vector<std::int64_t> answers(2 + random.below(4));
    for (std::int64_t& tokens : answers) tokens = 1 + static_cast<std::int64_t>(random.below(9));
    data.add(1 + static_cast<std::int64_t>(random.below(40)), answers, random);
  }
  return data;
}

template <class Strategy>
void check_laws(const Strategy& strategy, const answer_set& data, arrangement arranged) {
  const std::vector<example_shape> shapes = batching::shapes(data);
  const epoch_plan plan = strategy.plan(shapes, 3, 1);
  BOOST_TEST((plan == strategy.plan(shapes, 3, 1)));
  BOOST_TEST((plan != strategy.plan(shapes, 3, 2)));
  BOOST_TEST((plan != strategy.plan(shapes, 4, 1)));
  std::multiset<std::int64_t> seen;
  for (const step_plan& step : plan.steps)
    for (const micro_batch& batch : step.micro_batches) {
      BOOST_TEST((batch.arranged == arranged));
      seen.insert(batch.examples.begin(), batch.examples.end());
      std::size_t i = 0;
      while (i < batch.examples.size()) {  // whole groups, the chosen answer first
        const std::int64_t group = shapes[static_cast<std::size_t>(batch.examples[i])].group;
        std::int32_t role = 0;
        for (; i < batch.examples.size() && shapes[static_cast<std::size_t>(batch.examples[i])].group == group; ++i)
          BOOST_TEST(shapes[static_cast<std::size_t>(batch.examples[i])].role == role++);
        BOOST_TEST(role == std::ranges::count(shapes, group, &example_shape::group));
      }
    }
  BOOST_TEST(seen.size() == shapes.size());
  BOOST_TEST((std::set<std::int64_t>(seen.begin(), seen.end()).size()) == shapes.size());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(batching_groups)

BOOST_AUTO_TEST_CASE(the_answers_to_a_prompt_are_found_wherever_they_stand) {
  const std::vector<example_shape> shapes{{.length = 7, .prompt = 5, .group = 4, .role = 2},
                                          {.length = 9, .prompt = 3, .group = 1, .role = 0},
                                          {.length = 6, .prompt = 5, .group = 4, .role = 0},
                                          {.length = 4, .prompt = 3, .group = 1, .role = 1},
                                          {.length = 8, .prompt = 5, .group = 4, .role = 1}};
  const auto groups = batching::group_answers(shapes);
  BOOST_TEST_REQUIRE(groups.size() == 2U);
  BOOST_TEST((groups[0].examples == std::vector<std::int64_t>{2, 4, 0}));
  BOOST_TEST(groups[0].shared_tokens() == 5 + 1 + 3 + 2);
  BOOST_TEST(groups[0].separate_tokens() == 6 + 8 + 7);
  BOOST_TEST((groups[1].examples == std::vector<std::int64_t>{1, 3}));
}

BOOST_AUTO_TEST_CASE(groups_that_cannot_be_trained_on_are_refused_by_name) {
  using shapes = std::vector<example_shape>;
  const auto refused = [](const shapes& of, const std::string& what, const std::string& where) {
    BOOST_CHECK_EXCEPTION(static_cast<void>(batching::group_answers(of)), data_error, [&](const data_error& fault) {
      const std::string text = fault.what();
      const bool fits = text.find(what) != std::string::npos && text.find(where) != std::string::npos;
      if (!fits) BOOST_TEST_MESSAGE(text);
      return fits;
    });
  };
  const example_shape chosen{.length = 6, .prompt = 5, .group = 4, .role = 0};
  const example_shape rejected{.length = 7, .prompt = 5, .group = 4, .role = 1};
  refused({chosen, {.length = 7, .prompt = 5}}, "belongs to no preference group", "example 1");
  refused({chosen, {.length = 7, .prompt = 4, .group = 4, .role = 1}}, "a prompt of 4 tokens", "example 1");
  refused({chosen, {.length = 5, .prompt = 5, .group = 4, .role = 1}}, "prompt of 5 of its 5 tokens", "example 1");
  refused({{.length = 5, .prompt = 0, .group = 4, .role = 0}}, "prompt of 0", "example 0");
  refused({rejected, rejected}, "no chosen answer", "example 0");
  refused({chosen}, "no rejected answer", "example 0");
  refused({rejected, chosen, chosen}, "more than one chosen answer", "example 1");
}

BOOST_AUTO_TEST_CASE(strategies_keep_groups_whole_and_lose_nothing) {
  const answer_set data = random_answers(60);
  for (const auto algorithm :
       {batching::packing::next_fit, batching::packing::first_fit_decreasing, batching::packing::best_fit_decreasing})
    check_laws(batching::shared_prefix{.tokens = 120, .groups_per_step = 7, .algorithm = algorithm}, data,
               arrangement::shared_prompt);
  check_laws(batching::shared_prefix{.tokens = 200, .streams_per_step = 3}, data, arrangement::shared_prompt);
  check_laws(batching::shared_prefix{.tokens = 200, .tokens_per_step = 500}, data, arrangement::shared_prompt);
  check_laws(batching::separate{.groups_per_step = 7}, data, arrangement::one_by_one);
  check_laws(batching::separate{.tokens_per_step = 700}, data, arrangement::one_by_one);
}

BOOST_AUTO_TEST_CASE(steps_hold_what_was_asked_for) {
  const answer_set data = random_answers(130);
  const auto shapes = batching::shapes(data);
  const auto groups = [&](const step_plan& step) { return batching::totals(data, step).groups; };
  const epoch_plan alone = batching::separate{}.plan(shapes, 1, 0);
  BOOST_TEST_REQUIRE(alone.steps.size() == 3U);  // 64, 64 and the 2 that are left
  BOOST_TEST(groups(alone.steps[0]) == 64.0);
  BOOST_TEST(groups(alone.steps[2]) == 2.0);
  for (const step_plan& step : batching::shared_prefix{.tokens = 150, .groups_per_step = 9}.plan(shapes, 1, 0).steps) {
    double held = 0.0;
    for (const micro_batch& batch : step.micro_batches) {
      BOOST_TEST(stream_tokens(batch, shapes) <= 150);
      BOOST_TEST(held < 9.0);  // the stream that reaches it closes the step
      held += groups({{batch}});
    }
  }
  const batching::shared_prefix narrow{.tokens = 20};
  BOOST_CHECK_THROW(static_cast<void>(narrow.plan(shapes, 1, 0)), data_error);
  BOOST_CHECK_THROW(static_cast<void>(batching::shared_prefix{.tokens = 0}.plan(shapes, 1, 0)), config_error);
  const batching::separate twice{.groups_per_step = 2, .tokens_per_step = 5};
  BOOST_CHECK_THROW(static_cast<void>(twice.plan(shapes, 1, 0)), config_error);
}

BOOST_AUTO_TEST_CASE(a_shared_stream_is_a_prompt_with_its_answers) {
  answer_set data;
  data.add({10, 11, 12}, {{20, 21}, {30}});
  data.add({13}, {{22}, {31, 32}});
  const micro_batch plan{{0, 1, 2, 3}, arrangement::shared_prompt};
  const token_batch batch = batching::assemble(data, plan, position::contiguous{}, 0, 0, 6);
  BOOST_TEST(batch.tokens == (std::vector<std::int32_t>{10, 11, 12, 20, 21, 30, 13, 22, 31, 32}),
             boost::test_tools::per_element());
  BOOST_TEST(batch.positions == (std::vector<std::int32_t>{0, 1, 2, 3, 4, 3, 0, 1, 1, 2}),
             boost::test_tools::per_element());
  BOOST_TEST(batch.lengths == (std::vector<std::int64_t>{5, 5, 5, 5, 5, 5, 3, 3, 3, 3}),
             boost::test_tools::per_element());
  const auto causal = [](std::int64_t begin, std::int64_t end) {
    return slice{begin, end, begin, end, slice_kind::causal, 0};
  };
  const std::vector<slice> expected{causal(0, 3), {3, 6, 0, 3, slice_kind::full, 0},  causal(3, 5), causal(5, 6),
                                    causal(6, 7), {7, 10, 6, 7, slice_kind::full, 0}, causal(7, 8), causal(8, 10)};
  BOOST_TEST((batch.slices == expected));
  const auto check = [&](std::size_t k, std::int64_t row, std::int32_t label, std::int32_t sequence) {
    const scored_token& token = batch.scored[k];
    BOOST_TEST((token.row == row && token.label == label && token.sequence == sequence), "scored " << k);
  };
  BOOST_TEST_REQUIRE(batch.scored.size() == 6U);
  check(0, 2, 20, 0);  // the prompt's last row predicts the first token of either answer
  check(1, 3, 21, 0);
  check(2, 2, 30, 1);
  check(3, 6, 22, 2);
  check(4, 6, 31, 3);
  check(5, 8, 32, 3);
  BOOST_TEST_REQUIRE(batch.sequences.size() == 4U);
  BOOST_TEST(batch.sequences[3].begin == 8);
  BOOST_TEST(batch.sequences[3].end == 10);
  BOOST_TEST(batch.sequences[3].group == 1);
  BOOST_TEST(batch.sequences[3].role == 1);
  BOOST_TEST(batch.sequences[3].example == 3);
  BOOST_TEST(batch.sequences[3].pack == 6);
  BOOST_TEST(batching::totals(data, {{plan}}).tokens == 10);
  BOOST_TEST(batching::totals(data, {{micro_batch{plan.examples}}}).tokens == 5 + 4 + 2 + 3);
  BOOST_TEST(stream_tokens(plan, batching::shapes(data)) == 10);
}

BOOST_AUTO_TEST_CASE(all_answers_have_the_ids_of_their_prompt_in_every_arrangement) {
  answer_set data = random_answers(12);
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < data.size(); ++i) all.push_back(i);
  const position::logo_mix policy{.window = 4'096, .rule = {.chunk = 8, .question = 2}};
  const token_batch shared = batching::assemble(data, micro_batch{all, arrangement::shared_prompt}, policy, 9, 2, 0);
  for (const arrangement arranged : {arrangement::end_to_end, arrangement::one_by_one}) {
    const token_batch whole = batching::assemble(data, micro_batch{all, arranged}, policy, 9, 2, 0);
    std::int64_t prompt_begin = 0;  // of the group, in the shared stream
    for (std::size_t i = 0; i < all.size(); ++i) {
      const example_view example = data[all[i]];
      const sequence& own = whole.sequences[i];
      const sequence& same = shared.sequences[i];
      if (example.role == 0) prompt_begin = same.begin - example.prompt;
      for (std::int64_t t = 0; t < example.prompt; ++t)
        BOOST_REQUIRE(whole.positions[static_cast<std::size_t>(own.begin + t)] ==
                      shared.positions[static_cast<std::size_t>(prompt_begin + t)]);
      for (std::int64_t t = 0; t < same.end - same.begin; ++t)
        BOOST_REQUIRE(whole.positions[static_cast<std::size_t>(own.begin + example.prompt + t)] ==
                      shared.positions[static_cast<std::size_t>(same.begin + t)]);
      BOOST_TEST(whole.lengths[static_cast<std::size_t>(own.begin)] ==
                 shared.lengths[static_cast<std::size_t>(same.begin)]);
      const token_batch alone = batching::single(whole, i);
      BOOST_TEST(alone.size() == own.end - own.begin);
      BOOST_TEST((alone.slices == std::vector<slice>{{0, alone.size(), 0, alone.size(), slice_kind::causal, 0}}));
      BOOST_TEST(std::ssize(alone.scored) == own.scored_end - own.scored_begin);
      for (const scored_token& token : alone.scored)
        BOOST_TEST(token.label == alone.tokens[static_cast<std::size_t>(token.row + 1)]);
    }
  }
}

BOOST_AUTO_TEST_CASE(streams_that_cannot_share_a_prompt_are_refused) {
  answer_set data;
  data.add({10, 11, 12}, {{20, 21}, {30}});
  const auto assembled = [&](const answer_set& of, const batching::assemble_options& options = {}) {
    return batching::assemble(of, micro_batch{{0, 1}, arrangement::shared_prompt}, position::contiguous{}, 0, 0, 0,
                              options);
  };
  BOOST_CHECK_THROW(static_cast<void>(assembled(data, {.window = 4})), config_error);
  BOOST_CHECK_THROW(static_cast<void>(assembled(data, {.absolute_positions = true})), config_error);
  data.change_token(1, 0, 9);
  BOOST_CHECK_EXCEPTION(static_cast<void>(assembled(data)), data_error, [](const data_error& fault) {
    return std::string(fault.what()).find("example 1") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(costs_follow_the_arrangement) {
  answer_set data;
  data.add(std::vector<std::int32_t>(100, 1), {std::vector<std::int32_t>(10, 2), std::vector<std::int32_t>(20, 3)});
  const auto shapes = batching::shapes(data);
  const batching::cost_model cost{.per_token = 3.0, .per_pair = 2.0, .windows = {}, .per_micro_batch = 7.0};
  const auto of = [&](arrangement arranged) {
    return batching::costs({{micro_batch{{0, 1}, arranged}}}, shapes, cost).front();
  };
  const double pairs = 110.0 * 111 / 2 + 120.0 * 121 / 2;
  BOOST_TEST(of(arrangement::end_to_end) == 3.0 * 230 + 2.0 * pairs + 7.0, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(of(arrangement::shared_prompt) == 3.0 * 130 + 2.0 * (pairs - 100.0 * 101 / 2) + 7.0,
             boost::test_tools::tolerance(1e-12));
  BOOST_TEST(of(arrangement::one_by_one) == 4.0 / 3.0 * (3.0 * 230 + 2.0 * pairs) + 14.0,
             boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_SUITE_END()
