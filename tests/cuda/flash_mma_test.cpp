// The schedule of flash_mma against the slices' own definition; its kernels against double-precision loops.
#include <lodestone/cuda/flash_mma.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/random.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/flash_policy.hpp>
#include <lodestone/model/counting.hpp>

namespace {

using namespace lodestone;
using on_cuda::check;

struct problem {
  std::string name;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::vector<slice> slices;
};

std::int64_t between(random_stream& random, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}

// Documents, some of one token, some with a window, now and then a gap that nothing sees.
problem random_pack(random_stream& random, std::int64_t rows) {
  problem p{"pack", 0, 0, {}};
  while (p.queries < rows) {
    if (random.below(5) == 0) p.queries += between(random, 1, 40);
    const std::int64_t length = random.below(3) == 0 ? between(random, 1, 3) : between(random, 1, 260);
    slice s{p.queries, p.queries + length, p.queries, p.queries + length};
    if (random.below(3) == 0) s.window = between(random, 1, 150);
    p.slices.push_back(s);
    p.queries += length;
  }
  p.keys = p.queries;
  return p;
}

// A prompt and answers that see it whole: one slice over the prompt for each answer, or one for all of them.
problem shared_prefix(random_stream& random, bool is_joint) {
  const std::int64_t prompt = between(random, 1, 200);
  problem p{is_joint ? "shared prefix, joint" : "shared prefix", prompt, 0, {{0, prompt, 0, prompt}}};
  for (std::int64_t i = between(random, 1, 5); i > 0; --i) {
    const std::int64_t end = p.queries + between(random, 1, 70);
    if (!is_joint) p.slices.push_back({p.queries, end, 0, prompt, slice_kind::full});
    p.slices.push_back({p.queries, end, p.queries, end});
    p.queries = end;
  }
  if (is_joint) p.slices.push_back({prompt, p.queries, 0, prompt, slice_kind::full});
  p.keys = p.queries;
  return p;
}

// Queries and keys of different streams: more keys than queries, or fewer, so that the first queries see none.
problem two_streams(random_stream& random) {
  problem p{"two streams", 0, 0, {}};
  for (std::int64_t i = between(random, 1, 4); i > 0; --i) {
    slice s{p.queries, p.queries + between(random, 1, 160), p.keys, p.keys + between(random, 1, 220)};
    if (random.below(3) == 0) s.kind = slice_kind::full;
    else if (random.below(3) == 0) s.window = between(random, 1, 90);
    p.slices.push_back(s);
    p.queries = s.q_end;
    p.keys = s.k_end + between(random, 0, 30);
  }
  return p;
}

std::vector<problem> fixed_problems() {
  std::vector<problem> list;
  list.push_back({"one tile", 128, 128, {{0, 128, 0, 128}}});
  list.push_back({"one token", 1, 1, {{0, 1, 0, 1}}});
  list.push_back({"causal", 389, 389, {{0, 389, 0, 389}}});
  list.push_back({"full", 200, 333, {{0, 200, 0, 333, slice_kind::full}}});
  list.push_back({"window", 400, 400, {{0, 400, 0, 400, slice_kind::causal, 37}}});
  list.push_back({"nothing", 70, 90, {}});
  list.push_back({"end of a document", 20, 500, {{0, 20, 0, 500}}});
  list.push_back({"more queries than keys", 300, 100, {{0, 300, 0, 100}}});
  problem tokens{"one-token documents", 150, 150, {}};
  for (std::int64_t i = 0; i < 150; ++i) tokens.slices.push_back({i, i + 1, i, i + 1});
  list.push_back(tokens);
  return list;
}

problem random_problem(random_stream& random) {
  switch (random.below(4)) {
    case 0: return random_pack(random, between(random, 100, 500));
    case 1: return shared_prefix(random, false);
    case 2: return shared_prefix(random, true);
    default: return two_streams(random);
  }
}

bool sees(const slice& s, std::int64_t q, std::int64_t k) {
  return q >= s.q_begin && q < s.q_end && k >= s.first_key(q) && k < s.last_key(q);
}

// Every row in one tile; every visible pair in one segment, once; every column of an inner range seen by the tile.
void check_walk(const on_cuda::flash_walk& walk, const problem& p, std::int64_t rows, std::int64_t columns,
                std::int64_t tile_rows, bool is_by_key) {
  std::vector<int> covered(static_cast<std::size_t>(rows), 0);
  std::vector<int> count(static_cast<std::size_t>(rows * columns), 0);
  for (const on_cuda::flash_tile& tile : walk.tiles) {
    BOOST_TEST(tile.row_end - tile.row_begin <= tile_rows);
    for (std::int64_t r = tile.row_begin; r < tile.row_end; ++r) ++covered[static_cast<std::size_t>(r)];
    for (std::int32_t i = tile.segment_begin; i < tile.segment_end; ++i) {
      const on_cuda::flash_segment& s = walk.segments[static_cast<std::size_t>(i)];
      BOOST_TEST(s.column_begin < s.column_end);
      for (std::int64_t r = tile.row_begin; r < tile.row_end; ++r)
        for (std::int64_t c = s.column_begin; c < s.column_end; ++c) {
          const bool is_seen = r >= s.row_begin && r < s.row_end && c - r >= s.low && c - r <= s.up;
          if (is_seen) ++count[static_cast<std::size_t>(r * columns + c)];
          if (!is_seen && c >= s.inner_begin && c < s.inner_end) BOOST_ERROR("a column that needs a mask is inner");
        }
    }
  }
  for (const int n : covered) BOOST_REQUIRE_EQUAL(n, 1);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      int expected = 0;
      for (const slice& s : p.slices) expected += is_by_key ? sees(s, c, r) : sees(s, r, c);
      BOOST_REQUIRE_EQUAL(count[static_cast<std::size_t>(r * columns + c)], expected);
    }
}

