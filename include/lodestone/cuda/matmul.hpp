// Matrix products through cuBLASLt: row-major operands of any stride, plans chosen once for each shape and reused.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cublasLt.h>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/tensor.hpp>
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

template <class T>
inline constexpr cudaDataType_t data_type = std::is_same_v<T, bf16> ? CUDA_R_16BF : CUDA_R_32F;

}  // namespace detail

/// The three products of a linear layer.
enum class product : std::uint8_t {
  nt,  ///< y[M,N] = x[M,C] w[N,C]^T
  nn,  ///< dx[M,C] = dy[M,N] w[N,C]
  tn,  ///< dw[N,C] = dy[M,N]^T x[M,C]
};

/// One row-major operand: its elements and the distance of its rows.
struct operand {
  const void* data = nullptr;  ///< in device memory, not owned
  std::int64_t stride = 0;  ///< elements
};

/// Products on one lane. Inputs bf16 or float, sums in float, output float or the type of the inputs. Reductions are
/// never split through atomic additions, so the bits of a product depend on its shape alone.
///
/// A plan is made for (product, types, alignment, the two sizes that belong to the weights, and the bucket of the token
/// count), so that packs of any length share plans. Token counts are cut so that no operand passes 2^31 elements.
class matmul {
 public:
  /// Takes `workspace_bytes` of device memory, which algorithms may use during a product.
  explicit matmul(std::size_t workspace_bytes = std::size_t{32} << 20) : workspace_bytes_(workspace_bytes) {
    cublasLtHandle_t handle = nullptr;
    check(cublasLtCreate(&handle), "cublasLtCreate");
    handle_ = detail::owned<cublasLtHandle_t, cublasLtDestroy>(handle);
    workspace_ = tensor<std::byte, 1, device_memory>(extents<1>{{static_cast<std::int64_t>(workspace_bytes)}});
  }

  /// z = product(a, b) + beta z. `tokens` is the size M; `n` and `c` those of the weight. beta is 0 or 1; with 0
  /// z is not read.
  template <class In, class Out>
  void run(const stream& lane, product kind, std::int64_t tokens, std::int64_t n, std::int64_t c, operand a, operand b,
           Out* z, std::int64_t z_stride, float beta) {
    if (n == 0 || (kind != product::tn && (tokens == 0)) || (kind != product::nt && c == 0)) return;
    constexpr std::int64_t limit = (std::int64_t{1} << 31) - 1;
    const std::int64_t widest = std::max({std::int64_t{1}, a.stride, kind == product::tn ? b.stride : z_stride});
    const std::int64_t piece = std::max<std::int64_t>(1, limit / widest / 1024 * 1024);
    if (tokens <= piece) {
      run_piece<In, Out>(lane, kind, tokens, n, c, a, b, z, z_stride, beta);
      return;
    }
    for (std::int64_t begin = 0; begin < tokens; begin += piece) {
      const std::int64_t rows = std::min(piece, tokens - begin);
      const operand a_part{static_cast<const In*>(a.data) + begin * a.stride, a.stride};
      if (kind == product::tn)
        run_piece<In, Out>(lane, kind, rows, n, c, a_part,
                           {static_cast<const In*>(b.data) + begin * b.stride, b.stride}, z, z_stride,
                           begin == 0 ? beta : 1.0F);
      else
        run_piece<In, Out>(lane, kind, rows, n, c, a_part, b, z + begin * z_stride, z_stride, beta);
    }
  }

  [[nodiscard]] std::size_t plans() const { return plans_.size(); }  ///< made so far

 private:
  struct key {
    product kind;
    bool narrow_in;
    bool narrow_out;
    bool adds;
    int alignment;
    std::int64_t bucket;
    std::int64_t n;
    std::int64_t c;
    std::array<std::int64_t, 3> strides;
    auto operator<=>(const key&) const = default;
  };

