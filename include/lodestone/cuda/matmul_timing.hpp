// Timing of the algorithms of a matrix product, before the first step, so that the fastest computes it from then on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cublasLt.h>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/matmul_plan.hpp>

namespace lodestone::on_cuda {

/// What timing found for the products of one key.
struct timed_product {
  std::string product;           ///< as matmul_key::to_text
  int candidates = 0;            ///< algorithms that ran, cuBLASLt's own choice included
  int same_bits = 0;             ///< of these, with the bits of cuBLASLt's own choice
  bool had_memory = true;        ///< false: nothing was timed, because the operands found no room
  double first_seconds = 0.0;    ///< a product by cuBLASLt's own choice
  double chosen_seconds = 0.0;   ///< by the fastest with the same bits, which is the one chosen
  double fastest_seconds = 0.0;  ///< by the fastest whatever its bits
};

/// Times algorithms on one lane, on operands of its own.
///
/// An algorithm is chosen only when it gives the bits of cuBLASLt's own choice, seen on products of random numbers with
/// three token counts of the bucket, a million elements each: sums in another order would differ in many of them. So
/// timing, which is never the same twice, decides how fast a run is and nothing else: two runs on one device keep
/// giving the same bits.
class matmul_timing {
 public:
  static constexpr int most_candidates = 16;  ///< algorithms of a key that are tried

  /// `workspace` is device memory for the algorithms. All must outlive the object.
  matmul_timing(cublasLtHandle_t library, const stream& lane, std::span<std::byte> workspace)
      : library_(library), lane_(&lane), workspace_(workspace) {
    // A prime number of elements, so that rows of no matrix repeat. Two of them read as one float are no less random.
    random_stream random(1, random_purpose::user);
    pattern_.resize(1'048'573);
    for (bf16& value : pattern_) value = bf16{static_cast<float>(2.0 * random.uniform() - 1.0)};
  }

  /// Products whose result is smaller are over before the choice matters, and too few elements would show other bits.
  [[nodiscard]] static bool is_worth_it(const matmul_key& k) {
    return k.z_rows(k.bucket) * k.z_columns() >= std::int64_t{1} << 16;
  }

  /// The algorithm for a key, out of cuBLASLt's `first` and the others, and what was found. Takes device memory for one
  /// product; where there is none the first is chosen. Throws device_error when the first fails.
  [[nodiscard]] std::pair<cublasLtMatmulAlgo_t, timed_product> choose(const matmul_key& k,
                                                                      const cublasLtMatmulAlgo_t& first) {
    timed_product result;
    result.product = k.to_text(k.bucket);
    operands on = make_operands(k);
    result.had_memory = on.memory.count() > 0;
    if (!result.had_memory) return {first, result};
    std::vector<candidate> all{{first}};
    for (const cublasLtMatmulAlgo_t& algorithm : matmul_algorithms(library_, k, workspace_.size(), most_candidates))
      if (!std::ranges::equal(algorithm.data, first.data) && is_usable(library_, k, algorithm, workspace_.size()))
        all.push_back({algorithm});
    std::vector<std::byte> expected;
    for (candidate& own : all) {
      std::vector<std::byte> got;
      const cublasStatus_t status = sample(on, own, got);
      if (&own == &all.front()) check(status, "the matrix product " + result.product + " failed");
      own.runs = status == CUBLAS_STATUS_SUCCESS;
      if (!own.runs) continue;
      if (expected.empty()) expected = got;
      own.has_same_bits = got == expected;
    }
    measure(on, all);
    const candidate* chosen = &all.front();
    result.fastest_seconds = std::numeric_limits<double>::infinity();
    for (const candidate& own : all) {
      if (!own.runs) continue;
      ++result.candidates;
      result.fastest_seconds = std::min(result.fastest_seconds, own.seconds);
      if (!own.has_same_bits) continue;
      ++result.same_bits;
      if (own.seconds < chosen->seconds) chosen = &own;
    }
    result.first_seconds = all.front().seconds;
    result.chosen_seconds = chosen->seconds;
    return {chosen->algorithm, result};
  }

 private:
  struct candidate {
    cublasLtMatmulAlgo_t algorithm{};
    bool runs = false;
    bool has_same_bits = false;
    double seconds = std::numeric_limits<double>::infinity();  // of one product
  };

  /// The largest product of a key with operands in memory of its own: a, b and the result behind each other.
  struct operands {
    matmul_key key;
    std::int64_t tokens = 0;  // of the bucket's largest product, as far as memory of 2^31 elements goes
    tensor<std::byte, 1, device_memory> memory;
    std::int64_t b = 0;  // bytes from the start
    std::int64_t z = 0;
    std::int64_t end = 0;
  };

