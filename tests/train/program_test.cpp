#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/dist/any.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/step.hpp>

#include "batching/answers.hpp"
#include "model/small_model.hpp"
#include "train/sharded_layer_store.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

using backend = host<double>;
using replicated = parameters::replicated<backend>;

/// Random examples in memory: lengths of a long-tailed mix, a share of targets, one example without any.
class example_set {
 public:
  explicit example_set(std::size_t count, std::uint64_t seed = 4) {
    random_stream random(seed, random_purpose::user);
    for (std::size_t i = 0; i < count; ++i) {
      held own;
      const std::uint64_t length = 2 + random.below(i % 4 == 0 ? 24 : 9);
      own.weight = 0.5 + random.uniform();
      for (std::uint64_t t = 0; t < length; ++t) {
        own.tokens.push_back(static_cast<std::int32_t>(random.below(17)));
        const bool is_target = i != 2 && (random.uniform() < 0.5 || t == 0);
        own.labels.push_back(is_target ? static_cast<std::int32_t>(random.below(17)) : no_label);
        own.weights.push_back(is_target ? 0.5F + static_cast<float>(random.uniform()) : 0.0F);
      }
      examples_.push_back(std::move(own));
    }
  }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(examples_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    return static_cast<std::int64_t>(examples_[static_cast<std::size_t>(i)].tokens.size());
  }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const held& own = examples_[static_cast<std::size_t>(i)];
    return {own.tokens, own.labels, own.weights, own.weight, i};
  }

 private:
  struct held {
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> labels;
    std::vector<float> weights;
    double weight = 1.0;
  };
  std::vector<held> examples_;
};

struct outcome {
  double loss = 0.0;
  std::vector<std::vector<double>> gradients;  // by unit
};

/// Loss and gradients of one step, on `ranks` ranks.
outcome gradients_of(const example_set& data, const step_plan& step, const loss::weighted_sft& loss, int ranks,
                     const activation_table& table) {
  const model_config config = small_config();
  outcome result;
  std::mutex guard;
  dist::threads::run(ranks, [&](dist::threads::communicator& group) {
    const auto weights = small_store<backend>(config, 1, {}, dist::any_communicator(group));
    llama<backend, blocked_attention> model(config, *weights);
    const auto lengths =
        program<llama<backend, blocked_attention>, loss::weighted_sft, batching::naive, position::contiguous,
                activations::keep_all, optim::adamw, dist::threads::communicator>::lengths(data);
    const auto assignment = batching::assign(batching::costs(step, lengths, training_cost(config)), group.size());
    const double value = train::accumulate(model, loss, data, step, batching::totals(data, step), assignment,
                                           position::contiguous{}, table, {}, group);
    const std::lock_guard lock(guard);
    if (group.rank() != 0) return;
    result.loss = value;
    for (std::int64_t unit = 0; unit < weights->units(); ++unit) {
      const auto flat = weights->gradient(unit).flat();
      result.gradients.emplace_back(flat.begin(), flat.end());
    }
  });
  return result;
}

/// Per parameter tensor ||a - b|| <= tolerance ||b||.
void check_equal(const std::string& name, const outcome& a, const outcome& b, double tolerance = 1e-10) {
  BOOST_TEST(std::abs(a.loss - b.loss) <= tolerance * std::abs(b.loss),
             name << ": loss " << a.loss << " against " << b.loss);
  const auto weights = small_store<backend>(small_config());
  for (std::size_t unit = 0; unit < b.gradients.size(); ++unit)
    for (const parameter_place& place : weights->layout(static_cast<std::int64_t>(unit)).places) {
      double difference = 0.0;
      double norm = 0.0;
      for (std::int64_t i = place.gradient_offset; i < place.gradient_offset + place.count(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        difference += std::pow(a.gradients[unit][at] - b.gradients[unit][at], 2);
        norm += std::pow(b.gradients[unit][at], 2);
      }
      BOOST_TEST(std::sqrt(difference) <= tolerance * std::sqrt(norm), name << ": unit " << unit);
    }
}

std::vector<std::int64_t> lengths_of(const example_set& data) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < data.size(); ++i) lengths.push_back(data.length(i));
  return lengths;
}

