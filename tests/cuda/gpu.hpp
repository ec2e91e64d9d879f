// What tests of the CUDA backend share: skipping without a GPU, and moving random numbers between a host and a device.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/cuda/backend.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/stored_tensors.hpp>

namespace lodestone_test {

/// A precondition of a test case. Says aloud, once, that nothing ran.
struct on_gpu {
  boost::test_tools::assertion_result operator()(boost::unit_test::test_unit_id) const {
    if (lodestone::on_cuda::device_count() > 0) return true;
    static const bool is_told = std::puts("SKIPPED: no usable GPU, so no test of the CUDA backend ran") >= 0;
    boost::test_tools::assertion_result result(!is_told);
    result.message() << "no usable GPU";
    return result;
  }
};

/// The master weights of all units, end to end.
template <class Backend>
std::vector<float> all_masters(lodestone::parameters::replicated<Backend>& weights) {
  std::vector<float> result;
  for (std::int64_t unit = 0; unit < weights.units(); ++unit) {
    const auto part = weights.backend().to_host(weights.owned(unit).master);
    result.insert(result.end(), part.flat().begin(), part.flat().end());
  }
  return result;
}

/// A random matrix, rounded to T, on the host in double and on the device in T.
template <class T>
struct twin {
  lodestone::tensor<double, 2> host;
  lodestone::tensor<T, 2, lodestone::device_memory> device;

  twin(lodestone::cuda<T>& backend, std::int64_t rows, std::int64_t columns, std::uint64_t seed, double scale = 1.0)
      : twin(backend.lane(), rows, columns, seed, scale) {}
  twin(cudaStream_t lane, std::int64_t rows, std::int64_t columns, std::uint64_t seed, double scale = 1.0)
      : host(lodestone::extents<2>{{rows, columns}}), device(lodestone::extents<2>{{rows, columns}}) {
    lodestone::random_stream random(seed, lodestone::random_purpose::user);
    std::vector<T> values(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = lodestone::convert<T>(static_cast<float>(scale * random.normal()));
      host.flat()[i] = lodestone::convert<double>(values[i]);
    }
    if (!values.empty())
      lodestone::on_cuda::check(cudaMemcpyAsync(device.data(), values.data(), values.size() * sizeof(T),
                                                cudaMemcpyHostToDevice, lane), "copy");
    lodestone::on_cuda::check(cudaStreamSynchronize(lane), "copy");
  }

  [[nodiscard]] lodestone::tensor_view<T, 2, lodestone::device_memory> view() { return device.view(); }
  [[nodiscard]] lodestone::tensor_view<const T, 2, lodestone::device_memory> read() const { return device.view(); }
  [[nodiscard]] lodestone::tensor_view<T, 1, lodestone::device_memory> flat() {
    return {device.data(), lodestone::extents<1>{{device.count()}}};
  }
  [[nodiscard]] lodestone::tensor_view<const T, 1, lodestone::device_memory> read_flat() const {
    return {device.data(), lodestone::extents<1>{{device.count()}}};
  }
  [[nodiscard]] lodestone::tensor_view<double, 1> host_flat() {
    return {host.data(), lodestone::extents<1>{{host.count()}}};
  }
};

/// ||device - host|| / ||host|| over the elements that are finite on the host; infinite when another element differs
/// from the host's, or when only the host is zero throughout.
template <class Backend, class U, std::size_t Rank>
[[nodiscard]] double difference(Backend& backend, lodestone::tensor_view<U, Rank, lodestone::device_memory> device,
                                std::span<const double> expected) {
  const auto got = backend.to_host(device);
  if (got.flat().size() != expected.size()) return INFINITY;
  double square = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto value = lodestone::convert<double>(got.flat()[i]);
    if (std::isfinite(expected[i])) {
      if (!std::isfinite(value)) return INFINITY;
      square += (value - expected[i]) * (value - expected[i]);
      norm += expected[i] * expected[i];
    } else if (value != expected[i] && !(std::isnan(value) && std::isnan(expected[i]))) {
      return INFINITY;
    }
  }
  return square == 0.0 ? 0.0 : std::sqrt(square / norm);
}

/// Bound of difference() for operations that compute in float and round each element of the result once to T.
///
/// bf16 keeps 8 bits, so rounding moves an element by at most 2^-8 of itself (0.0039; 0.0016 in the root of the mean
/// square), and so the norm; the hundredth on top is 300 roundings of float. In float itself an element takes a few
/// roundings of 2^-24 (6e-8) each, and a sum of n terms of random sign drifts by about sqrt(n / 6) of them, 8e-7 for
/// the 1,000 terms of the longest sum held to this bound.
template <class T>
inline constexpr double tolerance = std::is_same_v<T, float> ? 2e-6 : 1.01 / 256;

/// The weights of a host store on the device, where they are rounded to T; the host's are rounded alike.
template <class T>
[[nodiscard]] std::unique_ptr<lodestone::parameters::replicated<lodestone::cuda<T>>> device_store(
    lodestone::parameters::replicated<lodestone::host<double>>& host) {
  auto store = std::make_unique<lodestone::parameters::replicated<lodestone::cuda<T>>>(
      host.config(), std::make_unique<lodestone::cuda<T>>(), lodestone::parameters::purpose::training,
      lodestone::dist::any_communicator{}, host.trained());
  const auto targets = stored_tensors(*store);
  const auto sources = stored_tensors(host);
  for (std::size_t k = 0; k < targets.size(); ++k) {
    std::vector<float> elements;
    const auto flat = host.mutable_weights(sources[k].unit).flat().subspan(static_cast<std::size_t>(sources[k].offset),
                                                                           static_cast<std::size_t>(sources[k].count));
    for (double& value : flat) {
      value = lodestone::convert<double>(lodestone::convert<T>(static_cast<float>(value)));
      elements.push_back(static_cast<float>(value));
    }
    store->set_weights(targets[k], elements);
  }
  return store;
}

}  // namespace lodestone_test
