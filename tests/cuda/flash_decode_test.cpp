// Attention of few rows: the pieces against the slices' own definition, the kernels against the host in double.
#include <lodestone/cuda/flash_decode.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/reference.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/counting.hpp>

#include "cuda/gpu.hpp"

namespace {

using namespace lodestone;
using lodestone_test::difference;
using lodestone_test::on_gpu;
using lodestone_test::tolerance;
using lodestone_test::twin;

struct problem {
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::vector<slice> slices;
};

std::int64_t between(random_stream& random, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}

// Sequences of a cache with a few new rows each, some behind a window, with rows of nobody between them; some share a
// prefix, which is a full slice over all of them.
problem sequences(random_stream& random, std::int64_t most_keys) {
  problem p;
  for (std::int64_t i = between(random, 1, 5); i > 0; --i) {
    const std::int64_t rows = between(random, 1, on_cuda::flash_decode_rows);
    const std::int64_t keys = rows + between(random, 0, random.below(4) == 0 ? most_keys : most_keys / 20);
    slice s{p.queries, p.queries + rows, p.keys, p.keys + keys};
    if (random.below(3) == 0) s.window = between(random, 1, keys + 5);
    if (random.below(4) == 0) {  // a prompt of its own, then causal among the new rows
      const std::int64_t prompt = between(random, 1, most_keys / 10);
      p.slices.push_back({s.q_begin, s.q_end, s.k_begin, s.k_begin + prompt, slice_kind::full});
      s.k_begin += prompt;
      s.k_end = s.k_begin + rows;
      s.window = 0;
    }
    p.slices.push_back(s);
    p.queries = s.q_end + between(random, 0, 2);
    p.keys = s.k_end + between(random, 0, 30);
  }
  return p;
}

std::vector<problem> fixed_problems() {
  return {{1, 1, {{0, 1, 0, 1}}},
          {1, 2305, {{0, 1, 0, 2305}}},
          {16, 900, {{0, 16, 0, 900}}},
          {3, 2, {{0, 3, 0, 2}}},  // the first row sees nothing
          {2, 50, {}},
          {5, 700, {{0, 5, 100, 700, slice_kind::full}}},
          {4, 1700, {{0, 4, 0, 1700, slice_kind::causal, 257}}}};
}

bool sees(const slice& s, std::int64_t q, std::int64_t k) {
  return q >= s.q_begin && q < s.q_end && k >= s.first_key(q) && k < s.last_key(q);
}

// Every visible pair in one piece, once; every partial row in the list of its row, once, in the order of the pieces;
// every column of a piece seen by one of its rows, so that nothing else is read.
void check_pieces(const problem& p, const attention_shape& shape) {
  const auto schedule = on_cuda::make_flash_decode_schedule(p.slices, p.queries, p.keys, shape);
  std::vector<int> count(static_cast<std::size_t>(p.queries * p.keys), 0);
  std::vector<std::vector<std::int32_t>> of_row(static_cast<std::size_t>(p.queries));
  std::int32_t partial = 0;
  for (const on_cuda::flash_piece& piece : schedule.pieces) {
    BOOST_REQUIRE_EQUAL(piece.partial, partial);
    const std::int64_t rows = piece.row_end - piece.row_begin;
    BOOST_TEST_REQUIRE((rows == 1 || (rows > 1 && rows * shape.group() <= 16)));
    BOOST_TEST_REQUIRE(piece.column_begin < piece.column_end);
    for (std::int64_t r = piece.row_begin; r < piece.row_end; ++r)
      of_row[static_cast<std::size_t>(r)].push_back(partial++);
    std::int64_t unseen = 0;
    for (std::int64_t c = piece.column_begin; c < piece.column_end; ++c) {
      bool is_seen = false;
      for (std::int64_t r = piece.row_begin; r < piece.row_end; ++r)
        if (piece.low <= c - r && c - r <= piece.up) {
          ++count[static_cast<std::size_t>(r * p.keys + c)];
          is_seen = true;
        }
      unseen += !is_seen;
    }
    BOOST_TEST(unseen == 0);
  }
  BOOST_TEST(schedule.partials() == partial);
  BOOST_REQUIRE_EQUAL(schedule.first.size(), static_cast<std::size_t>(p.queries) + 1);
  for (std::size_t r = 0; r < of_row.size(); ++r) {
    const auto own =
        std::span{schedule.list}.subspan(static_cast<std::size_t>(schedule.first[r]),
                                         static_cast<std::size_t>(schedule.first[r + 1] - schedule.first[r]));
    BOOST_TEST_REQUIRE(std::ranges::equal(own, of_row[r]), "row " << r);
  }
  for (const slice& s : p.slices)
    for (std::int64_t q = s.q_begin; q < s.q_end; ++q)
      for (std::int64_t k = s.first_key(q); k < s.last_key(q); ++k) --count[static_cast<std::size_t>(q * p.keys + k)];
  BOOST_TEST(std::ranges::count(count, 0) == std::ssize(count));
}

constexpr std::array<attention_shape, 5> shapes{
    {{8, 2, 64, 0.125}, {3, 3, 80, 0.11}, {6, 1, 96, 0.1}, {8, 2, 128, 0.09}, {18, 1, 256, 0.06}}};

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_flash_decode)

