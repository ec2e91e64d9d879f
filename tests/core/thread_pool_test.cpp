#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/thread_pool.hpp>

using namespace lodestone;

namespace {

std::vector<int> visits(thread_pool& pool, std::int64_t tiles) {
  std::vector<int> count(static_cast<std::size_t>(tiles));
  pool.run(tiles, [&](std::int64_t tile) { ++count[static_cast<std::size_t>(tile)]; });
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(core_thread_pool)

BOOST_AUTO_TEST_CASE(every_tile_runs_once_for_any_number_of_threads) {
  for (const int threads : {-1, 0, 1, 2, 3, 8}) {
    thread_pool pool(threads);
    BOOST_TEST(pool.size() == std::max(1, threads));
    for (const std::int64_t tiles : {0, 1, 2, 3, 100, 5000})
      BOOST_TEST((visits(pool, tiles) == std::vector<int>(static_cast<std::size_t>(tiles), 1)));
  }
  BOOST_TEST(thread_pool::default_threads() >= 1);
}

BOOST_AUTO_TEST_CASE(several_threads_take_part) {
  thread_pool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::atomic<int> arrived{0};
  pool.run(3, [&](std::int64_t) {  // each tile waits for the others, so three threads must come
    {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    ++arrived;
    while (arrived < 3) std::this_thread::yield();
  });
  BOOST_TEST(seen.size() == 3);
  BOOST_TEST(seen.contains(std::this_thread::get_id()));
}

BOOST_AUTO_TEST_CASE(calls_from_inside_a_tile_run_in_that_tile) {
  thread_pool pool(3);
  std::atomic<int> inner{0};
  std::atomic<int> elsewhere{0};
  pool.run(20, [&](std::int64_t) {
    const auto self = std::this_thread::get_id();
    pool.run(10, [&](std::int64_t) {
      ++inner;
      if (std::this_thread::get_id() != self) ++elsewhere;
    });
  });
  BOOST_TEST(inner == 200);
  BOOST_TEST(elsewhere == 0);
}

BOOST_AUTO_TEST_CASE(an_exception_reaches_the_caller_and_the_pool_works_on) {
  for (const int threads : {1, 2, 3}) {
    thread_pool pool(threads);
    for (const std::int64_t bad : {0, 7, 99}) {
      const auto run = [&] {
        pool.run(100, [&](std::int64_t tile) {
          if (tile == bad) throw std::runtime_error("tile " + std::to_string(tile));
        });
      };
      BOOST_CHECK_EXCEPTION(run(), std::runtime_error, [&](const std::runtime_error& e) {
        return e.what() == "tile " + std::to_string(bad);
      });
      BOOST_TEST((visits(pool, 50) == std::vector<int>(50, 1)));
    }
    const auto all = [&] { pool.run(100, [](std::int64_t) { throw std::logic_error("every tile"); }); };
    BOOST_CHECK_THROW(all(), std::logic_error);
    const auto nested = [&] {
      pool.run(4, [&](std::int64_t) { pool.run(4, [](std::int64_t) { throw std::logic_error("inner"); }); });
    };
    BOOST_CHECK_THROW(nested(), std::logic_error);
    BOOST_TEST((visits(pool, 50) == std::vector<int>(50, 1)));
  }
}

BOOST_AUTO_TEST_CASE(many_small_jobs_in_a_row) {
  for (const int threads : {2, 3, 5}) {
    thread_pool pool(threads);
    std::int64_t sum = 0;
    for (int round = 0; round < 5000; ++round) {
      std::vector<std::int64_t> tiles(static_cast<std::size_t>(round % 5 + 1));
      const auto work = [&](std::int64_t t) { tiles[static_cast<std::size_t>(t)] = t + 1; };
      pool.run(static_cast<std::int64_t>(tiles.size()), work);
      for (const std::int64_t tile : tiles) sum += tile;
    }
    BOOST_TEST(sum == 1000 * (1 + 3 + 6 + 10 + 15));
  }
}

BOOST_AUTO_TEST_CASE(workers_that_sleep_wake_up_again) {
  thread_pool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<int> arrived{0};
    pool.run(2, [&](std::int64_t) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    BOOST_TEST(arrived == 2);
  }
}

BOOST_AUTO_TEST_CASE(several_callers_share_a_pool) {
  thread_pool pool(3);
  std::vector<std::int64_t> sums(4);
  {
    std::vector<std::thread> callers;
    for (std::size_t c = 0; c < sums.size(); ++c)
      callers.emplace_back([&pool, &sum = sums[c]] {
        for (int round = 0; round < 300; ++round) {
          std::atomic<std::int64_t> part{0};
          pool.run(8, [&](std::int64_t tile) { part += tile; });
          sum += part;
        }
      });
    for (std::thread& caller : callers) caller.join();
  }
  for (const std::int64_t sum : sums) BOOST_TEST(sum == 300 * 28);
}

BOOST_AUTO_TEST_CASE(pools_come_and_go) {
  for (int round = 0; round < 200; ++round) {
    thread_pool pool(3);
    if (round % 2 == 0) visits(pool, 4);
  }
}

BOOST_AUTO_TEST_SUITE_END()
