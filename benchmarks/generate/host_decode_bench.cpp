// Decoding on the CPU: tokens a second of one sequence, and of several together, behind a short prompt.
//
//     host_decode_bench MODEL_FOLDER [threads] [sequences] [new tokens] [rounds]
//
// Greedy, float, 200 new tokens a sequence unless told otherwise; the best of the rounds counts. With "-" in place of
// rounds it answers each line of standard input with the seconds of one round: benchmarks/peers/host_decode.py lets it
// take turns with transformers that way.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/model/llama.hpp>

int main(int argc, char** argv) {
  using namespace lodestone;
  if (argc < 2) {
    std::fputs("host_decode_bench MODEL_FOLDER [threads] [sequences] [new tokens] [rounds or -]\n", stderr);
    return 2;
  }
  const auto number = [&](int i, std::int64_t otherwise) {
    return argc > i ? std::int64_t{std::atoi(argv[i])} : otherwise;
  };
  parameters::load_options options;
  options.use = parameters::purpose::inference;
  options.threads = static_cast<int>(number(2, 1));
  const std::int64_t sequences = number(3, 1);
  const std::int64_t tokens = number(4, 200);
  auto weights = parameters::load<host<float>>(argv[1], {}, options);
  using model_type = llama<host<float>, blocked_attention>;
  model_type model(weights.config(), weights);
  generate::token_generator<model_type> generator(model, {.sequences = sequences, .cache_tokens = sequences * 512});
  std::vector<generate::token_request> asked;
  for (std::int64_t i = 0; i < sequences; ++i)
    asked.push_back({{1, 2 + static_cast<std::int32_t>(i), 80, 147, 201, 282, 215, 286}, tokens, tokens, {},
                     weights.config().eos_tokens});
  std::int64_t made = 0;
  const auto seconds = [&] {
    const auto start = std::chrono::steady_clock::now();
    generator.run(asked, [&](std::size_t, std::int32_t) { return ++made > 0; }, [](std::size_t, generate::finish) {});
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  static_cast<void>(seconds());  // memory is touched, threads run
  if (argc > 5 && std::string(argv[5]) == "-") {
    for (int c = std::getchar(); c != EOF; c = std::getchar())
      if (c == '\n') {
        std::printf("%.6f\n", seconds());
        std::fflush(stdout);
      }
    return 0;
  }
  double best = seconds();
  for (std::int64_t round = 1; round < number(5, 20); ++round) best = std::min(best, seconds());
  std::printf("%lld x %lld tokens, %d threads: %.0f tokens/s, %.1f us a pass\n", static_cast<long long>(sequences),
              static_cast<long long>(tokens), options.threads, static_cast<double>(sequences * tokens) / best,
              best / static_cast<double>(tokens) * 1e6);
  return 0;
}
