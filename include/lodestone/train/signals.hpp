// Signals that ask a run to stop: a flag that the training loop reads between steps.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <system_error>

#include <lodestone/core/error.hpp>

namespace lodestone {

/// While it lives, SIGTERM, SIGINT and SIGUSR1 set a flag instead of ending the process.
///
/// The program reads `requested()` between steps, writes a checkpoint and leaves with exit status 0. A second SIGINT
/// two seconds after the first signal ends the process at once (sooner it is ignored: terminals and wrappers may
/// deliver one key press twice). The handlers that were there before come back when the object goes. At most one object
/// at a time; a second one throws error. SIGUSR1 is what Slurm sends ahead of a time limit (--signal=USR1@120).
class stop_signals {
 public:
  stop_signals() {
    if (taken().exchange(true)) throw error("stop_signals exists already in this process");
    first_signal() = 0;
    struct sigaction action {};
    action.sa_handler = &stop_signals::handle;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;  // reads and writes of the loop are not cut short
    for (std::size_t i = 0; i < signals.size(); ++i)
      if (sigaction(signals[i], &action, &old_[i]) != 0) {
        const int code = errno;
        restore(i);
        throw io_error("cannot install a signal handler: " + std::generic_category().message(code));
      }
  }
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;
  ~stop_signals() { restore(signals.size()); }

  /// Whether a signal has arrived.
  [[nodiscard]] bool requested() const { return signal() != 0; }
  /// The first signal that arrived, 0 if none.
  [[nodiscard]] int signal() const { return first_signal().load(std::memory_order_relaxed); }
  /// Forgets the signals so far.
  void clear() { first_signal() = 0; }

 private:
  static constexpr std::array<int, 3> signals{SIGTERM, SIGINT, SIGUSR1};
  static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::time_t>::is_always_lock_free,
                "a signal handler may touch lock-free atomics only");

  // Constant-initialised and trivially destroyed, so the handler may reach them at any moment.
  static std::atomic<int>& first_signal() {
    static constinit std::atomic<int> value{0};
    return value;
  }
  static std::atomic<std::time_t>& first_time() {
    static constinit std::atomic<std::time_t> value{0};
    return value;
  }
  static std::atomic<bool>& taken() {
    static constinit std::atomic<bool> value{false};
    return value;
  }

  static void handle(int number) {
    const int saved = errno;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);  // async-signal-safe (POSIX.1-2008), as is everything here
    int expected = 0;
    if (first_signal().compare_exchange_strong(expected, number)) {
      first_time() = now.tv_sec;
    } else if (number == SIGINT && now.tv_sec - first_time() >= 2) {
      std::signal(SIGINT, SIG_DFL);
      std::raise(SIGINT);  // delivered when this handler returns and unblocks it
    }
    errno = saved;
  }

  void restore(std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) sigaction(signals[i], &old_[i], nullptr);
    taken() = false;
  }

  std::array<struct sigaction, 3> old_{};
};

}  // namespace lodestone
