#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/model/stored_tensors.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/checkpoints.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/program.hpp>

#include "model/small_model.hpp"
#include "support/support.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

using backend = host<float>;
using store = parameters::replicated<backend>;

in_memory_store sequences(std::uint64_t count) {
  in_memory_store result;
  for (std::uint64_t i = 0; i < count; ++i) {
    random_stream random(i, random_purpose::user);
    encoded_sequence own;
    for (std::uint64_t t = 0; t < 4 + i % 5; ++t) own.tokens.push_back(static_cast<std::int32_t>(random.below(17)));
    own.labels.assign(own.tokens.begin() + 1, own.tokens.end());
    own.labels.push_back(no_label);
    own.weights.assign(own.tokens.size(), 1.0F);
    own.weights.back() = 0.0F;
    result.add(std::move(own));
  }
  return result;
}

auto make_program(store& weights, dist::single& group) {
  batching::packed packing;
  packing.tokens = 16;
  packing.packs_per_step = 2;
  optim::adamw optimizer;
  optimizer.learning_rate = 1e-2;
  return lodestone::program{llama<backend, blocked_attention>{weights.config(), weights},
                            loss::weighted_sft{},
                            packing,
                            position::contiguous{},
                            activations::checkpoint{},
                            optimizer,
                            group};
}

std::vector<float> all_weights(const store& weights) {
  std::vector<float> result;
  for (std::int64_t unit = 0; unit < weights.units(); ++unit) {
    const auto flat = weights.weights(unit).flat();
    result.insert(result.end(), flat.begin(), flat.end());
  }
  return result;
}

const auto never = [] { return false; };