BOOST_AUTO_TEST_CASE(pieces_hold_each_visible_pair_once) {
  random_stream random(3, random_purpose::user);
  std::vector<problem> problems = fixed_problems();
  for (int i = 0; i < 20; ++i) problems.push_back(sequences(random, 3000));
  for (const problem& p : problems)
    for (const attention_shape& shape : shapes) {
      BOOST_TEST(on_cuda::flash_decode_serves(p.slices, p.queries));
      check_pieces(p, shape);
    }
}

BOOST_AUTO_TEST_CASE(pieces_fill_the_device_and_no_more) {
  const attention_shape shape{32, 8, 128, 0.1};
  for (const std::int64_t keys : {32'768, 32'769, 40'000, 131'072, 1'000'000}) {
    const std::vector<slice> one{{0, 1, 0, keys}};
    const auto schedule = on_cuda::make_flash_decode_schedule(one, 1, keys, shape);
    const auto blocks = static_cast<std::int64_t>(schedule.pieces.size()) * shape.kv_heads;
    BOOST_TEST((blocks > 240 && blocks <= 264), blocks << " blocks of " << keys << " keys");
  }
}

BOOST_AUTO_TEST_CASE(a_sequence_is_cut_the_same_whatever_stands_beside_it) {
  random_stream random(4, random_purpose::user);
  const attention_shape shape{8, 2, 128, 0.1};
  for (int i = 0; i < 20; ++i) {
    const problem p = sequences(random, 5000);
    const auto all = on_cuda::make_flash_decode_schedule(p.slices, p.queries, p.keys, shape);
    std::size_t at = 0;
    for (slice s : p.slices) {
      const std::int64_t row = s.q_begin;
      const std::int64_t column = s.k_begin;
      s = {0, s.queries(), 0, s.keys(), s.kind, s.window};
      const auto alone = on_cuda::make_flash_decode_schedule({&s, 1}, s.q_end, s.k_end, shape);
      for (const on_cuda::flash_piece& own : alone.pieces) {
        const on_cuda::flash_piece& other = all.pieces.at(at++);
        BOOST_TEST((own.row_begin + row == other.row_begin && own.row_end + row == other.row_end));
        BOOST_TEST((own.column_begin + column == other.column_begin && own.column_end + column == other.column_end));
      }
    }
    BOOST_TEST(at == all.pieces.size());
  }
}

BOOST_AUTO_TEST_CASE(calls_with_long_slices_or_many_rows_are_left_to_tiles) {
  const std::vector<slice> rows_16{{0, 16, 0, 90}}, rows_17{{0, 17, 0, 90}};
  BOOST_TEST(on_cuda::flash_decode_serves(rows_16, 16));
  BOOST_TEST(!on_cuda::flash_decode_serves(rows_17, 17));
  BOOST_TEST(!on_cuda::flash_decode_serves(rows_16, 513));
  const std::vector<slice> twice{{0, 8, 0, 8}, {4, 8, 0, 4, slice_kind::full}};
  BOOST_CHECK_THROW((void)on_cuda::make_flash_decode_schedule(twice, 8, 8, {1, 1, 64, 1.0}), shape_error);
  BOOST_CHECK_THROW((void)on_cuda::make_flash_decode_schedule({}, 8, 8, {1, 1, 72, 1.0}), shape_error);
}

BOOST_AUTO_TEST_CASE(scratch_is_counted_before_the_first_step) {
  using backend = count<cuda<bf16>>;
  backend counting;
  const attention_shape shape{8, 2, 64, 0.125};
  const std::vector<slice> slices{{0, 2, 0, 300}, {2, 3, 300, 900}};
  const auto schedule = on_cuda::make_flash_decode_schedule(slices, 3, 900, shape);
  const flash_or_reference::per_batch<backend> policy;
  policy.prepare(counting, shape, slices, 3, 900);
  const std::int64_t tables = counting.memory().in_use();
  BOOST_TEST((tables >= static_cast<std::int64_t>(schedule.bytes()) &&
              tables < static_cast<std::int64_t>(schedule.bytes()) + 256));
  {
    const auto held = policy.reserve(counting, shape, slices, 3, 900, false);
    const std::int64_t scratch = 4 * on_cuda::flash_decode_scratch(schedule, shape);
    BOOST_TEST((counting.memory().in_use() - tables >= scratch && counting.memory().in_use() - tables < scratch + 256));
  }
  const auto backward = policy.reserve(counting, shape, slices, 3, 900, true);  // whose schedule is another
  BOOST_TEST(!backward.first.plan->is_decoding);
  BOOST_TEST(backward.first.plan->schedule.keys.tiles.size() == 15U);
}

