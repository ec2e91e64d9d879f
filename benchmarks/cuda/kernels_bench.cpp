// The memory-bound kernels of the CUDA backend as shares of the measured copy rate, and products in TFLOP/s.
//
//     kernels_bench
//
// Sizes are those of a 1B Llama (E 2048, F 8192, 32 heads of 64) with 32,768 tokens. Bytes count every operand once.
// The copy is cudaMemcpyAsync from device to device, 1 GiB, bytes read plus bytes written.
//
// Products are timed twice: as cuBLASLt's own first choice, and as chosen by timing (cuda/matmul_timing.hpp). Beside
// them stand how long the fastest algorithm took whatever its bits, which is what keeping the bits costs, and how many
// algorithms ran and have the bits of the first choice, which alone may be chosen.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <type_traits>
#include <vector>

#include <lodestone/core/random.hpp>
#include <lodestone/cuda.hpp>

namespace {

using namespace lodestone;

template <class U>
using device = tensor<U, 2, device_memory>;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Median seconds of one run: 7 rounds of 20 runs each.
template <class Run>
double time_of(const cuda<bf16>& gpu, const Run& run) {
  std::vector<double> rounds;
  for (int warm = 0; warm < 3; ++warm) run();
  for (int round = 0; round < 7; ++round) {
    gpu.synchronize();
    const double begin = seconds();
    for (int i = 0; i < 20; ++i) run();
    gpu.synchronize();
    rounds.push_back((seconds() - begin) / 20);
  }
  std::ranges::sort(rounds);
  return rounds[3];
}

/// Random bf16 or float numbers: zeros would run faster than real data.
template <class U>
device<U> random_matrix(const cuda<bf16>& gpu, std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  constexpr std::int64_t period = std::int64_t{1} << 20;
  random_stream random(seed, random_purpose::user);
  std::vector<U> values(static_cast<std::size_t>(period));
  for (U& value : values) value = convert<U>(static_cast<float>(random.normal()));
  device<U> result(extents<2>{{rows, columns}});
  for (std::int64_t at = 0; at < result.count(); at += period) {
    const std::int64_t count = std::min(period, result.count() - at);
    gpu.from_host(std::span<const U>{values}.first(static_cast<std::size_t>(count)),
                  tensor_view<U, 1, device_memory>(result.data() + at, extents<1>{{count}}));
  }
  return result;
}

}  // namespace

