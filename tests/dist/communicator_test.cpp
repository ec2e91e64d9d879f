#include <lodestone/dist/concept.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/dist/threads.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace lodestone;

namespace {

struct without_barrier {
  [[nodiscard]] int rank() const { return 0; }
  [[nodiscard]] int size() const { return 1; }
  void all_reduce(std::span<double>) {}
};
static_assert(!communicator<without_barrier>);

// Boost.Test is not safe to call from several threads: ranks collect their complaints here.
class complaints {
 public:
  void expect(bool truth, const std::string& what) {
    if (!truth && first_.empty()) first_ = what;
  }
  [[nodiscard]] const std::string& first() const { return first_; }

 private:
  std::string first_;
};

// Values whose sum depends on the order of the additions.
template <class T>
T value_of(int rank, std::size_t i) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(1000 * rank) + static_cast<T>(i);
  return static_cast<T>(1.0 / (3.0 + 7.0 * rank + 0.1 * static_cast<double>(i)) * (rank % 2 == 0 ? 1e6 : 1.0));
}

template <class T>
std::vector<T> values(int rank, std::size_t n) {
  std::vector<T> result;
  for (std::size_t i = 0; i < n; ++i) result.push_back(value_of<T>(rank, i));
  return result;
}

template <class T>
std::vector<T> sum_in_rank_order(int ranks, std::size_t n) {
  std::vector<T> sum(n);
  for (std::size_t i = 0; i < n; ++i)
    for (int r = 0; r < ranks; ++r) sum[i] += value_of<T>(r, i);
  return sum;
}

/// The laws of dist/concept.hpp, for one element type; every rank calls this.
template <class T, class Group>
void check_laws(Group& group, complaints& rank_says) {
  const int ranks = group.size();
  const int rank = group.rank();
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{1000}}) {
    std::vector<T> reduced = values<T>(rank, n);
    group.all_reduce(std::span(reduced));
    rank_says.expect(reduced == sum_in_rank_order<T>(ranks, n), "all_reduce sums in rank order");

    const std::vector<T> mine = values<T>(rank, n);
    std::vector<T> all(n * static_cast<std::size_t>(ranks));
    group.all_gather(std::span(mine), std::span(all));
    std::vector<T> expected;
    for (int r = 0; r < ranks; ++r) {
      const std::vector<T> part = values<T>(r, n);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    rank_says.expect(all == expected, "all_gather is in rank order");

    const std::size_t total = n * static_cast<std::size_t>(ranks);
    const std::vector<T> whole = values<T>(rank, total);
    std::vector<T> part(n);
    group.reduce_scatter(std::span(whole), std::span(part));
    std::vector<T> joined(total);
    group.all_gather(std::span<const T>(part), std::span(joined));
    std::vector<T> reduced_whole = whole;
    group.all_reduce(std::span(reduced_whole));
    rank_says.expect(joined == reduced_whole, "reduce_scatter then all_gather equals all_reduce");

    for (int root = 0; root < ranks; ++root) {
      std::vector<T> sent = values<T>(rank, n);
      group.broadcast(std::span(sent), root);
      rank_says.expect(sent == values<T>(root, n), "broadcast gives the root's values");
    }
    group.barrier();
  }
  // In place: this rank's part of a buffer is both input and output.
  std::vector<T> buffer = values<T>(rank, 3 * static_cast<std::size_t>(ranks));
  const std::vector<T> sum = sum_in_rank_order<T>(ranks, buffer.size());
  const std::span<T> own = std::span(buffer).subspan(3 * static_cast<std::size_t>(rank), 3);
  group.reduce_scatter(std::span<const T>(buffer), own);
  group.all_gather(std::span<const T>(own), std::span(buffer));
  rank_says.expect(buffer == sum, "collectives work in place");
}

template <class Group>
void check_all_types(Group& group, complaints& rank_says) {
  check_laws<double>(group, rank_says);
  check_laws<float>(group, rank_says);
  check_laws<std::int64_t>(group, rank_says);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dist_communicator)

BOOST_AUTO_TEST_CASE(a_world_of_one_obeys_the_laws) {
  complaints says;
  dist::single group;
  check_all_types(group, says);
  BOOST_TEST(says.first() == "");
  static_assert(std::is_empty_v<dist::single>);
}