/// A backend that times something before the first step, as the CUDA backend does.
struct choosing : backend {
  using backend::backend;
  std::string chosen = "none";
  std::int64_t choose_products() {
    if (chosen == "none") chosen = "timed";
    return 1;
  }
  [[nodiscard]] std::string choices() const { return chosen; }
  [[nodiscard]] std::string set_choices(const std::string& text) {
    if (text == "of another device") return "these choices are of another device";
    chosen = text;
    return {};
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(train_checkpoints)

// Where something is frozen, the trained parts have masters of their own beside the weights.
BOOST_AUTO_TEST_CASE(a_state_of_some_trained_parts_restores_weights_and_masters) {
  const temporary_folder folder;
  const in_memory_store data = sequences(12);
  for (const trained_parts& trained :
       {trained_parts::only({.rank = 2, .targets = {"all-linear"}}), trained_parts{.projections = false}}) {
    dist::single group;
    const auto step = [&](store& weights, std::int64_t number) {
      auto program = make_program(weights, group);
      const epoch_plan plan = program.plan(data, 1, 0);
      return program.step(data, plan.steps[static_cast<std::size_t>(number)], {number + 1, 4, 1, 0}).loss;
    };
    const auto one = small_store<backend>(small_config(), 1, trained);
    initialise_adapters(*one, 1);
    step(*one, 0);
    const std::string name = trained.adapters.rank > 0 ? "adapters" : "parts";
    const auto state = train::write_state(*one, {.step = 1}, folder / name);
    const auto other = small_store<backend>(small_config(), 1, trained);  // fresh adapters, other moments
    static_cast<void>(train::read_state(*other, training_state(state)));
    BOOST_TEST(all_weights(*other) == all_weights(*one), name);
    BOOST_TEST(step(*other, 1) == step(*one, 1), name);
    BOOST_TEST(all_weights(*other) == all_weights(*one), name);
  }
}

BOOST_AUTO_TEST_CASE(a_state_restores_every_bit_and_the_progress) {
  const temporary_folder folder;
  const auto weights = small_store<backend>(small_config());
  train::progress at{.step = 7,
                     .steps = 9,
                     .seed = 3,
                     .data_fingerprint = ~std::uint64_t{0},
                     .tokens = 123,
                     .best_loss = 0.1,
                     .best_step = 5};
  weights->owned(1).first(2) = 0.3F;
  weights->owned(2).second(1) = 1e-30F;
  train::write_state(*weights, at, folder.path());
  const auto other = small_store<backend>(small_config());
  randomise(*other, 99);
  const train::progress back = train::read_state(*other, training_state(training_state_folder(folder.path(), 7)));
  BOOST_TEST((all_weights(*other) == all_weights(*weights)));
  BOOST_TEST(other->owned(1).first(2) == 0.3F);
  BOOST_TEST(other->owned(2).second(1) == 1e-30F);
  BOOST_TEST(back.step == 7);
  BOOST_TEST(back.data_fingerprint == at.data_fingerprint);
  BOOST_TEST(back.best_loss == 0.1);
  BOOST_TEST(back.best_step == 5);
}

BOOST_AUTO_TEST_CASE(a_state_keeps_what_the_backend_chose_by_timing) {
  const temporary_folder folder;
  const auto weights = small_store<choosing>(small_config());
  dist::single group;
  lodestone::program program{llama<choosing, blocked_attention>{weights->config(), *weights},
                             loss::weighted_sft{},
                             batching::packed{.tokens = 16, .packs_per_step = 2},
                             position::contiguous{},
                             activations::checkpoint{},
                             optim::adamw{},
                             group};
  const in_memory_store data = sequences(5);
  program.rehearse(data, program.plan(data, 1, 0));
  BOOST_TEST(weights->backend().chosen == "timed");
  weights->backend().chosen = "first\nsecond line";
  train::write_state(*weights, {.step = 1}, folder.path());

  const training_state state(training_state_folder(folder.path(), 1));
  const auto other = small_store<choosing>(small_config());
  std::string warning = "of before";
  static_cast<void>(train::read_state(*other, state, &warning));
  BOOST_TEST(warning.empty(), warning);
  BOOST_TEST(other->backend().chosen == "first\nsecond line");
  static_cast<void>(train::read_state(*other, state));  // nobody asks for the sentence

  weights->backend().chosen = "of another device";
  train::write_state(*weights, {.step = 2}, folder.path());
  static_cast<void>(train::read_state(*other, training_state(training_state_folder(folder.path(), 2)), &warning));
  BOOST_TEST(warning == "these choices are of another device");
  BOOST_TEST(other->backend().chosen == "first\nsecond line");

  // A backend that chooses, and a state of one that does not; and the other way round.
  const auto plain = small_store<backend>(small_config());
  train::write_state(*plain, {.step = 3}, folder.path());
  static_cast<void>(train::read_state(*other, training_state(training_state_folder(folder.path(), 3)), &warning));
  BOOST_TEST(warning.find("chosen anew") != std::string::npos, warning);
  static_cast<void>(train::read_state(*plain, state, &warning));
  BOOST_TEST(warning.empty());
}

BOOST_AUTO_TEST_CASE(a_state_of_another_model_or_precision_is_refused) {
  const temporary_folder folder;
  const auto weights = small_store<backend>(small_config());
  train::write_state(*weights, {.step = 1}, folder.path());
  const training_state state(training_state_folder(folder.path(), 1));
  const auto in_double = small_store<host<double>>(small_config());
  BOOST_CHECK_THROW(static_cast<void>(train::read_state(*in_double, state)), format_error);
  model_config wider = small_config();
  wider.feed_forward = 11;
  const auto other = small_store<backend>(wider);
  BOOST_CHECK_THROW(static_cast<void>(train::read_state(*other, state)), format_error);
  model_config fewer = small_config();
  fewer.layers = 1;
  const auto shallow = small_store<backend>(fewer);
  BOOST_CHECK_THROW(static_cast<void>(train::read_state(*shallow, state)), format_error);
}

BOOST_AUTO_TEST_CASE(a_run_resumed_from_disk_equals_an_uninterrupted_one) {
  const in_memory_store data = sequences(13);
  const in_memory_store held_out = sequences(3);
  dist::single group;
  recorders nobody{};
  train::loop_options options;
  options.epochs = 3;
  options.save_every = 2;
  options.evaluate_every = 3;
  std::vector<float> expected;
  {
    const temporary_folder folder;
    const auto weights = small_store<backend>(small_config(), 1);
    auto program = make_program(*weights, group);
    train::checkpoints saver(*weights, folder.path(), group);
    train::run(program, data, held_out, options, nobody, saver, never);
    expected = all_weights(*weights);
  }
  for (const int threads : {2, 3}) {
    const temporary_folder folder;
    {
      const auto weights = small_store<backend>(small_config(), 1);
      auto program = make_program(*weights, group);
      train::checkpoints saver(*weights, folder.path(), group);
      int asked = 0;
      train::run(program, data, held_out, options, nobody, saver, [&] { return ++asked == 6; });
    }
    const auto weights = small_store<backend>(small_config(), threads);
    randomise(*weights, 77);
    const auto newest = latest_training_state(folder.path());
    BOOST_REQUIRE(newest.has_value());
    const train::progress at = train::read_state(*weights, training_state(*newest));
    BOOST_TEST(at.step == 5);
    auto program = make_program(*weights, group);
    train::checkpoints saver(*weights, folder.path(), group);
    train::run(program, data, held_out, options, nobody, saver, never, at);
    BOOST_TEST((all_weights(*weights) == expected), threads << " threads");
  }
}

BOOST_AUTO_TEST_CASE(only_the_last_and_the_best_states_stay) {
  const temporary_folder folder;
  const auto weights = small_store<backend>(small_config());
  dist::single group;
  train::checkpoints saver(*weights, folder.path(), group, 2, true);
  for (std::int64_t step = 1; step <= 6; ++step)
    BOOST_TEST(
        !saver.save({.step = step, .best_loss = 1.0, .best_step = std::min<std::int64_t>(step, 2)}, step <= 2).empty());
  std::vector<std::string> names;
  for (const auto& item : std::filesystem::directory_iterator(folder.path())) names.push_back(item.path().filename());
  std::ranges::sort(names);
  const std::vector<std::string> expected{"step_000002", "step_000005", "step_000006"};
  BOOST_TEST(names == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_folder_is_loaded_exported_and_loaded_again_in_every_bit) {
  const std::filesystem::path source = data("models/stories260k");
  const auto first = parameters::load<backend>(source);
  const temporary_folder folder;
  auto weights = parameters::load<backend>(source, {}, {parameters::purpose::inference, std::nullopt, 1});
  export_options options;
  options.type = dtype::f32;
  options.shard_bytes = 300'000;
  parameters::save_folder(weights, folder / "out", source, options);
  BOOST_TEST(std::filesystem::exists(folder / "out" / "model.safetensors.index.json"));
  const auto again = parameters::load<backend>(folder / "out");
  BOOST_TEST((all_weights(again) == all_weights(first)));
}

BOOST_AUTO_TEST_SUITE_END()
