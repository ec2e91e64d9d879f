// Low-rank adapters: the weights stay as they are, and what was trained is a small folder that PEFT reads.
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/checkpoint/adapter.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/train/program.hpp>

using namespace lodestone;

int main(int, char** arguments) {
  const std::filesystem::path data = arguments[1];  // examples/data
  const std::filesystem::path folder = data / "models" / "tinystories-656k";
  const tokenizer tokens_of = tokenizer::load(folder);
  in_memory_store speeches;
  for (const auto& file : std::filesystem::directory_iterator(data / "state_union")) {
    encoded_sequence example;
    example.tokens = tokens_of.encode(read_text(file.path()));
    example.tokens.resize(256);
    example.labels.assign(example.tokens.begin() + 1, example.tokens.end());
    example.weights.assign(example.labels.size(), 1.0F);
    example.labels.push_back(no_label), example.weights.push_back(0.0F);
    speeches.add(example);
  }

  dist::single communicator;
  const adapter_config adapters{.rank = 8, .alpha = 16.0, .targets = {"all-linear"}};
  auto weights = parameters::load<host<float>>(folder, communicator, {.trained = trained_parts::only(adapters)});
  auto program = lodestone::program{llama<host<float>, blocked_attention>{weights.config(), weights},
                                    loss::weighted_sft{.per = normalize::sequence},
                                    batching::packed{.tokens = 1'024, .packs_per_step = 2},
                                    position::contiguous{},
                                    activations::checkpoint{},
                                    optim::adamw{.learning_rate = 1e-2},
                                    communicator};
  const double before = program.evaluate(speeches).sequence_loss;
  const epoch_plan plan = program.plan(speeches, /*seed=*/1, /*epoch=*/0);
  for (std::int64_t number = 1; const step_plan& step : plan.steps)
    program.step(speeches, step, {.number = number++, .total = std::ssize(plan.steps), .seed = 1});
  const double after = program.evaluate(speeches).sequence_loss;
  std::printf("loss: %.4f before, %.4f after one epoch\n", before, after);

  parameters::save_adapter(weights, "adapter", folder.string());  // adapter_config.json, adapter_model.safetensors
  thread_pool pool(thread_pool::default_threads());
  merge_adapter(folder, "adapter", "merged", {.type = dtype::f32}, pool);  // a model folder for every other tool
  return after < before ? 0 : 1;
}
