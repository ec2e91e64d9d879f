// Attention over slices on one GPU: TFLOP/s of flash_mma forward and backward over visible pairs.
//
//     flash_mma_bench [repetitions]
//
// Counted are 4 D floating-point operations a visible (query, key) pair and head forward and 2.5 times that backward,
// whatever a kernel computes. Each case is checked on sampled rows against double precision before it is timed; times
// are medians between events. benchmarks/peers/attention.py measures the same shapes with PyTorch.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include <lodestone/cuda/flash_mma.cuh>

namespace {

using namespace lodestone;
using namespace lodestone::on_cuda;
namespace kernels = lodestone::on_cuda::detail;

struct workload {
  const char* name;
  std::vector<std::int64_t> lengths;
  attention_shape shape;
};

std::vector<slice> causal_documents(const std::vector<std::int64_t>& lengths) {
  std::vector<slice> slices;
  std::int64_t at = 0;
  for (const std::int64_t n : lengths) {
    slices.push_back({at, at + n, at, at + n});
    at += n;
  }
  return slices;
}

// Sums of four uniform numbers: near enough to normal, of variance 1.
__global__ void fill(bf16* to, std::int64_t count, unsigned seed) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    unsigned x = static_cast<unsigned>(i) * 2654435761U + seed * 40503U + static_cast<unsigned>(i >> 32);
    float sum = -2.0F;
    for (int j = 0; j < 4; ++j) {
      x ^= x >> 16;
      x *= 0x7feb352dU;
      x ^= x >> 15;
      x *= 0x846ca68bU;
      x ^= x >> 16;
      sum += static_cast<float>(x >> 8) * 0x1p-24F;
      x += 0x9e3779b9U;
    }
    to[i].bits = static_cast<std::uint16_t>(ptx::pack_bf16(sum * 1.7320508F, 0.0F));
  }
}

template <class T>
T* allocate(std::int64_t count) {
  void* data = nullptr;
  check(cudaMalloc(&data, static_cast<std::size_t>(count) * sizeof(T)), "cudaMalloc");
  check(cudaMemset(data, 0xff, static_cast<std::size_t>(count) * sizeof(T)), "cudaMemset");  // NaN until written
  return static_cast<T*>(data);
}

// One head's columns of a matrix.
std::vector<double> head_of(const bf16* matrix, std::int64_t rows, std::int64_t stride, std::int64_t head,
                            std::int64_t size) {
  std::vector<bf16> raw(static_cast<std::size_t>(rows * size));
  check(cudaMemcpy2D(raw.data(), static_cast<std::size_t>(size) * 2, matrix + head * size,
                     static_cast<std::size_t>(stride) * 2, static_cast<std::size_t>(size) * 2,
                     static_cast<std::size_t>(rows), cudaMemcpyDeviceToHost), "cudaMemcpy2D");
  std::vector<double> values(raw.size());
  std::transform(raw.begin(), raw.end(), values.begin(),
                 [](bf16 x) { return static_cast<double>(static_cast<float>(x)); });
  return values;
}

