#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/core/tensor.hpp>

using namespace lodestone;

BOOST_AUTO_TEST_SUITE(core_arena)

BOOST_AUTO_TEST_CASE(blocks_never_overlap_and_freed_memory_is_used_again) {
  arena_layout layout;
  random_stream random(1, random_purpose::user);
  std::map<std::int64_t, std::int64_t> live;  // offset -> bytes
  std::int64_t most_in_use = 0;
  for (int k = 0; k < 3000; ++k) {
    if (live.empty() || random.below(5) < 3) {
      const auto bytes = static_cast<std::int64_t>(random.below(5000));
      const std::int64_t offset = layout.allocate(bytes);
      BOOST_REQUIRE(offset % arena_layout::alignment == 0);
      if (bytes == 0) continue;
      const auto next = live.lower_bound(offset);
      BOOST_REQUIRE((next == live.end() || offset + bytes <= next->first));
      BOOST_REQUIRE((next == live.begin() || std::prev(next)->first + std::prev(next)->second <= offset));
      live.emplace(offset, bytes);
    } else {
      auto victim = live.begin();
      std::advance(victim, static_cast<std::ptrdiff_t>(random.below(live.size())));
      layout.release(victim->first, victim->second);
      live.erase(victim);
    }
    most_in_use = std::max(most_in_use, layout.in_use());
    BOOST_REQUIRE(layout.in_use() <= layout.peak());
  }
  BOOST_TEST(layout.peak() < 2 * most_in_use);
  for (const auto& [offset, bytes] : live) layout.release(offset, bytes);
  BOOST_TEST(layout.in_use() == 0);
  const std::int64_t peak = layout.peak();
  layout.release(layout.allocate(peak), peak);  // everything has merged into one hole
  BOOST_TEST(layout.peak() == peak);
}

BOOST_AUTO_TEST_CASE(a_step_takes_the_same_memory_whatever_came_before) {
  const auto step = [](arena_layout& layout, std::uint64_t seed) {
    random_stream random(seed, random_purpose::user);
    std::vector<std::pair<std::int64_t, std::int64_t>> live;
    std::vector<std::int64_t> offsets;
    for (int k = 0; k < 200; ++k)
      if (live.empty() || random.below(5) < 3) {
        const auto bytes = static_cast<std::int64_t>(1 + random.below(5000));
        offsets.push_back(layout.allocate(bytes));
        live.emplace_back(offsets.back(), bytes);
      } else {
        const auto victim = live.begin() + static_cast<std::ptrdiff_t>(random.below(live.size()));
        layout.release(victim->first, victim->second);
        live.erase(victim);
      }
    for (const auto& [offset, bytes] : live) layout.release(offset, bytes);
    return offsets;
  };
  arena_layout used;
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    arena_layout fresh;
    BOOST_TEST((step(used, seed) == step(fresh, seed)), "sequence " << seed);
  }
}

BOOST_AUTO_TEST_CASE(a_block_returned_twice_is_refused) {
  arena_layout layout;
  const std::int64_t offset = layout.allocate(10);
  layout.release(offset, 10);
  BOOST_CHECK_THROW(layout.release(offset, 10), error);
}

BOOST_AUTO_TEST_CASE(blocks_move_and_return_once) {
  arena<host_memory> memory;
  memory.reserve(4096);
  {
    auto first = memory.allocate<double>(extents<2>{{4, 8}});
    BOOST_TEST(memory.in_use() == 256);
    first.view()(3, 7) = 1.5;
    auto second = std::move(first);
    BOOST_TEST(!first);
    BOOST_TEST(second.view()(3, 7) == 1.5);
    auto third = memory.allocate<double>(extents<2>{{1, 1}});
    third = std::move(second);  // the block that third held goes back
    BOOST_TEST(memory.in_use() == 256);
    auto& self = third;
    third = std::move(self);
    BOOST_TEST(third.view()(3, 7) == 1.5);
    third.reset();
    third.reset();
    BOOST_TEST(memory.in_use() == 0);
  }
  BOOST_TEST(memory.outside() == 0);
}

BOOST_AUTO_TEST_CASE(what_misses_the_reservation_still_works_and_is_counted) {
  arena<host_memory> memory;
  memory.reserve(1024);
  const auto inside = memory.allocate<float>(extents<1>{{200}});
  auto outside = memory.allocate<float>(extents<1>{{200}});
  outside.view()(199) = 2.0F;
  BOOST_TEST(memory.outside() == 1);
  BOOST_TEST(memory.peak() == 2048);
  BOOST_CHECK_THROW(memory.reserve(4096), error);  // blocks are live
}

namespace {
/// Memory that is slow to get: counts how often it was asked, and has room for `room` blocks at a time.
struct slow_memory {
  static constexpr bool keeps_blocks = true;
  static inline int asked = 0;
  static inline int held = 0;
  static inline int room = 1000;
  static void* allocate(std::size_t bytes) {
    if (held == room) throw error("no room");
    ++asked;
    ++held;
    return host_memory::allocate(bytes);
  }
  static void deallocate(void* pointer) noexcept {
    --held;
    host_memory::deallocate(pointer);
  }
};
}  // namespace

BOOST_AUTO_TEST_CASE(blocks_outside_are_kept_where_memory_is_slow_and_dropped_when_it_runs_out) {
  {
    arena<slow_memory> memory;
    for (int step = 0; step < 5; ++step) {
      const auto a = memory.allocate<float>(extents<1>{{100}});
      const auto b = memory.allocate<float>(extents<1>{{200}});
      BOOST_TEST(a.view().data() != b.view().data());
    }
    BOOST_TEST(slow_memory::asked == 2);
    slow_memory::room = 2;
    const auto c = memory.allocate<float>(extents<1>{{300}});  // no spare has this size: both make room
    BOOST_TEST(slow_memory::asked == 3);
    BOOST_TEST(slow_memory::held == 1);
    slow_memory::room = 1;
    const std::int64_t before = memory.in_use();
    BOOST_CHECK_THROW(static_cast<void>(memory.allocate<float>(extents<1>{{400}})), error);
    BOOST_TEST(memory.in_use() == before);  // what failed takes no place
  }
  BOOST_TEST(slow_memory::held == 0);
}

BOOST_AUTO_TEST_CASE(counting_has_the_same_peak_without_memory) {
  arena<host_memory> real;
  arena<no_memory> counted;
  random_stream random(2, random_purpose::user);
  std::vector<std::pair<block<float, 1, host_memory>, block<float, 1, no_memory>>> live;
  for (int k = 0; k < 500; ++k) {
    if (live.empty() || random.below(2) == 0) {
      const extents<1> shape{{static_cast<std::int64_t>(random.below(300))}};
      live.emplace_back(real.allocate<float>(shape), counted.allocate<float>(shape));
    } else {
      const auto at = static_cast<std::ptrdiff_t>(random.below(live.size()));
      live.erase(live.begin() + at);
    }
  }
  BOOST_TEST(real.peak() == counted.peak());
  live.clear();
  BOOST_TEST(real.in_use() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