BOOST_AUTO_TEST_CASE(few_rows_over_many_keys_equal_the_host_in_double, *boost::unit_test::precondition(on_gpu{})) {
  cuda<bf16> gpu;
  host<double> cpu;
  random_stream random(5, random_purpose::user);
  std::vector<problem> problems = fixed_problems();
  for (int i = 0; i < 3; ++i) problems.push_back(sequences(random, 900));
  for (const attention_shape& shape : shapes)
    for (std::size_t i = 0; i < problems.size(); ++i) {
      const problem& p = problems[i];
      const std::int64_t width = shape.heads * shape.head_dim;
      const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
      const double spread = i % 3 == 2 ? 3.0 : 1.0;  // sharp distributions, too
      twin<bf16> q(gpu, p.queries, width, 1, spread), kv(gpu, p.keys, 2 * kv_width, 2), o(gpu, p.queries, width, 3);
      twin<float> lse(gpu.lane(), 1, p.queries * shape.heads, 4);
      // Rows of the cache that nobody sees hold what they held before: NaN.
      std::vector<bf16> filler(static_cast<std::size_t>(2 * kv_width), bf16::from_bits(0x7fc1));
      for (std::int64_t k = 0; k < p.keys; ++k) {
        bool is_seen = false;
        for (const slice& s : p.slices)
          for (std::int64_t r = s.q_begin; r < s.q_end && !is_seen; ++r) is_seen = sees(s, r, k);
        if (!is_seen)
          gpu.from_host(
              std::span<const bf16>{filler},
              tensor_view<bf16, 1, device_memory>(kv.device.data() + k * 2 * kv_width, extents<1>{{2 * kv_width}}));
      }
      const auto columns = [&](auto view, std::int64_t begin) { return view.columns(begin, begin + kv_width); };
      const auto run = [&] {
        gpu.attend(flash_mma{}, shape, p.slices, q.read(), columns(kv.read(), 0), columns(kv.read(), kv_width),
                   o.view(), lse.flat());
      };
      run();
      const auto host_kv = const_view(kv.host.view());
      cpu.attend(reference_attention{}, shape, p.slices, const_view(q.host.view()), columns(host_kv, 0),
                 columns(host_kv, kv_width), o.host.view(), lse.host_flat());
      // Probabilities are rounded to bf16 before they meet v, the sums once more.
      BOOST_TEST(difference(gpu, o.view(), o.host.flat()) < 1.5 * tolerance<bf16>,
                 "o, problem " << i << ", heads of " << shape.head_dim);
      BOOST_TEST(difference(gpu, lse.view(), lse.host.flat()) < 1e-5,
                 "lse, problem " << i << ", heads of " << shape.head_dim);
      const auto first = gpu.to_host(const_view(o.view()));
      run();
      const auto again = gpu.to_host(const_view(o.view()));
      BOOST_TEST((std::memcmp(first.data(), again.data(), first.flat().size_bytes()) == 0));
    }
}

BOOST_AUTO_TEST_CASE(a_sequence_has_the_bits_it_has_alone, *boost::unit_test::precondition(on_gpu{})) {
  cuda<bf16> gpu;
  const attention_shape shape{32, 8, 128, 0.09};
  const std::vector<slice> all{{0, 1, 0, 2500}, {1, 2, 2500, 2600}, {2, 4, 2600, 4000}};
  twin<bf16> q(gpu, 4, 4096, 1), k(gpu, 4000, 1024, 2), v(gpu, 4000, 1024, 3), o(gpu, 4, 4096, 4), own(gpu, 4, 4096, 5);
  twin<float> lse(gpu.lane(), 1, 4 * 32, 6);
  gpu.attend(flash_mma{}, shape, all, q.read(), k.read(), v.read(), o.view(), lse.flat());
  for (slice s : all) {
    const std::int64_t first = s.q_begin;
    const std::int64_t end = s.q_end;
    const std::int64_t begin = s.k_begin;
    const std::int64_t last = s.k_end;
    s = {0, s.queries(), 0, s.keys()};
    gpu.attend(flash_mma{}, shape, {&s, 1}, q.read().rows(first, end), k.read().rows(begin, last),
               v.read().rows(begin, last), own.view().rows(first, end), lse.flat().rows(first * 32, end * 32));
  }
  const auto together = gpu.to_host(const_view(o.view()));
  const auto alone = gpu.to_host(const_view(own.view()));
  BOOST_TEST((std::memcmp(together.data(), alone.data(), alone.flat().size_bytes()) == 0));
}

BOOST_AUTO_TEST_SUITE_END()