/// Every division of the same examples into micro-batches that the strategies offer, and pack orders besides.
std::vector<std::pair<std::string, step_plan>> divisions(const example_set& data) {
  const std::vector<std::int64_t> lengths = lengths_of(data);
  std::vector<std::pair<std::string, step_plan>> all;
  all.emplace_back("naive", as_one_step(batching::naive{.sequences_per_step = 4}.plan(lengths, 1, 0)));
  all.emplace_back("sorted", as_one_step(batching::sorted{.sequences_per_step = 4, .group = 3}.plan(lengths, 1, 0)));
  for (const auto algorithm :
       {batching::packing::next_fit, batching::packing::first_fit_decreasing, batching::packing::best_fit_decreasing})
    for (const std::uint64_t seed : {1, 2}) {
      batching::packed packed;
      packed.tokens = 40;
      packed.algorithm = algorithm;
      all.emplace_back("packed " + std::to_string(static_cast<int>(algorithm)) + " seed " + std::to_string(seed),
                       as_one_step(packed.plan(lengths, seed, 0)));
    }
  step_plan whole;
  whole.micro_batches.emplace_back();
  for (std::int64_t i = 0; i < data.size(); ++i) whole.micro_batches[0].examples.push_back(data.size() - 1 - i);
  all.emplace_back("one pack", whole);
  return all;
}

optim::adamw plain_adamw() {
  optim::adamw optimizer;
  optimizer.learning_rate = 1e-2;
  optimizer.weight_decay = 0.1;
  optimizer.clip = 0.0;
  optimizer.rate = optim::constant();
  return optimizer;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_program)

BOOST_AUTO_TEST_CASE(packed_sorted_and_naive_give_the_same_loss_and_gradients) {
  const example_set data(14);
  const activation_table table = activations::keep_all{}.table(2);
  for (const normalize per : {normalize::sequence, normalize::token, normalize::user}) {
    loss::weighted_sft loss;
    loss.per = per;
    if (per == normalize::user) loss.divisor = 3.0;
    const auto all = divisions(data);
    const outcome expected = gradients_of(data, all.front().second, loss, 1, table);
    for (const auto& [name, step] : all)
      for (const int ranks : {1, 2, 3})
        check_equal(name + " on " + std::to_string(ranks) + " ranks", gradients_of(data, step, loss, ranks, table),
                    expected);
  }
}

BOOST_AUTO_TEST_CASE(the_normaliser_per_pack_depends_on_the_packs) {
  const example_set data(14);
  const activation_table table = activations::keep_all{}.table(2);
  loss::weighted_sft loss;
  loss.per = normalize::pack;
  const auto all = divisions(data);
  const double naive = gradients_of(data, all.front().second, loss, 1, table).loss;
  const double one_pack = gradients_of(data, all.back().second, loss, 1, table).loss;
  BOOST_TEST(std::abs(naive - one_pack) > 1e-6);
}

BOOST_AUTO_TEST_CASE(more_ranks_than_micro_batches_still_meet) {
  const example_set data(2);
  const activation_table table = activations::checkpoint{}.table(2);
  const step_plan step{{micro_batch{{0, 1}}}};
  check_equal("three ranks, one pack", gradients_of(data, step, {}, 3, table), gradients_of(data, step, {}, 1, table),
              1e-14);
}

BOOST_AUTO_TEST_CASE(a_step_of_examples_without_targets_changes_nothing) {
  const example_set data(3);  // example 2 has no target
  const outcome with = gradients_of(data, step_plan{{micro_batch{{0, 2}}, micro_batch{{2}}, micro_batch{{1}}}}, {}, 2,
                                    activations::keep_all{}.table(2));
  const outcome without =
      gradients_of(data, step_plan{{micro_batch{{0}}, micro_batch{{1}}}}, {}, 1, activations::keep_all{}.table(2));
  check_equal("without targets", with, without);
}

