// Preference steps: one stream that shares the prompt, or the answers one by one, give the same loss and gradients.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/dist/any.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/chosen.hpp>
#include <lodestone/loss/cpo.hpp>
#include <lodestone/loss/dpo.hpp>
#include <lodestone/loss/logo.hpp>
#include <lodestone/loss/orpo.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/step.hpp>

#include "batching/answers.hpp"
#include "model/small_model.hpp"
#include "train/sharded_layer_store.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

using backend = host<double>;

struct outcome {
  double loss = 0.0;
  std::vector<double> gradients;
};

struct setting {
  model_config config = small_config();
  activation_table table = activations::keep_all{}.table(2);
  int ranks = 1;
};

/// Loss and gradients of one step from a model with random weights.
template <class Loss, class Position = position::contiguous>
outcome gradients_of(const answer_set& data, const step_plan& step, const Loss& loss, const Position& position = {},
                     const setting& with = {}) {
  outcome result;
  std::mutex guard;
  dist::threads::run(with.ranks, [&](dist::threads::communicator& group) {
    const auto weights = small_store<backend>(with.config, 1, {}, dist::any_communicator(group));
    llama<backend, blocked_attention> model(with.config, *weights);
    const auto assignment =
        batching::assign(batching::costs(step, batching::shapes(data), training_cost(with.config)), group.size());
    const double value = train::accumulate(model, loss, data, step, batching::totals(data, step), assignment, position,
                                           with.table, {1, 1, 3, 1}, group);
    const std::lock_guard lock(guard);
    if (group.rank() != 0) return;
    result.loss = value;
    for (std::int64_t unit = 0; unit < weights->units(); ++unit) {
      const auto flat = weights->gradient(unit).flat();
      result.gradients.insert(result.gradients.end(), flat.begin(), flat.end());
    }
  });
  return result;
}

[[nodiscard]] double distance(const outcome& a, const outcome& b) {
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < b.gradients.size(); ++i) {
    difference += std::pow(a.gradients[i] - b.gradients[i], 2);
    norm += std::pow(b.gradients[i], 2);
  }
  return std::max(std::sqrt(difference / norm), std::abs(a.loss - b.loss) / std::abs(b.loss));
}

/// Ragged groups: many and few answers, answers of one token, answers longer than their prompt.
answer_set ragged_answers() {
  answer_set data;
  random_stream random(8, random_purpose::user);
  const auto add = [&](std::int64_t prompt, std::vector<std::int64_t> answers) { data.add(prompt, answers, random); };
  add(9, {4, 5, 3});
  add(1, {1, 1});
  add(2, {11, 1, 7, 2});
  add(20, {1, 6});
  add(6, {3, 3, 3, 3, 3});
  return data;
}