int main() {
  cuda<bf16> gpu;
  std::printf("%s\n", gpu.facts().name.c_str());
  constexpr std::int64_t T = 32'768, E = 2048, F = 8192, D = 64, V = 128'256, count = std::int64_t{1} << 28;
  double copy_rate = 0.0;
  {
    const device<float> from = random_matrix<float>(gpu, 1 << 14, 1 << 14, 1);
    device<float> to(from.shape());
    const double time = time_of(gpu, [&] {
      on_cuda::check(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(from.count()) * 4,
                                     cudaMemcpyDeviceToDevice, gpu.lane()), "copy");
    });
    copy_rate = 2.0 * 4.0 * static_cast<double>(from.count()) / time;
    std::printf("copy: %.0f GB/s\n\n%-28s %10s %10s %8s\n", copy_rate * 1e-9, "kernel", "us", "GB/s", "of copy");
  }
  const auto report = [&](const char* name, std::int64_t bytes, const auto& run) {
    const double time = time_of(gpu, run);
    const double rate = static_cast<double>(bytes) / time;
    std::printf("%-28s %10.1f %10.0f %7.0f%%\n", name, time * 1e6, rate * 1e-9, 100.0 * rate / copy_rate);
  };
  const auto vector_of = [](auto& m) {
    using U = typename std::remove_cvref_t<decltype(m)>::value_type;
    return tensor_view<U, 1, device_memory>(m.data(), extents<1>{{m.count()}});
  };
  {
    device<bf16> x = random_matrix<bf16>(gpu, T, E, 1), y = random_matrix<bf16>(gpu, T, E, 2),
                 dx = random_matrix<bf16>(gpu, T, E, 3), weight = random_matrix<bf16>(gpu, 1, E, 4);
    device<float> rstd = random_matrix<float>(gpu, 1, T, 5), dweight = random_matrix<float>(gpu, 1, E, 6);
    report("rmsnorm", 2 * 2 * T * E, [&] {
      gpu.rmsnorm(const_view(x.view()), const_view(vector_of(weight)), 1e-5F, y.view(), vector_of(rstd));
    });
    report("rmsnorm_gradient, adding", 2 * 4 * T * E, [&] {
      gpu.rmsnorm_gradient(const_view(x.view()), const_view(vector_of(weight)), const_view(vector_of(rstd)),
                           const_view(y.view()), dx.view(), vector_of(dweight), bf16{1.0F});
    });
    report("add", 2 * 3 * T * E, [&] { gpu.add(const_view(x.view()), y.view()); });
    report("copy by kernel", 2 * 2 * T * E, [&] { gpu.copy(const_view(x.view()), y.view()); });
    device<float> c = random_matrix<float>(gpu, T, D / 2, 7), s = random_matrix<float>(gpu, T, D / 2, 8);
    report("rope", 2 * 2 * T * E + 2 * 4 * T * D / 2,
           [&] { gpu.rope(x.view(), D, const_view(c.view()), const_view(s.view()), false, false); });
    rope_config config;
    config.dimensions = D;
    std::vector<std::int32_t> positions(static_cast<std::size_t>(T));
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(i);
    const std::vector<std::int64_t> lengths(positions.size(), T);
    gpu.memory().reserve(std::int64_t{64} << 20);
    report("rope_table, with its lists", 2 * 4 * T * D / 2,
           [&] { gpu.rope_table(config, positions, lengths, c.view(), s.view()); });
    device<bf16> table = random_matrix<bf16>(gpu, V, E, 10);
    device<float> gradient = random_matrix<float>(gpu, V, E, 11);
    for (const bool skewed : {false, true}) {  // skewed: one token is 30% of the stream
      random_stream random(9, random_purpose::user);
      std::vector<std::int32_t> ids(static_cast<std::size_t>(T));
      for (std::int32_t& id : ids) {
        const bool is_frequent = random.uniform() < 0.3;
        const double draw = std::pow(random.uniform(), 4);
        id = skewed && is_frequent ? 0 : static_cast<std::int32_t>(static_cast<double>(V) * draw);
      }
      std::vector<std::int32_t> sorted = ids;
      std::ranges::sort(sorted);
      const auto distinct = static_cast<std::int64_t>(std::ranges::unique(sorted).begin() - sorted.begin());
      const auto list = gpu.upload_tokens(ids, true);
      if (!skewed) report("embed", 2 * 2 * T * E, [&] { gpu.embed(list, const_view(table.view()), y.view()); });
      report(skewed ? "embed_gradient, 30% one token" : "embed_gradient", 2 * T * E + 2 * 4 * distinct * E,
             [&] { gpu.embed_gradient(list, const_view(y.view()), gradient.view()); });
      const double begin = seconds();
      for (int i = 0; i < 20; ++i) (void)token_groups::of(ids);
      std::printf("%-28s %10.1f   on the host, once a micro-batch, while the device is busy\n", "  grouping the tokens",
                  (seconds() - begin) / 20 * 1e6);
    }
  }
  {
    device<bf16> gate_up = random_matrix<bf16>(gpu, T, 2 * F, 1), out = random_matrix<bf16>(gpu, T, F, 2);
    report("swiglu", 2 * 3 * T * F, [&] { gpu.swiglu(const_view(gate_up.view()), out.view()); });
    report("swiglu_gradient", 2 * 5 * T * F,
           [&] { gpu.swiglu_gradient(const_view(gate_up.view()), const_view(out.view()), gate_up.view()); });
  }
  {
    device<float> w = random_matrix<float>(gpu, 1 << 14, 1 << 14, 1),
                  m = random_matrix<float>(gpu, 1 << 14, 1 << 14, 2),
                  v = random_matrix<float>(gpu, 1 << 14, 1 << 14, 3),
                  g = random_matrix<float>(gpu, 1 << 14, 1 << 14, 4);
    gpu.fill(v.view(), 1.0F);
    const optim::adamw settings{.learning_rate = 1e-6};
    const optim::adamw_step step = settings.step(1, 10, {"w", 2});
    report("adamw", 4 * 7 * count, [&] {
      gpu.adamw(vector_of(w), vector_of(m), vector_of(v), const_view(vector_of(g)), step);
    });
    report("sum_of_squares, to the host", 4 * count, [&] { (void)gpu.sum_of_squares(const_view(vector_of(g))); });
    device<bf16> narrow(w.shape());
    report("cast of float to bf16", 6 * count, [&] { gpu.copy(const_view(w.view()), narrow.view()); });
  }
  {
    const std::int64_t rows = 1024;
    device<float> logits = random_matrix<float>(gpu, rows, V, 1), lse = random_matrix<float>(gpu, 1, rows, 2);
    device<bf16> d(extents<2>{{rows, V}});
    std::vector<std::int64_t> offsets(static_cast<std::size_t>(rows) + 1);
    for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::int64_t>(i);
    const std::vector<std::int32_t> labels(static_cast<std::size_t>(rows), 5);
    std::vector<double> log_probs(static_cast<std::size_t>(rows), 0.1);
    const auto at = gpu.upload(std::span<const std::int64_t>{offsets});
    const auto names = gpu.upload(std::span<const std::int32_t>{labels});
    report("label_log_probs, to the host", 4 * rows * V,
           [&] { gpu.label_log_probs(const_view(logits.view()), at, names, vector_of(lse), log_probs); });
    report("label_gradient", 6 * rows * V, [&] {
      gpu.label_gradient(const_view(logits.view()), const_view(vector_of(lse)), at, names, log_probs, d.view());
    });
  }
  std::printf("\n%-40s %17s %17s %17s %12s\n%-40s %8s %8s %8s %8s %17s %12s\n", "", "first choice", "chosen",
              "any bits, fastest", "algorithms", "product (M N C)", "us", "TFLOP/s", "us", "TFLOP/s", "us", "same/all");
  struct size {
    std::int64_t m, n, c;
    const char* what;
  };
  for (const size s : {size{32'768, 6144, 4096, "8B qkv"}, size{32'768, 28'672, 4096, "8B gate_up"},
                       size{32'768, 4096, 14'336, "8B down"}, size{32'768, 3072, 2048, "1B qkv"},
                       size{32'768, 16'384, 2048, "1B gate_up"}, size{512, 4096, 4096, "8B o, 512"},
                       size{32'768, 128, 4096, "8B adapters"}}) {
    device<bf16> x = random_matrix<bf16>(gpu, s.m, s.c, 1), w = random_matrix<bf16>(gpu, s.n, s.c, 2),
                 y = random_matrix<bf16>(gpu, s.m, s.n, 3);
    device<float> dw(extents<2>{{s.n, s.c}});
    gpu.fill(dw.view(), 0.0F);
    const double flops = 2.0 * static_cast<double>(s.m * s.n) * static_cast<double>(s.c);
    const auto product = [&](const char* kind, const auto& run) {
      const double first = time_of(gpu, run);
      const std::vector<on_cuda::timed_product> found = gpu.choose_products();
      const double chosen = time_of(gpu, run);
      std::printf("%-12s %-3s %7lld %7lld %7lld %8.1f %8.0f %8.1f %8.0f", s.what, kind, static_cast<long long>(s.m),
                  static_cast<long long>(s.n), static_cast<long long>(s.c), first * 1e6, flops / first * 1e-12,
                  chosen * 1e6, flops / chosen * 1e-12);
      for (const on_cuda::timed_product& own : found)
        std::printf(" %17.1f %9d/%d", own.fastest_seconds * 1e6, own.same_bits, own.candidates);
      std::printf("\n");
    };
    product("nt", [&] { gpu.gemm_nt(const_view(x.view()), const_view(w.view()), y.view(), bf16{}); });
    product("nn", [&] { gpu.gemm_nn(const_view(y.view()), const_view(w.view()), x.view(), bf16{}); });
    product("tn", [&] { gpu.gemm_tn(const_view(y.view()), const_view(x.view()), dw.view(), 1.0F); });
  }
}
