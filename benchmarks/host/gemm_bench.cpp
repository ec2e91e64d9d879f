// The host backend's products on all cores against Eigen's own, in one run: per shape, GFLOP/s and the ratio.
//
//     gemm_bench [threads]
//
// "Eigen" is one whole product a thread, every thread on its own matrices at the same time: what the cores can give
// when nothing is shared. The two take turns, and the best of seven rounds of each counts.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <Eigen/Core>

#include <lodestone/host/backend.hpp>

namespace {

using namespace lodestone;
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

enum class product { nt, nn, tn };
constexpr const char* names[] = {"nt", "nn", "tn"};

struct size {
  std::int64_t m, n, c;
  const char* what;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct operands {
  matrix x, w, y;
  operands(const size& s) : x(matrix::Random(s.m, s.c)), w(matrix::Random(s.n, s.c)), y(matrix::Random(s.m, s.n)) {}

  void eigen(product kind) {
    if (kind == product::nt) y.noalias() = x * w.transpose();
    if (kind == product::nn) x.noalias() = y * w;
    if (kind == product::tn) w.noalias() = y.transpose() * x;
  }
  void ours(host<float>& backend, product kind) {
    const auto view = [](matrix& m) { return tensor_view<float, 2>(m.data(), {{m.rows(), m.cols()}}); };
    if (kind == product::nt) backend.gemm_nt(view(x), view(w), view(y), 0.0F);
    if (kind == product::nn) backend.gemm_nn(view(y), view(w), view(x), 0.0F);
    if (kind == product::tn) backend.gemm_tn(view(y), view(x), view(w), 0.0F);
  }
};

}  // namespace

int main(int argc, char** argv) {
  host<float> backend(argc > 1 ? std::atoi(argv[1]) : 0);
  const std::int64_t threads = backend.pool().size();
  constexpr size sizes[] = {{4096, 256, 128, "qkv of TinyStories-656K"},
                            {4096, 768, 128, "gate_up of TinyStories-656K"},
                            {4096, 128, 384, "down of TinyStories-656K"},
                            {1024, 2048, 128, "logits chunk of TinyStories-656K"},
                            {2048, 1536, 576, "gate_up of SmolLM2-135M"},
                            {2048, 1024, 1024, "square"}};
  std::printf("%lld threads, float, GFLOP/s\n%-34s %-4s %8s %8s %8s\n", static_cast<long long>(threads),
              "shape (M N C)", "", "Eigen", "ours", "ratio");
  double worst = 1e9;
  double log_sum = 0;
  int count = 0;
  for (const size& s : sizes)
    for (const product kind : {product::nt, product::nn, product::tn}) {
      std::vector<operands> all(static_cast<std::size_t>(threads), operands(s));
      const double flops = 2.0 * static_cast<double>(s.m * s.n * s.c) * static_cast<double>(threads);
      const auto repeats = std::max<std::int64_t>(1, static_cast<std::int64_t>(1e9 / flops));
      double eigen = 1e9;
      double ours = 1e9;
      for (int round = 0; round < 7; ++round) {
        const double start = seconds();
        backend.pool().run(threads, [&](std::int64_t t) {
          for (std::int64_t r = 0; r < repeats; ++r) all[static_cast<std::size_t>(t)].eigen(kind);
        });
        const double middle = seconds();
        for (std::int64_t r = 0; r < repeats; ++r)
          for (operands& one : all) one.ours(backend, kind);
        eigen = std::min(eigen, middle - start);
        ours = std::min(ours, seconds() - middle);
      }
      const double work = flops * static_cast<double>(repeats) * 1e-9;
      const double ratio = eigen / ours;
      std::printf("%5lld %5lld %5lld %-17.17s %-4s %8.1f %8.1f %8.2f\n", static_cast<long long>(s.m),
                  static_cast<long long>(s.n), static_cast<long long>(s.c), s.what, names[static_cast<int>(kind)],
                  work / eigen, work / ours, ratio);
      worst = std::min(worst, ratio);
      log_sum += std::log(ratio);
      ++count;
    }
  std::printf("ratio ours / Eigen: mean %.2f, least %.2f\n", std::exp(log_sum / count), worst);
}
