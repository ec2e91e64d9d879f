// A full training program: every part is named in one place, and the compiler checks that they fit.
#include <cstdio>
#include <filesystem>
#include <set>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/packed.hpp>
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
using model = llama<host<float>, blocked_attention>;  // on a GPU: llama<cuda<bf16>, flash_or_reference>

// Plain text as an example: every token but the first is a target.
encoded_sequence text_example(const tokenizer& tokens_of, const std::string& text, std::size_t longest) {
  encoded_sequence example;
  example.tokens = tokens_of.encode(text);
  example.tokens.resize(std::min(example.tokens.size(), longest));
  example.labels.assign(example.tokens.begin() + 1, example.tokens.end());
  example.weights.assign(example.labels.size(), 1.0F);
  example.labels.push_back(no_label), example.weights.push_back(0.0F);
  return example;
}

int main(int, char** arguments) {
  const std::filesystem::path data = arguments[1];  // examples/data
  const std::filesystem::path folder = data / "models" / "tinystories-656k";
  const tokenizer tokens_of = tokenizer::load(folder);
  in_memory_store train, held_out;
  const std::set<std::filesystem::path> files{std::filesystem::directory_iterator(data / "state_union"), {}};
  for (std::int64_t number = 0; const auto& file : files)
    (number++ % 6 == 0 ? held_out : train).add(text_example(tokens_of, read_text(file), 256));

  dist::single communicator;
  auto weights = parameters::load<model::backend_type>(folder, communicator);
  auto program = lodestone::program{model{weights.config(), weights},
                                    loss::weighted_sft{.per = normalize::sequence},
                                    batching::packed{.tokens = 1'024, .packs_per_step = 2},
                                    position::contiguous{},
                                    activations::checkpoint{},
                                    optim::adamw{.learning_rate = 3e-3},
                                    communicator};
  const double before = program.evaluate(held_out).sequence_loss;
  const epoch_plan plan = program.plan(train, /*seed=*/1, /*epoch=*/0);
  for (std::int64_t number = 1; const step_plan& step : plan.steps) {
    const auto result = program.step(train, step, {.number = number++, .total = std::ssize(plan.steps), .seed = 1});
    std::printf("step %d of %zu: loss %.4f\n", static_cast<int>(number - 1), plan.steps.size(), result.loss);
  }
  const double after = program.evaluate(held_out).sequence_loss;
  std::printf("held-out loss: %.4f before, %.4f after one epoch\n", before, after);
  parameters::save_folder(weights, "tuned", folder);  // config.json, model.safetensors, tokenizer.json
  return after < before ? 0 : 1;
}