template <class Loss>
void check_every_arrangement(const std::string& name, const Loss& loss) {
  const answer_set data = ragged_answers();
  const position::logo_mix spread{.window = 1'000, .rule = {.chunk = 3, .question = 2}};
  const outcome expected = gradients_of(data, side_by_side(data), loss, spread);
  BOOST_TEST_REQUIRE(std::isfinite(expected.loss));
  for (const int ranks : {1, 2, 3}) {
    const setting with{.ranks = ranks};
    for (const std::int64_t tokens : {30, 50, 1'000})
      BOOST_TEST(distance(gradients_of(data, shared(data, tokens), loss, spread, with), expected) < 1e-10,
                 name << ": streams of " << tokens << " tokens on " << ranks << " ranks");
    BOOST_TEST(distance(gradients_of(data, separate(data), loss, spread, with), expected) < 1e-10,
               name << ": one by one on " << ranks << " ranks");
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_preference)

BOOST_AUTO_TEST_CASE(shared_and_separate_prompts_give_the_same_loss_and_gradients) {
  check_every_arrangement("logo", loss::logo{.beta = 2.0, .gamma = 0.5});
  check_every_arrangement("logo, sum and hinge", loss::logo{.beta = 0.3,
                                                            .gamma = 0.1,
                                                            .sft_weight = 0.2,
                                                            .sft = loss::sft_term::token_sum,
                                                            .by = loss::penalty::hinge,
                                                            .length_normalised = false});
  check_every_arrangement("cpo", loss::cpo{});
  check_every_arrangement("orpo", loss::orpo{});
  check_every_arrangement("dpo", loss::dpo{});
  check_every_arrangement("chosen", loss::chosen{});
  check_every_arrangement("linear", loss::weighted_sft{});
}

BOOST_AUTO_TEST_CASE(a_thousand_random_layouts_agree) {
  random_stream random(21, random_purpose::user);
  double furthest = 0.0;
  for (int layout = 0; layout < 1'000; ++layout) {
    answer_set data;
    for (std::uint64_t group = 0, groups = 1 + random.below(3); group < groups; ++group) {
      std::vector<std::int64_t> answers(2 + random.below(4));
      for (std::int64_t& tokens : answers) tokens = 1 + static_cast<std::int64_t>(random.below(6));
      data.add(1 + static_cast<std::int64_t>(random.below(12)), answers, random);
    }
    const loss::logo loss{.beta = 0.5 + 2.0 * random.uniform(), .gamma = random.uniform()};
    const auto budget = static_cast<std::int64_t>(42 + random.below(60));
    furthest = std::max(
        furthest, distance(gradients_of(data, shared(data, budget), loss), gradients_of(data, separate(data), loss)));
  }
  BOOST_TEST(furthest < 1e-10);
}

BOOST_AUTO_TEST_CASE(every_arithmetic_and_activation_table_agrees) {
  const answer_set data = ragged_answers();
  const loss::logo loss{.beta = 2.0, .gamma = 0.5};
  for (const auto& [name, config] : small_families()) {
    for (const activation_table& table : {activations::keep_all{}.table(2), activations::checkpoint{}.table(2)}) {
      const setting with{.config = config, .table = table};
      const outcome expected = gradients_of(data, side_by_side(data), loss, position::contiguous{}, with);
      BOOST_TEST(distance(gradients_of(data, separate(data), loss, position::contiguous{}, with), expected) < 1e-10,
                 name);
      if (config.windows.empty())
        BOOST_TEST(distance(gradients_of(data, shared(data, 90), loss, position::contiguous{}, with), expected) < 1e-10,
                   name);
      else
        BOOST_CHECK_EXCEPTION(
            gradients_of(data, shared(data, 90), loss, position::contiguous{}, with), shape_error,
            [](const shape_error& fault) { return std::string(fault.what()).find("one by one") != std::string::npos; });
    }
  }
  setting wide;  // a window that holds the stream hides nothing
  wide.config.windows = {90, 90};
  BOOST_TEST(distance(gradients_of(data, shared(data, 90), loss, position::contiguous{}, wide),
                      gradients_of(data, side_by_side(data), loss, position::contiguous{}, wide)) < 1e-10);
}

BOOST_AUTO_TEST_CASE(ranks_meet_in_every_pass_where_layers_are_sharded) {
  const answer_set data = ragged_answers();
  const loss::logo loss{.beta = 2.0, .gamma = 0.5};
  const step_plan step = separate(data);  // groups of 2 to 5 answers: ranks have unequal numbers of passes
  const outcome expected = gradients_of(data, step, loss);
  const model_config config = small_config();
  const auto totals = batching::totals(data, step);
  for (const int ranks : {2, 3}) {
    std::mutex guard;
    dist::threads::run(ranks, [&](dist::threads::communicator& group) {
      sharded_layer_store weights(config, group);
      llama<backend, blocked_attention, projections::dense, sharded_layer_store> model(config, weights);
      const auto assignment = batching::assign_in_order(step.micro_batches.size(), ranks);
      const double value = train::accumulate(model, loss, data, step, totals, assignment, position::contiguous{},
                                             activations::checkpoint{}.table(2), {}, group);
      BOOST_TEST(value == expected.loss, boost::test_tools::tolerance(1e-12));
      double squares = train::gradient_sum_of_squares(weights, group);
      double norm = 0.0;
      for (const double g : expected.gradients) norm += g * g;
      const std::lock_guard lock(guard);
      BOOST_TEST(squares == norm, boost::test_tools::tolerance(1e-10));
    });
  }
}

BOOST_AUTO_TEST_CASE(memory_grows_by_the_answers_own_tokens_or_not_at_all) {
  const model_config config = small_config();
  const auto need = [&](auto strategy, std::int64_t rejected) {
    answer_set data;
    random_stream random(3, random_purpose::user);
    data.add(60, std::vector<std::int64_t>(static_cast<std::size_t>(1 + rejected), 8), random);
    const auto weights = small_store<backend>(config);
    dist::single alone;
    program training{llama<backend, blocked_attention>{config, *weights},
                     loss::logo{.gamma = 0.5},
                     strategy,
                     position::contiguous{},
                     activations::keep_all{},
                     optim::adamw{},
                     alone};
    return training.needs(data, training.plan(data, 1, 0)).activation_bytes;
  };
  const std::int64_t one = need(batching::separate{}, 1);
  BOOST_TEST(need(batching::separate{}, 8) == one);
  // A stream that shares its prompt takes what one example of as many tokens and targets takes, and no more.
  const auto plain = [&](std::int64_t answers) {
    answer_set data;
    random_stream random(3, random_purpose::user);
    data.add(60, std::vector<std::int64_t>{8 * answers, 1}, random);
    const auto weights = small_store<backend>(config);
    return train::count_micro_batch<llama<backend, blocked_attention>>(
               config, batching::assemble(data, micro_batch{{0}}, position::contiguous{}, 0, 0, 0),
               activations::keep_all{}.table(2), false)
        .activation_bytes;
  };
  for (const std::int64_t rejected : {1, 2, 8}) {
    BOOST_TEST(need(batching::shared_prefix{}, rejected) <= plain(1 + rejected), rejected << " rejected");
    BOOST_TEST(need(batching::shared_prefix{}, rejected) > plain(rejected), rejected << " rejected");
  }
}

BOOST_AUTO_TEST_CASE(outcomes_and_evaluations_do_not_depend_on_arrangement_and_ranks) {
  const answer_set data = ragged_answers();
  const loss::logo loss{.beta = 2.0, .gamma = 0.5};
  const auto measured = [&](auto strategy, int ranks) {
    std::pair<std::vector<preference_outcome>, evaluation> result;
    std::mutex guard;
    dist::threads::run(ranks, [&](dist::threads::communicator& group) {
      const model_config config = small_config();
      const auto weights = small_store<backend>(config, 1, {}, dist::any_communicator(group));
      program training{llama<backend, blocked_attention>{config, *weights}, loss, strategy, position::contiguous{},
                       activations::keep_all{}, optim::adamw{}, group};
      const evaluation own = training.evaluate(data, 8);
      const auto step = training.step(data, as_one_step(training.plan(data, 1, 0)), {});
      BOOST_TEST(own.loss == step.loss, boost::test_tools::tolerance(1e-12));
      BOOST_TEST(own.preference.margin == summarise(step.outcomes).margin, boost::test_tools::tolerance(1e-12));
      const std::lock_guard lock(guard);
      if (group.rank() + 1 == ranks) result = {step.outcomes, own};
    });
    return result;
  };
  const auto [outcomes, whole] = measured(batching::separate{}, 1);
  BOOST_TEST(outcomes.size() == 5U);
  BOOST_TEST(whole.preference.groups == 5);
  BOOST_TEST(whole.targets == 4 + 1 + 11 + 1 + 3);  // of the chosen answers
  BOOST_TEST(whole.sequences == data.size());
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(1.0, std::abs(b)); };
  for (const int ranks : {1, 3}) {
    const auto [shared, evaluated] = measured(batching::shared_prefix{.tokens = 50}, ranks);
    BOOST_TEST(shared.size() == outcomes.size());
    for (const auto& [a, b] : {std::pair{evaluated, whole}}) {
      BOOST_TEST(near(a.loss, b.loss));
      BOOST_TEST(near(a.sequence_loss, b.sequence_loss));
      BOOST_TEST(near(a.token_loss, b.token_loss));
      BOOST_TEST(near(a.preference.accuracy, b.preference.accuracy));
      BOOST_TEST(near(a.preference.margin, b.preference.margin));
      BOOST_TEST(near(a.preference.sft, b.preference.sft));
      BOOST_TEST(a.targets == b.targets);
      BOOST_TEST(a.bucket_targets == b.bucket_targets, boost::test_tools::per_element());
      for (std::size_t k = 0; k < b.bucket_loss.size(); ++k) BOOST_TEST(near(a.bucket_loss[k], b.bucket_loss[k]));
    }
  }
}

BOOST_AUTO_TEST_CASE(ranks_share_a_step_by_the_cost_of_its_own_examples) {
  const answer_set data = ragged_answers();
  const model_config config = small_config();
  for (const step_plan& step : {shared(data, 40), separate(data)}) {
    const auto expected =
        batching::assign(batching::costs(step, batching::shapes(data), training_cost(config)), 2).of_rank;
    BOOST_TEST(expected[0].size() + expected[1].size() == step.micro_batches.size());
    dist::threads::run(2, [&](dist::threads::communicator& group) {
      const auto weights = small_store<backend>(config, 1, {}, dist::any_communicator(group));
      const program training{llama<backend, blocked_attention>{config, *weights},
                             loss::logo{.gamma = 0.5},
                             batching::separate{},
                             position::contiguous{},
                             activations::keep_all{},
                             optim::adamw{},
                             group};
      BOOST_TEST((training.assign(data, step).of_rank == expected));
    });
  }
}

BOOST_AUTO_TEST_CASE(a_program_trains_on_groups_and_the_loss_falls) {
  const answer_set data = ragged_answers();
  const auto run = [&](auto strategy) {
    const model_config config = small_config();
    const auto weights = small_store<backend>(config);
    dist::single alone;
    optim::adamw optimizer{.learning_rate = 3e-3};
    optimizer.rate = optim::constant();
    program training{llama<backend, blocked_attention>{config, *weights},
                     loss::logo{.beta = 2.0, .gamma = 0.5},
                     strategy,
                     position::contiguous{},
                     activations::checkpoint{},
                     optimizer,
                     alone};
    std::vector<double> losses;
    for (std::int64_t step = 1; step <= 30; ++step) {
      const epoch_plan plan = training.plan(data, 1, static_cast<std::uint64_t>(step));
      if (step == 1) training.rehearse(data, plan);
      losses.push_back(training.step(data, plan.steps.front(), {step, 30, 1, static_cast<std::uint64_t>(step)}).loss);
    }
    return losses;
  };
  const std::vector<double> shared = run(batching::shared_prefix{.tokens = 60});
  const std::vector<double> separate = run(batching::separate{});
  BOOST_TEST(shared.back() < 0.5 * shared.front());
  for (std::size_t i = 0; i < shared.size(); ++i)
    BOOST_TEST(std::abs(shared[i] - separate[i]) < 1e-8 * std::abs(separate[i]), "step " << i + 1);
}

BOOST_AUTO_TEST_SUITE_END()
