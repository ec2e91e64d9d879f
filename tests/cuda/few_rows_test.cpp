// Products of few rows against the host in double, and row by row against themselves.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/cuda/operations.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/llama.hpp>

#include "cuda/gpu.hpp"
#include "model/small_model.hpp"

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
// Whole tiles and pieces, and neither; fewer columns than one warp takes; the longest rows of 8 billion parameters.
const std::vector<size> sizes{{16, 64}, {1, 8}, {17, 520}, {48, 1000}, {100, 2056}, {1040, 1024}, {64, 14'336}};

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
  const std::int64_t n = 1024;
  const std::int64_t c = 2048;
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

BOOST_AUTO_TEST_CASE(normed_products_have_the_bits_of_their_parts) {
  cuda<bf16> gpu;
  for (const auto& [f, c] : {size{24, 520}, size{100, 1024}, size{264, 4096}})
    for (const std::int64_t m : {1, 2, 4}) {
      twin<bf16> x(gpu, m, c + 8, 1), norm(gpu, 1, c, 2), w(gpu, 2 * f, c, 3), normed(gpu, m, c, 4),
          expected(gpu, m, 2 * f, 5), y(gpu, m, 2 * f, 6), gated(gpu, m, f, 7), own(gpu, m, f, 8);
      twin<float> rstd(gpu.lane(), 1, m, 9);
      const auto rows = x.read().columns(0, c);
      gpu.rmsnorm(rows, norm.read_flat(), 1e-5F, normed.view(), rstd.flat());
      gpu.gemm_nt(normed.read(), w.read(), expected.view(), bf16{0});
      gpu.swiglu(expected.read(), gated.view());
      gpu.normed_product(rows, norm.read_flat(), 1e-5F, w.read(), y.view());
      gpu.normed_gated_product(rows, norm.read_flat(), 1e-5F, w.read(), own.view());
      const auto same = [&](twin<bf16>& a, twin<bf16>& b) {
        const auto left = gpu.to_host(a.read());
        const auto right = gpu.to_host(b.read());
        return std::memcmp(left.data(), right.data(), left.flat().size_bytes()) == 0;
      };
      BOOST_TEST(same(y, expected), m << " rows, " << f << ", " << c);
      BOOST_TEST(same(own, gated), m << " rows, " << f << ", " << c);
    }
  twin<bf16> x(gpu, 5, 1024, 1), norm(gpu, 1, 1024, 2), w(gpu, 64, 1024, 3), y(gpu, 5, 64, 4);
  BOOST_CHECK_THROW(gpu.normed_product(x.read(), norm.read_flat(), 1e-5F, w.read(), y.view()), shape_error);
}

BOOST_AUTO_TEST_CASE(keys_turn_on_their_way_to_the_cache) {
  cuda<bf16> gpu;
  for (const std::int64_t head_dim : {16, 6, 128})
    for (const bool interleaved : {false, true}) {
      const attention_shape shape{6, 2, head_dim, 1.0};
      const std::int64_t q_width = shape.heads * head_dim;
      const std::int64_t kv_width = shape.kv_heads * head_dim;
      twin<bf16> qkv(gpu, 3, q_width + 2 * kv_width, 1), other(gpu, 3, q_width + 2 * kv_width, 1),
          cache(gpu, 9, 2 * kv_width, 2), expected(gpu, 9, 2 * kv_width, 2);
      twin<float> cosine(gpu.lane(), 3, head_dim / 2, 3), sine(gpu.lane(), 3, head_dim / 2, 4);
      const std::vector<std::int64_t> rows{7, 0, 4};
      gpu.rope(other.view().columns(0, q_width + kv_width), head_dim, cosine.read(), sine.read(), interleaved, false);
      for (std::int64_t i = 0; i < 3; ++i) {
        const std::int64_t row = rows[static_cast<std::size_t>(i)];
        gpu.copy(other.read().rows(i, i + 1).columns(q_width, q_width + 2 * kv_width),
                 expected.view().rows(row, row + 1));
      }
      gpu.rope_to_cache(qkv.view(), shape, cosine.read(), sine.read(), interleaved,
                        gpu.upload(std::span<const std::int64_t>{rows}), cache.view());
      const auto same = [&](auto a, auto b) {
        const auto left = gpu.to_host(a);
        const auto right = gpu.to_host(b);
        return std::memcmp(left.data(), right.data(), left.flat().size_bytes()) == 0;
      };
      BOOST_TEST(same(cache.read(), expected.read()), "heads of " << head_dim);
      BOOST_TEST(same(qkv.read().columns(0, q_width), other.read().columns(0, q_width)), "heads of " << head_dim);
      const std::vector<std::int64_t> outside{7, 9, 4};
      BOOST_CHECK_THROW(gpu.rope_to_cache(qkv.view(), shape, cosine.read(), sine.read(), interleaved,
                                          gpu.upload(std::span<const std::int64_t>{outside}), cache.view()),
                        shape_error);
    }
}

BOOST_AUTO_TEST_CASE(the_largest_logit_of_equal_ones_is_the_first) {
  cuda<bf16> gpu;
  twin<float> logits(gpu.lane(), 5, 3001, 1);
  const auto put = [&](std::int64_t row, std::int64_t column, float value) {
    gpu.from_host(std::span<const float>{&value, 1},
                  tensor_view<float, 1, device_memory>(logits.device.data() + row * 3001 + column, extents<1>{{1}}));
  };
  put(0, 3000, 50.0F);
  for (const std::int64_t column : {2999, 1500, 37, 2048}) put(1, column, 60.0F);
  put(2, 0, 70.0F);
  put(3, 5, NAN);
  put(3, 1025, 80.0F);
  gpu.fill(logits.view().rows(4, 5), -INFINITY);
  std::vector<std::int32_t> ids(5, 7);
  gpu.largest(logits.read(), ids);
  BOOST_TEST((ids == std::vector<std::int32_t>{3000, 37, 0, -1, -1}));
  put(3, 5, -90.0F);
  put(4, 2222, -3.0F);
  put(0, 1, INFINITY);
  gpu.largest(logits.read(), ids);
  BOOST_TEST((ids == std::vector<std::int32_t>{-1, 37, 0, 1025, 2222}));
}

// A model wide enough for joined operations: token by token, two sequences at once, one of them behind a window in
// every other layer, against the whole text on the host.
BOOST_AUTO_TEST_CASE(two_sequences_continue_as_their_texts_do) {
  model_config config = lodestone_test::small_config();
  config.hidden = 640;
  config.heads = 8;
  config.kv_heads = 2;
  config.head_dim = 64;
  config.rope.dimensions = 64;
  config.windows = {0, 5};
  auto on_host = lodestone_test::small_store<host<double>>(config);
  for (std::int64_t unit = 0; unit < on_host->units(); ++unit)
    for (double& value : on_host->mutable_weights(unit).flat()) value *= 0.4;  // so that attention is not one-hot
  auto weights = lodestone_test::device_store<bf16>(*on_host);
  llama<cuda<bf16>, flash_or_reference> model(config, *weights);
  llama<host<double>, reference_attention> expected(config, *on_host);
  const std::vector<std::int64_t> lengths{23, 14};
  auto cache = model.make_cache(60);
  std::vector<std::size_t> names;
  for (const std::int64_t length : lengths) names.push_back(cache.rooms.open(length).value());
  std::vector<token_batch> texts;
  for (const std::int64_t length : lengths)
    texts.push_back(lodestone_test::small_batch({length}, config.vocabulary, static_cast<std::uint64_t>(length)));
  const auto piece = [&](std::size_t i, std::int64_t begin, std::int64_t end, token_batch& to) {
    for (std::int64_t t = begin; t < end; ++t) {
      to.tokens.push_back(texts[i].tokens[static_cast<std::size_t>(t)]);
      to.positions.push_back(static_cast<std::int32_t>(t));
      to.lengths.push_back(lengths[i]);
    }
  };
  std::int64_t done = 0;
  for (const std::int64_t next : {3, 4, 5, 7, 8, 13, 14}) {  // passes of 6, 2, 2, 4, 2, 10 and 2 rows
    token_batch batch;
    for (std::size_t i = 0; i < 2; ++i) piece(i, done, next, batch);
    const std::vector<cache_part> parts{{names[0], next - done}, {names[1], next - done}};
    const auto logits = model.extend(cache, parts, batch);
    for (std::size_t i = 0; i < 2; ++i) {
      const std::vector<std::int64_t> last{next - 1};
      token_batch text;
      piece(i, 0, next, text);
      text.slices = {{0, next, 0, next}};
      const auto right = expected.logits(text, last);
      const auto row = static_cast<std::int64_t>(i);
      BOOST_TEST(difference(weights->backend(), logits.view().rows(row, row + 1), right.view().flat()) < 0.03,
                 "sequence " << i << " after " << next << " tokens");
    }
    done = next;
  }
}

BOOST_AUTO_TEST_SUITE_END()
