// Every kernel on operands of more than 2^31 elements: offsets that lose their upper bits fault or meet other numbers.
//
// The numbers repeat with a period that divides no power of two, so whatever an element should be is known without a
// copy on the host. Rows at the start, around 4 GiB and 2^31 elements, and at the end are compared with the host's.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/extents.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/rope_config.hpp>

#include "cuda/gpu.hpp"

namespace {

using namespace lodestone;
using lodestone_test::difference;
using lodestone_test::on_gpu;
using lodestone_test::tolerance;

constexpr std::int64_t limit = std::int64_t{1} << 31;
template <class U>
using device_matrix = tensor<U, 2, device_memory>;
using host_matrix = tensor<double, 2>;

/// Rows of `width` elements that pass the limit by 64 rows.
constexpr std::int64_t rows_past_limit(std::int64_t width) { return limit / width + 64; }

/// Whether the device has so much free memory, in GB; says aloud what is skipped when it has not.
bool has_room(double gigabytes) {
  std::size_t free = 0;
  std::size_t total = 0;
  on_cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  if (static_cast<double>(free) > (gigabytes + 0.5) * 1e9) return true;
  std::printf("SKIPPED: %s wants %.1f GB of GPU memory, %.1f are free: offsets past 2^31 were not tested there\n",
              boost::unit_test::framework::current_test_case().p_name->c_str(), gigabytes,
              static_cast<double>(free) * 1e-9);
  return false;
}

constexpr std::int64_t period = 1'000'003;

/// Normal numbers, rounded to T.
template <class T>
const std::vector<T>& numbers() {
  static const std::vector<T> result = [] {
    std::vector<T> values(static_cast<std::size_t>(period));
    random_stream random(1, random_purpose::user);
    for (T& value : values) value = convert<T>(static_cast<float>(random.normal()));
    return values;
  }();
  return result;
}

/// Element `index` of a buffer that lay() filled.
template <class T>
T number(std::int64_t index, std::int64_t phase) {
  return numbers<T>()[static_cast<std::size_t>((index + phase) % period)];
}

/// Fills a flat buffer with the numbers, beginning with number `phase`.
template <class T>
void lay(cudaStream_t lane, T* to, std::int64_t count, std::int64_t phase) {
  std::vector<T> turned = numbers<T>();
  std::ranges::rotate(turned, turned.begin() + phase);
  const auto copy = [&](T* target, const T* source, std::int64_t n, cudaMemcpyKind kind) {
    on_cuda::check(cudaMemcpyAsync(target, source, static_cast<std::size_t>(n) * sizeof(T), kind, lane), "copy");
  };
  copy(to, turned.data(), std::min(period, count), cudaMemcpyHostToDevice);
  for (std::int64_t done = std::min(period, count), more = 0; done < count; done += more) {
    more = std::min(done, count - done);  // whole periods, until the last
    copy(to + done, to, more, cudaMemcpyDeviceToDevice);
  }
}
template <class T>
void lay(cuda<bf16>& gpu, device_matrix<T>& matrix, std::int64_t phase) {
  lay(gpu.lane(), matrix.data(), matrix.count(), phase);
}

/// Those rows of a matrix [.., width] of the numbers, one below the other.
template <class T>
host_matrix rows_of(std::span<const std::int64_t> rows, std::int64_t width, std::int64_t phase) {
  host_matrix result(extents<2>{{static_cast<std::int64_t>(rows.size()), width}});
  for (std::size_t k = 0; k < rows.size(); ++k)
    for (std::int64_t j = 0; j < width; ++j)
      result.view()(static_cast<std::int64_t>(k), j) = convert<double>(number<T>(rows[k] * width + j, phase));
  return result;
}

/// Rows worth a look: both ends, and where 2^30 and 2^31 elements end.
std::vector<std::int64_t> chosen_rows(std::int64_t rows, std::int64_t width) {
  std::vector<std::int64_t> result{0, 1, rows - 2, rows - 1};
  for (const std::int64_t end : {limit / 2, limit})
    for (const std::int64_t row : {end / width - 1, end / width, end / width + 1}) result.push_back(row);
  std::ranges::sort(result);
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

/// Largest ||device - host|| / ||host|| over the rows; `expected` has them one below the other.
template <class U>
double worst(cuda<bf16>& gpu, tensor_view<U, 2, device_memory> device, std::span<const std::int64_t> rows,
             const host_matrix& expected) {
  double result = 0.0;
  for (std::size_t k = 0; k < rows.size(); ++k)
    result = std::max(
        result,
        difference(gpu, device.rows(rows[k], rows[k] + 1),
                   expected.view().rows(static_cast<std::int64_t>(k), static_cast<std::int64_t>(k) + 1).flat()));
  return result;
}

/// A matrix of zeros but for the chosen rows, which hold the numbers.
template <class T>
void lay_rows(cuda<bf16>& gpu, device_matrix<T>& matrix, std::span<const std::int64_t> rows, std::int64_t phase) {
  gpu.fill(matrix.view(), T{});
  for (const std::int64_t row : rows) {
    std::vector<T> values;
    for (std::int64_t j = 0; j < matrix.size(1); ++j) values.push_back(number<T>(row * matrix.size(1) + j, phase));
    gpu.from_host(std::span<const T>{values},
                  tensor_view<T, 1, device_memory>(matrix.view().row(row), extents<1>{{matrix.size(1)}}));
  }
}

template <class T>
device_matrix<T> matrix_of(std::int64_t rows, std::int64_t columns) {
  return device_matrix<T>(extents<2>{{rows, columns}});
}
template <class T>
tensor_view<T, 1, device_memory> flat(device_matrix<T>& matrix) {
  return {matrix.data(), extents<1>{{matrix.count()}}};
}
tensor_view<double, 1> flat(host_matrix& matrix) { return {matrix.data(), extents<1>{{matrix.count()}}}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_offsets, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE(elementwise_operations_past_the_limit) {
  constexpr std::int64_t width = 4096;
  constexpr std::int64_t rows = rows_past_limit(width);
  if (!has_room(2 * 4.3 + 8.6)) return;
  cuda<bf16> gpu;
  host<double> cpu;
  const auto chosen = chosen_rows(rows, width);
  auto x = matrix_of<bf16>(rows, width);
  auto y = matrix_of<bf16>(rows, width);
  auto bias = matrix_of<bf16>(1, width);
  lay(gpu, x, 0);
  lay(gpu, y, 77);
  lay(gpu, bias, 5);
  host_matrix hx = rows_of<bf16>(chosen, width, 0);
  host_matrix hy = rows_of<bf16>(chosen, width, 77);
  const std::int64_t first[] = {0};
  host_matrix hbias = rows_of<bf16>(first, width, 5);

  gpu.add(const_view(x.view()), y.view());
  cpu.add(const_view(hx.view()), hy.view());
  BOOST_TEST(worst(gpu, y.view(), chosen, hy) < tolerance<bf16>);

  lay(gpu, y, 77);
  hy = rows_of<bf16>(chosen, width, 77);
  gpu.add_bias(y.view(), const_view(flat(bias)));
  cpu.add_bias(hy.view(), const_view(flat(hbias)));
  BOOST_TEST(worst(gpu, y.view(), chosen, hy) < tolerance<bf16>);

  // Row i of y is row i + 1 of x, and goes back there: doubled, but for row 0.
  std::vector<std::int64_t> index(static_cast<std::size_t>(rows - 1));
  std::iota(index.begin(), index.end(), 1);
  const auto list = gpu.upload(std::span<const std::int64_t>{index});
  gpu.gather_rows(const_view(x.view()), list, y.view().rows(0, rows - 1));
  std::vector<std::int64_t> before_last = chosen;
  std::vector<std::int64_t> after;
  std::erase(before_last, rows - 1);
  for (const std::int64_t row : before_last) after.push_back(row + 1);
  BOOST_TEST(worst(gpu, y.view(), before_last, rows_of<bf16>(after, width, 0)) == 0.0);
  gpu.scatter_add_rows(const_view(y.view().rows(0, rows - 1)), list, x.view());
  for (std::size_t k = 0; k < chosen.size(); ++k)
    if (chosen[k] != 0)
      for (double& value : hx.view().rows(static_cast<std::int64_t>(k), static_cast<std::int64_t>(k) + 1).flat())
        value *= 2.0;
  BOOST_TEST(worst(gpu, x.view(), chosen, hx) == 0.0);

  gpu.scale(x.view(), 0.25);
  cpu.scale(hx.view(), 0.25);
  BOOST_TEST(worst(gpu, x.view(), chosen, hx) == 0.0);

  auto wide = matrix_of<float>(rows, width);
  gpu.copy(x.view(), wide.view());
  BOOST_TEST(worst(gpu, wide.view(), chosen, hx) == 0.0);
  gpu.fill(y.view(), bf16{});
  gpu.copy(wide.view(), y.view());
  BOOST_TEST(worst(gpu, y.view(), chosen, hx) == 0.0);

  gpu.fill(y.view(), bf16{2.0F});
  cpu.fill(hy.view(), 2.0);
  BOOST_TEST(worst(gpu, y.view(), chosen, hy) == 0.0);
  gpu.fill(y.view().columns(8, 64), bf16{3.0F});  // rows apart
  cpu.fill(hy.view().columns(8, 64), 3.0);
  BOOST_TEST(worst(gpu, y.view(), chosen, hy) == 0.0);
  // One row of all elements but the last.
  gpu.fill(tensor_view<bf16, 1, device_memory>(y.data(), extents<1>{{y.count() - 1}}), bf16{4.0F});
  const double last = hy.flat().back();
  cpu.fill(hy.view(), 4.0);
  hy.flat().back() = last;
  BOOST_TEST(worst(gpu, y.view(), chosen, hy) == 0.0);

  auto sums = matrix_of<float>(1, width);
  gpu.fill(sums.view(), 0.0F);
  lay_rows(gpu, y, chosen, 9);
  gpu.bias_gradient(const_view(y.view()), flat(sums));
  host_matrix hsums(extents<2>{{1, width}});
  cpu.bias_gradient(const_view(rows_of<bf16>(chosen, width, 9).view()), flat(hsums));
  BOOST_TEST(worst(gpu, sums.view(), first, hsums) < tolerance<float>);
}

BOOST_AUTO_TEST_CASE(swiglu_past_the_limit) {
  constexpr std::int64_t width = 8192;
  constexpr std::int64_t rows = rows_past_limit(2 * width);
  if (!has_room(2 * 4.3 + 2.2)) return;
  cuda<bf16> gpu;
  host<double> cpu;
  const auto chosen = chosen_rows(rows, 2 * width);
  const auto count = static_cast<std::int64_t>(chosen.size());
  auto gate_up = matrix_of<bf16>(rows, 2 * width);
  auto out = matrix_of<bf16>(rows, width);
  auto d_gate_up = matrix_of<bf16>(rows, 2 * width);
  lay(gpu, gate_up, 0);
  const host_matrix h = rows_of<bf16>(chosen, 2 * width, 0);
  host_matrix hout(extents<2>{{count, width}});
  gpu.swiglu(const_view(gate_up.view()), out.view());
  cpu.swiglu(h.view(), hout.view());
  BOOST_TEST(worst(gpu, out.view(), chosen, hout) < tolerance<bf16>);
  lay(gpu, out, 3);
  const host_matrix d = rows_of<bf16>(chosen, width, 3);
  host_matrix hd(extents<2>{{count, 2 * width}});
  gpu.swiglu_gradient(const_view(gate_up.view()), const_view(out.view()), d_gate_up.view());
  cpu.swiglu_gradient(h.view(), d.view(), hd.view());
  BOOST_TEST(worst(gpu, d_gate_up.view(), chosen, hd) < tolerance<bf16>);
}

BOOST_AUTO_TEST_CASE(rmsnorm_past_the_limit) {
  constexpr std::int64_t width = 4096;
  constexpr std::int64_t rows = rows_past_limit(width);
  if (!has_room(3 * 4.3 + 0.1)) return;
  cuda<bf16> gpu;
  host<double> cpu;
  const auto chosen = chosen_rows(rows, width);
  const auto count = static_cast<std::int64_t>(chosen.size());
  auto x = matrix_of<bf16>(rows, width);
  auto y = matrix_of<bf16>(rows, width);
  auto dx = matrix_of<bf16>(rows, width);
  lay(gpu, x, 0);
  const host_matrix hx = rows_of<bf16>(chosen, width, 0);
  const std::int64_t first[] = {0};
  for (const std::int64_t size : {width, std::int64_t{128}}) {  // of a row, and of heads
    const std::int64_t groups = width / size;
    auto weight = matrix_of<bf16>(1, size);
    auto rstd = matrix_of<float>(rows, groups);
    lay(gpu, weight, 11);
    host_matrix hweight = rows_of<bf16>(first, size, 11);
    host_matrix hy(extents<2>{{count, width}});
    host_matrix hrstd(extents<2>{{count, groups}});
    gpu.rmsnorm(const_view(x.view()), const_view(flat(weight)), 1e-5F, y.view(), flat(rstd));
    cpu.rmsnorm(hx.view(), const_view(flat(hweight)), 1e-5, hy.view(), flat(hrstd));
    BOOST_TEST(worst(gpu, y.view(), chosen, hy) < tolerance<bf16>, "size " << size);
    BOOST_TEST(worst(gpu, rstd.view(), chosen, hrstd) < tolerance<float>, "size " << size);

    auto dweight = matrix_of<float>(1, size);
    host_matrix hdweight(extents<2>{{1, size}});
    gpu.fill(dweight.view(), 0.0F);
    lay_rows(gpu, y, chosen, 21);  // other rows add nothing to the weight's gradient
    lay(gpu, dx, 31);
    const host_matrix hdy = rows_of<bf16>(chosen, width, 21);
    host_matrix hdx = rows_of<bf16>(chosen, width, 31);
    gpu.rmsnorm_gradient(const_view(x.view()), const_view(flat(weight)), const_view(flat(rstd)), const_view(y.view()),
                         dx.view(), flat(dweight), bf16{1.0F});
    cpu.rmsnorm_gradient(hx.view(), const_view(flat(hweight)), const_view(flat(hrstd)), hdy.view(), hdx.view(),
                         flat(hdweight), 1.0);
    BOOST_TEST(worst(gpu, dx.view(), chosen, hdx) < tolerance<bf16>, "size " << size);
    BOOST_TEST(worst(gpu, dweight.view(), first, hdweight) < 6e-6, "size " << size);
  }
}

BOOST_AUTO_TEST_CASE(rope_past_the_limit) {
  constexpr std::int64_t head_dim = 128;
  constexpr std::int64_t width = 32 * head_dim;
  constexpr std::int64_t rows = rows_past_limit(width);
  if (!has_room(4.3 + 0.3)) return;
  cuda<bf16> gpu;
  host<double> cpu;
  const auto chosen = chosen_rows(rows, width);
  auto x = matrix_of<bf16>(rows, width);
  auto cosine = matrix_of<float>(rows, head_dim / 2);
  auto sine = matrix_of<float>(rows, head_dim / 2);
  lay(gpu, cosine, 1);
  lay(gpu, sine, 2);
  const host_matrix c = rows_of<float>(chosen, head_dim / 2, 1);
  const host_matrix s = rows_of<float>(chosen, head_dim / 2, 2);
  for (const bool interleaved : {false, true}) {
    lay(gpu, x, 0);
    host_matrix h = rows_of<bf16>(chosen, width, 0);
    gpu.rope(x.view(), head_dim, const_view(cosine.view()), const_view(sine.view()), interleaved, false);
    cpu.rope(h.view(), head_dim, c.view(), s.view(), interleaved, false);
    BOOST_TEST(worst(gpu, x.view(), chosen, h) < tolerance<bf16>, "interleaved " << interleaved);
  }
}

BOOST_AUTO_TEST_CASE(rope_table_past_the_limit) {
  constexpr std::int64_t half = 4096;
  constexpr std::int64_t rows = rows_past_limit(half);
  if (!has_room(2 * 8.6 + 0.1)) return;
  cuda<bf16> gpu;
  rope_config config;
  config.dimensions = 2 * half;
  std::vector<std::int32_t> positions;
  for (std::int64_t i = 0; i < rows; ++i) positions.push_back(static_cast<std::int32_t>(i % 100'003));
  const std::vector<std::int64_t> lengths(positions.size(), rows);
  auto cosine = matrix_of<float>(rows, half);
  auto sine = matrix_of<float>(rows, half);
  gpu.rope_table(config, positions, lengths, cosine.view(), sine.view());
  const auto chosen = chosen_rows(rows, half);
  std::vector<std::int32_t> some;
  for (const std::int64_t row : chosen) some.push_back(positions[static_cast<std::size_t>(row)]);
  const extents<2> shape{{static_cast<std::int64_t>(chosen.size()), half}};
  // The frequencies are rounded to float as the device's are: a table of host<float>, widened.
  host<float> narrow;
  tensor<float, 2> c(shape);
  tensor<float, 2> s(shape);
  narrow.rope_table(config, some, std::vector<std::int64_t>(some.size(), rows), c.view(), s.view());
  host_matrix hc(shape);
  host_matrix hs(shape);
  std::ranges::copy(c.flat(), hc.flat().begin());
  std::ranges::copy(s.flat(), hs.flat().begin());
  for (const auto& [device, expected] : {std::pair{&cosine, &hc}, std::pair{&sine, &hs}}) {
    std::int64_t wrong = 0;
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const auto got = gpu.to_host(device->view().rows(chosen[k], chosen[k] + 1));
      for (std::int64_t j = 0; j < half; ++j) {
        const double own = expected->view()(static_cast<std::int64_t>(k), j);
        if (!(std::abs(static_cast<double>(got.view()(0, j)) - own) <= 6e-8)) ++wrong;  // not a number is wrong too
      }
    }
    BOOST_TEST(wrong == 0);
  }
}

BOOST_AUTO_TEST_CASE(embedding_past_the_limit) {
  constexpr std::int64_t width = 4096;
  constexpr std::int64_t rows = rows_past_limit(width);  // of the table and of the stream
  if (!has_room(2 * 4.3)) return;
  cuda<bf16> gpu;
  auto table = matrix_of<bf16>(rows, width);
  auto out = matrix_of<bf16>(rows, width);
  lay(gpu, table, 0);
  gpu.fill(out.view(), bf16{});
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < rows; ++i) ids.push_back(static_cast<std::int32_t>((i * 7919 + 13) % rows));
  gpu.embed(gpu.upload_tokens(ids, false), const_view(table.view()), out.view());
  std::vector<std::int64_t> chosen = chosen_rows(rows, width);
  for (const std::int64_t row : chosen_rows(rows, width))  // and wherever a chosen row of the table went
    if (const auto found = std::ranges::find(ids, static_cast<std::int32_t>(row)); found != ids.end())
      chosen.push_back(found - ids.begin());
  std::vector<std::int64_t> sources;
  for (const std::int64_t row : chosen) sources.push_back(ids[static_cast<std::size_t>(row)]);
  BOOST_TEST(chosen.size() == 2 * chosen_rows(rows, width).size());
  BOOST_TEST(worst(gpu, out.view(), chosen, rows_of<bf16>(sources, width, 0)) == 0.0);
}

BOOST_AUTO_TEST_CASE(embedding_gradient_past_the_limit) {
  constexpr std::int64_t width = 20'480;  // so wide that the partial sums of the frequent token take two ranges
  constexpr std::int64_t rows = rows_past_limit(width);
  if (!has_room(4.3 + 8.7)) return;
  cuda<bf16> gpu;
  const auto chosen = chosen_rows(rows, width);
  auto dout = matrix_of<bf16>(rows, width);
  auto dtable = matrix_of<float>(rows, width);
  lay_rows(gpu, dout, chosen, 0);
  lay(gpu, dtable, 41);
  // Nine in ten rows are of the last token; of the chosen ones every other, and the others of tokens of their own.
  const auto frequent = static_cast<std::int32_t>(rows - 1);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < rows; ++i) ids.push_back(i % 10 != 0 ? frequent : static_cast<std::int32_t>(i));
  const host_matrix added = rows_of<bf16>(chosen, width, 0);
  host_matrix expected = rows_of<float>(chosen, width, 41);
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    const std::size_t target = k % 2 == 0 ? chosen.size() - 1 : k;
    ids[static_cast<std::size_t>(chosen[k])] = static_cast<std::int32_t>(chosen[target]);
    for (std::int64_t j = 0; j < width; ++j)
      expected.view()(static_cast<std::int64_t>(target), j) += added.view()(static_cast<std::int64_t>(k), j);
  }
  const auto list = gpu.upload_tokens(ids, true);
  BOOST_TEST(list.groups.partials * width * static_cast<std::int64_t>(sizeof(float)) >
             static_cast<std::int64_t>(on_cuda::scratch_bytes));
  gpu.embed_gradient(list, const_view(dout.view()), dtable.view());
  BOOST_TEST(worst(gpu, dtable.view(), chosen, expected) < tolerance<float>);
}

BOOST_AUTO_TEST_CASE(label_log_probabilities_past_the_limit) {
  constexpr std::int64_t vocabulary = 128'256;
  constexpr std::int64_t rows = rows_past_limit(vocabulary);
  if (!has_room(8.7 + 4.4)) return;
  cuda<bf16> gpu;
  host<double> cpu;
  const auto chosen = chosen_rows(rows, vocabulary);
  const auto count = static_cast<std::int64_t>(chosen.size());
  auto logits = matrix_of<float>(rows, vocabulary);
  auto lse = matrix_of<float>(rows, 1);
  auto d_logits = matrix_of<bf16>(rows, vocabulary);
  lay(gpu, logits, 0);
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> labels;
  for (std::int64_t row = 0; row <= rows; ++row) offsets.push_back(row);
  for (std::int64_t row = 0; row < rows; ++row) labels.push_back(static_cast<std::int32_t>(row * 7919 % vocabulary));
  std::vector<double> log_probs(static_cast<std::size_t>(rows));
  const auto places = gpu.upload(std::span<const std::int64_t>{offsets});
  const auto names = gpu.upload(std::span<const std::int32_t>{labels});
  gpu.label_log_probs(const_view(logits.view()), places, names, flat(lse), log_probs);

  const host_matrix h = rows_of<float>(chosen, vocabulary, 0);
  host_matrix hlse(extents<2>{{count, 1}});
  std::vector<std::int64_t> some_offsets(chosen.size() + 1);
  std::iota(some_offsets.begin(), some_offsets.end(), 0);
  std::vector<std::int32_t> some_labels;
  for (const std::int64_t row : chosen) some_labels.push_back(labels[static_cast<std::size_t>(row)]);
  std::vector<double> some_log_probs(chosen.size());
  cpu.label_log_probs(h.view(), some_offsets, some_labels, flat(hlse), some_log_probs);
  BOOST_TEST(worst(gpu, lse.view(), chosen, hlse) < 1e-6);
  for (std::size_t k = 0; k < chosen.size(); ++k)
    BOOST_TEST(std::abs(log_probs[static_cast<std::size_t>(chosen[k])] - some_log_probs[k]) < 1.6e-5);

  const std::vector<double> c(static_cast<std::size_t>(rows), -0.5);
  const std::vector<double> some_c(chosen.size(), -0.5);
  host_matrix hd(extents<2>{{count, vocabulary}});
  gpu.label_gradient(const_view(logits.view()), const_view(flat(lse)), places, names, c, d_logits.view());
  cpu.label_gradient(h.view(), const_view(flat(hlse)), some_offsets, some_labels, some_c, hd.view());
  // A label's gradient is a hundred times all others of its row together, so it is compared on its own.
  const auto check_gradient = [&](auto& device, double bound) {
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const auto got = gpu.to_host(device.view().rows(chosen[k], chosen[k] + 1));
      double square = 0.0;
      double norm = 0.0;
      for (std::int64_t j = 0; j < vocabulary; ++j) {
        const double expected = hd.view()(static_cast<std::int64_t>(k), j);
        const double error = convert<double>(got.view()(0, j)) - expected;
        if (j == some_labels[k]) {
          BOOST_TEST(std::abs(error) <= bound * std::abs(expected), "the label of row " << chosen[k]);
          continue;
        }
        square += error * error;
        norm += expected * expected;
      }
      BOOST_TEST(std::sqrt(square / norm) < bound, "row " << chosen[k]);
    }
  };
  check_gradient(d_logits, tolerance<bf16>);
  gpu.synchronize();
  cuda<float> wide;
  wide.label_gradient(const_view(logits.view()), const_view(flat(lse)),
                      wide.upload(std::span<const std::int64_t>{offsets}),
                      wide.upload(std::span<const std::int32_t>{labels}), c, logits.view());
  wide.synchronize();
  check_gradient(logits, tolerance<float>);
}

