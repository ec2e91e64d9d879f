#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/host/attention.hpp>
#include <lodestone/host/attention_tiles.hpp>

#include "../host/matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;
using host_test::framed;

namespace {

struct problem {
  attention_shape shape;
  std::vector<slice> slices;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
};

/// Everything that one forward and one backward pass give.
struct outcome {
  std::vector<double> o, lse, dq, dk, dv;
};

template <class T>
struct inputs {
  explicit inputs(const problem& p)
      : q(p.queries, p.shape.heads * p.shape.head_dim, 1),
        k(p.keys, p.shape.kv_heads * p.shape.head_dim, 2),
        v(p.keys, p.shape.kv_heads * p.shape.head_dim, 3),
        d_o(p.queries, p.shape.heads * p.shape.head_dim, 4) {}
  framed<T> q, k, v, d_o;
};

template <class T, class Policy>
outcome evaluate(host<T>& backend, const Policy& policy, const problem& p, const inputs<T>& in) {
  const framed<T> o(p.queries, in.q.view.size(1), 5);
  const framed<T> dq(p.queries, in.q.view.size(1), 6);
  const framed<T> dk(p.keys, in.k.view.size(1), 7);
  const framed<T> dv(p.keys, in.k.view.size(1), 8);
  tensor<T, 1> lse(extents<1>{{p.queries * p.shape.heads}});
  policy.forward(backend, p.shape, p.slices, in.q, in.k, in.v, o, lse);
  policy.backward(backend, p.shape, p.slices, in.q, in.k, in.v, o, lse, in.d_o, dq, dk, dv);
  BOOST_TEST(o.intact());
  BOOST_TEST(dq.intact());
  BOOST_TEST(dk.intact());
  BOOST_TEST(dv.intact());
  return {elements(o.view), elements(lse.view()), elements(dq.view), elements(dk.view), elements(dv.view)};
}

double worst(const outcome& a, const outcome& b) {
  return std::max({distance(a.o, b.o), distance(a.lse, b.lse), distance(a.dq, b.dq), distance(a.dk, b.dk),
                   distance(a.dv, b.dv)});
}

template <class T>
void check_against_reference(const problem& p, double tolerance) {
  std::string text;
  for (const slice& s : p.slices)
    text += " [" + std::to_string(s.q_begin) + "," + std::to_string(s.q_end) + ")x[" + std::to_string(s.k_begin) + "," +
            std::to_string(s.k_end) + (s.kind == slice_kind::full ? ") full" : ") causal ") + std::to_string(s.window);
  BOOST_TEST_CONTEXT("heads " << p.shape.heads << "/" << p.shape.kv_heads << " x " << p.shape.head_dim << text) {
    host<T> backend(2);
    const inputs<T> in(p);
    BOOST_TEST(worst(evaluate(backend, blocked_attention{}, p, in), evaluate(backend, reference_attention{}, p, in)) <=
               tolerance);
  }
}

std::int64_t pick(random_stream& random, std::int64_t low, std::int64_t high) {  // in [low, high]
  return low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}

/// A random valid problem: packs, shared prefixes, decoding against a cache, or a patchwork of rectangles.
problem random_problem(random_stream& random) {
  constexpr std::int64_t sizes[] = {1, 3, 4, 8, 16, 20, 33};
  problem p;
  p.shape.kv_heads = pick(random, 1, 3);
  p.shape.heads = p.shape.kv_heads * pick(random, 1, 3);
  p.shape.head_dim = sizes[random.below(std::size(sizes))];
  p.shape.scale = 0.1 + random.uniform();
  switch (random.below(4)) {
    case 0: {  // documents end to end, some windowed, with rows between them that see nothing
      for (std::int64_t n = pick(random, 1, 4); n > 0; --n) {
        const std::int64_t begin = p.queries + pick(random, 0, 3);
        const std::int64_t end = begin + pick(random, 1, 150);
        p.slices.push_back({begin, end, begin, end, slice_kind::causal, pick(random, -60, 90)});
        p.slices.back().window = std::max<std::int64_t>(0, p.slices.back().window);
        p.queries = end;
      }
      p.keys = p.queries += pick(random, 0, 2);
      break;
    }
    case 1: {  // a prompt, one full slice of all answers against it, and the answers
      const std::int64_t prompt = pick(random, 1, 150);
      p.slices.push_back({0, prompt, 0, prompt});
      p.queries = prompt;
      for (std::int64_t n = pick(random, 1, 4); n > 0; --n) {
        const std::int64_t end = p.queries + pick(random, 1, 50);
        p.slices.push_back({p.queries, end, p.queries, end});
        p.queries = end;
      }
      p.slices.push_back({prompt, p.queries, 0, prompt, slice_kind::full});
      p.keys = p.queries;
      break;
    }
    case 2: {  // a few new rows of several sequences, each against its own cache
      for (std::int64_t n = pick(random, 1, 3); n > 0; --n) {
        const std::int64_t rows = pick(random, 1, 5);
        const std::int64_t cached = pick(random, 1, 200);
        p.slices.push_back({p.queries, p.queries + rows, p.keys, p.keys + cached, slice_kind::causal,
                            random.below(2) == 0 ? 0 : pick(random, 1, 100)});
        p.queries += rows;
        p.keys += cached + pick(random, 0, 70);
      }
      break;
    }
    default: {  // a grid of query and key ranges, each rectangle present or not
      std::vector<std::int64_t> q{0};
      std::vector<std::int64_t> k{0};
      for (std::int64_t n = pick(random, 1, 4); n > 0; --n) q.push_back(q.back() + pick(random, 0, 80));
      for (std::int64_t n = pick(random, 1, 4); n > 0; --n) k.push_back(k.back() + pick(random, 0, 80));
      for (std::size_t i = 0; i + 1 < q.size(); ++i)
        for (std::size_t j = 0; j + 1 < k.size(); ++j) {
          const auto dice = random.below(4);
          if (dice == 0) continue;
          p.slices.push_back({q[i], q[i + 1], k[j], k[j + 1], dice == 1 ? slice_kind::full : slice_kind::causal,
                              dice == 3 ? pick(random, 1, 70) : 0});
        }
      p.queries = q.back();
      p.keys = k.back();
    }
  }
  shuffle(std::span(p.slices), random);
  return p;
}

/// The pairs of `s` whose key lies below `cut`, and those at or past it. No windows.
void split(const slice& s, std::int64_t cut, std::vector<slice>& below, std::vector<slice>& above) {
  if (s.kind == slice_kind::full) {
    below.push_back({s.q_begin, s.q_end, s.k_begin, std::clamp(cut, s.k_begin, s.k_end), s.kind});
    above.push_back({s.q_begin, s.q_end, std::clamp(cut, s.k_begin, s.k_end), s.k_end, s.kind});
    return;
  }
  std::int64_t row = s.q_begin;  // the first row that sees a key at or past the cut
  while (row < s.q_end && s.last_key(row) <= cut) ++row;
  if (row > s.q_begin) below.push_back({s.q_begin, row, s.k_begin, s.last_key(row - 1)});
  if (row < s.q_end) {
    below.push_back({row, s.q_end, s.k_begin, std::max(cut, s.k_begin), slice_kind::full});
    above.push_back({row, s.q_end, std::max(cut, s.k_begin), s.k_end});
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attention_blocked)

BOOST_AUTO_TEST_CASE(equals_the_reference_for_random_lists_of_slices) {
  random_stream random(2024, random_purpose::user);
  int few = 0;
  for (int round = 0; round < 45; ++round) {
    const problem p = random_problem(random);
    few += on_host::attention::are_few_rows(p.slices, p.keys) ? 1 : 0;
    check_against_reference<double>(p, 1e-12);
    if (round % 3 == 0) check_against_reference<float>(p, 2e-5);
  }
  BOOST_TEST(few > 8);  // rows that read keys where they lie
  BOOST_TEST(few < 37);
}

// One new row a sequence: the keys are read in place, one by one for head dimensions that no vector divides.
BOOST_AUTO_TEST_CASE(new_rows_of_several_sequences_see_their_own_keys_at_any_number_of_threads) {
  for (const std::int64_t size : {1, 3, 8, 20, 64, 128}) {
    problem p{.shape = {6, 2, size, 1 / std::sqrt(static_cast<double>(size))}, .slices = {}, .queries = 0, .keys = 40};
    for (const std::int64_t cached : {1, 17, 64, 300}) {
      p.slices.push_back({p.queries, p.queries + 1, p.keys, p.keys + cached, slice_kind::causal, cached == 64 ? 20 : 0});
      ++p.queries;
      p.keys += cached + 5;
    }
    ++p.queries;  // a row that sees nothing
    BOOST_TEST(on_host::attention::are_few_rows(p.slices, p.keys));
    check_against_reference<double>(p, 1e-12);
    check_against_reference<float>(p, 2e-5);
    const inputs<float> in(p);
    std::vector<double> one;
    for (const int threads : {1, 2, 3}) {
      host<float> backend(threads);
      const framed<float> o(p.queries, in.q.view.size(1), 5);
      tensor<float, 1> lse(extents<1>{{p.queries * p.shape.heads}});
      blocked_attention{}.forward(backend, p.shape, p.slices, in.q, in.k, in.v, o, lse);
      if (threads == 1) one = elements(o.view);
      BOOST_TEST(elements(o.view) == one);
    }
  }
}

BOOST_AUTO_TEST_CASE(equals_the_reference_for_common_head_sizes) {
  for (const std::int64_t size : {8, 16, 64, 128}) {
    const problem p{.shape = {4, 2, size, 1 / std::sqrt(static_cast<double>(size))},
                    .slices = {{0, 90, 0, 90}, {90, 200, 90, 200}},
                    .queries = 200,
                    .keys = 200};
    check_against_reference<double>(p, 1e-12);
    check_against_reference<float>(p, 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(gradients_equal_finite_differences) {
  const problem p{.shape = {4, 2, 3, 0.6},
                  .slices = {{0, 5, 0, 5}, {5, 9, 0, 5, slice_kind::full}, {5, 9, 5, 9, slice_kind::causal, 2}},
                  .queries = 10,
                  .keys = 9};
  host<double> backend(1);
  const inputs<double> in(p);
  const outcome result = evaluate(backend, blocked_attention{}, p, in);
  const framed<double> o(p.queries, 12, 5);
  tensor<double, 1> lse(extents<1>{{p.queries * 4}});
  const auto value = [&] {
    blocked_attention{}.forward(backend, p.shape, p.slices, in.q, in.k, in.v, o, lse);
    return host_test::dot(elements(o.view), elements(in.d_o.view));
  };
  BOOST_TEST(distance(result.dq, host_test::slope(in.q.view, value)) <= 1e-8);
  BOOST_TEST(distance(result.dk, host_test::slope(in.k.view, value)) <= 1e-8);
  BOOST_TEST(distance(result.dv, host_test::slope(in.v.view, value)) <= 1e-8);
}

BOOST_AUTO_TEST_CASE(rows_without_keys_give_zero_and_minus_infinity) {
  const problem p{.shape = {2, 1, 8, 1.0}, .slices = {{1, 5, 0, 2}}, .queries = 6, .keys = 3};
  host<float> backend(2);
  const inputs<float> in(p);
  const outcome result = evaluate(backend, blocked_attention{}, p, in);
  for (const std::size_t row : {0, 1, 2, 5}) {  // row 0 and 5: no slice; rows 1 and 2: before the first key
    for (std::size_t h = 0; h < 2; ++h) BOOST_TEST(result.lse[row * 2 + h] == -std::numeric_limits<double>::infinity());
    for (std::size_t d = 0; d < 16; ++d) {
      BOOST_TEST(result.o[row * 16 + d] == 0.0);
      BOOST_TEST(result.dq[row * 16 + d] == 0.0);
    }
  }
  for (std::size_t d = 0; d < 8; ++d) {  // key 2: nobody sees it
    BOOST_TEST(result.dk[16 + d] == 0.0);
    BOOST_TEST(result.dv[16 + d] == 0.0);
  }
  BOOST_TEST(std::isfinite(result.lse[3 * 2]));
}

BOOST_AUTO_TEST_CASE(empty_streams_and_empty_lists_are_fine) {
  check_against_reference<float>({.shape = {2, 1, 4, 1.0}, .slices = {}, .queries = 0, .keys = 0}, 0);
  check_against_reference<float>({.shape = {2, 1, 4, 1.0}, .slices = {}, .queries = 3, .keys = 0}, 0);
  check_against_reference<float>({.shape = {2, 1, 4, 1.0}, .slices = {}, .queries = 0, .keys = 3}, 0);
  check_against_reference<float>({.shape = {2, 1, 4, 1.0}, .slices = {{0, 3, 1, 1}}, .queries = 3, .keys = 3}, 0);
}

BOOST_AUTO_TEST_CASE(large_scores_do_not_overflow) {
  problem p{.shape = {1, 1, 4, 4000.0}, .slices = {{0, 150, 0, 150}}, .queries = 150, .keys = 150};
  check_against_reference<double>(p, 1e-7);  // scores near 4e4 carry 1e-11, and the scale multiplies it
  p.shape.scale = -4000.0;
  check_against_reference<double>(p, 1e-7);
}

BOOST_AUTO_TEST_CASE(splitting_the_keys_and_merging_by_log_sum_exp_changes_nothing) {
  random_stream random(7, random_purpose::user);
  for (int round = 0; round < 20; ++round) {
    problem p = random_problem(random);
    for (slice& s : p.slices) s.window = 0;
    const std::int64_t cut = pick(random, 0, p.keys);
    problem first = p;
    problem second = p;
    first.slices.clear();
    second.slices.clear();
    for (const slice& s : p.slices) split(s, cut, first.slices, second.slices);
    BOOST_REQUIRE(pairs(first.slices) + pairs(second.slices) == pairs(p.slices));

    host<double> backend(2);
    const inputs<double> in(p);
    const outcome whole = evaluate(backend, blocked_attention{}, p, in);
    const std::int64_t width = p.shape.heads * p.shape.head_dim;
    tensor<double, 2> o(extents<2>{{p.queries, width}});
    tensor<double, 2> other(o.shape());
    tensor<double, 1> lse(extents<1>{{p.queries * p.shape.heads}});
    tensor<double, 1> other_lse(lse.shape());
    blocked_attention{}.forward(backend, p.shape, first.slices, in.q, in.k, in.v, o, lse);
    blocked_attention{}.forward(backend, p.shape, second.slices, in.q, in.k, in.v, other, other_lse);
    for (std::int64_t r = 0; r < lse.count(); ++r) {
      const double a = lse.view()(r);
      const double b = other_lse.view()(r);
      const double most = std::max(a, b);
      if (std::isinf(most)) continue;
      const double merged = most + std::log(std::exp(a - most) + std::exp(b - most));
      lse.view()(r) = merged;
      double* left = o.data() + r * p.shape.head_dim;
      const double* right = other.data() + r * p.shape.head_dim;
      for (std::int64_t d = 0; d < p.shape.head_dim; ++d)
        left[d] = std::exp(a - merged) * left[d] + std::exp(b - merged) * right[d];
    }
    BOOST_TEST(distance(elements(o.view()), whole.o) <= 1e-13);
    BOOST_TEST(distance(elements(lse.view()), whole.lse) <= 1e-13);

    tensor<double, 2> dq(o.shape());
    tensor<double, 2> dk(in.k.view.shape());
    tensor<double, 2> dv(in.k.view.shape());
    std::vector<double> sums[3];
    for (const auto* part : {&first, &second}) {
      blocked_attention{}.backward(backend, p.shape, part->slices, in.q, in.k, in.v, o, lse, in.d_o, dq, dk, dv);
      std::size_t which = 0;
      for (const auto* gradient : {&dq, &dk, &dv}) {
        const std::vector<double> values = elements(gradient->view());
        sums[which].resize(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) sums[which][i] += values[i];
        ++which;
      }
    }
    BOOST_TEST(distance(sums[0], whole.dq) <= 1e-12);
    BOOST_TEST(distance(sums[1], whole.dk) <= 1e-12);
    BOOST_TEST(distance(sums[2], whole.dv) <= 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  const problem p{.shape = {6, 2, 20, 0.3},
                  .slices = {{0, 300, 0, 300}, {300, 420, 0, 300, slice_kind::full}, {300, 420, 300, 420}},
                  .queries = 420,
                  .keys = 420};
  const inputs<float> in(p);
  host<float> one(1);
  const outcome expected = evaluate(one, blocked_attention{}, p, in);
  for (const int threads : {2, 3}) {
    host<float> backend(threads);
    const outcome result = evaluate(backend, blocked_attention{}, p, in);
    BOOST_TEST((result.o == expected.o));
    BOOST_TEST((result.lse == expected.lse));
    BOOST_TEST((result.dq == expected.dq));
    BOOST_TEST((result.dk == expected.dk));
    BOOST_TEST((result.dv == expected.dv));
  }
}

BOOST_AUTO_TEST_CASE(a_document_is_blind_to_its_neighbours) {
  const problem p{
      .shape = {2, 1, 8, 0.3}, .slices = {{0, 100, 0, 100}, {100, 200, 100, 200}}, .queries = 200, .keys = 200};
  host<float> backend(2);
  inputs<float> in(p);
  const outcome before = evaluate(backend, blocked_attention{}, p, in);
  for (std::int64_t t = 100; t < 200; ++t) {
    in.k(t, 0) += 1.0F;
    in.v(t, 0) = std::numeric_limits<float>::infinity();
  }
  const outcome after = evaluate(backend, blocked_attention{}, p, in);
  for (std::size_t i = 0; i < 100 * 16; ++i) BOOST_REQUIRE(before.o[i] == after.o[i]);
  for (std::size_t i = 0; i < 100 * 8; ++i) BOOST_REQUIRE(before.dk[i] == after.dk[i]);
}

BOOST_AUTO_TEST_CASE(shapes_and_slices_that_do_not_fit_are_refused) {
  host<float> backend(1);
  tensor<float, 2> q(extents<2>{{4, 16}});
  tensor<float, 2> k(extents<2>{{4, 8}});
  tensor<float, 1> lse(extents<1>{{8}});
  const auto run = [&](const attention_shape& shape, const std::vector<slice>& slices) {
    blocked_attention{}.forward(backend, shape, slices, q, k, k, q, lse);
  };
  const attention_shape good{2, 1, 8, 1.0};
  BOOST_CHECK_NO_THROW(run(good, {{0, 4, 0, 4}}));
  BOOST_CHECK_THROW(run({2, 1, 4, 1.0}, {}), shape_error);
  BOOST_CHECK_THROW(run({2, 0, 8, 1.0}, {}), shape_error);
  BOOST_CHECK_THROW(run({4, 3, 8, 1.0}, {}), shape_error);
  BOOST_CHECK_THROW(run(good, {{0, 4, 0, 5}}), shape_error);
  BOOST_CHECK_THROW(run(good, {{0, 4, 0, 4}, {3, 4, 0, 4}}), shape_error);
  BOOST_CHECK_THROW(blocked_attention{}.backward(backend, good, {}, q, k, k, q, lse, q, q, k, q), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
