// Training steps of Llama-3.2-1B's or Llama-3-8B's shapes with random weights on one GPU, in tokens/s.
//
//     train_step_bench [--model 1b|8b] [--layers N] [--lora RANK] [--tokens N] [--scored N] [--packs | --mix N]
//                      [--steps N] [--mlp-rows N] [--no-rehearsal]
//                      [--activations keep-attention|checkpoint|keep-all|offload|offload-inputs|automatic]
//                      [--kept-attention N] [--parked-attention N] [--host-budget GIB]
//
// One document of N tokens; with --packs documents of 512 to 16k tokens, N in all; with --mix N packs of documents as
// in LongAlign's data, most under 8k and the rest even to 64k. Every token scored, or the last ones of each document.
// AdamW on everything, bf16 with float master weights, or on adapters of q, k, v, o. --kept-attention keeps the
// attention outputs of the last N layers before the very last one on the device, --parked-attention those of N layers
// before them on the host, whatever --activations does with the others; --host-budget is what `automatic` may take of
// the host's memory. Prints the median step, the peak of the arena and, for the peers
// benchmarks/peers/{full,lora}_step.py, the lengths of the documents.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include <lodestone/batching/packed.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/cuda.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/program.hpp>

#include "random_llama.hpp"

namespace {

using namespace lodestone;
using namespace lodestone_bench;

/// Its last `scored` tokens are targets; 0: all.
encoded_sequence random_document(std::int64_t length, std::int64_t vocabulary, std::uint64_t seed,
                                 std::int64_t scored) {
  random_stream random(seed, random_purpose::user);
  encoded_sequence own;
  for (std::int64_t i = 0; i < length; ++i)
    own.tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  own.labels.assign(own.tokens.begin() + 1, own.tokens.end());
  own.weights.assign(own.labels.size(), 1.0F);
  own.labels.push_back(no_label), own.weights.push_back(0.0F);
  for (std::int64_t i = 0; scored > 0 && i < length - 1 - scored; ++i) {
    own.labels[static_cast<std::size_t>(i)] = no_label;
    own.weights[static_cast<std::size_t>(i)] = 0.0F;
  }
  return own;
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t tokens = 32'768;
  std::int64_t layers = 0;
  std::int64_t steps = 5;
  std::int64_t rank = 0;
  std::int64_t scored = 0;
  std::int64_t mix = 0;
  bool rehearses = true;
  bool packs = false;
  bool large = false;
  activation_choice kept{"keep-attention"};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto next = [&] { return i + 1 < argc ? argv[++i] : const_cast<char*>("0"); };
    if (word == "--tokens") tokens = std::atoll(next());
    if (word == "--layers") layers = std::atoll(next());
    if (word == "--steps") steps = std::atoll(next());
    if (word == "--activations") kept.name = next();
    if (word == "--mlp-rows") kept.mlp_rows = std::atoll(next());
    if (word == "--kept-attention") kept.kept_attention = std::atoll(next());
    if (word == "--parked-attention") kept.parked_attention = std::atoll(next());
    if (word == "--host-budget") kept.host_bytes = std::atoll(next()) << 30;
    if (word == "--lora") rank = std::atoll(next());
    if (word == "--scored") scored = std::atoll(next());
    if (word == "--mix") mix = std::atoll(next());
    if (word == "--model") large = std::string_view(next()) == "8b";
    if (word == "--packs") packs = true;
    if (word == "--no-rehearsal") rehearses = false;
  }
  const model_config config = shapes(large, layers);
  const trained_parts trained =
      rank > 0 ? trained_parts::only({.rank = rank, .alpha = static_cast<double>(rank)}) : trained_parts{};

  dist::single group;
  store_type weights(config, std::make_unique<cuda<bf16>>(), parameters::purpose::training, {}, trained);
  std::printf("%s, %s, %s, %lld layers, %s\n", weights.backend().facts().name.c_str(), large ? "8B" : "1B",
              rank > 0 ? "adapters" : "trained in full", static_cast<long long>(config.layers), kept.name.data());
  randomise(weights);

  in_memory_store data;
  if (mix > 0) {
    // Nine of ten even from 512 to 8k, the others even to a pack.
    std::int64_t left = mix * tokens;
    for (std::uint64_t i = 0; left > 512; ++i) {
      random_stream draw(i, random_purpose::user);
      const bool is_short = draw.uniform() < 0.9;
      const double low = is_short ? 512.0 : 8192.0;
      const double high = is_short ? 8192.0 : static_cast<double>(tokens);
      const auto length = std::min(left, static_cast<std::int64_t>(low + (high - low) * draw.uniform()));
      data.add(random_document(length, config.vocabulary, i, scored));
      left -= length;
    }
  } else if (packs) {
    std::int64_t left = tokens;
    for (std::uint64_t i = 0; left > 1; ++i) {
      random_stream draw(i, random_purpose::user);
      const auto wanted = static_cast<std::int64_t>(512.0 * std::pow(32.0, draw.uniform()));
      const std::int64_t length = std::min(left, wanted);
      data.add(random_document(length, config.vocabulary, i, scored));
      left -= length;
    }
  } else {
    data.add(random_document(tokens, config.vocabulary, 1, scored));
  }
  auto program = lodestone::program{llama<cuda<bf16>, flash_mma>{config, weights},
                                    loss::weighted_sft{.per = normalize::token},
                                    batching::packed{.tokens = tokens, .packs_per_step = mix > 0 ? 1'000 : 1},
                                    position::contiguous{},
                                    kept,
                                    optim::adamw{.learning_rate = 1e-5},
                                    group};
  const epoch_plan plan = program.plan(data, 1, 0);
  const train::need need = rehearses ? program.rehearse(data, plan) : program.reserve(data, plan);
  std::vector<double> times;
  double loss = 0.0;
  for (std::int64_t number = 1; number <= steps; ++number) {
    const double begin = seconds();
    loss = program.step(data, plan.steps.front(), {.number = number, .total = steps, .seed = 1}).loss;
    weights.backend().synchronize();
    times.push_back(seconds() - begin);
  }
  std::ranges::sort(times);
  const double median = times[times.size() / 2];
  std::int64_t total = 0;
  std::printf("--lengths ");
  for (const micro_batch& batch : plan.steps.front().micro_batches) {
    if (&batch != &plan.steps.front().micro_batches.front()) std::printf("/");
    for (const std::int64_t example : batch.examples) {
      std::printf("%s%lld", example == batch.examples.front() ? "" : ",", static_cast<long long>(data.length(example)));
      total += data.length(example);
    }
  }
  std::printf("\ndocuments %lld, tokens %lld, loss %.4f, step %.1f ms, %.0f tokens/s\n",
              static_cast<long long>(data.size()), static_cast<long long>(total), loss, 1e3 * median,
              static_cast<double>(total) / median);
  if (plan.steps.front().micro_batches.size() > 1) return 0;  // what follows was counted for the largest pack
  std::printf("weights %.2f, training %.2f, activations %.2f, on the host %.2f GiB; %.0f TFLOP/s of products, %.0f of "
              "attention\n",
              static_cast<double>(need.weight_bytes) / (1 << 30), static_cast<double>(need.training_bytes) / (1 << 30),
              static_cast<double>(need.activation_bytes) / (1 << 30),
              static_cast<double>(need.parked_bytes) / (1 << 30), need.done.matrix_flops / median * 1e-12,
              need.done.attention_flops / median * 1e-12);
}
