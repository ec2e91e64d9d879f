// Host attention from 1k to 16k tokens: time against the sum of squared document lengths, memory against the tokens.
//
//     blocked_bench [threads]
//
// Two packs of every length, one document or documents of 512 tokens: the processor time per (query, key) pair stays
// the same, so cost follows the pairs, and the peak of resident memory per token stays the same, so memory is linear.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/random.hpp>

namespace {

using namespace lodestone;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

tensor<float, 2> normal(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  tensor<float, 2> values(extents<2>{{rows, columns}});
  random_stream random(seed, random_purpose::user);
  for (float& value : values.flat()) value = static_cast<float>(random.uniform() - 0.5);
  return values;
}

// Of all threads: what a pair costs even when other programs take the cores.
double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

struct result {
  double forward = 0;   // seconds
  double backward = 0;  // seconds
  double cpu = 0;       // seconds of all cores, forward and backward
  double memory = 0;    // bytes of resident memory that the two passes added at their peak, operands included
};

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

result measure(int threads, const attention_shape& shape, std::int64_t tokens, std::span<const slice> slices) {
  const double before = peak_bytes();
  host<float> backend(threads);
  const std::int64_t width = shape.heads * shape.head_dim;
  const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
  const tensor<float, 2> q = normal(tokens, width, 1);
  const tensor<float, 2> k = normal(tokens, kv_width, 2);
  const tensor<float, 2> v = normal(tokens, kv_width, 3);
  const tensor<float, 2> d_o = normal(tokens, width, 4);
  tensor<float, 2> o(q.shape());
  tensor<float, 2> dq(q.shape());
  tensor<float, 2> dk(k.shape());
  tensor<float, 2> dv(v.shape());
  tensor<float, 1> lse(extents<1>{{tokens * shape.heads}});
  result best{1e9, 1e9, 1e9, 0};
  const int rounds = pairs(slices) < 20'000'000 ? 3 : 1;  // long passes are steady by themselves
  for (int round = 0; round < rounds; ++round) {
    const double cpu = cpu_seconds();
    const double start = seconds();
    blocked_attention{}.forward(backend, shape, slices, q, k, v, o, lse);
    const double middle = seconds();
    blocked_attention{}.backward(backend, shape, slices, q, k, v, o, lse, d_o, dq, dk, dv);
    best.forward = std::min(best.forward, middle - start);
    best.backward = std::min(best.backward, seconds() - middle);
    best.cpu = std::min(best.cpu, cpu_seconds() - cpu);
  }
  best.memory = peak_bytes() - before;
  return best;
}

// The peak of a process never falls, so every measurement has a process of its own.
result measure_apart(int threads, const attention_shape& shape, std::int64_t tokens, std::span<const slice> slices) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    const result r = measure(threads, shape, tokens, slices);
    const bool written = write(ends[1], &r, sizeof(r)) == static_cast<ssize_t>(sizeof(r));
    _exit(written ? 0 : 1);
  }
  result r;
  if (read(ends[0], &r, sizeof(r)) != static_cast<ssize_t>(sizeof(r))) std::abort();
  waitpid(child, nullptr, 0);
  close(ends[0]);
  close(ends[1]);
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : thread_pool::default_threads();
  for (const std::int64_t head_dim : {16, 64}) {
    const attention_shape shape{8, 4, head_dim, 1 / std::sqrt(static_cast<double>(head_dim))};
    std::printf("%d threads, float, 8 heads over 4 key-value heads of %lld\n", threads,
                static_cast<long long>(head_dim));
    std::printf("%-8s %-10s %12s %10s %10s %11s %10s %10s %9s\n", "tokens", "documents", "pairs", "forward s",
                "backward s", "CPU ns/pair", "GFLOP/s", "MB", "B/token");
    for (std::int64_t tokens = 1024; tokens <= 16'384; tokens *= 2)
      for (const std::int64_t length : {tokens, std::int64_t{512}}) {
        std::vector<slice> slices;
        for (std::int64_t begin = 0; begin < tokens; begin += length)
          slices.push_back({begin, begin + length, begin, begin + length});
        const result r = measure_apart(threads, shape, tokens, slices);
        const auto all = static_cast<double>(pairs(slices));
        // 4 D operations a pair and head forward; 10 D backward, the recomputed scores included.
        const double flops = 14 * all * static_cast<double>(shape.heads * head_dim);
        std::printf("%-8lld %-10lld %12.0f %10.4f %10.4f %11.2f %10.1f %10.1f %9.0f\n", static_cast<long long>(tokens),
                    static_cast<long long>(tokens / length), all, r.forward, r.backward,
                    1e9 * r.cpu / all, 1e-9 * flops / (r.forward + r.backward), r.memory / 1e6,
                    r.memory / static_cast<double>(tokens));
      }
  }
}
