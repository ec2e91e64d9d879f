// Products of few rows against the host in double, and row by row against themselves.
#include <cstdint>
#include <cstring>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/operations.hpp>
#include <lodestone/host/backend.hpp>

#include "gpu.hpp"

namespace {

using namespace lodestone;
using lodestone_test::difference;
using lodestone_test::on_gpu;
using lodestone_test::tolerance;
using lodestone_test::twin;

struct size {
  std::int64_t n;
  std::int64_t c;
};
// Whole tiles and pieces, and neither; fewer columns than one warp takes; a layer of 8 billion parameters.
const std::vector<size> sizes{{16, 64}, {1, 8}, {17, 520}, {48, 1000}, {100, 2056}, {4096, 4096}, {1024, 14'336}};

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_few_rows, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE(products_of_few_rows_equal_the_host_in_double) {
  cuda<bf16> gpu;
  host<double> cpu;
  for (const auto& [n, c] : sizes)
    for (const std::int64_t m : {1, 2, 3, 8, 9, 16}) {
      twin<bf16> x(gpu, m, c + 16, 1), w(gpu, n, c + 8, 2), y(gpu, m, n + 3, 3);
      twin<float> wide(gpu.lane(), m, n, 4);
      const auto part = [](auto view, std::int64_t begin, std::int64_t count) {
        return view.columns(begin, begin + count);
      };
      const auto host_x = part(const_view(x.host.view()), 8, c);
      const auto host_w = part(const_view(w.host.view()), 0, c);
      gpu.gemm_nt(part(x.read(), 8, c), part(w.read(), 0, c), part(y.view(), 1, n), bf16{1});
      cpu.gemm_nt(host_x, host_w, part(y.host.view(), 1, n), 1.0);
      BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < tolerance<bf16>, m << " rows, " << n << ", " << c);
      gpu.gemm_nt(part(x.read(), 8, c), part(w.read(), 0, c), wide.view(), 0.0F);
      cpu.gemm_nt(host_x, host_w, wide.host.view(), 0.0);
      // Tensor cores align the terms of a sum before they add: a few times float's own rounding.
      BOOST_TEST(difference(gpu, wide.view(), wide.host.flat()) < 1e-5, m << " rows, " << n << ", " << c);
    }
}

BOOST_AUTO_TEST_CASE(a_row_has_the_bits_it_has_alone) {
  cuda<bf16> gpu;
  for (const auto& [n, c] : sizes) {
    twin<bf16> x(gpu, 16, c, 1), w(gpu, n, c, 2);
    twin<float> one(gpu.lane(), 1, n, 3), many(gpu.lane(), 16, n, 4);
    for (const std::int64_t m : {2, 7, 16}) {
      gpu.gemm_nt(x.read().rows(0, m), w.read(), many.view().rows(0, m), 0.0F);
      const auto together = gpu.to_host(const_view(many.view()));
      for (std::int64_t row = 0; row < m; ++row) {
        gpu.gemm_nt(x.read().rows(row, row + 1), w.read(), one.view(), 0.0F);
        const auto alone = gpu.to_host(const_view(one.view()));
        BOOST_TEST((std::memcmp(alone.data(), together.data() + row * n, alone.flat().size_bytes()) == 0),
                   "row " << row << " of " << m << ", " << n << ", " << c);
      }
    }
  }
}

// The weights are asked for before the kernel ahead is done: what that one writes to them must be read all the same.
BOOST_AUTO_TEST_CASE(weights_written_just_before_are_the_ones_that_are_read) {
  cuda<bf16> gpu;
  const std::int64_t n = 4096;
  const std::int64_t c = 4096;
  twin<bf16> x(gpu, 1, c, 1), w(gpu, n, c, 2), other(gpu, n, c, 3);
  twin<float> y(gpu.lane(), 1, n, 4), expected(gpu.lane(), 1, n, 5);
  gpu.gemm_nt(x.read(), other.read(), expected.view(), 0.0F);
  const auto right = gpu.to_host(const_view(expected.view()));
  for (int round = 0; round < 20; ++round) {
    gpu.fill(w.view(), bf16{1});
    gpu.gemm_nt(x.read(), w.read(), y.view(), 0.0F);
    gpu.copy(other.read(), w.view());
    gpu.gemm_nt(x.read(), w.read(), y.view(), 0.0F);
    const auto got = gpu.to_host(const_view(y.view()));
    BOOST_TEST((std::memcmp(got.data(), right.data(), right.flat().size_bytes()) == 0), "round " << round);
  }
}

BOOST_AUTO_TEST_SUITE_END()
