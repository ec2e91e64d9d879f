// Where and in which numbers a command computes: the backends and attention policies that this program was built with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/machine.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/host/backend.hpp>
#ifdef LODESTONE_WITH_CUDA
#include <lodestone/cuda.hpp>
#endif

#include "options.hpp"

namespace lodestone_cli {

/// All cores of the host, in float or double.
template <class T>
struct on_host {
  using backend = lodestone::host<T>;
  using attention = lodestone::blocked_attention;
  [[nodiscard]] static std::unique_ptr<backend> make(std::shared_ptr<lodestone::thread_pool> pool) {
    return std::make_unique<backend>(std::move(pool));
  }
  /// Bytes that a run on this machine may take; 0 where the machine has no such device.
  [[nodiscard]] static std::int64_t free_memory() { return lodestone::available_main_memory(); }
  /// Bytes of the host that its parked tensors may take: those of the budget, or half of what this machine has free.
  [[nodiscard]] static std::int64_t parking(const lodestone::activations::memory_budget&) { return 0; }
};

#ifdef LODESTONE_WITH_CUDA
/// One GPU, in bf16 with float master weights, or in float.
template <class T>
struct on_device {
  using backend = lodestone::cuda<T>;
  using attention = lodestone::flash_or_reference;
  [[nodiscard]] static std::unique_ptr<backend> make(const std::shared_ptr<lodestone::thread_pool>&) {
    return std::make_unique<backend>();
  }
  [[nodiscard]] static std::int64_t free_memory() {
    return lodestone::on_cuda::device_count() > 0 ? backend().available_memory() : 0;
  }
  [[nodiscard]] static std::int64_t parking(const lodestone::activations::memory_budget& budget) {
    return budget.host_bytes >= 0 ? budget.host_bytes : budget.parking(lodestone::available_main_memory());
  }
};
#endif

/// The element type that the settings ask for: "f32", "f64" or "bf16". Throws config_error for one that the backend
/// does not compute in, and for a backend that this program was built without.
[[nodiscard]] inline std::string arithmetic_of(const settings& s) {
  if (s.backend == "cuda") {
#ifdef LODESTONE_WITH_CUDA
    if (s.dtype == "f64")
      throw lodestone::config_error("the CUDA backend computes in bf16 or f32", "dtype", "choose one of them");
    return s.dtype == "auto" ? "bf16" : s.dtype;
#else
    throw lodestone::config_error("this program was built without the CUDA backend", "backend",
                                  "install the CUDA toolkit and build preset cuda, or use backend host");
#endif
  }
  if (s.dtype == "bf16")
    throw lodestone::config_error("the host backend computes in f32 or f64", "dtype", "choose one, or backend cuda");
  return s.dtype == "auto" ? "f32" : s.dtype;
}

/// Calls go(on_host<T>{}) or go(on_device<T>{}) for the settings' backend and element type.
template <class Go>
auto with_arithmetic(const settings& s, const Go& go) {
  const std::string type = arithmetic_of(s);
#ifdef LODESTONE_WITH_CUDA
  if (s.backend == "cuda") return type == "f32" ? go(on_device<float>{}) : go(on_device<lodestone::bf16>{});
#endif
  return type == "f64" ? go(on_host<double>{}) : go(on_host<float>{});
}

}  // namespace lodestone_cli
