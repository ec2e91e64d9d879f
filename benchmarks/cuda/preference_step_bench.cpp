// LOGO steps of Llama-3-8B's shapes with random weights and adapters of q, k, v, o on one GPU, in three layouts.
//
//     preference_step_bench [--layers N] [--lora RANK] [--prompt N] [--answer N] [--rejected N] [--groups N]
//                           [--spread N] [--layout shared|separate|rows|both|all] [--steps N] [--memory]
//                           [--no-rehearsal] [--mlp-rows N] [--host-gib N] [--kept-attention LAYERS]
//                           [--activations automatic|keep-attention|checkpoint|keep-all|offload|offload-inputs]
//
// shared: a prompt once with its answers. separate: the prompt again with each answer, one after the other, in two
// passes. rows: the same rows side by side in one stream and one pass, as other trainers hold them. `both` takes the
// first two in turns, `all` the three, and prints ratios of their median steps beside ratios of their operations. The
// layouts' losses on the same weights are printed before the first step. Position ids are LOGO's over --spread times
// the real length. --host-gib bounds what `automatic` parks on the host, --kept-attention leaves the attention of
// layers before the last on the device whatever the table says. --memory prints the peaks of one rejected answer, of
// as many as asked, and of plain text as long instead. The peer is benchmarks/peers/preference_step.py.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/cuda.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/logo.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/train/memory.hpp>
#include <lodestone/train/program.hpp>

#include "random_llama.hpp"

namespace {

using namespace lodestone;
using namespace lodestone_bench;
using model_type = llama<cuda<bf16>, flash_mma>;

struct settings {
  std::int64_t layers = 0;
  std::int64_t rank = 32;
  std::int64_t prompt = 8'192;
  std::int64_t answer = 256;
  std::int64_t rejected = 2;
  std::int64_t groups = 1;
  std::int64_t spread = 8;
  std::int64_t steps = 5;
  std::string layout = "shared";
  activation_choice kept{"automatic"};
  bool measures_memory = false;
  bool rehearses = true;

  [[nodiscard]] std::int64_t answers() const { return 1 + rejected; }
  [[nodiscard]] std::int64_t tokens() const { return prompt + answers() * answer; }  // of a group, the prompt once
  [[nodiscard]] std::int64_t window() const { return spread * (prompt + answer); }
};

/// The plan of one layout, a group a micro-batch.
struct arranged_groups {
  std::string name;
  std::int64_t groups = 1;
  std::int64_t tokens = 0;  // of a group, the prompt once

  [[nodiscard]] epoch_plan plan(std::span<const example_shape> shapes, std::uint64_t seed, std::uint64_t epoch) const {
    if (name == "shared")
      return batching::shared_prefix{.tokens = tokens, .groups_per_step = groups}.plan(shapes, seed, epoch);
    epoch_plan plan = batching::separate{.groups_per_step = groups}.plan(shapes, seed, epoch);
    if (name == "separate") return plan;
    for (step_plan& step : plan.steps)
      for (micro_batch& batch : step.micro_batches) batch.arranged = arrangement::end_to_end;
    return plan;
  }
};
static_assert(batching_strategy<arranged_groups>);

/// Groups of random tokens: one prompt, then a chosen and the rejected answers, each behind that prompt.
in_memory_store random_groups(std::int64_t prompt, std::int64_t answer, std::int64_t answers, std::int64_t groups,
                              std::int64_t vocabulary) {
  in_memory_store data;
  random_stream random(1, random_purpose::user);
  const auto append = [&](std::int64_t count, std::vector<std::int32_t>& to) {
    for (std::int64_t i = 0; i < count; ++i)
      to.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  };
  for (std::int64_t group = 0; group < groups; ++group) {
    std::vector<std::int32_t> shared;
    append(prompt, shared);
    for (std::int64_t j = 0; j < answers; ++j) {
      encoded_sequence own;
      own.tokens = shared;
      append(answer, own.tokens);
      own.labels.assign(own.tokens.size(), no_label);
      own.weights.assign(own.tokens.size(), 0.0F);
      for (std::size_t row = shared.size() - 1; row + 1 < own.tokens.size(); ++row) {
        own.labels[row] = own.tokens[row + 1];
        own.weights[row] = 1.0F;
      }
      own.prompt = prompt;
      own.group = group;
      own.role = static_cast<std::int32_t>(j);
      data.add(std::move(own));
    }
  }
  return data;
}

auto make_program(const settings& asked, store_type& weights, const std::string& layout, dist::single& group) {
  return lodestone::program{model_type{weights.config(), weights},
                            loss::logo{.gamma = 3.0},
                            arranged_groups{layout, asked.groups, asked.tokens()},
                            position::logo_mix{.window = asked.window()},
                            asked.kept,
                            optim::adamw{.learning_rate = 1e-5},
                            group};
}

struct timed {
  std::string layout;
  decltype(make_program(std::declval<const settings&>(), std::declval<store_type&>(), {},
                        std::declval<dist::single&>())) program;
  epoch_plan plan;
  train::need need;
  double operations = 0.0;  // of a step that keeps everything
  std::vector<double> times;

