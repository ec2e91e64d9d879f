#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorder.hpp>

#include "model/small_model.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

using backend = host<double>;
using model = llama<backend, blocked_attention>;

/// n sequences of 3 to 6 tokens, every one predicting the next.
class number_store {
 public:
  explicit number_store(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::vector<std::int32_t> tokens;
      for (std::int64_t t = 0; t < 3 + i % 4; ++t) tokens.push_back(static_cast<std::int32_t>((i * 3 + t * 5) % 17));
      labels_.emplace_back(tokens.begin() + 1, tokens.end());
      labels_.back().push_back(no_label);
      weights_.emplace_back(tokens.size(), 1.0F);
      weights_.back().back() = 0.0F;
      tokens_.push_back(std::move(tokens));
    }
  }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    return static_cast<std::int64_t>(tokens_[static_cast<std::size_t>(i)].size());
  }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    return {tokens_[at], labels_[at], weights_[at], 1.0, i};
  }

 private:
  std::vector<std::vector<std::int32_t>> tokens_, labels_;
  std::vector<std::vector<float>> weights_;
};

struct log_recorder {
  std::vector<step_record>* steps;
  std::vector<evaluation_record>* evaluations;
  std::vector<message>* messages;
  std::vector<run_finished>* finished;
  void record(const step_record& event) { steps->push_back(event); }
  void record(const evaluation_record& event) { evaluations->push_back(event); }
  void record(const message& event) { messages->push_back(event); }
  void record(const run_finished& event) { finished->push_back(event); }
};

struct heard {
  std::vector<step_record> steps;
  std::vector<evaluation_record> evaluations;
  std::vector<message> messages;
  std::vector<run_finished> finished;
  log_recorder recorder() { return {&steps, &evaluations, &messages, &finished}; }
};

/// Copies of weights and moments in memory, with the progress they belong to.
struct memory_saver {
  parameters::replicated<backend>* store;
  std::vector<std::pair<train::progress, bool>>* saves;
  std::vector<std::vector<double>>* state;

  [[nodiscard]] std::string save(const train::progress& at, bool is_best) {
    saves->emplace_back(at, is_best);
    state->clear();
    for (std::int64_t unit = 0; unit < store->units(); ++unit) {
      const auto part = store->owned(unit);
      for (const auto& view : {part.master, part.first, part.second})
        state->emplace_back(view.flat().begin(), view.flat().end());
    }
    return "saved";
  }
  static void restore(parameters::replicated<backend>& store, const std::vector<std::vector<double>>& state) {
    std::size_t next = 0;
    for (std::int64_t unit = 0; unit < store.units(); ++unit) {
      const auto part = store.owned(unit);
      for (const auto& view : {part.master, part.first, part.second})
        std::ranges::copy(state[next++], view.flat().begin());
    }
  }
};

optim::adamw optimizer() {
  optim::adamw result;
  result.learning_rate = 1e-2;
  return result;
}

template <class Group>
auto make_program(parameters::replicated<backend>& store, Group& group) {
  return lodestone::program{model{store.config(), store},
                            loss::weighted_sft{},
                            batching::naive{.sequences_per_step = 4},
                            position::contiguous{},
                            activations::keep_all{},
                            optimizer(),
                            group};
}

const auto never = [] { return false; };

}  // namespace

BOOST_AUTO_TEST_SUITE(train_loop)

