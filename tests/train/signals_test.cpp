#include <boost/test/unit_test.hpp>

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include <lodestone/train/signals.hpp>

namespace {

volatile std::sig_atomic_t seen_by_old_handler = 0;
void old_handler(int number) { seen_by_old_handler = number; }

}  // namespace

BOOST_AUTO_TEST_SUITE(train_signals)

BOOST_AUTO_TEST_CASE(each_signal_sets_the_flag_and_the_first_one_is_kept) {
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) {
    const lodestone::stop_signals signals;
    BOOST_TEST(!signals.requested());
    std::raise(number);
    BOOST_TEST(signals.requested());
    BOOST_TEST(signals.signal() == number);
    std::raise(SIGTERM);
    BOOST_TEST(signals.signal() == number);
  }
}

BOOST_AUTO_TEST_CASE(a_new_object_starts_unset_and_clear_forgets) {
  {
    const lodestone::stop_signals signals;
    std::raise(SIGUSR1);
  }
  lodestone::stop_signals signals;
  BOOST_TEST(!signals.requested());
  std::raise(SIGINT);
  signals.clear();
  BOOST_TEST(!signals.requested());
}

BOOST_AUTO_TEST_CASE(old_handlers_come_back) {
  struct sigaction action {};
  action.sa_handler = &old_handler;
  struct sigaction before {};
  sigaction(SIGUSR1, &action, &before);
  {
    const lodestone::stop_signals signals;
    std::raise(SIGUSR1);
    BOOST_TEST(static_cast<int>(seen_by_old_handler) == 0);
  }
  std::raise(SIGUSR1);
  BOOST_TEST(static_cast<int>(seen_by_old_handler) == SIGUSR1);
  sigaction(SIGUSR1, &before, nullptr);
}

BOOST_AUTO_TEST_CASE(there_is_one_at_a_time) {
  const lodestone::stop_signals signals;
  BOOST_CHECK_THROW(lodestone::stop_signals second, lodestone::error);
}

BOOST_AUTO_TEST_CASE(a_second_interrupt_ends_the_process_but_not_at_once) {
  int ends[2];
  BOOST_REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    const lodestone::stop_signals signals;
    std::raise(SIGINT);
    std::raise(SIGINT);  // the same key press, delivered twice
    if (write(ends[1], "x", 1) != 1) _exit(8);
    sleep(2);
    std::raise(SIGINT);
    _exit(7);
  }
  close(ends[1]);
  char still_there = ' ';
  BOOST_TEST(read(ends[0], &still_there, 1) == 1);
  BOOST_TEST(still_there == 'x');
  close(ends[0]);
  int status = 0;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  BOOST_TEST(WIFSIGNALED(status));
  BOOST_TEST(WTERMSIG(status) == SIGINT);
}

BOOST_AUTO_TEST_SUITE_END()
