// Matrix products through cuBLASLt: row-major operands of any stride, plans chosen once for each shape and reused.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <cublasLt.h>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/matmul_plan.hpp>
#include <lodestone/cuda/matmul_timing.hpp>

namespace lodestone::on_cuda {

/// One row-major operand: its elements and the distance of its rows.
struct operand {
  const void* data = nullptr;  ///< in device memory, not owned
  std::int64_t stride = 0;  ///< elements
};

/// Products on one lane. Inputs bf16 or float, sums in float, output float or the type of the inputs. Reductions are
/// never split through atomic additions, so the bits of a product depend on its shape and plan alone.
///
/// A plan is made for (product, types, alignment, the two sizes that belong to the weights, strides, and the bucket of
/// the token count), so that packs of any length share plans. It is cuBLASLt's own first choice until choose() times
/// others; once fixed by choose() or set_choices() it stays. Token counts are cut so that no operand passes 2^31
/// elements.
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

  /// Times algorithms for every plan that is not fixed yet and fixes the fastest with the bits of cuBLASLt's own choice
  /// (see matmul_timing). Takes device memory for one product at a time and waits for the lane. Returns what it found
  /// for each product that is large enough to be timed.
  std::vector<timed_product> choose(const stream& lane) {
    std::vector<timed_product> found;
    const auto is_open = [](const auto& entry) { return !entry.second.is_fixed; };
    if (std::ranges::none_of(plans_, is_open)) return found;
    matmul_timing timing(handle_.get(), lane, {workspace_.data(), workspace_bytes_});
    for (auto& [k, own] : plans_) {
      if (own.is_fixed) continue;
      own.is_fixed = true;
      if (!matmul_timing::is_worth_it(k)) continue;
      auto [algorithm, times] = timing.choose(k, own.algorithm);
      own.algorithm = algorithm;
      found.push_back(std::move(times));
    }
    return found;
  }

  /// Every plan made so far, as lines of text behind one that tells what they are good for: this version of cuBLASLt,
  /// this workspace and `device`.
  [[nodiscard]] std::string choices(std::string_view device) const {
    std::string text = made_for(device);
    for (const auto& [k, own] : plans_) text += '\n' + to_line(k, own.algorithm);
    return text;
  }

  /// Fixes the plans of choices(). Returns an empty string, or, when they were made for another device or version or
  /// cuBLASLt refuses some, a sentence that says so: those plans are chosen anew. Throws format_error for other text.
  [[nodiscard]] std::string set_choices(std::string_view text, std::string_view device) {
    const auto next_line = [&text] {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      return line;
    };
    constexpr std::string_view consequence = "; they are chosen anew, and last bits may differ from the run before";
    if (const std::string_view line = next_line(); line != made_for(device))
      return "the plans of matrix products were chosen for " + std::string(line) + ", not for " + made_for(device) +
             std::string(consequence);
    std::int64_t refused = 0;
    while (!text.empty()) {
      const auto [k, algorithm] = read_line(next_line());
      if (is_usable(handle_.get(), k, algorithm, workspace_bytes_))
        plans_[k] = {algorithm, true};
      else
        ++refused;
    }
    if (refused == 0) return {};
    return "cuBLASLt refuses " + std::to_string(refused) + " of the plans of matrix products that were chosen before" +
           std::string(consequence);
  }

 private:
  struct plan {
    cublasLtMatmulAlgo_t algorithm{};
    bool is_fixed = false;
  };

  [[nodiscard]] std::string made_for(std::string_view device) const {
    return "cuBLASLt " + std::to_string(cublasLtGetVersion()) + ", " + std::to_string(workspace_bytes_) +
           " bytes of workspace, " + std::string(device);
  }

  [[nodiscard]] static int alignment_of(const void* pointer, std::int64_t stride_bytes) {
    const auto bits = reinterpret_cast<std::uintptr_t>(pointer) | static_cast<std::uintptr_t>(stride_bytes) | 16U;
    return 1 << std::countr_zero(bits);
  }

  template <class In, class Out>
  void run_piece(const stream& lane, product kind, std::int64_t tokens, std::int64_t n, std::int64_t c, operand a,
                 operand b, Out* z, std::int64_t z_stride, float beta) {
    const int alignment = std::min({alignment_of(a.data, a.stride * static_cast<std::int64_t>(sizeof(In))),
                                    alignment_of(b.data, b.stride * static_cast<std::int64_t>(sizeof(In))),
                                    alignment_of(z, z_stride * static_cast<std::int64_t>(sizeof(Out)))});
    const matmul_key k{kind,      std::is_same_v<In, bf16>, std::is_same_v<Out, bf16>,
                       beta != 0.0F, alignment,             matmul_key::bucket_of(tokens),
                       n,         c,                        {a.stride, b.stride, z_stride}};
    auto found = plans_.find(k);
    if (found == plans_.end())
      found = plans_.emplace(k, plan{matmul_algorithms(handle_.get(), k, workspace_bytes_, 1).front()}).first;
    const matmul_problem p(k, tokens);
    const float one = 1.0F;
    const cublasStatus_t status =
        cublasLtMatmul(handle_.get(), p.operation.get(), &one, b.data, p.left.get(), a.data, p.right.get(), &beta, z,
                       p.target.get(), z, p.target.get(), &found->second.algorithm, workspace_.data(),
                       workspace_bytes_, lane.get());
    if (status != CUBLAS_STATUS_SUCCESS) check(status, "the matrix product " + k.to_text(tokens) + " failed");
  }

  detail::owned<cublasLtHandle_t, cublasLtDestroy> handle_;
  tensor<std::byte, 1, device_memory> workspace_;
  std::size_t workspace_bytes_;
  std::map<matmul_key, plan> plans_;
};

}  // namespace lodestone::on_cuda
