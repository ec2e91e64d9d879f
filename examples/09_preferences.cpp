// Preferences: LOGO over groups of answers that share their prompt, with position ids spread over a longer window.
#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/logo.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/train/program.hpp>

using namespace lodestone;

int main(int, char** arguments) {
  const std::filesystem::path folder = std::filesystem::path(arguments[1]) / "models" / "tinystories-656k";
  const tokenizer tokens_of = tokenizer::load(folder);
  constexpr std::array things{"ball", "cat", "dog", "cake", "hat", "car"};
  in_memory_store groups;  // one example for each answer: the prompt's tokens, then its own
  for (std::int64_t group = 0; group < 24; ++group)
    for (std::int32_t role = 0; role < 3; ++role) {  // 0: chosen
      const std::string seen = things[static_cast<std::size_t>(group) % 6];
      const std::string said = things[static_cast<std::size_t>(group + role) % 6];
      encoded_sequence answer;
      answer.tokens = tokens_of.encode("The child saw a big " + seen + ". What did it see? It saw a big");
      answer.group = group, answer.role = role, answer.prompt = answer.size();
      for (const std::int32_t token : tokens_of.encode(said + ".", false)) answer.tokens.push_back(token);
      for (std::int64_t row = 0; row < answer.size(); ++row) {  // row r predicts token r + 1 of the answer
        const bool is_target = row + 1 >= answer.prompt && row + 1 < answer.size();
        answer.labels.push_back(is_target ? answer.tokens[static_cast<std::size_t>(row + 1)] : no_label);
        answer.weights.push_back(is_target ? 1.0F : 0.0F);
      }
      groups.add(answer);
    }
  dist::single communicator;
  auto weights = parameters::load<host<float>>(folder, communicator);
  auto program = lodestone::program{llama<host<float>, blocked_attention>{weights.config(), weights},
                                    loss::logo{.beta = 2.0, .gamma = 0.5, .sft_weight = 0.1},
                                    batching::shared_prefix{.tokens = 512, .groups_per_step = 8},
                                    position::logo_mix{.window = 256, .rule = {.chunk = 4, .question = 4}},
                                    activations::checkpoint{},
                                    optim::adamw{.learning_rate = 2e-3},
                                    communicator};
  const preference_summary before = program.evaluate(groups).preference;
  constexpr std::uint64_t seed = 1, epochs = 8;
  std::int64_t number = 0;
  for (std::uint64_t epoch = 0; epoch < epochs; ++epoch)
    for (const step_plan& step : program.plan(groups, seed, epoch).steps)
      program.step(groups, step, {.number = ++number, .total = 3 * epochs, .seed = seed, .epoch = epoch});
  const preference_summary after = program.evaluate(groups).preference;
  std::printf("margin: %.3f before, %.3f after; the chosen answer wins in %.0f%% and %.0f%% of the groups\n",
              before.margin, after.margin, 100.0 * before.accuracy, 100.0 * after.accuracy);
  return after.margin > before.margin ? 0 : 1;
}
