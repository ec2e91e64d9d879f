// Rotary positions: the table of a micro-batch, and the rotation of query and key heads in place.
#pragma once

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>

namespace lodestone::on_cuda {

namespace detail {

/// Products and reductions modulo 2 pi in double, so an id of a million loses nothing.
struct rope_table_body {
  const std::int32_t* positions;
  const std::int32_t* row_of;
  const double* frequencies;
  double scaling;
  matrix<float> cosine;
  matrix<float> sine;
  template <int>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    const double angle =
        static_cast<double>(positions[row]) * frequencies[std::int64_t{row_of[row]} * cosine.size(1) + column];
    double s = 0.0;
    double c = 0.0;
    sincos(angle, &s, &c);
    cosine.data()[row * cosine.stride() + column] = static_cast<float>(c * scaling);
    sine.data()[row * sine.stride() + column] = static_cast<float>(s * scaling);
  }
};

/// A column counts pairs: pair column % half of head column / half.
template <class T>
struct rope_body {
  matrix<T> x;
  std::int64_t head_dim;
  matrix<const float> cosine;
  matrix<const float> sine;
  bool interleaved;
  float sign;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    const auto half = static_cast<unsigned>(cosine.size(1));
    const unsigned head = static_cast<unsigned>(column) / half;
    const unsigned pair = static_cast<unsigned>(column) % half;
    T* const at = x.data() + row * x.stride() + head * head_dim;
    if (N == 1 && interleaved) {
      turn(at[2 * pair], at[2 * pair + 1], row, pair);
      return;
    }
    auto first = load<N>(at + pair);
    auto second = load<N>(at + half + pair);
#pragma unroll
    for (int i = 0; i < N; ++i) turn(first[i], second[i], row, pair + i);
    store(at + pair, first);
    store(at + half + pair, second);
  }
  __device__ void turn(T& first, T& second, std::int64_t row, std::int64_t pair) const {
    const float c = cosine.data()[row * cosine.stride() + pair];
    const float s = sign * sine.data()[row * sine.stride() + pair];
    const float a = widen(first);
    const float b = widen(second);
    first = narrow<T>(a * c - b * s);
    second = narrow<T>(b * c + a * s);
  }
};

/// A column counts pairs of qkv, half of a head at a time: queries turn in place, keys turn on their way to the cache,
/// values go there as they are.
template <class T>
struct rope_to_cache_body {
  rope_body<T> turns;
  std::int64_t heads;
  std::int64_t kv_heads;
  const std::int64_t* rows;
  matrix<T> cache;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    const auto half = static_cast<unsigned>(turns.cosine.size(1));
    const auto head = static_cast<std::int64_t>(static_cast<unsigned>(column) / half);
    const unsigned pair = static_cast<unsigned>(column) % half;
    const bool neighbours = N == 1 && turns.interleaved;
    const unsigned at = neighbours ? 2 * pair : pair;
    const unsigned apart = neighbours ? 1 : half;
    const T* const from = turns.x.data() + row * turns.x.stride() + head * turns.head_dim + at;
    auto first = load<N>(from);
    auto second = load<N>(from + apart);
    if (head < heads + kv_heads)
#pragma unroll
      for (int i = 0; i < N; ++i) turns.turn(first[i], second[i], row, pair + i);
    T* const to = head < heads ? turns.x.data() + row * turns.x.stride() + head * turns.head_dim + at
                               : cache.data() + rows[row] * cache.stride() + (head - heads) * turns.head_dim + at;
    store(to, first);
    store(to + apart, second);
  }
};

}  // namespace detail

template <class A>
void rope_table(cudaStream_t lane, const std::int32_t* positions, const std::int32_t* row_of, const double* frequencies,
                double scaling, matrix<A> cosine, matrix<A> sine) {
  launch_rows<1>(lane, cosine.size(0), cosine.size(1),
                 detail::rope_table_body{positions, row_of, frequencies, scaling, cosine, sine}, "rope_table");
}

template <class T>
void rope(cudaStream_t lane, matrix<T> x, std::int64_t head_dim, matrix<const float> cosine, matrix<const float> sine,
          bool interleaved, bool inverse) {
  constexpr int N = pack_size<T>;
  const std::int64_t half = cosine.size(1);
  const detail::rope_body<T> body{x, head_dim, cosine, sine, interleaved, inverse ? -1.0F : 1.0F};
  launch_rows<N>(lane, !interleaved && half % N == 0 && head_dim % N == 0 && packs_fit<N>(half, x), x.size(0),
                 x.size(1) / head_dim * half, body, "rope");
}

template <class T>
void rope_to_cache(cudaStream_t lane, matrix<T> qkv, std::int64_t heads, std::int64_t kv_heads,
                   matrix<const float> cosine, matrix<const float> sine, bool interleaved, const std::int64_t* rows,
                   matrix<T> cache) {
  constexpr int N = pack_size<T>;
  const std::int64_t half = cosine.size(1);
  const detail::rope_to_cache_body<T> body{
      {qkv, 2 * half, cosine, sine, interleaved, 1.0F}, heads, kv_heads, rows, cache};
  launch_rows<N>(lane, !interleaved && half % N == 0 && packs_fit<N>(half, qkv, cache), qkv.size(0),
                 (heads + 2 * kv_heads) * half, body, "rope_to_cache");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
namespace lodestone::on_cuda {
template void rope_table(cudaStream_t, const std::int32_t*, const std::int32_t*, const double*, double, matrix<float>,
                         matrix<float>);
template void rope(cudaStream_t, matrix<float>, std::int64_t, matrix<const float>, matrix<const float>, bool, bool);
template void rope(cudaStream_t, matrix<bf16>, std::int64_t, matrix<const float>, matrix<const float>, bool, bool);
template void rope_to_cache(cudaStream_t, matrix<bf16>, std::int64_t, std::int64_t, matrix<const float>,
                            matrix<const float>, bool, const std::int64_t*, matrix<bf16>);
}  // namespace lodestone::on_cuda
#endif
