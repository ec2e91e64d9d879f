// Full fine-tuning steps of Llama-3.2-1B's shapes with random weights on one GPU, in tokens/s.
//
//     train_step_bench [--tokens N] [--layers N] [--steps N] [--packs]
//                      [--activations keep-attention|checkpoint|keep-all]
//
// One document of N tokens, or with --packs documents of 512 to 16k tokens, N in all; every token scored, AdamW, bf16
// with float master weights. Prints the median step and the peak of the arena, and for
// the peer, benchmarks/peers/full_step.py, the lengths of the documents.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/cuda.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/model/stored_tensors.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/program.hpp>

namespace {

using namespace lodestone;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct activation_choice {
  std::string_view name;
  [[nodiscard]] activation_table table(std::int64_t layers) const {
    if (name == "keep-all") return activations::keep_all{}.table(layers);
    if (name == "checkpoint") return activations::checkpoint{}.table(layers);
    return activations::keep_attention{}.table(layers);
  }
};

encoded_sequence random_document(std::int64_t length, std::int64_t vocabulary, std::uint64_t seed) {
  random_stream random(seed, random_purpose::user);
  encoded_sequence own;
  for (std::int64_t i = 0; i < length; ++i)
    own.tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  own.labels.assign(own.tokens.begin() + 1, own.tokens.end());
  own.weights.assign(own.labels.size(), 1.0F);
  own.labels.push_back(no_label), own.weights.push_back(0.0F);
  return own;
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t tokens = 32'768;
  std::int64_t layers = 16;
  std::int64_t steps = 5;
  bool packs = false;
  activation_choice kept{"keep-attention"};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto next = [&] { return i + 1 < argc ? argv[++i] : const_cast<char*>("0"); };
    if (word == "--tokens") tokens = std::atoll(next());
    if (word == "--layers") layers = std::atoll(next());
    if (word == "--steps") steps = std::atoll(next());
    if (word == "--activations") kept.name = next();
    if (word == "--packs") packs = true;
  }
  model_config config;
  config.architecture = "LlamaForCausalLM";
  config.hidden = 2048;
  config.layers = layers;
  config.heads = 32;
  config.kv_heads = 8;
  config.head_dim = 64;
  config.feed_forward = 8192;
  config.vocabulary = 128'256;
  config.norm_epsilon = 1e-5;
  config.tied_head = true;
  config.max_positions = 131'072;
  config.rope.dimensions = 64;
  config.rope.base = 5e5;
  config.rope.max_positions = 131'072;

  dist::single group;
  parameters::replicated<cuda<bf16>> weights(config, std::make_unique<cuda<bf16>>(), parameters::purpose::training);
  std::printf("%s, %lld tokens, %lld layers, %s\n", weights.backend().facts().name.c_str(),
              static_cast<long long>(tokens), static_cast<long long>(layers), kept.name.data());
  random_stream random(1, random_purpose::initialise);
  std::vector<float> pool(std::size_t{1} << 22);
  for (float& value : pool) value = 0.02F * static_cast<float>(random.normal());
  std::vector<float> elements;
  for (const stored_tensor& tensor : stored_tensors(weights)) {
    elements.resize(static_cast<std::size_t>(tensor.count));
    for (std::size_t i = 0; i < elements.size(); ++i)
      elements[i] = pool[(i + static_cast<std::size_t>(tensor.offset)) % pool.size()];
    if (tensor.shape.size() == 1) std::ranges::fill(elements, 1.0F);
    weights.set_weights(tensor, elements);
  }

  in_memory_store data;
  if (packs) {
    std::int64_t left = tokens;
    for (std::uint64_t i = 0; left > 1; ++i) {
      random_stream draw(i, random_purpose::user);
      const auto wanted = static_cast<std::int64_t>(512.0 * std::pow(32.0, draw.uniform()));
      const std::int64_t length = std::min(left, wanted);
      data.add(random_document(length, config.vocabulary, i));
      left -= length;
    }
  } else {
    data.add(random_document(tokens, config.vocabulary, 1));
  }
  auto program = lodestone::program{llama<cuda<bf16>, flash_mma>{config, weights},
                                    loss::weighted_sft{.per = normalize::token},
                                    batching::packed{.tokens = tokens, .packs_per_step = 1},
                                    position::contiguous{},
                                    kept,
                                    optim::adamw{.learning_rate = 1e-5},
                                    group};
  program.model().set_head_chunk_bytes(std::int64_t{1} << 30);
  const epoch_plan plan = program.plan(data, 1, 0);
  const train::need need = program.rehearse(data, plan);
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
  std::printf("--lengths ");
  for (std::int64_t i = 0; i < data.size(); ++i)
    std::printf("%s%lld", i == 0 ? "" : ",", static_cast<long long>(data.length(i)));
  std::printf("\ndocuments %lld, loss %.4f, step %.1f ms, %.0f tokens/s\n", static_cast<long long>(data.size()), loss,
              1e3 * median, static_cast<double>(tokens) / median);
  std::printf("weights %.2f, training %.2f, activations %.2f GiB; %.0f TFLOP/s of products, %.0f of attention\n",
              static_cast<double>(need.weight_bytes) / (1 << 30), static_cast<double>(need.training_bytes) / (1 << 30),
              static_cast<double>(need.activation_bytes) / (1 << 30), need.done.matrix_flops / median * 1e-12,
              need.done.attention_flops / median * 1e-12);
}