BOOST_AUTO_TEST_CASE(a_store_that_shards_a_layer_trains_to_the_same_weights) {
  const example_set data(6);
  const model_config config = small_config();
  const step_plan step{{micro_batch{{0, 1}}, micro_batch{{2, 3}}, micro_batch{{4}}, micro_batch{{5}}}};
  const activation_table table = activations::checkpoint{}.table(2);
  const auto assignment = batching::assign_in_order(4, 3);  // two micro-batches for rank 0, one for the others
  optim::adamw optimizer = plain_adamw();
  optimizer.clip = 0.01;
  std::vector<std::vector<double>> expected(4);
  std::vector<std::vector<double>> sharded(4);
  dist::threads::run(3, [&](dist::threads::communicator& group) {
    const auto weights = small_store<backend>(config, 1, {}, dist::any_communicator(group));
    llama<backend, blocked_attention> model(config, *weights);
    sharded_layer_store shards(config, group);
    llama<backend, blocked_attention, projections::dense, sharded_layer_store> model_on_shards(config, shards);
    static_assert(parameters::parameter_store<sharded_layer_store> && parameters::parameter_store<replicated>);
    for (std::int64_t number = 1; number <= 3; ++number) {
      const train::step_place where{number, 3, 0, 0};
      static_cast<void>(train::run_step(model, loss::weighted_sft{}, data, step, assignment, position::contiguous{},
                                        table, optimizer, where, group));
      const train::step_result on_shards =
          train::run_step(model_on_shards, loss::weighted_sft{}, data, step, assignment, position::contiguous{}, table,
                          optimizer, where, group);
      BOOST_TEST(on_shards.clipped);
    }
    for (std::int64_t unit = 0; unit < 4; ++unit) {
      shards.acquire(unit);
      const auto a = weights->mutable_weights(unit).flat();
      const auto b = shards.inner().mutable_weights(unit).flat();
      if (group.rank() == 1) {
        expected[static_cast<std::size_t>(unit)].assign(a.begin(), a.end());
        sharded[static_cast<std::size_t>(unit)].assign(b.begin(), b.end());
      }
      group.barrier();
      shards.release(unit);
    }
  });
  for (std::size_t unit = 0; unit < 4; ++unit)
    for (std::size_t i = 0; i < expected[unit].size(); ++i)
      BOOST_TEST(std::abs(expected[unit][i] - sharded[unit][i]) <= 1e-12);  // the norm is summed in another order
}

BOOST_AUTO_TEST_CASE(a_program_is_assembled_from_its_parts_and_learns) {
  const example_set data(12);
  const model_config config = small_config();
  const auto weights = small_store<backend>(config, 2);
  dist::single group;
  optim::adamw optimizer = plain_adamw();
  optimizer.learning_rate = 3e-2;
  optimizer.clip = 1.0;
  batching::packed packing;
  packing.tokens = 48;
  auto program = lodestone::program{llama<backend, blocked_attention>{config, *weights},
                                    loss::weighted_sft{.per = normalize::sequence},
                                    packing,
                                    position::contiguous{},
                                    activations::checkpoint{},
                                    optimizer,
                                    group};
  const double before = program.evaluate(data).sequence_loss;
  epoch_plan whole;
  for (std::uint64_t epoch = 0; epoch < 12; ++epoch)
    for (step_plan& step : program.plan(data, 7, epoch).steps) whole.steps.push_back(std::move(step));
  const train::need need = program.rehearse(data, whole);
  BOOST_TEST(program.evaluate(data).sequence_loss == before);  // the rehearsal trains nothing
  double first = 0.0;
  std::int64_t number = 0;
  for (std::uint64_t epoch = 0; epoch < 12; ++epoch) {
    const step_plan all = as_one_step(program.plan(data, 7, epoch));
    const train::step_result result = program.step(data, all, {++number, 12, 7, epoch});
    BOOST_TEST(!result.skipped);
    if (number == 1) first = result.loss;
  }
  BOOST_TEST(first == before, boost::test_tools::tolerance(1e-12));  // all examples are in the step
  BOOST_TEST(program.evaluate(data, 4).sequence_loss < 0.8 * before);
  BOOST_TEST(program.model().backend().memory().outside() == 0);
  BOOST_TEST(program.model().backend().memory().peak() <= need.activation_bytes);
}

