// Launchers of the CUDA kernels, as a program compiled by g++ sees them: declared here, defined in the .cuh of the same
// idea, and instantiated for float and bf16 in lodestone::kernels.
//
// T is float or bf16, A is float: sums, statistics, tables, gradients of parameters and optimiser states. Every
// launcher puts its work on the given lane and returns; shapes are checked by the caller (cuda/backend.hpp). The
// contracts, with shapes and equations, stand at the function of the same name in lodestone/host. `scratch` is device
// memory of scratch_bytes that nothing else on the lane uses meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/token_groups.hpp>
#include <lodestone/cuda/device.hpp>

namespace lodestone::on_cuda {

template <class T>
using matrix = tensor_view<T, 2, device_memory>;
template <class T>
using vector = tensor_view<T, 1, device_memory>;

/// Device memory that reductions keep their partial sums in.
inline constexpr std::size_t scratch_bytes = std::size_t{32} << 20;

// elementwise.cuh
template <class T>
void add_bias(cudaStream_t lane, matrix<T> y, vector<const T> bias);
template <class T>
void bias_gradient(cudaStream_t lane, matrix<const T> dy, vector<float> db, void* scratch);
template <class T>
void embed(cudaStream_t lane, const std::int32_t* tokens, matrix<const T> table, matrix<T> out);
template <class T>
void swiglu(cudaStream_t lane, matrix<const T> gate_up, matrix<T> out);
template <class T>
void swiglu_gradient(cudaStream_t lane, matrix<const T> gate_up, matrix<const T> dout, matrix<T> dgate_up);
template <class T>
void add(cudaStream_t lane, matrix<const T> x, matrix<T> y);
template <class T>
void gather_rows(cudaStream_t lane, matrix<const T> x, const std::int64_t* rows, matrix<T> y);
template <class T>
void scatter_add_rows(cudaStream_t lane, matrix<const T> dy, const std::int64_t* rows, matrix<T> dx);
template <class T>
void fill(cudaStream_t lane, matrix<T> view, float value);
template <class T>
void scale(cudaStream_t lane, matrix<T> view, float factor);
template <class From, class To>
void copy(cudaStream_t lane, matrix<const From> source, matrix<To> target);

// embedding.cuh
/// The pieces of token_groups: sums of rows, then `joins` sums of their `partials` partial sums.
template <class T>
void embed_gradient(cudaStream_t lane, vector<const token_piece> pieces, std::int64_t joins, std::int64_t partials,
                    const std::int32_t* order, matrix<const T> dout, matrix<float> dtable, void* scratch);

// normalise.cuh
template <class T>
void rmsnorm(cudaStream_t lane, matrix<const T> x, vector<const T> weight, float epsilon, matrix<T> y,
             vector<float> rstd);
template <class T>
void rmsnorm_gradient(cudaStream_t lane, matrix<const T> x, vector<const T> weight, vector<const float> rstd,
                      matrix<const T> dy, matrix<T> dx, vector<float> dweight, bool adds, void* scratch);

// rope.cuh
/// Row t turns by positions[t] times the frequencies [R/2] of its row row_of[t] of `frequencies`.
template <class A>
void rope_table(cudaStream_t lane, const std::int32_t* positions, const std::int32_t* row_of, const double* frequencies,
                double scaling, matrix<A> cosine, matrix<A> sine);
template <class T>
void rope(cudaStream_t lane, matrix<T> x, std::int64_t head_dim, matrix<const float> cosine, matrix<const float> sine,
          bool interleaved, bool inverse);

/// As rope, of the first `heads` + `kv_heads` heads of each row of qkv [T, (heads + 2 kv_heads) head_dim], pairs as
/// wide as the head; keys and values then go to row rows[t] of the cache [., 2 kv_heads head_dim], keys first. Keys of
/// qkv itself stay as they are.
template <class T>
void rope_to_cache(cudaStream_t lane, matrix<T> qkv, std::int64_t heads, std::int64_t kv_heads,
                   matrix<const float> cosine, matrix<const float> sine, bool interleaved, const std::int64_t* rows,
                   matrix<T> cache);

// few_rows.cuh
/// Rows of x that few_rows takes.
inline constexpr std::int64_t most_few_rows = 16;
/// y [M, N] = x [M, C] w [N, C]^T, plus y where `adds`, for M up to most_few_rows. Rows of x and w lie on 16 bytes and
/// C is a multiple of 8. A row of y has the same bits whatever M is.
template <class Y>
void few_rows(cudaStream_t lane, matrix<const bf16> x, matrix<const bf16> w, matrix<Y> y, bool adds);
/// Rows of x that few_rows_normed takes: every block normalises all of them for itself.
inline constexpr std::int64_t most_normed_rows = 4;
/// Bytes of normalised rows that few_rows_normed keeps in shared memory.
inline constexpr std::int64_t most_normed_bytes = std::int64_t{64} << 10;
/// y = few_rows(rmsnorm(x), w), then swiglu where `gates`, with the bits of the operations one by one. C is above 512.
template <class T>
void few_rows_normed(cudaStream_t lane, matrix<const T> x, vector<const T> norm, float epsilon, matrix<const T> w,
                     matrix<T> y, bool gates);

// head.cuh
/// `log_probs` [offsets[m] - first]: those of label k at k - first, first = offsets[0].
template <class A>
void label_log_probs(cudaStream_t lane, matrix<const A> logits, const std::int64_t* offsets, const std::int32_t* labels,
                     std::int64_t first, vector<A> lse, double* log_probs);
/// `d_logits` may be `logits` itself when T is float. `coefficients` are indexed as log_probs above.
template <class T>
void label_gradient(cudaStream_t lane, matrix<const float> logits, vector<const float> lse, const std::int64_t* offsets,
                    const std::int32_t* labels, std::int64_t first, const double* coefficients, matrix<T> d_logits);

/// ids[m]: the largest logit of row m, of equal ones the lowest id; -1 where one is no number, or the largest infinite.
template <class A>
void largest(cudaStream_t lane, matrix<const A> logits, std::int32_t* ids);

// optimise.cuh
/// The scalars of optim::adamw_step in float.
struct adamw_scalars {
  float decay;  ///< 1 - learning_rate weight_decay
  /// Decay rates of the moments, and rest = 1 - beta.
  ///@{
  float beta1, rest1;
  float beta2, rest2;
  ///@}
  float rate;             ///< learning_rate / bias_correction1
  float root_correction;  ///< 1 / sqrt(bias_correction2)
  float epsilon;          ///< added to the corrected root of the second moment
  float gradient_scale;   ///< factor of every gradient, from clipping
};
/// Updates the master weights and moments.
template <class A>
void adamw(cudaStream_t lane, vector<A> weights, vector<A> first, vector<A> second, vector<const A> gradient,
           const adamw_scalars& scalars);
/// *result (device) = sum of squares in double, in an order that depends on the length alone.
template <class A>
void sum_of_squares(cudaStream_t lane, vector<const A> values, double* result, void* scratch);
/// *result (device) = 1 when every value is finite, else 0.
template <class A>
void all_finite(cudaStream_t lane, vector<const A> values, double* result);

}  // namespace lodestone::on_cuda
