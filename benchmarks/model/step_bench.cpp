// A training step of TinyStories-656K on the host, in tokens/s, as a share of the measured rate of matrix products, and
// beside PyTorch on the same cores; then its time and memory from 1k to 16k tokens.
//
//     step_bench [--threads N] [--repeats N] [--torch PYTHON]
//
// --torch names a Python that has torch and transformers; it runs benchmarks/model/torch_step.py on the same packs.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/memory.hpp>
#include <lodestone/train/step.hpp>

using namespace lodestone;

namespace {

using backend = host<float>;
using store_type = parameters::replicated<backend>;
using model_type = llama<backend, blocked_attention>;

struct settings {
  int threads = 2;
  int repeats = 5;
  std::string torch;
};

/// Documents of random tokens, every token but the first a target.
class documents {
 public:
  documents(std::vector<std::int64_t> lengths, std::int64_t vocabulary) : lengths_(std::move(lengths)) {
    random_stream random(1, random_purpose::user);
    for (const std::int64_t length : lengths_) {
      auto& tokens = tokens_.emplace_back(static_cast<std::size_t>(length));
      const auto bound = static_cast<std::uint64_t>(vocabulary);
      for (auto& token : tokens) token = static_cast<std::int32_t>(random.below(bound));
      auto& labels = labels_.emplace_back(tokens.begin() + 1, tokens.end());
      labels.push_back(no_label);
      weights_.emplace_back(tokens.size(), 1.0F).back() = 0.0F;
    }
  }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(lengths_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const { return lengths_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    return {tokens_[at], labels_[at], weights_[at], 1.0, i};
  }
  [[nodiscard]] std::int64_t tokens() const {
    return std::accumulate(lengths_.begin(), lengths_.end(), std::int64_t{0});
  }

 private:
  std::vector<std::int64_t> lengths_;
  std::vector<std::vector<std::int32_t>> tokens_;
  std::vector<std::vector<std::int32_t>> labels_;
  std::vector<std::vector<float>> weights_;
};

/// Median seconds of `repeats` runs after two that warm up.
template <class Run>
double median_seconds(int repeats, const Run& run) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats + 2; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= 2) seconds.push_back(taken.count());
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

/// Operations per second of y = x wT with 1024 x 1024 operands.
double product_rate(int threads, int repeats) {
  constexpr std::int64_t size = 1024;
  backend b(threads);
  const extents<2> shape{{size, size}};
  tensor<float, 2> x(shape);
  tensor<float, 2> w(shape);
  tensor<float, 2> y(shape);
  std::ranges::fill(x.flat(), 0.5F);
  std::ranges::fill(w.flat(), 0.25F);
  const auto run = [&] { b.gemm_nt(std::as_const(x).view(), std::as_const(w).view(), y.view(), 0.0F); };
  return 2.0 * size * size * size / median_seconds(repeats, run);
}

struct measurement {
  double seconds = 0.0;
  double tokens_per_second = 0.0;
  train::need need;
};

measurement measure(const model_config& config, const std::vector<std::int64_t>& lengths, const settings& s) {
  const documents data(lengths, config.vocabulary);
  store_type store(config, std::make_unique<backend>(s.threads), parameters::purpose::training);
  random_stream random(2, random_purpose::initialise);
  for (std::int64_t unit = 0; unit < store.units(); ++unit) {
    const std::span<float> weights = store.mutable_weights(unit).flat();
    for (float& value : weights) value = static_cast<float>(0.05 * random.normal());
  }
  model_type model(config, store);
  const activation_table table = activations::keep_all{}.table(config.layers);
  step_plan plan;
  plan.micro_batches.emplace_back();
  for (std::int64_t i = 0; i < data.size(); ++i) plan.micro_batches.front().examples.push_back(i);
  const batching::assignment ranks{.of_rank = {{0}}};
  const optim::adamw optimizer{.learning_rate = 1e-4};
  dist::single group;
  std::int64_t number = 0;
  measurement result;
  result.seconds = median_seconds(s.repeats, [&] {
    const auto done = train::run_step(model, loss::weighted_sft{.per = normalize::token}, data, plan, ranks,
                                      position::contiguous{}, table, optimizer, {.number = ++number, .total = 1000},
                                      group);
    if (done.skipped) throw numeric_error("the step was not finite", "step_bench", "report this");
  });
  result.tokens_per_second = static_cast<double>(data.tokens()) / result.seconds;
  const token_batch batch = batching::assemble(data, plan.micro_batches.front(), position::contiguous{}, 0, 0, 0);
  result.need = train::count_micro_batch<model_type>(config, batch, table);
  return result;
}

std::string join(const std::vector<std::int64_t>& lengths) {
  std::string text;
  for (const std::int64_t length : lengths) {
    if (!text.empty()) text += ',';
    text += std::to_string(length);
  }
  return text;
}

/// Tokens/s that torch_step.py reports for a pack; 0 when it could not run.
double torch_rate(const std::string& folder, const std::vector<std::int64_t>& lengths, const settings& s) {
  const std::string command = s.torch + " '" LODESTONE_SOURCE_DIR "/benchmarks/model/torch_step.py' '" + folder +
                              "' --threads " + std::to_string(s.threads) + " --repeats " + std::to_string(s.repeats) +
                              " --lengths " + join(lengths);
  std::string output;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  for (char text[4096]; pipe && std::fgets(text, sizeof text, pipe.get()) != nullptr;) output += text;
  const auto line = nlohmann::json::parse(output, nullptr, false);
  return line.is_object() ? line.value("tokens_per_second", 0.0) : 0.0;
}

settings read_arguments(int count, char** words) {
  settings s;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view word = words[i];
    if (word == "--threads") s.threads = std::atoi(words[i + 1]);
    else if (word == "--repeats") s.repeats = std::atoi(words[i + 1]);
    else if (word == "--torch") s.torch = words[i + 1];
    else throw config_error("unknown argument", std::string(word), "--threads N, --repeats N or --torch PYTHON");
  }
  if (s.threads < 1 || s.repeats < 1) throw config_error("must be at least 1", "--threads and --repeats");
  return s;
}

}  // namespace