  [[nodiscard]] operands make_operands(const matmul_key& k) const {
    constexpr std::int64_t limit = (std::int64_t{1} << 31) - 1;  // elements, as matmul cuts the tokens
    const std::int64_t widest = std::max({std::int64_t{1}, k.strides[0], k.strides[k.kind == product::tn ? 1 : 2]});
    const std::int64_t tokens = std::clamp<std::int64_t>(limit / widest, 1, k.bucket);
    operands on{k, tokens, {}};
    const auto behind = [](std::int64_t begin, std::int64_t rows, std::int64_t row_bytes) {
      return begin + (rows * row_bytes + 255) / 256 * 256;
    };
    const std::int64_t a_width = std::max(k.strides[0], k.kind == product::nt ? k.c : k.n);
    on.b = behind(0, tokens, a_width * k.in_bytes());
    on.z = behind(on.b, k.b_rows(tokens), std::max(k.strides[1], k.c) * k.in_bytes());
    on.end = behind(on.z, k.z_rows(tokens), std::max(k.strides[2], k.z_columns()) * k.out_bytes());
    try {
      on.memory = tensor<std::byte, 1, device_memory>(extents<1>{{on.end}});
    } catch (const device_error&) {
      return on;
    }
    // Random numbers: zeros would run faster than real data. Each copy doubles what is there.
    const auto bytes = static_cast<std::int64_t>(pattern_.size() * sizeof(bf16));
    check(cudaMemcpyAsync(on.memory.data(), pattern_.data(), static_cast<std::size_t>(std::min(bytes, on.end)),
                          cudaMemcpyHostToDevice, lane_->get()), "copy to the device");
    for (std::int64_t done = bytes; done < on.end; done *= 2)
      check(cudaMemcpyAsync(on.memory.data() + done, on.memory.data(),
                            static_cast<std::size_t>(std::min(done, on.end - done)), cudaMemcpyDeviceToDevice,
                            lane_->get()), "copy on the device");
    return on;
  }

  [[nodiscard]] cublasStatus_t run(operands& on, const matmul_problem& p, const candidate& own, float beta) const {
    const float one = 1.0F;
    const std::byte* const a = on.memory.data();
    std::byte* const z = on.memory.data() + on.z;
    return cublasLtMatmul(library_, p.operation.get(), &one, a + on.b, p.left.get(), a, p.right.get(), &beta, z,
                          p.target.get(), z, p.target.get(), &own.algorithm, workspace_.data(), workspace_.size(),
                          lane_->get());
  }

  /// About a million elements of each of three results, rows from all over them: with the most and the fewest tokens of
  /// the bucket, and with a count between them that no tile divides.
  [[nodiscard]] cublasStatus_t sample(operands& on, const candidate& own, std::vector<std::byte>& values) const {
    const matmul_key& k = on.key;
    const std::int64_t fewest = std::min(on.tokens, k.fewest_tokens());
    for (const std::int64_t tokens : {on.tokens, fewest, (fewest + on.tokens) / 2 | 1}) {
      // An algorithm that leaves elements out is found: these are no numbers.
      check(cudaMemsetAsync(on.memory.data() + on.z, 0xFF, static_cast<std::size_t>(on.end - on.z), lane_->get()),
            "cudaMemsetAsync");
      const std::int64_t in_range = std::min(tokens, on.tokens);
      const cublasStatus_t status = run(on, matmul_problem(k, in_range), own, 0.0F);
      if (status != CUBLAS_STATUS_SUCCESS) return status;
      const std::int64_t rows = k.z_rows(in_range);
      const std::int64_t count =
          std::min(rows, std::max<std::int64_t>(64, (std::int64_t{1} << 20) / k.z_columns()));
      const auto width = static_cast<std::size_t>(k.z_columns() * k.out_bytes());
      const std::int64_t apart = rows / count * std::max(k.strides[2], k.z_columns()) * k.out_bytes();
      const std::size_t before = values.size();
      values.resize(before + static_cast<std::size_t>(count) * width);
      check(cudaMemcpy2DAsync(values.data() + before, width, on.memory.data() + on.z,
                              static_cast<std::size_t>(apart), width, static_cast<std::size_t>(count),
                              cudaMemcpyDeviceToHost, lane_->get()),
            "copy to the host");
    }
    lane_->synchronize();
    return CUBLAS_STATUS_SUCCESS;
  }

  /// The median of five rounds, each over all candidates in turn, so that a chip that slows down as it warms treats
  /// them alike. What is half as fast as the fastest in the warm-up is not measured further.
  void measure(operands& on, std::vector<candidate>& all) const {
    const float beta = on.key.adds ? 1.0F : 0.0F;
    const matmul_problem p(on.key, on.tokens);
    event begin(true);
    event end(true);
    const auto time = [&](const candidate& own, int repeats) {
      begin.record(*lane_);
      for (int i = 0; i < repeats; ++i) check(run(on, p, own, beta), "a timed matrix product");
      end.record(*lane_);
      end.synchronize();
      return 1e-3 * static_cast<double>(end.milliseconds_since(begin)) / repeats;
    };
    double fastest = std::numeric_limits<double>::infinity();
    for (candidate& own : all) {
      if (!own.runs) continue;
      (void)time(own, 2);
      own.seconds = time(own, 2);
      fastest = std::min(fastest, own.seconds);
    }
    const int repeats = static_cast<int>(std::clamp(2e-4 / fastest, 1.0, 20.0));
    std::vector<std::vector<double>> rounds(all.size());
    for (int round = 0; round < 5; ++round)
      for (std::size_t i = 0; i < all.size(); ++i)
        if (i == 0 || all[i].seconds < 2.0 * fastest) rounds[i].push_back(time(all[i], repeats));
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (rounds[i].empty()) continue;
      std::ranges::sort(rounds[i]);
      all[i].seconds = rounds[i][rounds[i].size() / 2];
    }
  }

  cublasLtHandle_t library_;
  const stream* lane_;
  std::span<std::byte> workspace_;
  std::vector<bf16> pattern_;
};

}  // namespace lodestone::on_cuda