struct distance {
  double error = 0;
  double norm = 0;
  void add(double got, double expected) {
    error += (got - expected) * (got - expected);
    norm += expected * expected;
  }
  [[nodiscard]] double relative() const { return std::sqrt(error / norm); }
};

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Sampled query rows of one head (o, dq) and sampled keys of its kv head (dk, dv).
bool is_right(const flash_arguments& a, const std::vector<slice>& slices) {
  const std::int64_t size = a.shape.head_dim;
  const auto n = static_cast<std::size_t>(size);
  const std::int64_t kv_head = a.shape.kv_heads - 1;
  const auto k = head_of(a.k, a.keys, a.k_stride, kv_head, size);
  const auto v = head_of(a.v, a.keys, a.v_stride, kv_head, size);
  const auto dk = head_of(a.dk, a.keys, a.dk_stride, kv_head, size);
  const auto dv = head_of(a.dv, a.keys, a.dv_stride, kv_head, size);
  std::vector<float> lse(static_cast<std::size_t>(a.queries * a.shape.heads));
  check(cudaMemcpy(lse.data(), a.lse, lse.size() * 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
  distance of_o, of_dq, of_dk, of_dv;
  double of_lse = 0;
  std::vector<std::int64_t> keys{0, 77, a.keys / 2, a.keys - 1};
  std::vector<std::vector<double>> dk_sums(keys.size(), std::vector<double>(n));
  auto dv_sums = dk_sums;
  for (std::int64_t head = kv_head * a.shape.group(); head < a.shape.heads; ++head) {
    const auto q = head_of(a.q, a.queries, a.q_stride, head, size);
    const auto o = head_of(a.o, a.queries, a.o_stride, head, size);
    const auto d_o = head_of(a.d_o, a.queries, a.d_o_stride, head, size);
    const auto dq = head_of(a.dq, a.queries, a.dq_stride, head, size);
    const auto row_of = [&](const std::vector<double>& x, std::int64_t row) {
      return &x[static_cast<std::size_t>(row * size)];
    };
    const auto lse_of = [&](std::int64_t row) {
      return static_cast<double>(lse[static_cast<std::size_t>(row * a.shape.heads + head)]);
    };
    for (const slice& s : slices) {
      for (const std::int64_t row : {s.q_begin, (s.q_begin + s.q_end) / 2 + 1, s.q_end - 1}) {
        std::vector<double> weights;
        double sum = 0;
        for (std::int64_t j = s.first_key(row); j < s.last_key(row); ++j)
          sum += weights.emplace_back(std::exp(a.shape.scale * dot(row_of(q, row), row_of(k, j), size)));
        std::vector<double> out(n), gradient(n);
        for (std::size_t j = 0; j < weights.size(); ++j)
          for (std::size_t d = 0; d < n; ++d)
            out[d] += weights[j] / sum * row_of(v, s.first_key(row) + static_cast<std::int64_t>(j))[d];
        const double centre = dot(out.data(), row_of(d_o, row), size);
        for (std::size_t j = 0; j < weights.size(); ++j) {
          const std::int64_t key = s.first_key(row) + static_cast<std::int64_t>(j);
          const double ds = weights[j] / sum * (dot(row_of(d_o, row), row_of(v, key), size) - centre) * a.shape.scale;
          for (std::size_t d = 0; d < n; ++d) gradient[d] += ds * row_of(k, key)[d];
        }
        for (std::size_t d = 0; d < n; ++d) {
          of_o.add(row_of(o, row)[d], out[d]);
          if (row != s.q_begin) of_dq.add(row_of(dq, row)[d], gradient[d]);  // one key: exactly zero but for rounding
        }
        of_lse = std::max(of_lse, std::abs(std::log(sum) - lse_of(row)));
      }
      for (std::size_t i = 0; i < keys.size(); ++i)
        for (std::int64_t row = s.q_begin; keys[i] >= s.k_begin && keys[i] < s.k_end && row < s.q_end; ++row) {
          if (keys[i] >= s.last_key(row)) continue;
          const double weight =
              std::exp(a.shape.scale * dot(row_of(q, row), row_of(k, keys[i]), size) - lse_of(row));
          const double ds = a.shape.scale * weight * (dot(row_of(d_o, row), row_of(v, keys[i]), size) -
                                                      dot(row_of(d_o, row), row_of(o, row), size));
          for (std::size_t d = 0; d < n; ++d) {
            dk_sums[i][d] += ds * row_of(q, row)[d];
            dv_sums[i][d] += weight * row_of(d_o, row)[d];
          }
        }
    }
  }
  for (std::size_t i = 0; i < keys.size(); ++i)
    for (std::size_t d = 0; d < n; ++d) {
      of_dk.add(dk[static_cast<std::size_t>(keys[i] * size) + d], dk_sums[i][d]);
      of_dv.add(dv[static_cast<std::size_t>(keys[i] * size) + d], dv_sums[i][d]);
    }
  const bool is_good = of_o.relative() < 1e-2 && of_dq.relative() < 2e-2 && of_dk.relative() < 2e-2 &&
                       of_dv.relative() < 1e-2 && of_lse < 1e-3;
  std::printf("  relative errors: o %.1e dq %.1e dk %.1e dv %.1e, lse off by %.1e%s\n", of_o.relative(),
              of_dq.relative(), of_dk.relative(), of_dv.relative(), of_lse, is_good ? "" : "  WRONG");
  return is_good;
}

double median_seconds(int repetitions, const std::function<void()>& work) {
  cudaEvent_t begin{}, end{};
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < repetitions + 2; ++i) {
    check(cudaEventRecord(begin), "cudaEventRecord");
    work();
    check(cudaEventRecord(end), "cudaEventRecord");
    check(cudaEventSynchronize(end), "kernels");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (i >= 2) times.push_back(milliseconds);  // two to warm up
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  return static_cast<double>(times[static_cast<std::size_t>(repetitions / 2)]) * 1e-3;
}

template <int HeadDim>
bool measure(const workload& work, int repetitions) {
  const auto slices = causal_documents(work.lengths);
  const std::int64_t rows = slices.back().q_end;
  const std::int64_t width = work.shape.heads * HeadDim;
  const std::int64_t kv_width = work.shape.kv_heads * HeadDim;
  const flash_schedule schedule = make_flash_schedule(slices, rows, rows, work.shape);
  std::vector<std::byte> bytes(schedule.bytes());
  schedule.copy_to(bytes.data());
  auto* plan = allocate<std::byte>(static_cast<std::int64_t>(bytes.size()));
  check(cudaMemcpy(plan, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  const flash_schedule_view view = schedule.view(plan);

  flash_arguments a;
  a.shape = work.shape;
  a.queries = a.keys = rows;
  const std::int64_t fused = width + 2 * kv_width;
  auto* qkv = allocate<bf16>(rows * fused);
  auto* d_o = allocate<bf16>(rows * width);
  auto* dqkv = allocate<bf16>(rows * fused);
  fill<<<1024, 256>>>(qkv, rows * fused, 1);
  fill<<<1024, 256>>>(d_o, rows * width, 2);
  check_launch("fill");
  a.q = qkv;
  a.k = qkv + width;
  a.v = qkv + width + kv_width;
  a.o = allocate<bf16>(rows * width);
  a.lse = allocate<float>(rows * work.shape.heads);
  a.delta = allocate<float>(rows * work.shape.heads);
  a.dq_sums = allocate<float>(rows * width);
  a.d_o = d_o;
  a.dq = dqkv;
  a.dk = dqkv + width;
  a.dv = dqkv + width + kv_width;
  a.q_stride = a.k_stride = a.v_stride = a.dq_stride = a.dk_stride = a.dv_stride = fused;
  a.o_stride = a.d_o_stride = width;

  std::printf("%s, %ld/%ld heads of %d\n", work.name, static_cast<long>(work.shape.heads),
              static_cast<long>(work.shape.kv_heads), HeadDim);
  flash_forward<HeadDim>(a, view, nullptr);
  flash_backward<HeadDim>(a, view, nullptr);
  check(cudaDeviceSynchronize(), "flash_mma");
  bool is_good = is_right(a, slices);
  flash_backward_atomic<HeadDim>(a, view, nullptr);
  check(cudaDeviceSynchronize(), "flash_mma with atomics");
  is_good &= is_right(a, slices);
  if (is_good) {
    const double operations =
        4.0 * HeadDim * static_cast<double>(work.shape.heads) * static_cast<double>(pairs(slices));
    const double forward = median_seconds(repetitions, [&] { flash_forward<HeadDim>(a, view, nullptr); });
    const double backward = median_seconds(repetitions, [&] { flash_backward<HeadDim>(a, view, nullptr); });
    const double atomic = median_seconds(repetitions, [&] { flash_backward_atomic<HeadDim>(a, view, nullptr); });
    const double of_keys = median_seconds(repetitions, [&] {
      kernels::flash_launch_key_gradient<HeadDim, kernels::flash_gradients::of_keys>(
          kernels::flash_prepare(a, view.keys), nullptr);
    });
    const double of_queries = median_seconds(repetitions, [&] {
      kernels::flash_launch_query_gradient<HeadDim>(kernels::flash_prepare(a, view.queries), nullptr);
    });
    const auto line = [&](const char* what, double seconds, double share) {
      std::printf("  %-28s %8.3f ms %6.1f TFLOP/s\n", what, seconds * 1e3, share * operations / seconds * 1e-12);
    };
    line("forward", forward, 1);
    line("backward, deterministic", backward, 2.5);
    line("backward, atomics", atomic, 2.5);
    line("  dK and dV, four products", of_keys, 2);
    line("  dQ, three products", of_queries, 1.5);
  }
  std::fflush(stdout);
  for (bf16* data : {qkv, d_o, dqkv, a.o}) cudaFree(data);
  for (float* data : {a.lse, a.delta, a.dq_sums}) cudaFree(data);
  cudaFree(plan);
  return is_good;
}

attention_shape shape_of(std::int64_t heads, std::int64_t kv_heads, std::int64_t size) {
  return {heads, kv_heads, size, 1.0 / std::sqrt(static_cast<double>(size))};
}

}  // namespace

int main(int count, char** arguments) try {
  if (device_count() == 0) {
    std::fprintf(stderr, "SKIPPED: there is no CUDA device\n");
    return 0;
  }
  const int repetitions = count > 1 ? std::max(1, std::atoi(arguments[1])) : 9;
  cudaDeviceProp facts{};
  check(cudaGetDeviceProperties(&facts, 0), "cudaGetDeviceProperties");
  std::printf("%s\n", facts.name);
  const std::vector<std::int64_t> pack{16384, 512, 12288, 1024, 9000, 516, 7168, 1500, 5000, 2048, 4096, 2500, 3500};
  const std::vector<std::int64_t> dense{32768};
  bool is_good = true;
  is_good &= measure<128>({"pack of 64k tokens", pack, shape_of(32, 32, 128)}, repetitions);
  is_good &= measure<128>({"pack of 64k tokens", pack, shape_of(32, 8, 128)}, repetitions);
  is_good &= measure<128>({"dense causal 32k", dense, shape_of(32, 8, 128)}, repetitions);
  is_good &= measure<64>({"pack of 64k tokens", pack, shape_of(32, 32, 64)}, repetitions);
  is_good &= measure<64>({"dense causal 32k", dense, shape_of(32, 8, 64)}, repetitions);
  return is_good ? 0 : 1;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "%s\n", failure.what());
  return 1;
}
