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

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
namespace lodestone::on_cuda {
template void rope_table(cudaStream_t, const std::int32_t*, const std::int32_t*, const double*, double, matrix<float>,
                         matrix<float>);
template void rope(cudaStream_t, matrix<float>, std::int64_t, matrix<const float>, matrix<const float>, bool, bool);
template void rope(cudaStream_t, matrix<bf16>, std::int64_t, matrix<const float>, matrix<const float>, bool, bool);
}  // namespace lodestone::on_cuda
#endif
