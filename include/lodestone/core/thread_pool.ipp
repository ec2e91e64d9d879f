// Definitions of thread_pool.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <mutex>
#include <thread>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/thread_pool.hpp>

namespace lodestone {

template <class Condition>
void thread_pool::spin_while(const Condition& condition) const {
  for (int i = 0; i < spins_ && condition(); ++i) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
  }
}

LODESTONE_INLINE thread_pool::thread_pool(int threads) : spins_(threads <= default_threads() ? spin_limit : 0) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
  } catch (...) {
    stop();
    throw;
  }
}

LODESTONE_INLINE int thread_pool::default_threads() {
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

LODESTONE_INLINE void thread_pool::share(job& mine) {
  const std::lock_guard one_job_at_a_time(entry_);
  bool somebody_sleeps = false;
  {
    const std::lock_guard lock(mutex_);
    current_ = &mine;
    generation_.fetch_add(1, std::memory_order_release);
    somebody_sleeps = sleepers_ > 0;
  }
  if (somebody_sleeps) wake_.notify_all();
  take_tiles(mine);
  {
    const std::lock_guard lock(mutex_);
    current_ = nullptr;  // a worker that wakes late finds nothing
  }
  spin_while([&] { return mine.helpers.load(std::memory_order_acquire) != 0; });
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return mine.helpers.load(std::memory_order_relaxed) == 0; });
  if (mine.failure) std::rethrow_exception(mine.failure);
}

LODESTONE_INLINE void thread_pool::take_tiles(job& mine) {
  inside_ = true;
  try {
    for (std::int64_t tile = mine.next++; tile < mine.tiles; tile = mine.next++) mine.call(mine.context, tile);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!mine.failure) mine.failure = std::current_exception();
    mine.next = mine.tiles;
  }
  inside_ = false;
}

LODESTONE_INLINE void thread_pool::serve() {
  std::uint64_t seen = 0;
  for (;;) {
    spin_while([&] { return generation_.load(std::memory_order_relaxed) == seen; });
    std::unique_lock lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, [&] { return stopping_ || generation_.load(std::memory_order_relaxed) != seen; });
    --sleepers_;
    if (stopping_) return;
    seen = generation_.load(std::memory_order_relaxed);
    if (current_ == nullptr) continue;  // that job is over
    job& mine = *current_;              // stays alive while helpers > 0
    mine.helpers.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    take_tiles(mine);
    lock.lock();
    if (mine.helpers.fetch_sub(1, std::memory_order_release) == 1) done_.notify_all();
  }
}

LODESTONE_INLINE void thread_pool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    generation_.fetch_add(1, std::memory_order_release);  // ends the spinning
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

}  // namespace lodestone
