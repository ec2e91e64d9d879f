// A pool of threads that runs numbered tiles; results never depend on how many threads there are.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace lodestone {

/// Runs `work(tile)` for every tile in [0, tiles). The caller takes part, so `threads == 1` starts no thread.
///
/// Tiles are handed out in order, one at a time, to whichever thread is free. Code that wants the same bits for any
/// number of threads gives each output element to exactly one tile and sums partial results in tile order. A call from
/// inside a tile runs serially in that tile. The first exception of a tile is rethrown to the caller; tiles that nobody
/// had started by then are skipped. Several threads may call run(): their jobs follow one another.
class thread_pool {
 public:
  /// Starts threads - 1 workers, none for fewer than two. Throws std::system_error when the system has no more threads.
  explicit thread_pool(int threads = default_threads());
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() { stop(); }

  /// Threads that work, the caller included.
  [[nodiscard]] int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Cores of the machine; 1 when the system does not tell.
  [[nodiscard]] static int default_threads();

  /// Returns when no tile runs any more; tiles <= 0 runs none. `work` is called from several threads at once.
  template <class Work>
  void run(std::int64_t tiles, const Work& work) {
    if (tiles <= 0) return;
    if (tiles == 1 || workers_.empty() || inside_) {
      for (std::int64_t tile = 0; tile < tiles; ++tile) work(tile);
      return;
    }
    job mine;
    mine.tiles = tiles;
    mine.call = [](const void* context, std::int64_t tile) { (*static_cast<const Work*>(context))(tile); };
    mine.context = &work;
    share(mine);
  }

 private:
  struct job {
    std::int64_t tiles = 0;
    std::atomic<std::int64_t> next{0};
    std::atomic<int> helpers{0};  // workers inside this job; changed under mutex_ only
    void (*call)(const void*, std::int64_t) = nullptr;
    const void* context = nullptr;
    std::exception_ptr failure;  // guarded by mutex_
  };

  // About 50 microseconds of waiting before a thread sleeps. A training step is thousands of jobs a few microseconds
  // apart, and waking a sleeper costs more than that gap. A pool larger than the machine never spins.
  static constexpr int spin_limit = 1000;

  template <class Condition>
  void spin_while(const Condition& condition) const;

  void share(job& mine);

  void take_tiles(job& mine);

  void serve();

  void stop();

  int spins_;
  std::vector<std::thread> workers_;
  std::mutex entry_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  job* current_ = nullptr;  // guarded by mutex_, as are sleepers_ and stopping_
  std::atomic<std::uint64_t> generation_{0};
  int sleepers_ = 0;
  bool stopping_ = false;
  static inline thread_local bool inside_ = false;
};

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/core/thread_pool.ipp>
#endif