BOOST_AUTO_TEST_CASE(automatic_activations_fit_the_budget_and_change_no_bit) {
  using backend = host<double>;
  const example_set data(9);
  const model_config config = small_config();
  const auto weights_after = [&](const auto& policy, activation_table& table, std::int64_t& peak) {
    auto weights = small_store<backend>(config);
    dist::single group;
    batching::packed packing;
    packing.tokens = 48;
    auto program = lodestone::program{llama<backend, blocked_attention>{config, *weights},
                                      loss::weighted_sft{.per = normalize::sequence},
                                      packing,
                                      position::contiguous{},
                                      policy,
                                      plain_adamw(),
                                      group};
    const epoch_plan plan = program.plan(data, 7, 0);
    peak = program.rehearse(data, plan).activation_bytes;
    table = program.activations();
    static_cast<void>(program.step(data, as_one_step(plan), {1, 1, 7, 0}));
    BOOST_TEST(program.model().backend().memory().peak() <= peak);
    BOOST_TEST(program.model().backend().memory().outside() == 0);
    std::vector<double> all;
    for (std::int64_t unit = 0; unit < weights->units(); ++unit) {
      const auto flat = weights->weights(unit).flat();
      all.insert(all.end(), flat.begin(), flat.end());
    }
    return all;
  };
  const auto store_bytes = [&] {
    auto weights = small_store<backend>(config);
    return weights->weight_bytes() + weights->training_bytes();
  }();
  activation_table all, some, least, chosen;
  std::int64_t most = 0;
  std::int64_t few = 0;
  std::int64_t peak = 0;
  const std::vector<double> expected = weights_after(activations::keep_all{}, all, most);
  static_cast<void>(weights_after(activations::checkpoint{}, least, few));
  BOOST_TEST((weights_after(activations::automatic{}, chosen, peak) == expected));
  BOOST_TEST((chosen == all));  // this machine has more than enough
  const std::int64_t limit = (most + few) / 2;
  BOOST_TEST((weights_after(activations::automatic{{.device_bytes = store_bytes + limit}}, some, peak) == expected));
  BOOST_TEST(peak <= limit);
  BOOST_TEST((some != all && some != least));
  BOOST_CHECK_THROW(static_cast<void>(weights_after(activations::automatic{{.device_bytes = store_bytes + few / 2}},
                                                    some, peak)), config_error);
}

BOOST_AUTO_TEST_CASE(evaluation_is_the_same_on_any_number_of_ranks) {
  const example_set data(7);
  const model_config config = small_config();
  std::vector<evaluation> results;
  for (const int ranks : {1, 3})
    dist::threads::run(ranks, [&](dist::threads::communicator& group) {
      const auto weights = small_store<backend>(config);
      auto program = lodestone::program{llama<backend, blocked_attention>{config, *weights},
                                        loss::weighted_sft{},
                                        batching::naive{.sequences_per_step = 4},
                                        position::contiguous{},
                                        activations::keep_all{},
                                        plain_adamw(),
                                        group};
      const evaluation own = program.evaluate(data, 5);
      if (group.rank() == 0) results.push_back(own);
      group.barrier();
    });
  BOOST_TEST(results[0].sequence_loss == results[1].sequence_loss, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(results[0].token_loss == results[1].token_loss, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(results[0].bucket_targets == results[1].bucket_targets, boost::test_tools::per_element());
  BOOST_TEST(std::accumulate(results[0].bucket_targets.begin(), results[0].bucket_targets.end(), std::int64_t{0}) ==
             results[0].targets);
}

BOOST_AUTO_TEST_CASE(a_gradient_that_is_not_finite_skips_the_step_and_is_named) {
  const example_set data(4);
  const model_config config = small_config();
  const auto weights = small_store<backend>(config);
  weights->mutable_weights(2)(weights->layout(2)[parameter::post_norm].offset) =
      std::numeric_limits<double>::infinity();
  dist::single group;
  auto program = lodestone::program{llama<backend, blocked_attention>{config, *weights},
                                    loss::weighted_sft{},
                                    batching::naive{.sequences_per_step = 4},
                                    position::contiguous{},
                                    activations::keep_all{},
                                    plain_adamw(),
                                    group};
  const double before = weights->weights(0)(3);
  const train::step_result result = program.step(data, as_one_step(program.plan(data, 1, 0)), {1, 1, 1, 0});
  BOOST_TEST(result.skipped);
  BOOST_TEST(!result.not_finite.empty());
  BOOST_TEST(weights->weights(0)(3) == before);
}

BOOST_AUTO_TEST_SUITE_END()