  [[nodiscard]] double median() {
    std::ranges::sort(times);
    return times[times.size() / 2];
  }
};

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

std::int64_t device_bytes_in_use() {
  std::size_t free = 0;
  std::size_t total = 0;
  on_cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<std::int64_t>(total - free);
}

/// Operations of one group in a layout when nothing is computed twice but what the layout itself repeats.
double operations(const model_config& config, const token_batch& batch, arrangement arranged,
                  const trained_parts& trained) {
  const activation_table table = activations::keep_all{}.table(config.layers);
  const auto both = [&](const token_batch& stream, bool is_linear) {
    return train::count_micro_batch<model_type>(config, stream, table, is_linear, trained).done.flops();
  };
  if (arranged != arrangement::one_by_one) return both(batch, false);
  double sum = 0.0;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const token_batch stream = batching::single(batch, s);
    sum += train::count_forward<model_type>(config, stream, trained).flops() + both(stream, true);
  }
  return sum;
}

void time_layouts(const settings& asked, store_type& weights) {
  std::vector<std::string> layouts{asked.layout};
  if (asked.layout == "both") layouts = {"shared", "separate"};
  if (asked.layout == "all") layouts = {"shared", "separate", "rows"};
  const in_memory_store data =
      random_groups(asked.prompt, asked.answer, asked.answers(), asked.groups, weights.config().vocabulary);
  dist::single group;
  cuda<bf16>& backend = weights.backend();
  std::vector<timed> all;
  std::int64_t most_device = 0;
  std::int64_t most_host = 0;
  for (const std::string& layout : layouts) {
    timed own{layout, make_program(asked, weights, layout, group), {}, {}, 0.0, {}};
    own.plan = own.program.plan(data, 1, 0);
    const double begin = seconds();
    own.need = asked.rehearses ? own.program.rehearse(data, own.plan) : own.program.reserve(data, own.plan);
    std::printf("%s: ready after %.1f s\n", layout.c_str(), seconds() - begin);
    const micro_batch& first = own.plan.steps.front().micro_batches.front();
    if (layouts.size() > 1)
      own.operations =
          static_cast<double>(asked.groups) *
          operations(weights.config(), batching::assemble(data, first, own.program.position(), 1, 0, 0),
                     first.arranged, weights.trained());
    most_device = std::max(most_device, own.need.activation_bytes);
    most_host = std::max(most_host, own.need.parked_bytes);
    all.push_back(std::move(own));
  }
  if (layouts.size() > 1) {
    backend.reserve_parking(most_host);
    backend.memory().reserve(most_device);
  }
  if (asked.rehearses)
    for (timed& own : all)
      std::printf("%s: loss %.6f before the first step\n", own.layout.c_str(),
                  own.program.gradients(data, own.plan.steps.front(), {.seed = 1}));
  for (std::int64_t number = 1; number <= asked.steps; ++number)
    for (timed& own : all) {
      backend.synchronize();
      const double begin = seconds();
      const auto result =
          own.program.step(data, own.plan.steps.front(), {.number = number, .total = asked.steps, .seed = 1});
      backend.synchronize();
      own.times.push_back(seconds() - begin);
      if (!asked.rehearses)
        std::printf("%s: loss %.6f, step %.1f s\n", own.layout.c_str(), result.loss, own.times.back());
      std::fflush(stdout);
    }
  const double tokens = static_cast<double>(asked.groups * asked.tokens());
  for (timed& own : all) {
    std::printf("%s: step %.1f ms, %.0f tokens/s of prompts and answers; weights %.2f, training %.2f, activations "
                "%.2f, on the host %.2f GiB",
                own.layout.c_str(), 1e3 * own.median(), tokens / own.median(), gib(own.need.weight_bytes),
                gib(own.need.training_bytes), gib(own.need.activation_bytes), gib(own.need.parked_bytes));
    if (own.layout != "separate")  // its need is that of one answer
      std::printf("; %.0f TFLOP/s of products, %.0f of attention",
                  static_cast<double>(asked.groups) * own.need.done.matrix_flops / own.median() * 1e-12,
                  static_cast<double>(asked.groups) * own.need.done.attention_flops / own.median() * 1e-12);
    std::printf("\n");
  }
  for (std::size_t i = 1; i < all.size(); ++i)
    std::printf("%s / shared: %.2f of time, %.2f of operations\n", all[i].layout.c_str(),
                all[i].median() / all.front().median(), all[i].operations / all.front().operations);
  std::printf("device in use %.2f GiB; arena %.2f GiB at its peak, %lld blocks outside it; %.2f GiB parked\n",
              gib(device_bytes_in_use()), gib(backend.memory().peak()),
              static_cast<long long>(backend.memory().outside()), gib(backend.parking().peak()));
}

