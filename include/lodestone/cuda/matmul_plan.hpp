// What a matrix product is to cuBLASLt: its key among the plans, its description, and the algorithms that can compute
// it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <cublasLt.h>

#include <lodestone/core/error.hpp>
#include <lodestone/cuda/device.hpp>

namespace lodestone::on_cuda {

/// Throws device_error unless a cuBLASLt call succeeded.
inline void check(cublasStatus_t status, std::string_view what,
                  const std::source_location& where = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw device_error(std::string(what) + ": " + cublasLtGetStatusName(status) + ", " + cublasLtGetStatusString(status),
                     place_of(where));
}

namespace detail {

/// A cuBLASLt object with its create and destroy calls.
template <class Handle, auto Destroy>
class owned {
 public:
  owned() = default;
  explicit owned(Handle handle) : handle_(handle) {}
  owned(owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  owned& operator=(owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  owned(const owned&) = delete;
  owned& operator=(const owned&) = delete;
  ~owned() {
    if (handle_ != nullptr) (void)Destroy(handle_);
  }
  [[nodiscard]] Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using matrix_layout = owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using product_description = owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using product_preference = owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

}  // namespace detail

/// The three products of a linear layer.
enum class product : std::uint8_t {
  nt,  ///< y[M,N] = x[M,C] w[N,C]^T
  nn,  ///< dx[M,C] = dy[M,N] w[N,C]
  tn,  ///< dw[N,C] = dy[M,N]^T x[M,C]
};

/// Products that share a plan: all that an algorithm may depend on but the exact token count.
struct matmul_key {
  product kind = product::nt;           ///< which of the three
  bool narrow_in = false;               ///< operands are bf16, else float
  bool narrow_out = false;              ///< the result is bf16, else float
  bool adds = false;                    ///< to what the result's memory holds (beta = 1)
  int alignment = 16;                   ///< bytes, of pointers and rows; 16 at most
  std::int64_t bucket = 1;              ///< the largest token count of these products, see bucket_of()
  std::int64_t n = 1;                   ///< outputs of the layer
  std::int64_t c = 1;                   ///< inputs of the layer
  std::array<std::int64_t, 3> strides{};  ///< elements between rows of a, b and the result
  /// Keys are ordered for a map; the order means nothing.
  auto operator<=>(const matmul_key&) const = default;

  /// Token counts within a factor of about 1.2 share a plan; below 64 each power of two.
  [[nodiscard]] static std::int64_t bucket_of(std::int64_t tokens) {
    if (tokens < 64)
      return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(tokens, 1))));
    const auto octave = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(tokens)));
    const std::int64_t step = octave / 4;
    return (tokens + step - 1) / step * step;
  }
  /// The smallest token count of the bucket.
  [[nodiscard]] std::int64_t fewest_tokens() const {
    if (bucket <= 64) return bucket / 2 + 1;
    return bucket - static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(bucket - 1))) / 4 + 1;
  }

  [[nodiscard]] std::int64_t in_bytes() const { return narrow_in ? 2 : 4; }    ///< of an element of a or b
  [[nodiscard]] std::int64_t out_bytes() const { return narrow_out ? 2 : 4; }  ///< of an element of the result
  /// Rows of the second operand: of the weight, or tokens.
  [[nodiscard]] std::int64_t b_rows(std::int64_t tokens) const { return kind == product::tn ? tokens : n; }
  /// Rows of the result: tokens, or those of a weight.
  [[nodiscard]] std::int64_t z_rows(std::int64_t tokens) const { return kind == product::tn ? n : tokens; }
  [[nodiscard]] std::int64_t z_columns() const { return kind == product::nt ? n : c; }  ///< of the result

  /// The product for messages, with this many tokens.
  [[nodiscard]] std::string to_text(std::int64_t tokens) const {
    constexpr std::string_view names[] = {"nt", "nn", "tn"};
    return std::string(names[static_cast<std::size_t>(kind)]) + " of M " + std::to_string(tokens) + ", N " +
           std::to_string(n) + ", C " + std::to_string(c);
  }
};

/// A product as cuBLASLt sees it: column-major, so that the row-major z[R,S] is z^T [S,R] = left right.
struct matmul_problem {
  detail::product_description operation;  ///< transpositions and the type of sums
  /// Of the second operand, the first and the result.
  ///@{
  detail::matrix_layout left, right, target;
  ///@}

  /// The product of this key with `tokens` tokens. Throws device_error when cuBLASLt refuses.
  matmul_problem(const matmul_key& k, std::int64_t tokens) {
    cublasLtMatmulDesc_t handle = nullptr;
    check(cublasLtMatmulDescCreate(&handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    operation = detail::product_description(handle);
    const cublasOperation_t first = k.kind == product::nt ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = k.kind == product::tn ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), "transpose");
    check(cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), "transpose");
    const cudaDataType_t in = k.narrow_in ? CUDA_R_16BF : CUDA_R_32F;
    const cudaDataType_t out = k.narrow_out ? CUDA_R_16BF : CUDA_R_32F;
    switch (k.kind) {
      case product::nt:  // y^T [N,M] = w [N,C] x^T [C,M]; left is the weight b, right the tokens a
        left = make_layout(in, k.c, k.n, k.strides[1]);
        right = make_layout(in, k.c, tokens, k.strides[0]);
        target = make_layout(out, k.n, tokens, k.strides[2]);
        break;
      case product::nn:  // dx^T [C,M] = w^T [C,N] dy^T [N,M]
        left = make_layout(in, k.c, k.n, k.strides[1]);
        right = make_layout(in, k.n, tokens, k.strides[0]);
        target = make_layout(out, k.c, tokens, k.strides[2]);
        break;
      case product::tn:  // dw^T [C,N] = x^T [C,M] dy [M,N]
        left = make_layout(in, k.c, tokens, k.strides[1]);
        right = make_layout(in, k.n, tokens, k.strides[0]);
        target = make_layout(out, k.c, k.n, k.strides[2]);
        break;
    }
  }

 private:
  [[nodiscard]] static detail::matrix_layout make_layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns,
                                                         std::int64_t stride) {
    cublasLtMatrixLayout_t handle = nullptr;
    check(cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), std::max<std::int64_t>(stride, rows)),
          "cublasLtMatrixLayoutCreate");
    return detail::matrix_layout(handle);
  }
};

