// Any bytes as a safetensors file: accepted or refused by an exception; accepted tensors lie within the bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <lodestone/checkpoint/safetensors.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto header = lodestone::safetensors::detail::read_header(bytes, "fuzz");
    std::uint64_t reached = header.data_begin;
    for (const auto& tensor : header.tensors) {
      if (header.data_begin + tensor.begin != reached) std::abort();
      const auto size_by_shape = lodestone::safetensors::byte_count(tensor.type, tensor.shape);
      if (!size_by_shape || *size_by_shape != tensor.end - tensor.begin) std::abort();
      reached = header.data_begin + tensor.end;
    }
    if (reached != size) std::abort();
  } catch (const lodestone::error&) {
  }
  return 0;
}