BOOST_AUTO_TEST_CASE(threads_obey_the_laws) {
  for (const int ranks : {1, 2, 3, 5}) {
    std::vector<complaints> says(static_cast<std::size_t>(ranks));
    dist::threads::run(ranks, [&](dist::threads::communicator& group) {
      check_all_types(group, says[static_cast<std::size_t>(group.rank())]);
    });
    for (const complaints& rank_says : says) BOOST_TEST(rank_says.first() == "");
  }
}

BOOST_AUTO_TEST_CASE(an_exception_of_one_rank_wakes_and_fails_the_others) {
  for (int failing = 0; failing < 3; ++failing) {
    std::atomic<int> woken{0};
    const auto body = [&](dist::threads::communicator& group) {
      group.barrier();
      if (group.rank() == failing) throw std::runtime_error("rank " + std::to_string(failing) + " ran out of memory");
      try {
        std::vector<double> values(4, 1.0);
        group.all_reduce(std::span(values));
      } catch (const dist::threads::abandoned&) {
        ++woken;
        throw;
      }
    };
    BOOST_CHECK_EXCEPTION(dist::threads::run(3, body), std::runtime_error, [&](const std::exception& failure) {
      return failure.what() == "rank " + std::to_string(failing) + " ran out of memory";
    });
    BOOST_TEST(woken == 2);
  }
}

BOOST_AUTO_TEST_CASE(the_first_exception_wins_over_its_consequences) {
  const auto body = [](dist::threads::communicator& group) {
    if (group.rank() == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      throw std::runtime_error("the cause");
    }
    group.barrier();
  };
  BOOST_CHECK_EXCEPTION(dist::threads::run(3, body), std::runtime_error,
                        [](const std::exception& failure) { return failure.what() == std::string("the cause"); });
}

BOOST_AUTO_TEST_CASE(a_rank_that_finishes_early_fails_the_waiting_ones) {
  for (const int early : {0, 1}) {
    const auto body = [early](dist::threads::communicator& group) {
      group.barrier();
      if (group.rank() != early) group.barrier();
    };
    BOOST_CHECK_THROW(dist::threads::run(2, body), dist::threads::abandoned);
  }
}

BOOST_AUTO_TEST_CASE(calls_that_do_not_match_are_refused_on_every_rank) {
  std::atomic<int> refused{0};
  const auto expect_refusal = [&](auto call) {
    refused = 0;
    BOOST_CHECK_THROW(dist::threads::run(3,
                                         [&](dist::threads::communicator& group) {
                                           try {
                                             call(group);
                                           } catch (const shape_error&) {
                                             ++refused;
                                             throw;
                                           }
                                         }),
                      shape_error);
    BOOST_TEST(refused == 3);
  };
  expect_refusal([](auto& group) {
    std::vector<double> values(group.rank() == 1 ? 3U : 4U);
    group.all_reduce(std::span(values));
  });
  expect_refusal([](auto& group) {
    std::vector<double> values(4);
    std::vector<float> floats(4);
    group.rank() == 0 ? group.all_reduce(std::span(values)) : group.all_reduce(std::span(floats));
  });
  expect_refusal([](auto& group) {
    std::vector<double> values(4);
    group.broadcast(std::span(values), group.rank() == 2 ? 1 : 0);
  });
  expect_refusal([](auto& group) {
    std::vector<double> values(4);
    group.broadcast(std::span(values), 3);
  });
  expect_refusal([](auto& group) {
    const std::vector<double> mine(2);
    std::vector<double> all(5);
    group.all_gather(std::span(mine), std::span(all));
  });
}

BOOST_AUTO_TEST_CASE(many_rounds_give_the_same_bits) {
  const auto run_once = [] {
    std::array<double, 4> results{};
    dist::threads::run(4, [&](dist::threads::communicator& group) {
      std::vector<double> state = values<double>(group.rank(), 33);
      for (int round = 0; round < 200; ++round) {
        group.all_reduce(std::span(state));
        for (double& x : state) x = 0.3 * x / (1.0 + 0.01 * group.rank());
      }
      results[static_cast<std::size_t>(group.rank())] = state[17];
    });
    return results;
  };
  const auto first = run_once();
  for (int i = 0; i < 3; ++i) BOOST_TEST(run_once() == first, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_group_needs_a_rank) {
  BOOST_CHECK_THROW(dist::threads::run(0, [](dist::threads::communicator&) {}), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
