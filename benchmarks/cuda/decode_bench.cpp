// Decoding with Llama-3-8B's or Llama-3.2-1B's shapes and random weights on one GPU: milliseconds a token beside the
// time that reading the weights and the cache takes.
//
//     decode_bench [--model 1b|8b] [--layers N] [--context N]... [--tokens N]
//                  [--products] [--attention] [--no-decoding]
//
// The bound of a step is the bytes that it must read (every weight but the embedding, keys and values of the context)
// at the best rate of reading that two plain programs reach on this device: a copy from device to device (bytes read
// plus bytes written), and a sum of squares, which only reads. A step is one token of one sequence: the pass and
// the choice of the largest logit, known to the host; the median of --tokens steps after three others is printed.
// Prefill is one pass over the context with an empty cache; beside it stand the forward pass of training, with the
// activations that `keep-attention` keeps, and a pass that keeps nothing, over the same tokens.
//
// --products times the products of a step for 1 to 16 rows, by few_rows and by cuBLASLt, over weights that do not fit
// the cache; --attention the attention of one layer for 1 to 16 sequences.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/cuda.hpp>
#include <lodestone/model/llama.hpp>

#include "random_llama.hpp"

namespace {

using namespace lodestone;
using namespace lodestone_bench;
using device_vector = tensor<bf16, 1, device_memory>;

/// Random numbers: zeros would run faster.
device_vector random_numbers(const cuda<bf16>& gpu, std::int64_t count) {
  constexpr std::int64_t period = 1'048'573;
  random_stream random(7, random_purpose::user);
  std::vector<bf16> values(static_cast<std::size_t>(period));
  for (bf16& value : values) value = bf16{static_cast<float>(0.1 * random.normal())};
  device_vector result(extents<1>{{count}});
  for (std::int64_t at = 0; at < count; at += period) {
    const std::int64_t n = std::min(period, count - at);
    gpu.from_host(std::span<const bf16>{values}.first(static_cast<std::size_t>(n)),
                  tensor_view<bf16, 1, device_memory>(result.data() + at, extents<1>{{n}}));
  }
  return result;
}

/// Seconds of run(0), run(1), ..., each; the median of five rounds of `count` runs.
template <class Run>
double time_of(const cuda<bf16>& gpu, int count, const Run& run) {
  on_cuda::event begin(true);
  on_cuda::event end(true);
  std::vector<double> rounds;
  for (int round = 0; round < 6; ++round) {
    on_cuda::check(cudaEventRecord(begin.get(), gpu.lane()), "cudaEventRecord");
    for (int i = 0; i < count; ++i) run(i);
    on_cuda::check(cudaEventRecord(end.get(), gpu.lane()), "cudaEventRecord");
    end.synchronize();
    if (round > 0) rounds.push_back(1e-3 * static_cast<double>(end.milliseconds_since(begin)) / count);
  }
  std::ranges::sort(rounds);
  return rounds[2];
}

/// Bytes a second.
double read_rate(cuda<bf16>& gpu) {
  const std::int64_t count = std::int64_t{1} << 29;  // floats: 2 GiB
  const tensor<float, 1, device_memory> from(extents<1>{{count}});
  const tensor_view<float, 1, device_memory> all{const_cast<float*>(from.data()), from.shape()};
  gpu.fill(all, 0.5F);
  const double bytes = 4.0 * static_cast<double>(count);
  const double copying =
      bytes / time_of(gpu, 5, [&](int) {
        on_cuda::check(cudaMemcpyAsync(all.data(), all.data() + count / 2, static_cast<std::size_t>(count) * 2,
                                       cudaMemcpyDeviceToDevice, gpu.lane()),
                       "copy");
      });
  const double begin = seconds();
  for (int i = 0; i < 5; ++i) (void)gpu.sum_of_squares(const_view(all));
  const double reading = 5.0 * bytes / (seconds() - begin);
  std::printf("copy %.0f GB/s read and written, sum of squares %.0f GB/s read\n", 1e-9 * copying, 1e-9 * reading);
  return std::max(copying, reading);
}

void time_products(cuda<bf16>& gpu, const model_config& config, double rate) {
  const struct {
    const char* name;
    std::int64_t n, c;
  } layers[] = {{"qkv", config.qkv_size(), config.hidden},
                {"o", config.hidden, config.q_size()},
                {"gate_up", 2 * config.feed_forward, config.hidden},
                {"down", config.hidden, config.feed_forward},
                {"head", config.vocabulary, config.hidden}};
  constexpr std::int64_t pool_count = std::int64_t{1} << 30;
  const device_vector pool = random_numbers(gpu, pool_count);
  const device_vector x = random_numbers(gpu, 16 * 32'768);
  tensor<float, 1, device_memory> y(extents<1>{{16 * 131'072}});
  on_cuda::matmul library;
  const on_cuda::stream lane;
  for (const auto& layer : layers) {
    const std::int64_t copies = std::max<std::int64_t>(1, pool_count / (layer.n * layer.c));
    for (const std::int64_t m : {1, 2, 4, 8, 16}) {
      const auto w = [&](int i) {
        return tensor_view<const bf16, 2, device_memory>(pool.data() + i % copies * layer.n * layer.c,
                                                         extents<2>{{layer.n, layer.c}});
      };
      const tensor_view<const bf16, 2, device_memory> rows(x.data(), extents<2>{{m, layer.c}});
      const bool is_head = layer.n == config.vocabulary;
      const int count = static_cast<int>(std::max<std::int64_t>(copies, 8));
      const auto own = time_of(gpu, count, [&](int i) {
        if (is_head)
          gpu.gemm_nt(rows, w(i), tensor_view<float, 2, device_memory>(y.data(), extents<2>{{m, layer.n}}), 0.0F);
        else
          gpu.gemm_nt(rows, w(i),
                      tensor_view<bf16, 2, device_memory>(reinterpret_cast<bf16*>(y.data()), extents<2>{{m, layer.n}}),
                      bf16{0});
      });
      gpu.synchronize();
      on_cuda::event begin(true);
      on_cuda::event end(true);
      double other = 1e9;
      for (int round = 0; round < 3; ++round) {
        begin.record(lane);
        for (int i = 0; i < count; ++i) {
          const on_cuda::operand a{rows.data(), rows.stride()};
          const on_cuda::operand b{w(i).data(), layer.c};
          if (is_head)
            library.run<bf16, float>(lane, on_cuda::product::nt, m, layer.n, layer.c, a, b, y.data(), layer.n, 0.0F);
          else
            library.run<bf16, bf16>(lane, on_cuda::product::nt, m, layer.n, layer.c, a, b,
                                    reinterpret_cast<bf16*>(y.data()), layer.n, 0.0F);
        }
        end.record(lane);
        end.synchronize();
        other = std::min(other, 1e-3 * static_cast<double>(end.milliseconds_since(begin)) / count);
      }
      const double bytes = 2.0 * static_cast<double>(layer.n * layer.c);
      std::printf("%-8s M %2lld: %7.1f us, %3.0f%% of the rate of reading; cuBLASLt %7.1f us, %3.0f%%\n", layer.name,
                  static_cast<long long>(m), 1e6 * own, 100.0 * bytes / own / rate, 1e6 * other,
                  100.0 * bytes / other / rate);
    }
  }
}

void time_attention(cuda<bf16>& gpu, const model_config& config, double rate) {
  const attention_shape shape{config.heads, config.kv_heads, config.head_dim,
                              1.0 / std::sqrt(static_cast<double>(config.head_dim))};
  const std::int64_t width = 2 * config.kv_size();
  const std::int64_t rows = (std::int64_t{1} << 30) / width;  // 2 GiB of cache
  const device_vector cache = random_numbers(gpu, rows * width);
  const device_vector q = random_numbers(gpu, 64 * config.q_size());
  tensor<bf16, 1, device_memory> o(extents<1>{{64 * config.q_size()}});
  const tensor<float, 1, device_memory> lse(extents<1>{{64 * config.heads}});
  for (const auto& [sequences, keys] : {std::pair<std::int64_t, std::int64_t>{1, 1024},
                                        {1, 8192},
                                        {1, 32'768},
                                        {1, 131'072},
                                        {4, 8192},
                                        {16, 1024},
                                        {16, 8192}}) {
    std::vector<slice> slices;
    for (std::int64_t i = 0; i < sequences; ++i) slices.push_back({i, i + 1, i * keys, (i + 1) * keys});
    const std::int64_t used = sequences * keys;
    const std::int64_t copies = rows / used;
    const flash_mma::per_batch<cuda<bf16>> policy;
    const int count = static_cast<int>(std::min<std::int64_t>(copies, 64));
    const double time = time_of(gpu, count, [&](int i) {
      const tensor_view<const bf16, 2, device_memory> kv(cache.data() + i % copies * used * width,
                                                         extents<2>{{used, width}});
      gpu.attend(
          policy, shape, slices,
          tensor_view<const bf16, 2, device_memory>(q.data(), extents<2>{{sequences, config.q_size()}}),
          kv.columns(0, config.kv_size()), kv.columns(config.kv_size(), width),
          tensor_view<bf16, 2, device_memory>(o.data(), extents<2>{{sequences, config.q_size()}}),
          tensor_view<float, 1, device_memory>(const_cast<float*>(lse.data()), extents<1>{{sequences * config.heads}}));
    });
    const double bytes = 2.0 * static_cast<double>(used * width);
    std::printf("attention, %2lld x %6lld keys: %7.1f us, %3.0f%% of the rate of reading\n",
                static_cast<long long>(sequences), static_cast<long long>(keys), 1e6 * time,
                100.0 * bytes / time / rate);
  }
}

token_batch continuing(std::span<const std::int32_t> tokens, std::int64_t begin, std::int64_t length) {
  token_batch batch;
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.positions.resize(tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), static_cast<std::int32_t>(begin));
  batch.lengths.assign(tokens.size(), length);
  batch.slices = {{0, batch.size(), 0, batch.size()}};
  return batch;
}

/// The moment at which the forward pass of a training step is done: it ends where the loss is asked for coefficients.
template <class Model>
double forward_of_training(Model& model, token_batch batch) {
  struct forward_done {};
  batch.scored = {{batch.size() - 1, 0, 0, 1.0}};
  const activation_table table = activations::keep_attention{}.table(model.config().layers);
  double end = 0.0;
  try {
    (void)model.train(
        batch, table, false,
        [&](const auto&, const auto&) -> double {
          model.backend().synchronize();
          end = seconds();
          throw forward_done{};
        },
        false);
  } catch (const forward_done&) {
  }
  return end;
}

void time_decoding(store_type& weights, std::int64_t context, std::int64_t count, double rate) {
  cuda<bf16>& gpu = weights.backend();
  const model_config& config = weights.config();
  llama<cuda<bf16>, flash_or_reference> model{config, weights};
  random_stream random(3, random_purpose::user);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < context; ++i)
    tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config.vocabulary))));
  const std::int64_t length = context + count + 3;
  const token_batch prompt = continuing(tokens, 0, length);
  double prefill = 1e9;
  double forward = 1e9;  // of training
  double plain = 1e9;    // of a pass that keeps nothing
  auto cache = model.make_cache(length);
  std::int32_t next = 0;
  for (int round = 0; round < 3; ++round) {
    const std::vector<std::int64_t> last{context - 1};
    gpu.synchronize();
    double begin = seconds();
    forward = std::min(forward, forward_of_training(model, prompt) - begin);
    begin = seconds();
    (void)gpu.to_host(model.logits(prompt, last).view());
    plain = std::min(plain, seconds() - begin);
    cache.layers.clear();  // its memory is that of the next
    cache = model.make_cache(length);
    begin = seconds();
    gpu.largest(const_view(model.extend(cache, prompt).view()), {&next, 1});
    prefill = std::min(prefill, seconds() - begin);
  }
  std::vector<double> steps;
  std::vector<double> asked;  // until the host has asked for everything
  for (std::int64_t i = 0; i < count + 3; ++i) {
    const double begin = seconds();
    const auto logits = model.extend(cache, continuing({&next, 1}, context + i, length));
    const double middle = seconds();
    gpu.largest(const_view(logits.view()), {&next, 1});
    if (i >= 3) {
      steps.push_back(seconds() - begin);
      asked.push_back(middle - begin);
    }
  }
  std::ranges::sort(steps);
  std::ranges::sort(asked);
  const double median = steps[steps.size() / 2];
  double bytes = 2.0 * static_cast<double>(config.vocabulary * config.hidden);
  for (std::int64_t layer = 0; layer < config.layers; ++layer)
    bytes += 2.0 * static_cast<double>(weights.layout(layer + 1).count);
  const double cached = 4.0 * static_cast<double>(config.kv_size() * config.layers * (context + count / 2));
  const double bound = (bytes + cached) / rate;
  std::printf(
      "context %6lld: prefill %.0f tokens/s, %.2f of training's forward pass, %.2f of one that keeps nothing; a token "
      "%.3f ms, %.0f GB/s, %.1f%% of the bound of %.3f ms (%.2f GB of weights, %.2f GB of cache); asked for after "
      "%.2f ms, fastest %.3f ms\n",
      static_cast<long long>(context), static_cast<double>(context) / prefill, forward / prefill, plain / prefill,
      1e3 * median, 1e-9 * (bytes + cached) / median, 100.0 * bound / median, 1e3 * bound, 1e-9 * bytes, 1e-9 * cached,
      1e3 * asked[asked.size() / 2], 1e3 * steps.front());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t layers = 0;
  std::int64_t tokens = 40;
  std::vector<std::int64_t> contexts;
  bool large = true;
  bool products = false;
  bool attention = false;
  bool decoding = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto next = [&] { return i + 1 < argc ? argv[++i] : const_cast<char*>("0"); };
    if (word == "--model") large = std::string_view(next()) == "8b";
    if (word == "--layers") layers = std::atoll(next());
    if (word == "--context") contexts.push_back(std::atoll(next()));
    if (word == "--tokens") tokens = std::atoll(next());
    if (word == "--products") products = true;
    if (word == "--attention") attention = true;
    if (word == "--no-decoding") decoding = false;
  }
  if (contexts.empty()) contexts = {1024, 8192, 32'768};
  const model_config config = shapes(large, layers);
  auto backend = std::make_unique<cuda<bf16>>();
  std::printf("%s, %s, %lld layers\n", backend->facts().name.c_str(), large ? "8B" : "1B",
              static_cast<long long>(config.layers));
  const double rate = read_rate(*backend);
  if (products) time_products(*backend, config, rate);
  if (attention) time_attention(*backend, config, rate);
  if (!decoding) return 0;
  store_type weights(config, std::move(backend), parameters::purpose::inference);
  randomise(weights);
  for (const std::int64_t context : contexts) time_decoding(weights, context, tokens, rate);
}
