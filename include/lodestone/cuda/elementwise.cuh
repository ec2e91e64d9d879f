// Kernels without a reduction over features: bias, embedding, SwiGLU, additions, row gathers, fills and copies; and the
// column sums that gradients of vectors need.
#pragma once

#include <lodestone/cuda/operations.hpp>

#include <lodestone/cuda/access.cuh>

namespace lodestone::on_cuda {

namespace detail {

template <class T>
struct add_bias_body {
  matrix<T> y;
  const T* bias;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    T* const at = y.data() + row * y.stride() + column;
    auto values = load<N>(at);
    const auto added = load<N>(bias + column);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = narrow<T>(widen(values[i]) + widen(added[i]));
    store(at, values);
  }
};

/// target row i = source row index[i].
template <class T, class Index>
struct gather_body {
  matrix<const T> source;
  const Index* index;
  matrix<T> target;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    store(target.data() + row * target.stride() + column,
          load<N>(source.data() + static_cast<std::int64_t>(index[row]) * source.stride() + column));
  }
};

/// target row index[i] += source row i; with a null index, row i.
template <class T>
struct add_body {
  matrix<const T> source;
  const std::int64_t* index;
  matrix<T> target;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    T* const at = target.data() + (index == nullptr ? row : index[row]) * target.stride() + column;
    auto values = load<N>(at);
    const auto added = load<N>(source.data() + row * source.stride() + column);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = narrow<T>(widen(values[i]) + widen(added[i]));
    store(at, values);
  }
};

template <class T>
struct swiglu_body {
  matrix<const T> gate_up;
  matrix<T> out;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    const T* const at = gate_up.data() + row * gate_up.stride() + column;
    const auto gate = load<N>(at);
    const auto up = load<N>(at + out.size(1));
    pack<T, N> result;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float g = widen(gate[i]);
      result[i] = narrow<T>(g / (1.0F + expf(-g)) * widen(up[i]));
    }
    store(out.data() + row * out.stride() + column, result);
  }
};

template <class T>
struct swiglu_gradient_body {
  matrix<const T> gate_up;
  matrix<const T> dout;
  matrix<T> dgate_up;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    const std::int64_t width = dout.size(1);
    const T* const at = gate_up.data() + row * gate_up.stride() + column;
    const auto gate = load<N>(at);
    const auto up = load<N>(at + width);
    const auto d = load<N>(dout.data() + row * dout.stride() + column);
    pack<T, N> dgate;
    pack<T, N> dup;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float g = widen(gate[i]);
      const float s = 1.0F / (1.0F + expf(-g));
      const float grad = widen(d[i]);
      dgate[i] = narrow<T>(grad * widen(up[i]) * s * (1.0F + g * (1.0F - s)));
      dup[i] = narrow<T>(grad * g * s);
    }
    T* const to = dgate_up.data() + row * dgate_up.stride() + column;
    store(to, dgate);
    store(to + width, dup);
  }
};

template <class T>
struct fill_body {
  matrix<T> view;
  float value;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    pack<T, N> values;
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = narrow<T>(value);
    store(view.data() + row * view.stride() + column, values);
  }
};

template <class T>
struct scale_body {
  matrix<T> view;
  float factor;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    T* const at = view.data() + row * view.stride() + column;
    auto values = load<N>(at);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = narrow<T>(widen(values[i]) * factor);
    store(at, values);
  }
};

template <class From, class To>
struct copy_body {
  matrix<const From> source;
  matrix<To> target;
  template <int N>
  __device__ void run(std::int64_t row, std::int64_t column) const {
    const auto values = load<N>(source.data() + row * source.stride() + column);
    pack<To, N> result;
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = narrow<To>(widen(values[i]));
    store(target.data() + row * target.stride() + column, result);
  }
};

/// partial[chunk][column] = sum of body over the rows of the chunk, in order; a thread has N neighbouring columns.
template <int N, class Body>
__global__ void __launch_bounds__(128)
    column_partials(std::int64_t rows, std::int64_t width, std::int64_t rows_per_chunk, Body body, float* partial) {
  const std::int64_t column = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * N;
  if (column >= width) return;
  const std::int64_t begin = blockIdx.y * rows_per_chunk;
  const std::int64_t end = begin + rows_per_chunk < rows ? begin + rows_per_chunk : rows;
  float sums[N] = {};
#pragma unroll 4
  for (std::int64_t row = begin; row < end; ++row) body.template add<N>(row, column, sums);
#pragma unroll
  for (int i = 0; i < N; ++i) partial[blockIdx.y * width + column + i] = sums[i];
}