struct operands {
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // of the matrix
  std::int64_t stride = 0;   // wider than the matrix: the rest of a row belongs to somebody else
  std::vector<bf16> values;

  operands(std::int64_t row_count, std::int64_t column_count, std::int64_t gap)
      : rows(row_count), columns(column_count), stride(column_count + gap),
        values(static_cast<std::size_t>(row_count * stride), bf16::from_bits(0x7fc1)) {}
  bf16& at(std::int64_t row, std::int64_t column) { return values[static_cast<std::size_t>(row * stride + column)]; }
  [[nodiscard]] double get(std::int64_t row, std::int64_t column) const {
    return static_cast<double>(static_cast<float>(values[static_cast<std::size_t>(row * stride + column)]));
  }
};

template <class T>
class on_device {
 public:
  explicit on_device(const std::vector<T>& from) : count_(from.size()) {
    check(cudaMalloc(&data_, std::max<std::size_t>(bytes(), 16)), "cudaMalloc");
    check(cudaMemcpy(data_, from.data(), bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~on_device() { cudaFree(data_); }
  on_device(const on_device&) = delete;
  on_device& operator=(const on_device&) = delete;
  [[nodiscard]] T* data() const { return static_cast<T*>(data_); }
  void read(std::vector<T>& to) const {
    to.resize(count_);
    check(cudaMemcpy(to.data(), data_, bytes(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  }

 private:
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }
  void* data_ = nullptr;
  std::size_t count_ = 0;
};

struct reference {
  std::vector<double> o, lse, dq, dk, dv;
};

reference evaluate(const problem& p, const attention_shape& shape, const operands& q, const operands& kv,
                   const operands& d_o) {
  const std::int64_t size = shape.head_dim;
  const std::int64_t kv_width = shape.kv_heads * size;
  const auto zeros = [](std::int64_t n) { return std::vector<double>(static_cast<std::size_t>(n)); };
  reference r{zeros(p.queries * shape.heads * size), zeros(p.queries * shape.heads),
              zeros(p.queries * shape.heads * size), zeros(p.keys * kv_width), zeros(p.keys * kv_width)};
  const auto index = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  for (std::int64_t row = 0; row < p.queries; ++row)
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const std::int64_t at = h * size;
      const std::int64_t kv_at = h / shape.group() * size;
      std::vector<std::pair<std::int64_t, double>> seen;
      for (const slice& s : p.slices) {
        if (row < s.q_begin || row >= s.q_end) continue;
        for (std::int64_t j = s.first_key(row); j < s.last_key(row); ++j) {
          double score = 0;
          for (std::int64_t d = 0; d < size; ++d) score += q.get(row, at + d) * kv.get(j, kv_at + d);
          seen.emplace_back(j, score * shape.scale);
        }
      }
      double top = -std::numeric_limits<double>::infinity();
      for (const auto& [j, score] : seen) top = std::max(top, score);
      double sum = 0;
      for (const auto& [j, score] : seen) sum += std::exp(score - top);
      const double lse = seen.empty() ? top : top + std::log(sum);
      r.lse[index(row * shape.heads + h)] = lse;
      double* const o = &r.o[index((row * shape.heads + h) * size)];
      for (const auto& [j, score] : seen)
        for (std::int64_t d = 0; d < size; ++d) o[d] += std::exp(score - lse) * kv.get(j, kv_width + kv_at + d);
      double centre = 0;
      if (!seen.empty())
        for (std::int64_t d = 0; d < size; ++d) centre += o[d] * d_o.get(row, at + d);
      for (const auto& [j, score] : seen) {
        const double weight = std::exp(score - lse);
        double dp = 0;
        for (std::int64_t d = 0; d < size; ++d) dp += d_o.get(row, at + d) * kv.get(j, kv_width + kv_at + d);
        const double ds = weight * (dp - centre) * shape.scale;
        for (std::int64_t d = 0; d < size; ++d) {
          r.dq[index((row * shape.heads + h) * size + d)] += ds * kv.get(j, kv_at + d);
          r.dk[index(j * kv_width + kv_at + d)] += ds * q.get(row, at + d);
          r.dv[index(j * kv_width + kv_at + d)] += weight * d_o.get(row, at + d);
        }
      }
    }
  return r;
}

// Relative distance in the 2-norm, and nothing written beside the matrix.
void check_close(const char* what, const problem& p, std::int64_t size, const operands& got, std::int64_t first,
                 std::int64_t width, const std::vector<double>& expected, double tolerance) {
  double error = 0;
  double norm = 0;
  double worst = 0;
  for (std::int64_t row = 0; row < got.rows; ++row)
    for (std::int64_t c = 0; c < width; ++c) {
      const double e = expected[static_cast<std::size_t>(row * width + c)];
      const double difference = got.get(row, first + c) - e;
      error += difference * difference;
      norm += e * e;
      worst = std::max(worst, std::isfinite(difference) ? std::abs(difference) / (1 + std::abs(e)) : 1e9);
    }
  // Where gradients cancel exactly (a single key), rounding of fp32 sums remains: 1e-5 an element.
  const double floor = 1e-10 * static_cast<double>(got.rows * width);
  BOOST_TEST((error <= tolerance * tolerance * norm + floor), what << " of '" << p.name << "', heads of " << size
                                                                   << ": relative error " << std::sqrt(error / norm));
  BOOST_TEST(worst < 0.1, what << " of '" << p.name << "', heads of " << size << ": worst element off by " << worst);
}

template <int HeadDim>
void check_problem(const problem& p, std::int64_t heads, std::int64_t kv_heads, random_stream& random) {
  const attention_shape shape{heads, kv_heads, HeadDim, 1.0 / std::sqrt(static_cast<double>(HeadDim))};
  const std::int64_t kv_width = kv_heads * HeadDim;
  operands q(p.queries, heads * HeadDim, 8);
  operands kv(p.keys, 2 * kv_width, 16);
  operands o(p.queries, heads * HeadDim, 24);
  operands d_o(p.queries, heads * HeadDim, 0);
  operands dq(p.queries, heads * HeadDim, 40);
  operands dkv(p.keys, 2 * kv_width, 8);
  // Rows that nothing sees, or that see nothing, hold NaN: no kernel may let them reach anybody.
  std::vector<bool> has_keys(static_cast<std::size_t>(p.queries));
  std::vector<bool> is_seen(static_cast<std::size_t>(p.keys));
  for (const slice& s : p.slices)
    for (std::int64_t row = s.q_begin; row < s.q_end; ++row)
      for (std::int64_t j = s.first_key(row); j < s.last_key(row); ++j)
        has_keys[static_cast<std::size_t>(row)] = is_seen[static_cast<std::size_t>(j)] = true;
  const double spread = random.below(4) == 0 ? 3.0 : 1.0;  // sharp distributions, too
  for (std::int64_t row = 0; row < p.queries; ++row)
    for (std::int64_t c = 0; has_keys[static_cast<std::size_t>(row)] && c < heads * HeadDim; ++c) {
      q.at(row, c) = bf16(static_cast<float>(spread * random.normal()));
      d_o.at(row, c) = bf16(static_cast<float>(random.normal()));
    }
  for (std::int64_t row = 0; row < p.keys; ++row)
    for (std::int64_t c = 0; is_seen[static_cast<std::size_t>(row)] && c < 2 * kv_width; ++c)
      kv.at(row, c) = bf16(static_cast<float>(random.normal()));
  const reference expected = evaluate(p, shape, q, kv, d_o);

  const on_cuda::flash_schedule schedule = on_cuda::make_flash_schedule(p.slices, p.queries, p.keys, shape);
  std::vector<std::byte> plan(schedule.bytes());
  schedule.copy_to(plan.data());
  const on_device<std::byte> device_plan(plan);
  const std::vector<float> nothing(static_cast<std::size_t>(p.queries * heads), std::nanf(""));
  const on_device<bf16> device_q(q.values), device_kv(kv.values), device_d_o(d_o.values), device_o(o.values),
      device_dq(dq.values), device_dkv(dkv.values);
  const on_device<float> device_lse(nothing), device_delta(nothing);
  const on_device<float> device_sums(
      std::vector<float>(static_cast<std::size_t>(p.queries * heads * HeadDim), std::nanf("")));
  on_cuda::flash_arguments a;
  a.shape = shape;
  a.queries = p.queries;
  a.keys = p.keys;
  a.q = device_q.data();
  a.k = device_kv.data();
  a.v = device_kv.data() + kv_width;
  a.o = device_o.data();
  a.d_o = device_d_o.data();
  a.dq = device_dq.data();
  a.dk = device_dkv.data();
  a.dv = device_dkv.data() + kv_width;
  a.q_stride = q.stride;
  a.k_stride = a.v_stride = kv.stride;
  a.o_stride = o.stride;
  a.d_o_stride = d_o.stride;
  a.dq_stride = dq.stride;
  a.dk_stride = a.dv_stride = dkv.stride;
  a.lse = device_lse.data();
  a.delta = device_delta.data();
  a.dq_sums = device_sums.data();
  const auto run = [&] {
    on_cuda::flash_forward<HeadDim>(a, schedule.view(device_plan.data()), nullptr);
    on_cuda::flash_backward<HeadDim>(a, schedule.view(device_plan.data()), nullptr);
    check(cudaDeviceSynchronize(), "flash_mma");
  };
  run();
  device_o.read(o.values);
  device_dq.read(dq.values);
  device_dkv.read(dkv.values);
  std::vector<float> lse;
  device_lse.read(lse);

  check_close("o", p, HeadDim, o, 0, heads * HeadDim, expected.o, 6e-3);
  check_close("dq", p, HeadDim, dq, 0, heads * HeadDim, expected.dq, 1.2e-2);
  check_close("dk", p, HeadDim, dkv, 0, kv_width, expected.dk, 1.2e-2);
  check_close("dv", p, HeadDim, dkv, kv_width, kv_width, expected.dv, 1.2e-2);
  double worst = 0;
  for (std::size_t i = 0; i < lse.size(); ++i) {
    const double e = expected.lse[i];
    const double got = static_cast<double>(lse[i]);
    const double difference = std::abs(got - e);
    worst = std::max(worst, got == e ? 0.0 : std::isfinite(difference) ? difference : 1e9);
  }
  BOOST_TEST(worst < 1e-3, "lse of '" << p.name << "', heads of " << HeadDim << ": off by " << worst);
  for (const operands* x : {&o, &dq, &dkv})
    for (std::int64_t row = 0; row < x->rows; ++row)
      for (std::int64_t c = x->columns; c < x->stride; ++c)
        BOOST_REQUIRE_EQUAL(x->values[static_cast<std::size_t>(row * x->stride + c)].bits, 0x7fc1);

  run();  // the same bits again
  std::vector<bf16> again;
  device_dq.read(again);
  BOOST_TEST((again == dq.values));
  device_dkv.read(again);
  BOOST_TEST((again == dkv.values));
  device_o.read(again);
  BOOST_TEST((again == o.values));

  on_cuda::flash_backward_atomic<HeadDim>(a, schedule.view(device_plan.data()), nullptr);
  check(cudaDeviceSynchronize(), "flash_mma");
  device_dq.read(dq.values);
  check_close("dq with atomics", p, HeadDim, dq, 0, heads * HeadDim, expected.dq, 1.2e-2);
  device_dkv.read(again);
  BOOST_TEST((again == dkv.values), "dk and dv with atomics differ, '" << p.name << "', heads of " << HeadDim);
}

bool is_there_a_device() {
  static const bool is_there = on_cuda::device_count() > 0;
  if (!is_there)
    std::fprintf(stderr, "SKIPPED: the kernels of flash_mma were not run, because there is no CUDA device\n");
  return is_there;
}

template <int HeadDim>
void check_head_dim() {
  if (!is_there_a_device()) return;
  random_stream random(HeadDim, random_purpose::user);
  for (const problem& p : fixed_problems()) check_problem<HeadDim>(p, 2, 1, random);
  check_problem<HeadDim>({"causal, three heads", 270, 270, {{0, 270, 0, 270}}}, 3, 3, random);
  for (int i = 0; i < 10; ++i) {
    const std::int64_t kv_heads = between(random, 1, 2);
    check_problem<HeadDim>(random_problem(random), kv_heads * between(random, 1, 3), kv_heads, random);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_flash_mma)

BOOST_AUTO_TEST_CASE(walks_hold_each_visible_pair_once) {
  random_stream random(7, random_purpose::user);
  std::vector<problem> problems = fixed_problems();
  for (int i = 0; i < 40; ++i) problems.push_back(random_problem(random));
  for (const problem& p : problems)
    for (const std::int64_t size : {128, 256}) {
      BOOST_TEST_CONTEXT(p.name) {
        const auto schedule = on_cuda::make_flash_schedule(p.slices, p.queries, p.keys, {4, 2, size, 0.1});
        check_walk(schedule.queries, p, p.queries, p.keys, on_cuda::flash_query_rows(size), false);
        check_walk(schedule.keys, p, p.keys, p.queries, on_cuda::flash_key_rows(size), true);
      }
    }
}

BOOST_AUTO_TEST_CASE(schedules_are_linear_in_tiles) {
  const std::int64_t length = 1 << 20;
  const std::vector<slice> one{{0, length, 0, length}};
  const auto schedule = on_cuda::make_flash_schedule(one, length, length, {32, 8, 128, 0.1});
  BOOST_TEST(schedule.queries.tiles.size() == static_cast<std::size_t>(length / 128));
  BOOST_TEST(schedule.queries.segments.size() == static_cast<std::size_t>(length / 128));
  BOOST_TEST(schedule.keys.segments.size() == static_cast<std::size_t>(length / on_cuda::flash_key_rows(128)));
  BOOST_TEST(schedule.queries.tiles.front().row_end == length);  // the longest walk first
  BOOST_TEST(schedule.keys.tiles.front().row_begin == 0);
  BOOST_TEST(schedule.queries.heads_together % 4 == 0);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  const std::vector<slice> twice{{0, 8, 0, 8}, {4, 8, 0, 4, slice_kind::full}};
  BOOST_CHECK_THROW((void)on_cuda::make_flash_schedule(twice, 8, 8, {1, 1, 64, 1.0}), shape_error);
  BOOST_CHECK_THROW((void)on_cuda::make_flash_schedule({}, 8, 8, {1, 1, 72, 1.0}), shape_error);
  BOOST_CHECK_THROW((void)on_cuda::make_flash_schedule({}, std::int64_t{1} << 30, 8, {1, 1, 64, 1.0}), shape_error);
}

BOOST_AUTO_TEST_CASE(schedules_are_made_once_for_a_micro_batch) {
  using backend = count<cuda<bf16>>;
  backend counting;
  const attention_shape shape{4, 2, 64, 0.125};
  const std::vector<slice> pack{{0, 300, 0, 300}, {300, 310, 300, 310}};
  const std::vector<slice> other{{0, 310, 0, 310}};
  const std::int64_t delta = 310 * 4 * 4;
  {
    const flash_or_reference::per_batch<backend> policy;
    policy.prepare(counting, shape, pack, 310, 310);
    const std::int64_t one = counting.memory().in_use();
    const auto schedule = on_cuda::make_flash_schedule(pack, 310, 310, shape);
    BOOST_TEST((one >= static_cast<std::int64_t>(schedule.bytes()) && one < delta));
    const on_cuda::flash_schedule* made = nullptr;
    for (const bool backward : {false, true, true}) {
      const auto held = policy.reserve(counting, shape, pack, 310, 310, backward);
      BOOST_TEST((counting.memory().in_use() >= one + (backward ? delta : 0)));
      BOOST_TEST((made == nullptr || made == &held.first.plan->schedule));
      made = &held.first.plan->schedule;
      BOOST_TEST(made->queries.tiles.size() == schedule.queries.tiles.size());
      BOOST_TEST(made->keys.segments.size() == schedule.keys.segments.size());
    }
    BOOST_TEST(counting.memory().in_use() == one);
    policy.prepare(counting, shape, other, 310, 310);
    const std::int64_t two = counting.memory().in_use();
    BOOST_TEST(two > one);
    policy.prepare(counting, shape, pack, 310, 400);  // other keys
    policy.prepare(counting, {4, 4, 64, 0.125}, pack, 310, 310);
    const std::int64_t four = counting.memory().in_use();
    BOOST_TEST(four > two);
    policy.prepare(counting, shape, other, 310, 310);
    BOOST_TEST(counting.memory().in_use() == four);
    policy.prepare(counting, {4, 2, 24, 0.125}, pack, 310, 310);  // attention_reference shares nothing
    BOOST_TEST(counting.memory().in_use() == four);
    BOOST_CHECK_THROW(policy.prepare(counting, shape, std::vector<slice>{{0, 400, 0, 400}}, 310, 310), shape_error);
    BOOST_TEST(counting.memory().in_use() == four);
  }
  BOOST_TEST(counting.memory().in_use() == 0);
}

BOOST_AUTO_TEST_CASE(heads_of_64) { check_head_dim<64>(); }
BOOST_AUTO_TEST_CASE(heads_of_80) { check_head_dim<80>(); }
BOOST_AUTO_TEST_CASE(heads_of_96) { check_head_dim<96>(); }
BOOST_AUTO_TEST_CASE(heads_of_128) { check_head_dim<128>(); }
BOOST_AUTO_TEST_CASE(heads_of_256) { check_head_dim<256>(); }

BOOST_AUTO_TEST_SUITE_END()
