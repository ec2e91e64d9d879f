#include <cmath>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/train/checkpoints.hpp>
#include <lodestone/train/program.hpp>

#include "cuda/gpu.hpp"
#include "support/support.hpp"

namespace {

using namespace lodestone;
using lodestone_test::all_masters;
using lodestone_test::on_gpu;

std::filesystem::path examples() { return lodestone_test::source_dir() / "examples" / "data"; }
std::filesystem::path small_llama() { return examples() / "models" / "tinystories-656k"; }

/// The first tokens of some speeches, every token a target.
in_memory_store speeches() {
  const tokenizer tokens_of = tokenizer::load(small_llama());
  const std::set<std::filesystem::path> files{std::filesystem::directory_iterator(examples() / "state_union"), {}};
  in_memory_store result;
  std::size_t length = 100;
  for (const auto& file : files) {
    if (result.size() == 8) break;
    encoded_sequence own;
    own.tokens = tokens_of.encode(read_text(file));
    own.tokens.resize(length);
    length += 70;
    own.labels.assign(own.tokens.begin() + 1, own.tokens.end());
    own.weights.assign(own.labels.size(), 1.0F);
    own.labels.push_back(no_label), own.weights.push_back(0.0F);
    result.add(std::move(own));
  }
  return result;
}

template <class Backend, class Attention, class Activations = activations::keep_attention>
auto make_program(parameters::replicated<Backend>& weights, dist::single& group) {
  return lodestone::program{llama<Backend, Attention>{weights.config(), weights},
                            loss::weighted_sft{},
                            batching::packed{.tokens = 1'024, .packs_per_step = 1},
                            position::contiguous{},
                            Activations{},
                            optim::adamw{.learning_rate = 1e-3, .weight_decay = 0.1},
                            group};
}

/// Losses of `steps` steps, from step `first` on, over epochs as long as needed.
template <class Program>
std::vector<double> losses(Program& program, const in_memory_store& data, std::int64_t steps, std::int64_t first = 1) {
  std::vector<double> result;
  std::int64_t number = 1;
  for (std::uint64_t epoch = 0; number <= steps; ++epoch)
    for (const step_plan& step : program.plan(data, 1, epoch).steps) {
      if (number > steps) break;
      if (number >= first)
        result.push_back(program.step(data, step, {.number = number, .total = 60, .seed = 1, .epoch = epoch}).loss);
      ++number;
    }
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_train, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE(fifty_steps_follow_the_host) {
  const in_memory_store data = speeches();
  dist::single group;
  auto on_host = parameters::load<host<float>>(small_llama());
  auto in_float = parameters::load<cuda<float>>(small_llama());
  auto in_bf16 = parameters::load<cuda<bf16>>(small_llama());
  auto reference = make_program<host<float>, blocked_attention>(on_host, group);
  auto exact = make_program<cuda<float>, attention_reference>(in_float, group);
  auto fast = make_program<cuda<bf16>, flash_or_reference>(in_bf16, group);
  const std::vector<double> expected = losses(reference, data, 50);
  const std::vector<double> a = losses(exact, data, 50);
  const std::vector<double> b = losses(fast, data, 50);
  BOOST_TEST(expected.back() < expected.front());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    BOOST_TEST(std::abs(a[i] - expected[i]) < 2e-4 * expected[i], "float, step " << i << ": " << a[i]);
    // The first steps of AdamW move each weight by the rate, whatever the size of its gradient: where rounding turns
    // the sign of a small one, bf16 shows most there.
    BOOST_TEST(std::abs(b[i] - expected[i]) < (i < 5 ? 3e-2 : 1e-2) * expected[i], "bf16, step " << i << ": " << b[i]);
  }
}

BOOST_AUTO_TEST_CASE(a_resumed_run_equals_an_uninterrupted_one) {
  const in_memory_store data = speeches();
  dist::single group;
  const auto run = [&](std::int64_t stop) {
    const lodestone_test::temporary_folder folder;
    auto weights = parameters::load<cuda<bf16>>(small_llama());
    auto program = make_program<cuda<bf16>, flash_or_reference>(weights, group);
    program.rehearse(data, program.plan(data, 1, 0));  // times products
    losses(program, data, stop);
    if (stop == 12) return all_masters(weights);
    train::write_state(weights, {.step = stop}, folder.path());
    auto other = parameters::load<cuda<bf16>>(small_llama());
    const training_state state(training_state_folder(folder.path(), stop));
    std::string warning;
    BOOST_TEST(train::read_state(other, state, &warning).step == stop);
    BOOST_TEST(warning.empty(), warning);
    BOOST_TEST(other.backend().choices() == weights.backend().choices());
    auto rest = make_program<cuda<bf16>, flash_or_reference>(other, group);
    rest.rehearse(data, rest.plan(data, 1, 0));
    BOOST_TEST(other.backend().choices() == weights.backend().choices());  // nothing was timed anew
    losses(rest, data, 12, stop + 1);
    return all_masters(other);
  };
  const std::vector<float> whole = run(12);
  BOOST_TEST((run(12) == whole));  // two runs: the same bits
  BOOST_TEST((run(5) == whole));
}

BOOST_AUTO_TEST_CASE(a_loaded_folder_is_written_back_in_every_bit) {
  const lodestone_test::temporary_folder folder;
  auto weights = parameters::load<cuda<bf16>>(small_llama());
  parameters::save_folder(weights, folder / "copy", small_llama(), {.type = dtype::bf16});
  auto first = parameters::load<host<float>>(small_llama());
  auto second = parameters::load<host<float>>(folder / "copy");
  for (std::int64_t unit = 0; unit < first.units(); ++unit) {
    const auto a = first.weights(unit).flat();
    const auto b = second.weights(unit).flat();
    BOOST_TEST(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  }
}

BOOST_AUTO_TEST_CASE(a_rehearsed_program_allocates_nothing_in_a_step) {
  const in_memory_store data = speeches();
  dist::single group;
  auto weights = parameters::load<cuda<bf16>>(small_llama());
  auto program = make_program<cuda<bf16>, flash_or_reference>(weights, group);
  const epoch_plan plan = program.plan(data, 1, 0);
  const train::need need = program.rehearse(data, plan);
  BOOST_TEST(need.activation_bytes > 0);
  losses(program, data, static_cast<std::int64_t>(plan.steps.size()));
  BOOST_TEST(weights.backend().memory().outside() == 0);
  BOOST_TEST(weights.backend().memory().peak() <= need.activation_bytes);
}

BOOST_AUTO_TEST_CASE(a_step_that_is_not_finite_is_skipped_and_named) {
  const in_memory_store data = speeches();
  dist::single group;
  auto weights = parameters::load<cuda<bf16>>(small_llama());
  auto program = make_program<cuda<bf16>, flash_or_reference>(weights, group);
  for (const stored_tensor& tensor : stored_tensors(weights))
    if (tensor.name == "model.layers.1.mlp.down_proj.weight") {
      std::vector<float> values(static_cast<std::size_t>(tensor.count), 0.01F);
      values.front() = std::nanf("");
      weights.set_weights(tensor, values);
    }
  const std::vector<float> before = all_masters(weights);
  const epoch_plan plan = program.plan(data, 1, 0);
  const train::step_result result = program.step(data, plan.steps.front(), {.number = 1, .total = 60, .seed = 1});
  BOOST_TEST(result.skipped);
  BOOST_TEST(!result.not_finite.empty());
  const std::vector<float> after = all_masters(weights);
  BOOST_TEST(std::equal(before.begin(), before.end(), after.begin(), [](float a, float b) {
    return a == b || (std::isnan(a) && std::isnan(b));
  }));
}

BOOST_AUTO_TEST_SUITE_END()