/// target[column] += the partial sums. A block has 32 columns; warp w of 16 adds the w-th sixteenth of the chunks, then
/// the sixteenths are added in order: one thread a column would wait for its reads one by one.
template <class A>
__global__ void __launch_bounds__(512)
    add_partials(std::int64_t chunks, std::int64_t width, const A* partial, A* target) {
  __shared__ A sixteenths[16][32];
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  A sum = 0;
  if (column < width) {
    const std::int64_t end = chunks * (threadIdx.y + 1) / 16;
#pragma unroll 8
    for (std::int64_t chunk = chunks * threadIdx.y / 16; chunk < end; ++chunk) sum += partial[chunk * width + column];
  }
  sixteenths[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (int w = 1; w < 16; ++w) sum += sixteenths[w][threadIdx.x];
  target[column] += sum;
}

template <class A>
void join_partials(cudaStream_t lane, std::int64_t chunks, std::int64_t width, const A* partial, A* target) {
  add_partials<A><<<static_cast<unsigned>((width + 31) / 32), dim3(32, 16), 0, lane>>>(chunks, width, partial, target);
}

template <class T>
struct column_of {
  matrix<const T> view;
  template <int N>
  __device__ void add(std::int64_t row, std::int64_t column, float* sums) const {
    const auto values = load<N>(view.data() + row * view.stride() + column);
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += widen(values[i]);
  }
};

}  // namespace detail

/// target[width] += sums over rows of body.add<N>(row, column, sums[N]): chunks of rows first, then the chunks in
/// order, so that the bits depend on the sizes alone. N is Wide where packs fit.
template <int Wide, class Body>
void add_column_sums(cudaStream_t lane, bool fits, std::int64_t rows, std::int64_t width, const Body& body,
                     float* target, void* scratch, const char* name) {
  if (rows == 0 || width == 0) return;
  const std::int64_t room = std::max<std::int64_t>(1, static_cast<std::int64_t>(scratch_bytes / sizeof(float)) / width);
  const std::int64_t chunks = std::min({room, (rows + 31) / 32, std::int64_t{512}});
  const std::int64_t rows_per_chunk = (rows + chunks - 1) / chunks;
  const auto used = static_cast<unsigned>((rows + rows_per_chunk - 1) / rows_per_chunk);
  const auto blocks = static_cast<unsigned>((width + 127) / 128);
  auto* const partial = static_cast<float*>(scratch);
  if (fits)
    detail::column_partials<Wide><<<dim3((blocks + Wide - 1) / Wide, used), 128, 0, lane>>>(rows, width, rows_per_chunk,
                                                                                           body, partial);
  else
    detail::column_partials<1><<<dim3(blocks, used), 128, 0, lane>>>(rows, width, rows_per_chunk, body, partial);
  detail::join_partials<float>(lane, used, width, partial, target);
  check_launch(name);
}

template <class T>
void add_bias(cudaStream_t lane, matrix<T> y, vector<const T> bias) {
  constexpr int N = pack_size<T>;
  const bool fits = packs_fit<N>(y.size(1), y) && reinterpret_cast<std::uintptr_t>(bias.data()) % 16 == 0;
  launch_rows<N>(lane, fits, y.size(0), y.size(1), detail::add_bias_body<T>{y, bias.data()}, "add_bias");
}

template <class T>
void bias_gradient(cudaStream_t lane, matrix<const T> dy, vector<float> db, void* scratch) {
  constexpr int N = pack_size<T>;
  add_column_sums<N>(lane, packs_fit<N>(dy.size(1), dy), dy.size(0), dy.size(1), detail::column_of<T>{dy}, db.data(),
                     scratch, "bias_gradient");
}

template <class T>
void embed(cudaStream_t lane, const std::int32_t* tokens, matrix<const T> table, matrix<T> out) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(out.size(1), table, out), out.size(0), out.size(1),
                 detail::gather_body<T, std::int32_t>{table, tokens, out}, "embed");
}