/// Peaks of one micro-batch: groups that share their prompt, and one text with as many tokens and targets.
void measure_memory(const settings& asked, store_type& weights) {
  cuda<bf16>& backend = weights.backend();
  const model_config& config = weights.config();
  model_type model(config, weights);
  const position::logo_mix spread{.window = asked.window()};
  activation_table table = asked.kept.table(config.layers);
  const auto stream = [&](std::int64_t answers, bool is_plain) {
    const in_memory_store data = is_plain
                                     ? random_groups(asked.prompt, answers * asked.answer, 1, 1, config.vocabulary)
                                     : random_groups(asked.prompt, asked.answer, answers, 1, config.vocabulary);
    micro_batch plan;
    for (std::int64_t i = 0; i < data.size(); ++i) plan.examples.push_back(i);
    if (!is_plain) plan.arranged = arrangement::shared_prompt;
    return batching::assemble(data, plan, spread, 1, 0, 0);
  };
  if (asked.kept.budget())
    table = train::fit_activations<model_type>(
                config, stream(asked.answers(), false), backend.available_memory(),
                asked.kept.budget()->parking(backend.available_parking()), false, weights.trained()).table;
  const auto peak = [&](std::int64_t answers, bool is_plain) {
    const token_batch batch = stream(answers, is_plain);
    const train::need need = train::count_micro_batch<model_type>(config, batch, table, false, weights.trained());
    backend.reserve_parking(need.parked_bytes);
    backend.memory().reserve(need.activation_bytes);
    const auto none = [](std::span<const double>, std::span<double> c) {
      std::ranges::fill(c, 0.0);
      return 0.0;
    };
    model.train(batch, table, false, none, true);
    backend.synchronize();
    const std::int64_t found = backend.memory().peak();
    std::printf("%s of %lld tokens: activations %.3f GiB (%.3f counted, %lld blocks outside), parked %.3f, in all %.2f "
                "GiB\n",
                is_plain ? "plain text" : "shared prompt", static_cast<long long>(batch.size()), gib(found),
                gib(need.activation_bytes), static_cast<long long>(backend.memory().outside()), gib(need.parked_bytes),
                gib(found + need.weight_bytes + need.training_bytes));
    return found + need.parked_bytes;
  };
  const std::int64_t more = peak(asked.answers(), false) - peak(2, false);
  const std::int64_t plain = peak(asked.answers(), true) - peak(2, true);
  std::printf("%lld rejected answers over 1: %.3f GiB more; as many tokens of plain text: %.3f GiB\n",
              static_cast<long long>(asked.rejected), gib(more), gib(plain));
}

}  // namespace

int main(int argc, char** argv) {
  settings asked;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto next = [&] { return i + 1 < argc ? argv[++i] : const_cast<char*>("0"); };
    if (word == "--layers") asked.layers = std::atoll(next());
    if (word == "--lora") asked.rank = std::atoll(next());
    if (word == "--prompt") asked.prompt = std::atoll(next());
    if (word == "--answer") asked.answer = std::atoll(next());
    if (word == "--rejected") asked.rejected = std::atoll(next());
    if (word == "--groups") asked.groups = std::atoll(next());
    if (word == "--spread") asked.spread = std::atoll(next());
    if (word == "--layout") asked.layout = next();
    if (word == "--steps") asked.steps = std::atoll(next());
    if (word == "--activations") asked.kept.name = next();
    if (word == "--mlp-rows") asked.kept.mlp_rows = std::atoll(next());
    if (word == "--host-gib") asked.kept.host_bytes = std::atoll(next()) << 30;
    if (word == "--kept-attention") asked.kept.kept_attention = std::atoll(next());
    if (word == "--memory") asked.measures_memory = true;
    if (word == "--no-rehearsal") asked.rehearses = false;
  }
  const model_config config = shapes(true, asked.layers);
  const trained_parts trained =
      trained_parts::only({.rank = asked.rank, .alpha = static_cast<double>(asked.rank)});
  store_type weights(config, std::make_unique<cuda<bf16>>(), parameters::purpose::training, {}, trained);
  std::printf("%s, 8B, %lld layers, adapters of rank %lld, %s; %lld x (prompt of %lld, %lld answers of %lld), position "
              "ids below %lld\n",
              weights.backend().facts().name.c_str(), static_cast<long long>(config.layers),
              static_cast<long long>(asked.rank), asked.kept.name.data(), static_cast<long long>(asked.groups),
              static_cast<long long>(asked.prompt), static_cast<long long>(asked.answers()),
              static_cast<long long>(asked.answer), static_cast<long long>(asked.window()));
  randomise(weights);
  std::fflush(stdout);
  if (asked.measures_memory)
    measure_memory(asked, weights);
  else
    time_layouts(asked, weights);
}
