#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <tuple>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/reference.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/attention_reference.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/matmul.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/rope_config.hpp>

#include "cuda/gpu.hpp"

namespace {

using namespace lodestone;
using lodestone_test::difference;
using lodestone_test::on_gpu;
using lodestone_test::tolerance;
using lodestone_test::twin;
using types = std::tuple<float, bf16>;

template <class T>
T one() {
  return T{1.0F};
}

/// A list on the device.
template <class Backend, class U>
auto list(Backend& backend, const std::vector<U>& values) {
  return backend.upload(std::span<const U>{values});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_backend, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE_TEMPLATE(products_equal_those_of_the_host, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  struct size {
    std::int64_t m, n, c;
  };
  // Aligned, odd in every size (no vector access fits), a single token, an inner size of one, many tokens.
  for (const size s : {size{64, 128, 96}, size{33, 17, 7}, size{1, 40, 24}, size{5, 3, 1}, size{1000, 64, 16}})
    for (const bool adds : {false, true}) {
      twin<T> x(gpu, s.m, s.c, 1);
      twin<T> w(gpu, s.n, s.c, 2);
      twin<T> y(gpu, s.m, s.n, 3);
      twin<float> wide(gpu.lane(), s.m, s.n, 3);
      gpu.synchronize();
      gpu.gemm_nt(x.read(), w.read(), wide.view(), adds ? 1.0F : 0.0F);
      cpu.gemm_nt(const_view(x.host.view()), const_view(w.host.view()), wide.host.view(), adds ? 1.0 : 0.0);
      BOOST_TEST(difference(gpu, wide.view(), wide.host.flat()) < 3e-6, "nt to float, M " << s.m << " adds " << adds);
      if (!adds) y = twin<T>(gpu, s.m, s.n, 4, std::numeric_limits<double>::quiet_NaN());  // y is not read
      gpu.gemm_nt(x.read(), w.read(), y.view(), adds ? one<T>() : T{});
      cpu.gemm_nt(const_view(x.host.view()), const_view(w.host.view()), y.host.view(), adds ? 1.0 : 0.0);
      BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < tolerance<T>, "nt, M " << s.m << " adds " << adds);
      twin<T> dy(gpu, s.m, s.n, 5);
      gpu.gemm_nn(dy.read(), w.read(), x.view(), adds ? one<T>() : T{});
      cpu.gemm_nn(const_view(dy.host.view()), const_view(w.host.view()), x.host.view(), adds ? 1.0 : 0.0);
      BOOST_TEST(difference(gpu, x.view(), x.host.flat()) < tolerance<T>, "nn, M " << s.m << " adds " << adds);
      twin<T> other(gpu, s.m, s.c, 6);
      twin<float> dw(gpu.lane(), s.n, s.c, 7);
      gpu.gemm_tn(dy.read(), other.read(), dw.view(), adds ? 1.0F : 0.0F);
      cpu.gemm_tn(const_view(dy.host.view()), const_view(other.host.view()), dw.host.view(), adds ? 1.0 : 0.0);
      BOOST_TEST(difference(gpu, dw.view(), dw.host.flat()) < 3e-6, "tn, M " << s.m << " adds " << adds);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(products_of_column_blocks, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  twin<T> x(gpu, 20, 48, 1);
  twin<T> w(gpu, 24, 16, 2);
  twin<T> y(gpu, 20, 72, 3);
  gpu.gemm_nt(x.read().columns(16, 32), w.read(), y.view().columns(24, 48), T{});
  cpu.gemm_nt(const_view(x.host.view()).columns(16, 32), const_view(w.host.view()), y.host.view().columns(24, 48), 0.0);
  BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < tolerance<T>);
}

BOOST_AUTO_TEST_CASE(token_counts_of_one_bucket_share_a_plan) {
  on_cuda::stream lane;
  on_cuda::matmul products;
  twin<bf16> x(lane.get(), 4096, 64, 1);
  twin<bf16> w(lane.get(), 128, 64, 2);
  twin<bf16> y(lane.get(), 4096, 128, 3);
  for (const std::int64_t tokens : {4096, 4095, 4001, 3900})
    products.run<bf16, bf16>(lane, on_cuda::product::nt, tokens, 128, 64, {x.device.data(), 64}, {w.device.data(), 64},
                             y.device.data(), 128, 0.0F);
  BOOST_TEST(products.plans() == 1U);
  lane.synchronize();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(elementwise_operations_equal_those_of_the_host, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  for (const std::int64_t width : {64, 13, 1}) {  // packs, no packs, one column
    const std::int64_t rows = 70;
    twin<T> x(gpu, rows, width, 1);
    twin<T> y(gpu, rows, width, 2);
    gpu.add(x.read(), y.view());
    cpu.add(const_view(x.host.view()), y.host.view());
    BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < tolerance<T>);

    twin<T> bias(gpu, 1, width, 3);
    gpu.add_bias(y.view(), bias.read_flat());
    cpu.add_bias(y.host.view(), const_view(bias.host_flat()));
    BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < 2 * tolerance<T>);
    twin<float> db(gpu.lane(), 1, width, 4);
    gpu.bias_gradient(x.read(), db.flat());
    cpu.bias_gradient(const_view(x.host.view()), db.host_flat());
    BOOST_TEST(difference(gpu, db.view(), db.host.flat()) < 3e-6);

    twin<T> gate_up(gpu, rows, 2 * width, 5);
    twin<T> d(gpu, rows, width, 6);
    twin<T> d_gate_up(gpu, rows, 2 * width, 7);
    gpu.swiglu(gate_up.read(), y.view());
    cpu.swiglu(const_view(gate_up.host.view()), y.host.view());
    BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < tolerance<T>);
    gpu.swiglu_gradient(gate_up.read(), d.read(), d_gate_up.view());
    cpu.swiglu_gradient(const_view(gate_up.host.view()), const_view(d.host.view()), d_gate_up.host.view());
    BOOST_TEST(difference(gpu, d_gate_up.view(), d_gate_up.host.flat()) < tolerance<T>);

    const std::vector<std::int64_t> rows_wanted{0, 3, 4, 69};
    twin<T> some(gpu, 4, width, 8);
    gpu.gather_rows(x.read(), list(gpu, rows_wanted), some.view());
    cpu.gather_rows(const_view(x.host.view()), rows_wanted, some.host.view());
    BOOST_TEST(difference(gpu, some.view(), some.host.flat()) == 0.0);
    gpu.scatter_add_rows(some.read(), list(gpu, rows_wanted), x.view());
    cpu.scatter_add_rows(const_view(some.host.view()), rows_wanted, x.host.view());
    BOOST_TEST(difference(gpu, x.view(), x.host.flat()) < tolerance<T>);

    gpu.scale(x.view(), 0.5);
    cpu.scale(x.host.view(), 0.5);
    BOOST_TEST(difference(gpu, x.view(), x.host.flat()) < tolerance<T>);
    gpu.fill(x.view().columns(0, (width + 1) / 2), T{2.0F});
    cpu.fill(x.host.view().columns(0, (width + 1) / 2), 2.0);
    BOOST_TEST(difference(gpu, x.view(), x.host.flat()) < tolerance<T>);
    twin<float> wide(gpu.lane(), rows, width, 9);
    gpu.copy(x.read(), wide.view());
    BOOST_TEST(difference(gpu, wide.view(), x.host.flat()) < tolerance<T>);
    gpu.copy(const_view(wide.view()), x.view());
    BOOST_TEST(difference(gpu, x.view(), x.host.flat()) < tolerance<T>);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(embedding_and_its_gradient, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  struct size {
    std::int64_t tokens, vocabulary, width, stride;
  };
  // Packs, no packs, several ranges of columns a token, one token; rows of the table further apart than their length.
  for (const size s : {size{300, 50, 32, 32}, size{300, 50, 5, 5}, size{900, 7, 2052, 2052}, size{700, 20, 3001, 3001},
                       size{1, 50, 64, 64}, size{5000, 400, 64, 72}, size{70'000, 3, 8, 8}}) {
    std::vector<std::int32_t> ids;
    random_stream random(3, random_purpose::user);
    for (std::int64_t i = 0; i < s.tokens; ++i)  // one token 30% of the stream: its rows are cut into pieces
      ids.push_back(static_cast<std::int32_t>(random.below(
          random.below(10) < 3 ? 1 : static_cast<std::uint64_t>(s.vocabulary))));
    twin<T> table(gpu, s.vocabulary, s.width, 1);
    twin<T> out(gpu, s.tokens, s.width, 2);
    const auto uploaded = gpu.upload_tokens(ids, true);
    gpu.embed(uploaded, table.read(), out.view());
    cpu.embed(ids, const_view(table.host.view()), out.host.view());
    BOOST_TEST(difference(gpu, out.view(), out.host.flat()) == 0.0);
    twin<T> above(gpu, s.tokens, s.width, 4);
    twin<float> gradient(gpu.lane(), s.vocabulary, s.stride, 3);
    twin<float> again(gpu.lane(), s.vocabulary, s.stride, 3);
    gpu.embed_gradient(uploaded, above.read(), gradient.view().columns(0, s.width));
    cpu.embed_gradient(ids, const_view(above.host.view()), gradient.host.view().columns(0, s.width));
    BOOST_TEST(difference(gpu, gradient.view(), gradient.host.flat()) < 2e-6, s.tokens << " x " << s.width);
    gpu.embed_gradient(uploaded, above.read(), again.view().columns(0, s.width));
    BOOST_TEST(std::ranges::equal(gpu.to_host(gradient.view()).flat(), gpu.to_host(again.view()).flat()));  // the bits
  }
  twin<float> gradient(gpu.lane(), 50, 8, 1);
  twin<T> above(gpu, 3, 8, 1);
  const std::vector<std::int32_t> ids{1, 1, 2};
  BOOST_CHECK_THROW(gpu.embed_gradient(gpu.upload_tokens(ids, false), above.read(), gradient.view()), shape_error);
  gpu.embed_gradient(gpu.upload_tokens({}, true), above.read().rows(0, 0), gradient.view());
  BOOST_TEST(difference(gpu, gradient.view(), gradient.host.flat()) == 0.0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(rmsnorm_and_its_gradient, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  struct size {
    std::int64_t groups, d;
  };
  for (const size s : {size{1, 64}, size{1, 1024}, size{1, 2560}, size{1, 4096}, size{1, 6144}, size{1, 777},
                       size{4, 16}, size{3, 5}}) {
    // Several rows a block, and the last block with fewer; a small width has as many blocks as rows.
    const std::int64_t rows = s.d == 1024 ? 1700 : s.d > 1024 ? 541 : 37;
    const std::int64_t width = s.groups * s.d;
    twin<T> x(gpu, rows, width, 1);
    twin<T> weight(gpu, 1, s.d, 2);
    twin<T> y(gpu, rows, width, 3);
    twin<float> rstd(gpu.lane(), 1, rows * s.groups, 4);
    gpu.rmsnorm(x.read(), weight.read_flat(), 1e-5F, y.view(), rstd.flat());
    cpu.rmsnorm(const_view(x.host.view()), const_view(weight.host_flat()), 1e-5, y.host.view(), rstd.host_flat());
    BOOST_TEST(difference(gpu, y.view(), y.host.flat()) < tolerance<T>);
    BOOST_TEST(difference(gpu, rstd.view(), rstd.host.flat()) < 3e-6);
    for (const bool adds : {false, true}) {
      twin<T> dy(gpu, rows, width, 5);
      twin<T> dx(gpu, rows, width, 6);
      twin<float> dweight(gpu.lane(), 1, s.d, 7);
      gpu.rmsnorm_gradient(x.read(), weight.read_flat(), const_view(rstd.flat()), dy.read(), dx.view(), dweight.flat(),
                           adds ? one<T>() : T{});
      cpu.rmsnorm_gradient(const_view(x.host.view()), const_view(weight.host_flat()), const_view(rstd.host_flat()),
                           const_view(dy.host.view()), dx.host.view(), dweight.host_flat(), adds ? 1.0 : 0.0);
      BOOST_TEST(difference(gpu, dx.view(), dx.host.flat()) < 2 * tolerance<T>, s.groups << " x " << s.d << adds);
      BOOST_TEST(difference(gpu, dweight.view(), dweight.host.flat()) < 6e-6);
      // In place, without a weight gradient.
      gpu.rmsnorm_gradient(x.read(), weight.read_flat(), const_view(rstd.flat()), dy.read(), dy.view(), {}, T{});
      cpu.rmsnorm_gradient(const_view(x.host.view()), const_view(weight.host_flat()), const_view(rstd.host_flat()),
                           const_view(dy.host.view()), dy.host.view(), {}, 0.0);
      BOOST_TEST(difference(gpu, dy.view(), dy.host.flat()) < 2 * tolerance<T>);
    }
  }
}

BOOST_AUTO_TEST_CASE(rope_tables_are_exact_to_a_million_and_beyond) {
  cuda<float> gpu;
  host<float> cpu;
  rope_config config;
  config.dimensions = 16;
  config.base = 5e5;
  config.max_positions = 8192;
  for (const bool dynamic : {false, true}) {
    if (dynamic) {
      config.scaling = rope_scaling_kind::dynamic_ntk;
      config.factor = 2.0;
      config.max_positions = 64;
    }
    const std::vector<std::int32_t> positions{0, 1, 77, 65'535, 1'000'003, 2'000'000'000};
    const std::vector<std::int64_t> lengths{10, 10, 100, 100, 500, 500};
    const extents<2> shape{{6, 8}};
    tensor<float, 2> c(shape);
    tensor<float, 2> s(shape);
    tensor<float, 2, device_memory> dc(shape);
    tensor<float, 2, device_memory> ds(shape);
    cpu.rope_table(config, positions, lengths, c.view(), s.view());
    gpu.rope_table(config, positions, lengths, dc.view(), ds.view());
    const auto gc = gpu.to_host(dc.view());
    const auto gs = gpu.to_host(ds.view());
    for (std::size_t i = 0; i < c.flat().size(); ++i) {
      BOOST_TEST(std::abs(gc.flat()[i] - c.flat()[i]) <= 6e-8F);
      BOOST_TEST(std::abs(gs.flat()[i] - s.flat()[i]) <= 6e-8F);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(rope_turns_and_turns_back, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  struct size {
    std::int64_t head_dim, half;
    bool interleaved;
  };
  for (const size s : {size{32, 16, false}, size{32, 8, true}, size{6, 3, false}, size{6, 2, true}}) {
    twin<T> x(gpu, 40, 3 * s.head_dim, 1);
    twin<float> c(gpu.lane(), 40, s.half, 2);
    twin<float> sine(gpu.lane(), 40, s.half, 3);
    for (const bool inverse : {false, true}) {
      gpu.rope(x.view(), s.head_dim, c.read(), sine.read(), s.interleaved, inverse);
      cpu.rope(x.host.view(), s.head_dim, const_view(c.host.view()), const_view(sine.host.view()), s.interleaved,
               inverse);
      BOOST_TEST(difference(gpu, x.view(), x.host.flat()) < 2 * tolerance<T>);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(head_log_probabilities_and_gradient, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  const std::int64_t rows = 5;
  for (const std::int64_t vocabulary : {3000, 7}) {
    twin<float> logits(gpu.lane(), rows, vocabulary, 1, 4.0);
    // Labels before the range, a row without labels, one label twice in a row.
    const std::vector<std::int64_t> offsets{2, 3, 3, 6, 7, 9};
    const std::vector<std::int32_t> labels{0, 0, 1, 2, 5, 2, 6, 3, 4, 0};
    const std::vector<double> c{9, 9, -0.5, 0.25, 1.0, -2.0, 0.125, 0.0, 3.0, 9};
    twin<float> lse(gpu.lane(), 1, rows, 2);
    std::vector<double> got(labels.size(), 7.0);
    std::vector<double> expected(labels.size(), 7.0);
    const auto at = list(gpu, offsets);
    const auto names = list(gpu, labels);
    gpu.label_log_probs(logits.read(), at, names, lse.flat(), got);
    cpu.label_log_probs(const_view(logits.host.view()), offsets, labels, lse.host_flat(), expected);
    for (std::size_t k = 0; k < got.size(); ++k)
      BOOST_TEST(std::abs(got[k] - expected[k]) < 1e-6 * 16.0);  // logits reach 16
    BOOST_TEST(difference(gpu, lse.view(), lse.host.flat()) < 1e-6);
    twin<T> d(gpu, rows, vocabulary, 3);
    gpu.label_gradient(logits.read(), const_view(lse.flat()), at, names, c, d.view());
    cpu.label_gradient(const_view(logits.host.view()), const_view(lse.host_flat()), offsets, labels, c, d.host.view());
    BOOST_TEST(difference(gpu, d.view(), d.host.flat()) < tolerance<T>);
    if constexpr (std::is_same_v<T, float>) {  // in place
      gpu.label_gradient(logits.read(), const_view(lse.flat()), at, names, c, logits.view());
      BOOST_TEST(difference(gpu, logits.view(), d.host.flat()) < 3e-6);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_optimiser_equals_the_hosts) {
  cuda<float> gpu;
  host<double> cpu;
  const std::int64_t count = 10'001;
  twin<float> w(gpu, 1, count, 1);
  twin<float> g(gpu, 1, count, 2);
  twin<float> m(gpu, 1, count, 3, 0.0);
  twin<float> v(gpu, 1, count, 4, 0.0);
  const optim::adamw settings{.learning_rate = 1e-2, .weight_decay = 0.1};
  for (std::int64_t number = 1; number <= 5; ++number) {
    const optim::adamw_step step = settings.step(number, 10, {"w", 2}, 0.5);
    gpu.adamw(w.flat(), m.flat(), v.flat(), const_view(g.flat()), step);
    cpu.adamw(w.host_flat(), m.host_flat(), v.host_flat(), const_view(g.host_flat()), step);
  }
  BOOST_TEST(difference(gpu, w.view(), w.host.flat()) < 1e-6);
  BOOST_TEST(difference(gpu, v.view(), v.host.flat()) < 1e-6);
  BOOST_TEST(gpu.sum_of_squares(const_view(g.flat())) == cpu.sum_of_squares(const_view(g.host_flat())),
             boost::test_tools::tolerance(1e-12));
  BOOST_TEST(gpu.all_finite(const_view(g.flat())));
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const float values[] = {bad};
    gpu.from_host(std::span<const float>{values}, g.flat().rows(count - 1, count));
    BOOST_TEST(!gpu.all_finite(const_view(g.flat())));
    BOOST_TEST(gpu.all_finite(const_view(g.flat()).rows(0, count - 1)));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(attention_over_random_slices, T, types) {
  cuda<T> gpu;
  host<double> cpu;
  random_stream random(11, random_purpose::user);
  for (int round = 0; round < 24; ++round) {
    const std::int64_t kv = 1 + static_cast<std::int64_t>(random.below(3));
    constexpr std::int64_t sizes[] = {4, 16, 33, 64, 80, 128, 256, 300};
    const attention_shape shape{kv * (1 + static_cast<std::int64_t>(random.below(3))), kv, sizes[round % 8], 0.2};
    std::vector<slice> slices;
    std::int64_t rows = 0;
    if (round % 3 == 0) {  // a prompt, answers that see it, and each answer itself
      const std::int64_t prompt = 1 + static_cast<std::int64_t>(random.below(60));
      slices.push_back({0, prompt, 0, prompt});
      rows = prompt;
      for (int answer = 0; answer < 3; ++answer) {
        const std::int64_t length = 1 + static_cast<std::int64_t>(random.below(30));
        slices.push_back({rows, rows + length, rows, rows + length});
        rows += length;
      }
      slices.push_back({prompt, rows, 0, prompt, slice_kind::full});
    } else {  // documents, some of one token, some with a window, rows without keys between them
      for (int document = 0; document < 5; ++document) {
        const std::int64_t length = 1 + static_cast<std::int64_t>(random.below(document == 2 ? 1 : 70));
        slices.push_back({rows, rows + length, rows, rows + length, slice_kind::causal,
                          random.below(2) == 0 ? 0 : 1 + static_cast<std::int64_t>(random.below(20))});
        rows += length + static_cast<std::int64_t>(random.below(3));
      }
    }
    const std::int64_t width = shape.heads * shape.head_dim;
    const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
    twin<T> q(gpu, rows, width, 1), k(gpu, rows, kv_width, 2), v(gpu, rows, kv_width, 3), o(gpu, rows, width, 4),
        d_o(gpu, rows, width, 5), dq(gpu, rows, width, 6), dk(gpu, rows, kv_width, 7), dv(gpu, rows, kv_width, 8);
    twin<float> lse(gpu.lane(), 1, rows * shape.heads, 9);
    const auto h = [](auto& t) { return const_view(t.host.view()); };
    gpu.attend(attention_reference{}, shape, slices, q.read(), k.read(), v.read(), o.view(), lse.flat());
    cpu.attend(reference_attention{}, shape, slices, h(q), h(k), h(v), o.host.view(), lse.host_flat());
    // In float the dots of up to 300 terms move a weight by 1e-6 of itself.
    const double bound = std::is_same_v<T, float> ? 3e-6 : tolerance<T>;
    BOOST_TEST(difference(gpu, o.view(), o.host.flat()) < bound, "o, round " << round);
    BOOST_TEST(difference(gpu, lse.view(), lse.host.flat()) < 3e-6, "lse, round " << round);
    gpu.attend_backward(attention_reference{}, shape, slices, q.read(), k.read(), v.read(), o.read(),
                        const_view(lse.flat()), d_o.read(), dq.view(), dk.view(), dv.view());
    cpu.attend_backward(reference_attention{}, shape, slices, h(q), h(k), h(v), h(o), const_view(lse.host_flat()),
                        h(d_o), dq.host.view(), dk.host.view(), dv.host.view());
    const double limit = std::is_same_v<T, float> ? 1e-5 : 1e-2;
    BOOST_TEST(difference(gpu, dq.view(), dq.host.flat()) < limit, "dq, round " << round);
    BOOST_TEST(difference(gpu, dk.view(), dk.host.flat()) < limit, "dk, round " << round);
    BOOST_TEST(difference(gpu, dv.view(), dv.host.flat()) < limit, "dv, round " << round);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(parked_tensors_come_back_whole_while_their_memory_is_used_again, T, types) {
  cuda<T> gpu;
  constexpr std::int64_t rows = 4096;
  constexpr std::int64_t bytes = rows * 1024 * static_cast<std::int64_t>(sizeof(T));
  gpu.reserve_parking(8 * bytes);
  gpu.memory().reserve(4 * bytes);  // too little for all at once: parked memory must be used again
  using value = block<T, 2, device_memory>;
  const auto filled = [&](int number) {
    value x = gpu.template allocate<T>(extents<2>{{rows, 1024}});
    gpu.fill(x.view(), T{static_cast<float>(number)});
    return x;
  };
  for (int round = 0; round < 3; ++round) {
    std::vector<block<T, 2, pinned_memory>> away;
    for (int k = 0; k < 8; ++k) {
      value x = filled(8 * round + k);
      gpu.await_copies();
      away.push_back(gpu.park(std::move(x)));
    }
    BOOST_TEST(gpu.parking().in_use() == 8 * bytes);
    value next = gpu.fetch(std::move(away[7]));
    for (int k = 7; k >= 0; --k) {
      value x = std::move(next);
      gpu.await_copies();
      if (k > 0) next = gpu.fetch(std::move(away[static_cast<std::size_t>(k - 1)]));
      const value noise = filled(100);
      const auto got = gpu.to_host(x.view());
      const auto expected = convert<float>(T{static_cast<float>(8 * round + k)});
      BOOST_TEST(std::ranges::all_of(got.flat(), [&](T element) { return convert<float>(element) == expected; }),
                 "round " << round << ", tensor " << k);
    }
    BOOST_TEST(gpu.parking().in_use() == 0);
    BOOST_TEST(gpu.memory().in_use() == 0);
  }
  BOOST_TEST(gpu.memory().outside() == 0);
  BOOST_TEST(gpu.parking().outside() == 0);
  BOOST_TEST(!gpu.park(value{}));
  BOOST_TEST(!gpu.fetch(block<T, 2, pinned_memory>{}));
}

BOOST_AUTO_TEST_CASE(memory_that_cannot_be_locked_is_an_error_with_the_bytes_and_a_remedy) {
  cuda<float> gpu;
  BOOST_CHECK_EXCEPTION(gpu.reserve_parking(std::int64_t{1} << 50), device_error, [](const device_error& e) {
    const std::string text = e.what();
    return text.find("1073741824 MiB") != std::string::npos && text.find("offload less") != std::string::npos;
  });
  gpu.reserve_parking(1 << 20);  // and the next one succeeds
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_an_error_before_the_launch) {
  cuda<float> gpu;
  twin<float> x(gpu, 4, 8, 1);
  twin<float> w(gpu, 3, 7, 2);
  twin<float> y(gpu, 4, 3, 3);
  BOOST_CHECK_THROW(gpu.gemm_nt(x.read(), w.read(), y.view(), 0.0F), shape_error);
  BOOST_CHECK_THROW(gpu.add(x.read(), y.view()), shape_error);
  const std::vector<std::int32_t> wrong{0, 4};
  twin<float> out(gpu, 2, 8, 4);
  BOOST_CHECK_EXCEPTION(gpu.embed(list(gpu, wrong), x.read(), out.view()), shape_error, [](const shape_error& e) {
    return std::string(e.what()).find("token 4 lies outside the table of 4 rows") != std::string::npos;
  });
  BOOST_CHECK_THROW(gpu.gather_rows(x.read(), list(gpu, std::vector<std::int64_t>{3, 1}), out.view()), shape_error);
  BOOST_CHECK_THROW((void)device_memory::allocate(std::size_t{1} << 60), device_error);
  BOOST_CHECK_THROW(cuda<float>(1000), device_error);
  BOOST_TEST(gpu.sum_of_squares(const_view(x.flat())) > 0.0);  // the device still works
}

BOOST_AUTO_TEST_SUITE_END()