  /// Token counts within a factor of about 1.2 share a plan; below 64 each power of two.
  [[nodiscard]] static std::int64_t bucket_of(std::int64_t tokens) {
    if (tokens < 64)
      return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(tokens, 1))));
    const auto octave = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(tokens)));
    const std::int64_t step = octave / 4;
    return (tokens + step - 1) / step * step;
  }

  [[nodiscard]] static int alignment_of(const void* pointer, std::int64_t stride_bytes) {
    const auto bits = reinterpret_cast<std::uintptr_t>(pointer) | static_cast<std::uintptr_t>(stride_bytes) | 16U;
    return 1 << std::countr_zero(bits);
  }

  using layout = detail::owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
  using description = detail::owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
  using preference = detail::owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

  [[nodiscard]] static layout make_layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns,
                                          std::int64_t stride) {
    cublasLtMatrixLayout_t handle = nullptr;
    check(cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), std::max<std::int64_t>(stride, rows)),
          "cublasLtMatrixLayoutCreate");
    return layout(handle);
  }

  /// A product as cuBLASLt sees it: column-major, so that the row-major z[R,S] is z^T [S,R] = left right.
  struct problem {
    description operation;
    layout left, right, target;
  };

  template <class In, class Out>
  [[nodiscard]] static problem describe(product kind, std::int64_t tokens, std::int64_t n, std::int64_t c,
                                        std::int64_t a_stride, std::int64_t b_stride, std::int64_t z_stride) {
    problem p;
    cublasLtMatmulDesc_t handle = nullptr;
    check(cublasLtMatmulDescCreate(&handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    p.operation = description(handle);
    const cublasOperation_t left = kind == product::nt ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t right = kind == product::tn ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_TRANSA, &left, sizeof left), "transpose");
    check(cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_TRANSB, &right, sizeof right), "transpose");
    constexpr cudaDataType_t in = detail::data_type<In>;
    constexpr cudaDataType_t out = detail::data_type<Out>;
    switch (kind) {
      case product::nt:  // y^T [N,M] = w [N,C] x^T [C,M]; left is the weight b, right the tokens a
        p.left = make_layout(in, c, n, b_stride);
        p.right = make_layout(in, c, tokens, a_stride);
        p.target = make_layout(out, n, tokens, z_stride);
        break;
      case product::nn:  // dx^T [C,M] = w^T [C,N] dy^T [N,M]
        p.left = make_layout(in, c, n, b_stride);
        p.right = make_layout(in, n, tokens, a_stride);
        p.target = make_layout(out, c, tokens, z_stride);
        break;
      case product::tn:  // dw^T [C,N] = x^T [C,M] dy [M,N]
        p.left = make_layout(in, c, tokens, b_stride);
        p.right = make_layout(in, n, tokens, a_stride);
        p.target = make_layout(out, c, n, z_stride);
        break;
    }
    return p;
  }

  template <class In, class Out>
  void run_piece(const stream& lane, product kind, std::int64_t tokens, std::int64_t n, std::int64_t c, operand a,
                 operand b, Out* z, std::int64_t z_stride, float beta) {
    const problem p = describe<In, Out>(kind, tokens, n, c, a.stride, b.stride, z_stride);
    const int alignment = std::min({alignment_of(a.data, a.stride * static_cast<std::int64_t>(sizeof(In))),
                                    alignment_of(b.data, b.stride * static_cast<std::int64_t>(sizeof(In))),
                                    alignment_of(z, z_stride * static_cast<std::int64_t>(sizeof(Out)))});
    const std::int64_t bucket = bucket_of(tokens);
    const key k{kind,       std::is_same_v<In, bf16>, std::is_same_v<Out, bf16>, beta != 0.0F, alignment, bucket, n, c,
                {a.stride, b.stride, z_stride}};
    auto found = plans_.find(k);
    if (found == plans_.end()) {
      // The plan is made for the bucket's own size, so that it does not depend on which count came first.
      const problem model = describe<In, Out>(kind, bucket, n, c, a.stride, b.stride, z_stride);
      found = plans_.emplace(k, choose(model, alignment, to_text(kind, bucket, n, c))).first;
    }
    const float one = 1.0F;
    const cublasStatus_t status =
        cublasLtMatmul(handle_.get(), p.operation.get(), &one, b.data, p.left.get(), a.data, p.right.get(), &beta, z,
                       p.target.get(), z, p.target.get(), &found->second, workspace_.data(), workspace_bytes_,
                       lane.get());
    if (status != CUBLAS_STATUS_SUCCESS) check(status, "the matrix product " + to_text(kind, tokens, n, c) + " failed");
  }

  [[nodiscard]] cublasLtMatmulAlgo_t choose(const problem& p, int alignment, const std::string& what) const {
    cublasLtMatmulPreference_t handle = nullptr;
    check(cublasLtMatmulPreferenceCreate(&handle), "cublasLtMatmulPreferenceCreate");
    const preference wish(handle);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check(cublasLtMatmulPreferenceSetAttribute(handle, attribute, &value, sizeof value), "a preference");
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes_);
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    const auto bytes = static_cast<std::uint32_t>(alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes);
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle_.get(), p.operation.get(), p.left.get(), p.right.get(), p.target.get(),
                                         p.target.get(), handle, 1, &result, &count),
          "no algorithm for the matrix product " + what);
    if (count == 0) throw device_error("cuBLASLt has no algorithm for the matrix product " + what, "matmul");
    return result.algo;
  }

  [[nodiscard]] static std::string to_text(product kind, std::int64_t tokens, std::int64_t n, std::int64_t c) {
    constexpr std::string_view names[] = {"nt", "nn", "tn"};
    return std::string(names[static_cast<std::size_t>(kind)]) + " of M " + std::to_string(tokens) + ", N " +
           std::to_string(n) + ", C " + std::to_string(c);
  }

  detail::owned<cublasLtHandle_t, cublasLtDestroy> handle_;
  tensor<std::byte, 1, device_memory> workspace_;
  std::size_t workspace_bytes_;
  std::map<key, cublasLtMatmulAlgo_t> plans_;
};

}  // namespace lodestone::on_cuda
