// What owns the runtime's handles: lanes, events, device and page-locked memory, and errors with their place.
#include <lodestone/cuda/device.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/extents.hpp>
#include <lodestone/core/tensor.hpp>

#include "cuda/gpu.hpp"

namespace {

using namespace lodestone;
using lodestone_test::on_gpu;
using on_cuda::check;
using on_cuda::event;
using on_cuda::stream;

constexpr std::size_t bytes = std::size_t{64} << 20;

/// Puts some milliseconds of work on a lane: `to` is all 0x11 in the end, and was other things before.
void keep_busy(const stream& lane, void* to) {
  for (int i = 0; i < 200; ++i) check(cudaMemsetAsync(to, 0x80 + i % 2, bytes, lane.get()), "cudaMemsetAsync");
  check(cudaMemsetAsync(to, 0x11, bytes, lane.get()), "cudaMemsetAsync");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_device)

BOOST_AUTO_TEST_CASE(errors_name_the_call_and_its_place) {
  std::string text;
  int line = 0;
  try {
    line = __LINE__, check(cudaErrorInvalidValue, "cudaMemcpy");
  } catch (const device_error& e) {
    text = e.what();
  }
  BOOST_TEST(text.find("cudaMemcpy: cudaErrorInvalidValue") != std::string::npos, text);
  BOOST_TEST(text.find("device_test.cpp:" + std::to_string(line)) != std::string::npos, text);
  BOOST_CHECK_NO_THROW(check(cudaSuccess, "cudaMemcpy"));
}

BOOST_AUTO_TEST_CASE(no_bytes_of_device_memory_are_null) { BOOST_TEST(device_memory::allocate(0) == nullptr); }

BOOST_AUTO_TEST_CASE(the_facts_of_a_device, *boost::unit_test::precondition(on_gpu{})) {
  const on_cuda::device_facts facts = on_cuda::describe_device(0);
  BOOST_TEST(!facts.name.empty());
  BOOST_TEST(facts.major >= 7);
  BOOST_TEST(facts.multiprocessors > 0);
  BOOST_TEST(facts.shared_memory >= 48 << 10);
  BOOST_TEST(facts.memory > 0);
  BOOST_CHECK_THROW((void)on_cuda::describe_device(-1), device_error);
  BOOST_CHECK_THROW((void)on_cuda::describe_device(on_cuda::device_count()), device_error);
}

BOOST_AUTO_TEST_CASE(a_lane_waits_for_an_event_of_another, *boost::unit_test::precondition(on_gpu{})) {
  const stream first;
  const stream second;
  event done;
  tensor<std::byte, 1, device_memory> memory(extents<1>{{static_cast<std::int64_t>(bytes)}});
  tensor<std::byte, 1, pinned_memory> copy(memory.shape());
  for (int round = 0; round < 3; ++round) {  // without the event the copy, on its own lane, reads what came before
    std::memset(copy.data(), 0, bytes);
    keep_busy(first, memory.data());
    done.record(first);
    done.hold_back(second);
    check(cudaMemcpyAsync(copy.data(), memory.data(), bytes, cudaMemcpyDeviceToHost, second.get()), "cudaMemcpyAsync");
    second.synchronize();
    std::size_t wrong = 0;
    for (const std::byte value : copy.flat()) wrong += value != std::byte{0x11} ? 1 : 0;
    BOOST_TEST(wrong == 0U);
    BOOST_TEST(cudaStreamQuery(first.get()) == cudaSuccess);
  }
}

BOOST_AUTO_TEST_CASE(an_event_is_done_when_the_work_before_it_is, *boost::unit_test::precondition(on_gpu{})) {
  const stream lane;
  event before(true);
  event after(true);
  before.synchronize();  // was never recorded: returns at once
  tensor<std::byte, 1, device_memory> memory(extents<1>{{static_cast<std::int64_t>(bytes)}});
  before.record(lane);
  keep_busy(lane, memory.data());
  after.record(lane);
  after.synchronize();
  BOOST_TEST(cudaEventQuery(after.get()) == cudaSuccess);
  BOOST_TEST(after.milliseconds_since(before) > 0.1F);  // 201 times 64 MiB: 13 GB take 4 ms at 3 TB/s
  event untimed;
  untimed.record(lane);
  untimed.synchronize();
  BOOST_CHECK_THROW((void)untimed.milliseconds_since(before), device_error);
  BOOST_TEST(cudaGetLastError() == cudaSuccess);  // the error was taken away
}

BOOST_AUTO_TEST_CASE(handles_move_and_are_destroyed_once, *boost::unit_test::precondition(on_gpu{})) {
  stream lane;
  const cudaStream_t handle = lane.get();
  stream other(std::move(lane));
  BOOST_TEST(other.get() == handle);
  BOOST_TEST(lane.get() == nullptr);  // NOLINT(bugprone-use-after-move): the contract
  lane = std::move(other);
  BOOST_TEST(lane.get() == handle);
  lane.synchronize();
  event first(true);
  const cudaEvent_t point = first.get();
  event second(std::move(first));
  BOOST_TEST(second.get() == point);
  BOOST_TEST(first.get() == nullptr);  // NOLINT(bugprone-use-after-move)
  first = std::move(second);
  first.record(lane);
  first.synchronize();
  BOOST_TEST(first.get() == point);
}

BOOST_AUTO_TEST_CASE(page_locked_memory_is_locked_and_copied_both_ways, *boost::unit_test::precondition(on_gpu{})) {
  const stream lane;
  constexpr std::int64_t count = 1 << 20;
  tensor<std::int32_t, 1, pinned_memory> from(extents<1>{{count}});
  tensor<std::int32_t, 1, pinned_memory> back(extents<1>{{count}});
  tensor<std::int32_t, 1, device_memory> memory(extents<1>{{count}});
  cudaPointerAttributes facts{};
  check(cudaPointerGetAttributes(&facts, from.data()), "cudaPointerGetAttributes");
  BOOST_TEST(facts.type == cudaMemoryTypeHost);
  check(cudaPointerGetAttributes(&facts, memory.data()), "cudaPointerGetAttributes");
  BOOST_TEST(facts.type == cudaMemoryTypeDevice);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(memory.data()) % 256 == 0U);
  for (std::int32_t i = 0; i < count; ++i) {
    from.flat()[static_cast<std::size_t>(i)] = 3 * i;
    back.flat()[static_cast<std::size_t>(i)] = -1;
  }
  const auto size = static_cast<std::size_t>(count) * sizeof(std::int32_t);
  check(cudaMemcpyAsync(memory.data(), from.data(), size, cudaMemcpyHostToDevice, lane.get()), "cudaMemcpyAsync");
  check(cudaMemcpyAsync(back.data(), memory.data(), size, cudaMemcpyDeviceToHost, lane.get()), "cudaMemcpyAsync");
  lane.synchronize();
  BOOST_TEST(std::memcmp(from.data(), back.data(), size) == 0);
}

BOOST_AUTO_TEST_CASE(an_arena_of_page_locked_memory_gives_the_same_block_again,
                     *boost::unit_test::precondition(on_gpu{})) {
  arena<pinned_memory> memory;
  auto held = memory.allocate<float>(extents<1>{{1000}});  // outside: nothing is reserved
  const float* const address = held.view().data();
  held.reset();
  held = memory.allocate<float>(extents<1>{{1000}});
  BOOST_TEST(held.view().data() == address);  // kept, not locked anew
  held.reset();
  memory.reserve(1 << 20);
  held = memory.allocate<float>(extents<1>{{1000}});
  BOOST_TEST(memory.outside() == 0);
  held.view().flat()[999] = 1.0F;
  BOOST_CHECK_THROW((void)pinned_memory::allocate(std::size_t{1} << 50), device_error);
}

BOOST_AUTO_TEST_SUITE_END()
