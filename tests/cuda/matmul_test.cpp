#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/matmul.hpp>
#include <lodestone/cuda/matmul_plan.hpp>
#include <lodestone/cuda/matmul_timing.hpp>

#include "cuda/gpu.hpp"

namespace {

using namespace lodestone;
using on_cuda::matmul_key;
using lodestone_test::on_gpu;
using lodestone_test::twin;
using types = std::tuple<float, bf16>;

/// The three products of a layer of 768 x 512 with operands of its own, which stay as they are.
template <class T>
struct layer {
  static constexpr std::int64_t most = 1024, n = 768, c = 512;
  cuda<T>& gpu;
  twin<T> x{gpu, most, c, 1}, w{gpu, n, c, 2}, dy{gpu, most, n, 3};
  twin<float> wide{gpu.lane(), most, n, 4};

  /// The elements of all results with `tokens` tokens, fresh and added, as bytes.
  std::vector<std::vector<std::byte>> results(std::int64_t tokens) {
    std::vector<std::vector<std::byte>> all;
    const auto keep = [&](auto& z) {
      const auto values = gpu.to_host(const_view(z.view()));
      const auto bytes = std::as_bytes(values.flat());
      all.emplace_back(bytes.begin(), bytes.end());
    };
    for (const bool adds : {false, true}) {
      twin<T> y(gpu, tokens, n, 5), dx(gpu, tokens, c, 6);
      twin<float> logits(gpu.lane(), tokens, n, 7), dw(gpu.lane(), n, c, 8);
      gpu.gemm_nt(x.read().rows(0, tokens), w.read(), y.view(), adds ? T{1.0F} : T{});
      gpu.gemm_nt(x.read().rows(0, tokens), w.read(), logits.view(), adds ? 1.0F : 0.0F);
      gpu.gemm_nn(dy.read().rows(0, tokens), w.read(), dx.view(), adds ? T{1.0F} : T{});
      gpu.gemm_tn(dy.read().rows(0, tokens), x.read().rows(0, tokens), dw.view(), adds ? 1.0F : 0.0F);
      keep(y), keep(logits), keep(dx), keep(dw);
    }
    return all;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_matmul_plan)

BOOST_AUTO_TEST_CASE(a_bucket_holds_the_counts_between_its_ends) {
  for (std::int64_t tokens = 1; tokens < 5000; ++tokens) {
    matmul_key k;
    k.bucket = matmul_key::bucket_of(tokens);
    BOOST_TEST_REQUIRE((k.fewest_tokens() <= tokens && tokens <= k.bucket), tokens);
    BOOST_TEST_REQUIRE(matmul_key::bucket_of(k.fewest_tokens()) == k.bucket, tokens);
    BOOST_TEST_REQUIRE(matmul_key::bucket_of(k.bucket) == k.bucket, tokens);
    if (tokens >= 64) BOOST_TEST_REQUIRE(5 * tokens > 4 * k.bucket - 5, tokens);
    if (k.fewest_tokens() > 1) BOOST_TEST_REQUIRE(matmul_key::bucket_of(k.fewest_tokens() - 1) < k.bucket, tokens);
  }
}

BOOST_AUTO_TEST_CASE(a_plan_is_read_from_its_line) {
  const matmul_key k{on_cuda::product::tn, true, false, true, 8, 1 << 20, 28'672, 4096, {28'672, 4096, 4097}};
  cublasLtMatmulAlgo_t algorithm{};
  for (std::uint64_t i = 0; i < 8; ++i) algorithm.data[i] = ~(i * 0x0123'4567'89ab'cdefULL);
  const std::string line = on_cuda::to_line(k, algorithm);
  const auto [back, read] = on_cuda::read_line(line);
  BOOST_TEST((back == k));
  BOOST_TEST(std::ranges::equal(read.data, algorithm.data));
  const std::string small = on_cuda::to_line({}, {});
  BOOST_TEST((on_cuda::read_line(small).first == matmul_key{}));
  for (const std::string& wrong :
       {std::string(), std::string("plan"), line.substr(0, line.size() - 18), line + " 1", line + "x", " " + line,
        "3" + small.substr(1), "0 2" + small.substr(3), small.substr(0, 2) + "-1" + small.substr(3)})
    BOOST_CHECK_THROW(static_cast<void>(on_cuda::read_line(wrong)), format_error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cuda_matmul, *boost::unit_test::precondition(on_gpu{}))

BOOST_AUTO_TEST_CASE_TEMPLATE(chosen_products_keep_the_bits_of_the_first_choice, T, types) {
  cuda<T> gpu;
  layer<T> own{gpu};
  std::vector<std::vector<std::vector<std::byte>>> before;
  const std::array<std::int64_t, 3> counts{1000, 897, 1024};  // of one bucket
  for (const std::int64_t tokens : counts) before.push_back(own.results(tokens));
  const auto found = gpu.choose_products();
  // nt, nn and tn, fresh and added; nt to float is another product where T is bf16.
  BOOST_TEST(found.size() == (std::is_same_v<T, float> ? 6U : 8U));
  for (const on_cuda::timed_product& product : found) {
    BOOST_TEST_MESSAGE(product.product << ": " << product.candidates << " candidates, " << product.same_bits
                                       << " with the same bits, " << 1e6 * product.first_seconds << " us, chosen "
                                       << 1e6 * product.chosen_seconds << ", fastest "
                                       << 1e6 * product.fastest_seconds);
    BOOST_TEST(product.had_memory);
    BOOST_TEST((1 <= product.same_bits && product.same_bits <= product.candidates));
    BOOST_TEST((0.0 < product.fastest_seconds && product.fastest_seconds <= product.chosen_seconds));
    BOOST_TEST(product.chosen_seconds <= product.first_seconds);
  }
  for (std::size_t i = 0; i < counts.size(); ++i)
    BOOST_TEST((own.results(counts[i]) == before[i]), counts[i] << " tokens");
  BOOST_TEST(gpu.choose_products().empty());  // fixed
}

BOOST_AUTO_TEST_CASE_TEMPLATE(choices_are_taken_over_by_another_backend, T, types) {
  cuda<T> gpu;
  layer<T> own{gpu};
  const auto expected = own.results(1000);
  (void)gpu.choose_products();
  const std::string text = gpu.choices();
  cuda<T> other;
  BOOST_TEST(other.set_choices(text) == "");
  BOOST_TEST(other.choices() == text);
  layer<T> twin{other};
  BOOST_TEST((twin.results(1000) == expected));
  BOOST_TEST(other.choices() == text);              // the same keys: none was made anew
  BOOST_TEST(other.choose_products().empty());      // and none is timed again
  (void)twin.results(100);                          // other buckets: cuBLASLt's own choice
  BOOST_TEST(other.choices().size() > text.size());
  BOOST_TEST(!other.choose_products().empty());
}

BOOST_AUTO_TEST_CASE(choices_of_another_device_or_damaged_ones_are_refused) {
  cuda<bf16> gpu;
  layer<bf16> own{gpu};
  (void)own.results(1000);
  const std::string text = gpu.choices();
  cuda<bf16> other;
  const std::string told =
      other.set_choices("cuBLASLt 1, 2 bytes of workspace, GPU\n" + text.substr(text.find('\n') + 1));
  BOOST_TEST(told.find("cuBLASLt 1, 2 bytes of workspace, GPU") != std::string::npos, told);
  BOOST_TEST(told.find("chosen anew") != std::string::npos, told);
  BOOST_TEST(other.choices().find('\n') == std::string::npos);  // none was taken
  // An algorithm that this cuBLASLt does not know.
  const std::string first = text.substr(0, text.find('\n') + 1);
  const auto [key, algorithm] = on_cuda::read_line(
      std::string_view(text).substr(first.size(), text.find('\n', first.size()) - first.size()));
  cublasLtMatmulAlgo_t unknown = algorithm;
  std::ranges::fill(unknown.data, ~std::uint64_t{0});
  const std::string refused = other.set_choices(first + on_cuda::to_line(key, unknown));
  BOOST_TEST(refused.find("refuses 1 of the plans") != std::string::npos, refused);
  BOOST_CHECK_THROW(static_cast<void>(other.set_choices(first + "1 2 3")), format_error);
  BOOST_TEST(other.set_choices(first.substr(0, first.size() - 1)) == "");
}

BOOST_AUTO_TEST_SUITE_END()
