#include <cstdint>
#include <memory>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/tiles.hpp>

#include "matrices.hpp"

using namespace lodestone;

namespace {

// One pass through every operation, whose results are collected bit by bit.
template <class T>
std::vector<unsigned char> everything(int threads) {
  constexpr std::int64_t rows = 700;
  constexpr std::int64_t width = 96;
  host<T> b(threads);
  std::vector<unsigned char> all;
  const auto keep = [&](const auto& values) {
    const auto bytes = host_test::bits(values);
    all.insert(all.end(), bytes.begin(), bytes.end());
  };
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> offsets{0};
  std::vector<double> coefficients;
  for (std::int64_t t = 0; t < rows; ++t) {
    tokens.push_back(static_cast<std::int32_t>(t * 7 % 50));
    coefficients.push_back(1.0 / static_cast<double>(t + 1));
    offsets.push_back(t + 1);
  }
  const auto table = host_test::normal<T, 2>({{50, width}}, 1);
  const auto weight = host_test::normal<T, 1>({{width}}, 2);
  const auto gate_weight = host_test::normal<T, 2>({{2 * width, width}}, 3);
  const auto head = host_test::normal<T, 2>({{50, width}}, 4);
  const auto angles = host_test::normal<T, 2>({{rows, 8}}, 5);
  tensor<T, 2> x(extents<2>{{rows, width}});
  tensor<T, 2> n(x.shape());
  tensor<T, 2> dx(x.shape());
  tensor<T, 1> rstd(extents<1>{{rows}});
  tensor<T, 1> lse(extents<1>{{rows}});
  tensor<T, 2> gate_up(extents<2>{{rows, 2 * width}});
  tensor<T, 2> dgate_up(extents<2>{{rows, 2 * width}});
  tensor<T, 2> logits(extents<2>{{rows, 50}});
  tensor<T, 2> dtable(table.shape());
  tensor<T, 2> dgate(gate_weight.shape());
  tensor<T, 1> dweight(weight.shape());
  tensor<T, 1> dbias(extents<1>{{2 * width}});
  std::vector<double> log_probs(tokens.size());

  b.embed(tokens, table, x);
  b.rmsnorm(x, weight, T{1} / 1024, n, rstd);
  b.gemm_nt(n, gate_weight, gate_up, 0);
  b.swiglu(gate_up, n);
  b.rope(n, 24, angles, angles, false, false);
  b.add(n, x);
  b.gemm_nt(x, head, logits, 0);
  b.label_log_probs(logits, offsets, tokens, lse, log_probs);
  b.label_gradient(logits, lse, offsets, tokens, coefficients, logits);
  b.gemm_nn(logits, head, dx, 0);
  b.swiglu_gradient(gate_up, dx, dgate_up);
  b.bias_gradient(dgate_up, dbias);
  b.gemm_tn(dgate_up, n, dgate, 0);
  b.gemm_nn(dgate_up, gate_weight, dx, 1);
  b.rmsnorm_gradient(x, weight, rstd, dx, dx, dweight, 0);
  b.embed_gradient(tokens, dx, dtable);
  for (const auto* values : {&x, &n, &dx, &gate_up, &dgate_up, &logits, &dtable, &dgate}) keep(*values);
  for (const auto* values : {&rstd, &lse, &dweight, &dbias}) keep(*values);
  const auto* bytes = reinterpret_cast<const unsigned char*>(log_probs.data());
  all.insert(all.end(), bytes, bytes + log_probs.size() * sizeof(double));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_backend)

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  const auto floats = everything<float>(1);
  const auto doubles = everything<double>(1);
  BOOST_TEST(floats.size() > 1'000'000);
  for (const int threads : {2, 3}) {
    BOOST_TEST((everything<float>(threads) == floats));
    BOOST_TEST((everything<double>(threads) == doubles));
  }
}

BOOST_AUTO_TEST_CASE(backends_share_a_pool) {
  const auto pool = std::make_shared<thread_pool>(2);
  host<float> a(pool);
  host<double> b(pool);
  BOOST_TEST(&a.pool() == &b.pool());
  BOOST_TEST(a.pool().size() == 2);
  BOOST_TEST(host<float>(3).pool().size() == 3);
  BOOST_TEST(host<float>().pool().size() == thread_pool::default_threads());
  BOOST_CHECK_THROW(host<float>(std::shared_ptr<thread_pool>()), config_error);
}

BOOST_AUTO_TEST_CASE(tiles_cover_their_range_once) {
  thread_pool pool(2);
  for (const std::int64_t total : {0, 1, 9, 10, 11, 100}) {
    std::vector<int> visits(static_cast<std::size_t>(total));
    on_host::for_tiles(pool, total, 10, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
    });
    BOOST_TEST((visits == std::vector<int>(static_cast<std::size_t>(total), 1)));
  }
}

BOOST_AUTO_TEST_CASE(lane_sums_add_every_term_once) {
  for (const std::int64_t count : {0, 1, 15, 16, 17, 100}) {
    const auto sum = on_host::lane_sum<std::int64_t>(count, [](std::int64_t i) { return i + 1; });
    BOOST_TEST(sum == count * (count + 1) / 2);
  }
}

BOOST_AUTO_TEST_SUITE_END()