int main(int count, char** words) try {
  const settings s = read_arguments(count, words);
  const std::string folder = LODESTONE_SOURCE_DIR "/examples/data/models/tinystories-656k";
  const model_config config = read_model_config(folder);
  const double roof = product_rate(s.threads, s.repeats);
  std::printf("matrix products of 1024 x 1024: %.1f GFLOP/s on %d threads\n\n", roof * 1e-9, s.threads);

  std::printf("%-24s %10s %10s %10s %12s %8s\n", "pack of 4,096 tokens", "ms a step", "tokens/s", "of GEMM", "torch",
              "ratio");
  const std::vector<std::vector<std::int64_t>> packs{
      {4096}, {2048, 1024, 512, 512}, {1024, 1024, 1024, 1024}, std::vector<std::int64_t>(8, 512)};
  for (const auto& lengths : packs) {
    const measurement m = measure(config, lengths, s);
    const double share = m.need.done.flops() / m.seconds / roof;
    const std::string name = lengths.size() == 8 ? "8 x 512" : join(lengths);
    std::printf("%-24s %10.1f %10.0f %9.0f%%", name.c_str(), 1e3 * m.seconds, m.tokens_per_second, 1e2 * share);
    if (const double torch = s.torch.empty() ? 0.0 : torch_rate(folder, lengths, s); torch > 0.0)
      std::printf(" %12.0f %7.2fx", torch, m.tokens_per_second / torch);
    std::printf("\n");
    std::fflush(stdout);
  }

  std::printf("\n%-24s %10s %10s %14s %14s %16s\n", "one document of", "ms a step", "tokens/s", "attention", "memory",
              "memory a token");
  for (const std::int64_t length : {1024, 2048, 4096, 8192, 16384}) {
    const measurement m = measure(config, {length}, s);
    const double bytes = static_cast<double>(m.need.activation_bytes);
    std::printf("%-24lld %10.1f %10.0f %7.1f GFLOP %11.1f MB %14.0f B\n", static_cast<long long>(length),
                1e3 * m.seconds, m.tokens_per_second, m.need.done.attention_flops * 1e-9, bytes * 1e-6,
                bytes / static_cast<double>(length));
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "step_bench: %s\n", failure.what());
  return 1;
}