BOOST_AUTO_TEST_CASE(a_run_takes_every_step_and_tells_the_recorder) {
  const number_store data(10);
  const number_store held_out(3);
  const auto store = small_store<backend>(small_config());
  dist::single group;
  auto program = make_program(*store, group);
  heard events;
  auto recorder = events.recorder();
  std::vector<std::pair<train::progress, bool>> saves;
  std::vector<std::vector<double>> state;
  memory_saver saver{store.get(), &saves, &state};
  train::loop_options options;
  options.epochs = 3;
  options.evaluate_every = 4;
  options.save_every = 5;
  options.position_bucket = 2;
  const run_finished finished = train::run(program, data, held_out, options, recorder, saver, never);
  BOOST_TEST(finished.step == 9);  // 3 epochs of ceil(10 / 4) steps
  BOOST_TEST((finished.outcome == run_outcome::completed));
  BOOST_TEST(events.steps.size() == 9U);
  std::int64_t tokens = 0;
  for (const step_record& step : events.steps) tokens += step.tokens;
  std::int64_t expected = 0;
  for (std::int64_t i = 0; i < data.size(); ++i) expected += 3 * data.length(i);
  BOOST_TEST(tokens == expected);  // every token, once an epoch
  BOOST_TEST(finished.tokens == expected);
  BOOST_TEST(events.steps.back().loss < events.steps.front().loss);
  BOOST_TEST(events.evaluations.size() == 4U);  // before, steps 4 and 8, after
  BOOST_TEST(events.evaluations.front().step == 0);
  BOOST_TEST(events.evaluations.front().buckets.size() == 3U);
  BOOST_TEST(saves.back().first.step == 9);
  BOOST_TEST(events.finished.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_resumed_run_equals_an_uninterrupted_one_in_every_bit) {
  const number_store data(11);
  const number_store none(0);
  dist::single group;
  train::loop_options options;
  options.epochs = 4;
  heard events;
  auto recorder = events.recorder();
  std::vector<std::pair<train::progress, bool>> saves;
  std::vector<std::vector<double>> whole;
  {
    const auto store = small_store<backend>(small_config());
    auto program = make_program(*store, group);
    memory_saver saver{store.get(), &saves, &whole};
    train::run(program, data, none, options, recorder, saver, never);
  }
  for (const int stop_after : {1, 3, 7}) {
    std::vector<std::vector<double>> state;
    std::vector<std::pair<train::progress, bool>> own;
    {
      const auto store = small_store<backend>(small_config(), 2);
      auto program = make_program(*store, group);
      memory_saver saver{store.get(), &own, &state};
      int asked = 0;
      const auto stop = [&] { return asked++ == stop_after; };
      const run_finished finished = train::run(program, data, none, options, recorder, saver, stop);
      BOOST_TEST((finished.outcome == run_outcome::interrupted));
      BOOST_TEST(finished.step == stop_after);
    }
    const auto store = small_store<backend>(small_config(), 3);
    memory_saver::restore(*store, state);
    auto program = make_program(*store, group);
    memory_saver saver{store.get(), &own, &state};
    const run_finished finished = train::run(program, data, none, options, recorder, saver, never, own.back().first);
    BOOST_TEST(finished.step == 12);
    BOOST_TEST((state == whole), "stopped after " << stop_after);
  }
}

BOOST_AUTO_TEST_CASE(other_data_or_another_seed_is_refused_on_resume) {
  const number_store data(8);
  const number_store other(9);
  const number_store none(0);
  const auto store = small_store<backend>(small_config());
  dist::single group;
  auto program = make_program(*store, group);
  heard events;
  auto recorder = events.recorder();
  train::no_saver saver;
  train::loop_options options;
  const train::progress at{
      .step = 1, .seed = 42, .data_fingerprint = train::fingerprint(decltype(program)::lengths(data))};
  BOOST_CHECK_THROW(train::run(program, other, none, options, recorder, saver, never, at), config_error);
  options.seed = 43;
  BOOST_CHECK_THROW(train::run(program, data, none, options, recorder, saver, never, at), config_error);
  options.seed = 42;
  BOOST_CHECK_NO_THROW(train::run(program, data, none, options, recorder, saver, never, at));
}

BOOST_AUTO_TEST_CASE(max_steps_ends_a_run_and_shapes_its_schedule) {
  const number_store data(16);
  const number_store none(0);
  const auto store = small_store<backend>(small_config());
  dist::single group;
  auto program = make_program(*store, group);
  heard events;
  auto recorder = events.recorder();
  train::no_saver saver;
  train::loop_options options;
  options.epochs = 100;
  options.max_steps = 5;
  train::run(program, data, none, options, recorder, saver, never);
  BOOST_TEST(events.steps.size() == 5U);
  BOOST_TEST(events.steps.back().learning_rate < 0.2 * events.steps.front().learning_rate);
}

BOOST_AUTO_TEST_CASE(steps_without_finite_gradients_are_counted_and_end_the_run) {
  const number_store data(16);
  const number_store none(0);
  const auto store = small_store<backend>(small_config());
  store->mutable_weights(1)(0) = std::numeric_limits<double>::quiet_NaN();
  dist::single group;
  auto program = make_program(*store, group);
  heard events;
  auto recorder = events.recorder();
  train::no_saver saver;
  train::loop_options options;
  options.epochs = 10;
  options.non_finite_limit = 3;
  BOOST_CHECK_THROW(train::run(program, data, none, options, recorder, saver, never), numeric_error);
  BOOST_TEST(events.steps.size() == 3U);
  BOOST_TEST(events.steps.back().skipped);
  BOOST_TEST(events.messages.size() == 3U);
}

BOOST_AUTO_TEST_CASE(ranks_train_to_the_weights_of_one_rank) {
  const number_store data(9);
  const number_store held_out(4);
  std::vector<std::vector<double>> states[2];
  for (const int ranks : {1, 3})
    dist::threads::run(ranks, [&](dist::threads::communicator& group) {
      const auto store = small_store<backend>(small_config(), 1, {}, dist::any_communicator(group));
      auto program = make_program(*store, group);
      heard events;
      auto recorder = events.recorder();
      std::vector<std::pair<train::progress, bool>> saves;
      std::vector<std::vector<double>> state;
      memory_saver saver{store.get(), &saves, &state};
      train::loop_options options;
      options.epochs = 2;
      train::run(program, data, held_out, options, recorder, saver, never);
      BOOST_TEST(events.steps.size() == (group.rank() == 0 ? 6U : 0U));
      if (group.rank() == 0) states[ranks == 1 ? 0 : 1] = state;
      group.barrier();
    });
  for (std::size_t k = 0; k < states[0].size(); ++k)
    for (std::size_t i = 0; i < states[0][k].size(); ++i)
      BOOST_TEST(std::abs(states[0][k][i] - states[1][k][i]) <= 1e-9 * (1.0 + std::abs(states[0][k][i])));
}

BOOST_AUTO_TEST_SUITE_END()
