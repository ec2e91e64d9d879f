// Owners of what the CUDA runtime hands out: device and pinned memory, streams, events; and its errors as exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

#include <cuda_runtime_api.h>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// The GPU, its driver or one of its libraries refused; `where` is the place in the source that asked.
class device_error : public error {
  using error::error;
};

namespace on_cuda {

/// File and line, such as "matmul.hpp:12", for messages.
[[nodiscard]] inline std::string place_of(const std::source_location& where) {
  std::string_view file = where.file_name();
  if (const std::size_t slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  return std::string(file) + ":" + std::to_string(where.line());
}

/// Throws device_error unless a runtime call succeeded.
inline void check(cudaError_t status, std::string_view what,
                  const std::source_location& where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // clears what can be cleared, so that the next call reports its own failure
  throw device_error(std::string(what) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status),
                     place_of(where));
}

/// Throws device_error when the kernel launched last could not start. A fault while it runs shows at the next
/// synchronisation.
inline void check_launch(std::string_view kernel, const std::source_location& where = std::source_location::current()) {
  const cudaError_t status = cudaPeekAtLastError();
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
    (void)cudaGetLastError();
    throw device_error("no kernel was built for this GPU's architecture", std::string(kernel),
                       "configure with -DCMAKE_CUDA_ARCHITECTURES=<its compute capability>");
  }
  if (status != cudaSuccess) check(cudaGetLastError(), kernel, where);
}

/// Number of GPUs that can be used; 0 without a driver.
[[nodiscard]] inline int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();
    return 0;
  }
  return count;
}

/// What the GPU is: for reports and choices.
struct device_facts {
  std::string name;         ///< as the driver gives it
  int major = 0;            ///< compute capability
  int minor = 0;            ///< compute capability, second number
  int multiprocessors = 0;  ///< of the whole GPU
  int shared_memory = 0;    ///< bytes a block may ask for
  std::int64_t memory = 0;  ///< bytes
};

/// Facts of a device. Throws device_error with the reason when there is none or the driver is too old.
[[nodiscard]] inline device_facts describe_device(int device = 0) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    (void)cudaGetLastError();
    throw device_error("there is no NVIDIA driver, or one older than the CUDA runtime of this program", "cuda",
                       "install or update the driver, or use backend host");
  }
  if (status != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    throw device_error("there is no usable NVIDIA GPU", "cuda", "use backend host, or check nvidia-smi");
  }
  if (device < 0 || device >= count)
    throw device_error("there are " + std::to_string(count) + " GPUs, no number " + std::to_string(device), "cuda");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {properties.name, properties.major, properties.minor, properties.multiProcessorCount,
          static_cast<int>(properties.sharedMemPerBlockOptin), static_cast<std::int64_t>(properties.totalGlobalMem)};
}

}  // namespace on_cuda

/// Memory of the GPU: the space of tensors, blocks and views that only kernels may read. 256-byte aligned.
struct device_memory {
  static constexpr bool keeps_blocks = true;  ///< cudaFree waits for the device: an arena keeps what it no longer needs

  /// Null for 0 bytes. Throws device_error, naming what is free when memory is short.
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    void* pointer = nullptr;
    const cudaError_t status = cudaMalloc(&pointer, bytes);
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      std::size_t free = 0;
      std::size_t total = 0;
      (void)cudaMemGetInfo(&free, &total);
      throw device_error("out of GPU memory: " + std::to_string(bytes >> 20) + " MiB are wanted, " +
                             std::to_string(free >> 20) + " of " + std::to_string(total >> 20) + " MiB are free",
                         "cuda", "keep fewer activations, shorten the packs, or see what `lodestone plan` predicts");
    }
    on_cuda::check(status, "cudaMalloc of " + std::to_string(bytes) + " bytes");
    return pointer;
  }
  static void deallocate(void* pointer) noexcept { (void)cudaFree(pointer); }  ///< waits for the device; ignores errors
};

/// Page-locked memory of the host, which copies to and from the GPU read at full speed and without waiting.
struct pinned_memory {
  static constexpr bool keeps_blocks = true;  ///< locking pages is slow, and a copy may still read what was given back
  /// Throws device_error when the host refuses.
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    void* pointer = nullptr;
    const cudaError_t status = cudaMallocHost(&pointer, bytes);
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      throw device_error("the host refused " + std::to_string(bytes >> 20) + " MiB of page-locked memory", "cuda",
                         "raise `ulimit -l`, give the machine more memory, or offload less (offload-inputs)");
    }
    on_cuda::check(status, "cudaMallocHost of " + std::to_string(bytes) + " bytes");
    return pointer;
  }
  static void deallocate(void* pointer) noexcept { (void)cudaFreeHost(pointer); }  ///< ignores errors
};

namespace on_cuda {

/// A lane of work on the device: what is put on it runs in order. Move-only.
class stream {
 public:
  stream() { check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  /// Moves: a new lane takes over and leaves the source empty, assignment swaps.
  ///@{
  stream(stream&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  stream& operator=(stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ///@}
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() {
    if (handle_ != nullptr) (void)cudaStreamDestroy(handle_);
  }

  [[nodiscard]] cudaStream_t get() const { return handle_; }  ///< null after a move from here
  /// Waits for everything on the lane; a fault of any kernel on it is thrown here.
  void synchronize(const std::source_location& where = std::source_location::current()) const {
    check(cudaStreamSynchronize(handle_), "work on the GPU failed", where);
  }

 private:
  cudaStream_t handle_ = nullptr;
};

/// A point on a lane that other lanes can wait for. Move-only.
class event {
 public:
  /// With `timed` the time between two events can be asked for.
  explicit event(bool timed = false) {
    check(cudaEventCreateWithFlags(&handle_, timed ? cudaEventDefault : cudaEventDisableTiming), "cudaEventCreate");
  }
  /// Moves: a new event takes over and leaves the source empty, assignment swaps.
  ///@{
  event(event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  event& operator=(event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ///@}
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  ~event() {
    if (handle_ != nullptr) (void)cudaEventDestroy(handle_);
  }

  [[nodiscard]] cudaEvent_t get() const { return handle_; }  ///< null after a move from here
  /// Moves the point to after all work that is now on the lane.
  void record(const stream& lane) { check(cudaEventRecord(handle_, lane.get()), "cudaEventRecord"); }
  /// The lane goes on only when this event has happened.
  void hold_back(const stream& lane) const {
    check(cudaStreamWaitEvent(lane.get(), handle_, 0), "cudaStreamWaitEvent");
  }
  /// Waits for the event, not at all before the first record(); a fault of work before it is thrown here.
  void synchronize() const { check(cudaEventSynchronize(handle_), "work on the GPU failed"); }
  /// Milliseconds from `start` to this event; both timed and both done.
  [[nodiscard]] float milliseconds_since(const event& start) const {
    float time = 0.0F;
    check(cudaEventElapsedTime(&time, start.handle_, handle_), "cudaEventElapsedTime");
    return time;
  }

 private:
  cudaEvent_t handle_ = nullptr;
};

}  // namespace on_cuda
}  // namespace lodestone