template <class T>
void swiglu(cudaStream_t lane, matrix<const T> gate_up, matrix<T> out) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(out.size(1), gate_up, out), out.size(0), out.size(1),
                 detail::swiglu_body<T>{gate_up, out}, "swiglu");
}

template <class T>
void swiglu_gradient(cudaStream_t lane, matrix<const T> gate_up, matrix<const T> dout, matrix<T> dgate_up) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(dout.size(1), gate_up, dout, dgate_up), dout.size(0), dout.size(1),
                 detail::swiglu_gradient_body<T>{gate_up, dout, dgate_up}, "swiglu_gradient");
}

template <class T>
void add(cudaStream_t lane, matrix<const T> x, matrix<T> y) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(y.size(1), x, y), y.size(0), y.size(1), detail::add_body<T>{x, nullptr, y}, "add");
}

template <class T>
void gather_rows(cudaStream_t lane, matrix<const T> x, const std::int64_t* rows, matrix<T> y) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(y.size(1), x, y), y.size(0), y.size(1),
                 detail::gather_body<T, std::int64_t>{x, rows, y}, "gather_rows");
}

template <class T>
void scatter_add_rows(cudaStream_t lane, matrix<const T> dy, const std::int64_t* rows, matrix<T> dx) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(dy.size(1), dy, dx), dy.size(0), dy.size(1), detail::add_body<T>{dy, rows, dx},
                 "scatter_add_rows");
}

template <class T>
void fill(cudaStream_t lane, matrix<T> view, float value) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(view.size(1), view), view.size(0), view.size(1), detail::fill_body<T>{view, value},
                 "fill");
}

template <class T>
void scale(cudaStream_t lane, matrix<T> view, float factor) {
  constexpr int N = pack_size<T>;
  launch_rows<N>(lane, packs_fit<N>(view.size(1), view), view.size(0), view.size(1),
                 detail::scale_body<T>{view, factor}, "scale");
}

template <class From, class To>
void copy(cudaStream_t lane, matrix<const From> source, matrix<To> target) {
  constexpr int N = pack_size<From, To>;
  launch_rows<N>(lane, packs_fit<N>(source.size(1), source, target), source.size(0), source.size(1),
                 detail::copy_body<From, To>{source, target}, "copy");
}

}  // namespace lodestone::on_cuda

#ifdef LODESTONE_INSTANTIATE_KERNELS
#define LODESTONE_KERNELS_OF(T)                                                                                     \
  template void lodestone::on_cuda::add_bias(cudaStream_t, matrix<T>, vector<const T>);                             \
  template void lodestone::on_cuda::bias_gradient(cudaStream_t, matrix<const T>, vector<float>, void*);             \
  template void lodestone::on_cuda::embed(cudaStream_t, const std::int32_t*, matrix<const T>, matrix<T>);           \
  template void lodestone::on_cuda::swiglu(cudaStream_t, matrix<const T>, matrix<T>);                               \
  template void lodestone::on_cuda::swiglu_gradient(cudaStream_t, matrix<const T>, matrix<const T>, matrix<T>);     \
  template void lodestone::on_cuda::add(cudaStream_t, matrix<const T>, matrix<T>);                                  \
  template void lodestone::on_cuda::gather_rows(cudaStream_t, matrix<const T>, const std::int64_t*, matrix<T>);     \
  template void lodestone::on_cuda::scatter_add_rows(cudaStream_t, matrix<const T>, const std::int64_t*, matrix<T>); \
  template void lodestone::on_cuda::fill(cudaStream_t, matrix<T>, float);                                           \
  template void lodestone::on_cuda::scale(cudaStream_t, matrix<T>, float);                                          \
  template void lodestone::on_cuda::copy(cudaStream_t, matrix<const T>, matrix<float>);                             \
  template void lodestone::on_cuda::copy(cudaStream_t, matrix<const T>, matrix<bf16>);
namespace lodestone::on_cuda {
LODESTONE_KERNELS_OF(float)
LODESTONE_KERNELS_OF(bf16)
}  // namespace lodestone::on_cuda
#undef LODESTONE_KERNELS_OF
#endif