/// Up to `count` algorithms for the largest product of the key, cuBLASLt's own choice first. Reductions that add in an
/// order of their own, or in the type of the result, are left out, so that the bits of a product depend on its shape
/// and algorithm alone. Throws device_error when there is none.
[[nodiscard]] inline std::vector<cublasLtMatmulAlgo_t> matmul_algorithms(cublasLtHandle_t library, const matmul_key& k,
                                                                         std::size_t workspace_bytes, int count) {
  cublasLtMatmulPreference_t handle = nullptr;
  check(cublasLtMatmulPreferenceCreate(&handle), "cublasLtMatmulPreferenceCreate");
  const detail::product_preference wish(handle);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(handle, attribute, &value, sizeof value), "a preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const auto bytes = static_cast<std::uint32_t>(k.alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes);
  const matmul_problem p(k, k.bucket);
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(count));
  int found = 0;
  check(cublasLtMatmulAlgoGetHeuristic(library, p.operation.get(), p.left.get(), p.right.get(), p.target.get(),
                                       p.target.get(), handle, count, results.data(), &found),
        "no algorithm for the matrix product " + k.to_text(k.bucket));
  results.resize(static_cast<std::size_t>(found));
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (const cublasLtMatmulHeuristicResult_t& result : results)
    if (result.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(result.algo);
  if (algorithms.empty())
    throw device_error("cuBLASLt has no algorithm for the matrix product " + k.to_text(k.bucket), "matmul");
  return algorithms;
}

/// Whether an algorithm can compute the largest and the smallest product of a key in this much workspace.
[[nodiscard]] inline bool is_usable(cublasLtHandle_t library, const matmul_key& k,
                                    const cublasLtMatmulAlgo_t& algorithm, std::size_t workspace_bytes) {
  for (const std::int64_t tokens : {k.bucket, k.fewest_tokens()}) {
    const matmul_problem p(k, tokens);
    cublasLtMatmulHeuristicResult_t result{};
    if (cublasLtMatmulAlgoCheck(library, p.operation.get(), p.left.get(), p.right.get(), p.target.get(),
                                p.target.get(), &algorithm, &result) != CUBLAS_STATUS_SUCCESS ||
        result.workspaceSize > workspace_bytes)
      return false;
  }
  return true;
}

/// A key and its algorithm as one line of numbers, without the line's end.
[[nodiscard]] inline std::string to_line(const matmul_key& k, const cublasLtMatmulAlgo_t& algorithm) {
  std::string line;
  const auto put = [&line](auto value, int base) {
    char digits[20];
    const auto [end, code] = std::to_chars(digits, digits + sizeof digits, value, base);
    if (!line.empty()) line += ' ';
    line.append(digits, end);
  };
  for (const std::int64_t value : {static_cast<std::int64_t>(k.kind), std::int64_t{k.narrow_in},
                                   std::int64_t{k.narrow_out}, std::int64_t{k.adds}, std::int64_t{k.alignment},
                                   k.bucket, k.n, k.c, k.strides[0], k.strides[1], k.strides[2]})
    put(value, 10);
  for (const std::uint64_t word : algorithm.data) put(word, 16);
  return line;
}

/// What to_line() wrote. Throws format_error for anything else.
[[nodiscard]] inline std::pair<matmul_key, cublasLtMatmulAlgo_t> read_line(std::string_view line) {
  const char* at = line.data();
  const char* const end = line.data() + line.size();
  const auto refuse = [] { throw format_error("is no plan of a matrix product", "product plans", "start anew"); };
  const auto next = [&](auto value, int base) {
    if (at != line.data() && (at == end || *at++ != ' ')) refuse();
    const auto [after, code] = std::from_chars(at, end, value, base);
    if (code != std::errc{}) refuse();
    at = after;
    return value;
  };
  const auto number = [&](std::int64_t least, std::int64_t most) {
    const std::int64_t value = next(std::int64_t{}, 10);
    if (value < least || value > most) refuse();
    return value;
  };
  constexpr std::int64_t large = std::int64_t{1} << 40;
  std::pair<matmul_key, cublasLtMatmulAlgo_t> plan{};
  matmul_key& k = plan.first;
  k.kind = static_cast<product>(number(0, 2));
  for (bool* flag : {&k.narrow_in, &k.narrow_out, &k.adds}) *flag = number(0, 1) == 1;
  k.alignment = static_cast<int>(number(1, 16));
  for (std::int64_t* size : {&k.bucket, &k.n, &k.c}) *size = number(1, large);
  for (std::int64_t& stride : k.strides) stride = number(0, large);
  for (std::uint64_t& word : plan.second.data) word = next(std::uint64_t{}, 16);
  if (at != end) refuse();
  return plan;
}

}  // namespace lodestone::on_cuda
