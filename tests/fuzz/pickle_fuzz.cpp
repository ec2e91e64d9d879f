// Any bytes as a pytorch_model.bin: accepted or refused by an exception; what is accepted can be read to its end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <lodestone/checkpoint/pickle.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const lodestone::pickle::archive archive(std::as_bytes(std::span(data, size)), "fuzz.bin");
    unsigned sum = 0;
    for (const auto& entry : archive.entries()) {
      const auto bytes = lodestone::safetensors::byte_count(entry.type, entry.shape);
      if (!bytes || *bytes != entry.bytes.size()) std::abort();
      for (const std::byte byte : entry.bytes) sum += static_cast<unsigned>(byte);
    }
    volatile unsigned keep = sum;  // the reads must happen
    (void)keep;
  } catch (const lodestone::error&) {
  }
  return 0;
}