BOOST_AUTO_TEST_CASE(the_optimiser_past_the_limit) {
  if (!has_room(4 * 8.6)) return;
  cuda<bf16> gpu;
  host<double> cpu;
  constexpr std::int64_t most = limit + 4097;
  auto w = matrix_of<float>(1, most);
  auto m = matrix_of<float>(1, most);
  auto v = matrix_of<float>(1, most);
  auto g = matrix_of<float>(1, most);
  const optim::adamw_step step = optim::adamw{.learning_rate = 1e-2, .weight_decay = 0.1}.step(3, 10, {"w", 2}, 0.5);
  for (const std::int64_t count : {limit + 4096, most}) {  // packs, one by one
    const auto part = [&](device_matrix<float>& buffer) { return flat(buffer).rows(0, count); };
    lay(gpu, w, 0);
    lay(gpu, m, 1);
    gpu.fill(v.view(), 1.0F);
    lay(gpu, g, 2);
    gpu.adamw(part(w), part(m), part(v), const_view(part(g)), step);
    for (const std::int64_t begin : {std::int64_t{0}, limit / 2 - 32, limit - 32, count - 64}) {
      constexpr std::int64_t width = 64;
      const auto numbers_at = [&](std::int64_t phase) {
        host_matrix result(extents<2>{{1, width}});
        for (std::int64_t j = 0; j < width; ++j) result.view()(0, j) = convert<double>(number<float>(begin + j, phase));
        return result;
      };
      host_matrix hw = numbers_at(0);
      host_matrix hm = numbers_at(1);
      host_matrix hg = numbers_at(2);
      host_matrix hv(extents<2>{{1, width}});
      cpu.fill(hv.view(), 1.0);
      cpu.adamw(flat(hw), flat(hm), flat(hv), const_view(flat(hg)), step);
      const auto at = [&](device_matrix<float>& buffer) { return flat(buffer).rows(begin, begin + width); };
      BOOST_TEST(difference(gpu, at(w), hw.flat()) < 1e-6, "element " << begin << " of " << count);
      BOOST_TEST(difference(gpu, at(m), hm.flat()) < 1e-6, "element " << begin << " of " << count);
      BOOST_TEST(difference(gpu, at(v), hv.flat()) < 1e-6, "element " << begin << " of " << count);
    }
  }

  double once = 0.0;
  double rest = 0.0;
  for (std::int64_t i = 0; i < period; ++i) {
    const double square = std::pow(convert<double>(number<float>(i, 2)), 2);
    once += square;
    if (i < most % period) rest += square;
  }
  BOOST_TEST(gpu.sum_of_squares(const_view(flat(g))) == static_cast<double>(most / period) * once + rest,
             boost::test_tools::tolerance(1e-11));
  BOOST_TEST(gpu.all_finite(const_view(flat(g))));
  for (const std::int64_t place : {limit - 1, limit + 1, most - 1}) {
    const float bad[] = {std::numeric_limits<float>::quiet_NaN()};
    const float good[] = {1.0F};
    gpu.from_host(std::span<const float>{bad}, flat(g).rows(place, place + 1));
    BOOST_TEST(!gpu.all_finite(const_view(flat(g))), "element " << place);
    gpu.from_host(std::span<const float>{good}, flat(g).rows(place, place + 1));
  }
}

BOOST_AUTO_TEST_SUITE_END()
