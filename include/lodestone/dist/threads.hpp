// Ranks as threads of one process, with deterministic collectives: the reference for every law about ranks.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/dist/concept.hpp>

namespace lodestone::dist::threads {

/// Thrown from a collective that can never complete, because another rank failed or finished without it.
class abandoned : public error {
  using error::error;
};

namespace detail {

/// Which collective a rank has entered, with which element type and buffers.
struct call {
  const char* name = "";
  char type = 0;
  const void* input = nullptr;
  void* output = nullptr;
  std::size_t count = 0;
  int root = 0;
};

/// What the ranks of one group share.
class meeting_place {
 public:
  explicit meeting_place(int size) : size_(size), calls_(static_cast<std::size_t>(size)) {}

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] const call& of(int rank) const { return calls_[static_cast<std::size_t>(rank)]; }
  void publish(int rank, const call& mine) { calls_[static_cast<std::size_t>(rank)] = mine; }

  /// Waits until all ranks are here; throws abandoned when that cannot happen any more.
  void meet() {
    std::unique_lock lock(mutex_);
    refuse_if_broken();
    const std::uint64_t round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      lock.unlock();
      all_here_.notify_all();
      return;
    }
    if (left_ > 0) break_because("a rank finished while others wait in a collective");
    all_here_.wait(lock, [&] { return round_ != round || broken_; });
    if (round_ == round) refuse_if_broken();
  }

  /// A rank's function returned.
  void leave() {
    const std::lock_guard lock(mutex_);
    ++left_;
    if (arrived_ > 0) break_because("a rank finished while others wait in a collective");
  }

  /// A rank's function threw; the first failure that is not a consequence of another is kept.
  void fail(int rank, const std::exception_ptr& failure, bool is_consequence) {
    const std::lock_guard lock(mutex_);
    if (is_consequence ? !failure_ : !failure_ || failure_is_consequence_) {
      failure_ = failure;
      failure_is_consequence_ = is_consequence;
    }
    ++left_;
    break_because("rank " + std::to_string(rank) + " failed");
  }

  [[nodiscard]] std::exception_ptr failure() const { return failure_; }

 private:
  void break_because(const std::string& reason) {  // mutex_ is held
    if (!broken_) reason_ = reason;
    broken_ = true;
    all_here_.notify_all();
  }
  void refuse_if_broken() const {
    if (broken_)
      throw abandoned(reason_, "dist::threads", "every rank must call the same collectives in the same order");
  }

  const int size_;
  std::vector<call> calls_;  // slot r is written by rank r before, and read by all after, a meeting
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  int left_ = 0;
  std::uint64_t round_ = 0;
  bool broken_ = false;
  std::string reason_;
  std::exception_ptr failure_;
  bool failure_is_consequence_ = false;
};

}  // namespace detail

/// One rank's end of the group. Sums run in rank order, so every rank sees the same bits in every run.
///
/// Each collective checks that all ranks called it with the same element type and sizes, and throws shape_error on
/// every rank when they did not.
class communicator {
 public:
  /// Made by run(), which owns the meeting place.
  communicator(detail::meeting_place& place, int rank) : place_(&place), rank_(rank) {}

  [[nodiscard]] int rank() const { return rank_; }           ///< in [0, size())
  [[nodiscard]] int size() const { return place_->size(); }  ///< ranks of the group

  /// Every rank's `values` become the sum over ranks. No two ranks' values may overlap.
  template <class T>
  void all_reduce(std::span<T> values) {
    enter("all_reduce", code<T>(), nullptr, values.data(), values.size());
    // This rank sums its share of the elements and writes it into everyone's buffer: no two ranks touch one element.
    const auto [begin, end] = share(values.size());
    for (std::size_t i = begin; i < end; ++i) {
      T sum{};
      for (int r = 0; r < size(); ++r) sum += static_cast<const T*>(place_->of(r).output)[i];
      for (int r = 0; r < size(); ++r) static_cast<T*>(place_->of(r).output)[i] = sum;
    }
    place_->meet();
  }

  /// `all` = the ranks' `mine` in rank order, size() times as long; `mine` may be its own part of `all`.
  template <class T>
  void all_gather(std::span<const std::type_identity_t<T>> mine, std::span<T> all) {
    check_parts(all.size(), mine.size());
    enter("all_gather", code<T>(), mine.data(), all.data(), mine.size());
    for (int r = 0; r < size(); ++r) {
      const T* const part = static_cast<const T*>(place_->of(r).input);
      T* const target = all.data() + static_cast<std::size_t>(r) * mine.size();
      if (part != target) std::copy(part, part + mine.size(), target);
    }
    place_->meet();
  }

  /// `mine` = this rank's part of the sum of `all`, which is size() times as long; `mine` may lie in `all`.
  template <class T>
  void reduce_scatter(std::span<const std::type_identity_t<T>> all, std::span<T> mine) {
    check_parts(all.size(), mine.size());
    std::vector<T> sums(mine.size());  // `mine` may lie inside `all`, which the other ranks are still reading
    enter("reduce_scatter", code<T>(), all.data(), mine.data(), mine.size());
    const std::size_t offset = static_cast<std::size_t>(rank_) * mine.size();
    for (std::size_t i = 0; i < mine.size(); ++i)
      for (int r = 0; r < size(); ++r) sums[i] += static_cast<const T*>(place_->of(r).input)[offset + i];
    place_->meet();
    std::copy(sums.begin(), sums.end(), mine.begin());
  }

  /// Every rank's `values` become those of rank `root`. Throws shape_error when there is no such rank.
  template <class T>
  void broadcast(std::span<T> values, int root) {
    enter("broadcast", code<T>(), nullptr, values.data(), values.size(), root);
    if (root < 0 || root >= size()) {
      place_->meet();
      throw shape_error("there is no rank " + std::to_string(root), "broadcast");
    }
    const T* const source = static_cast<const T*>(place_->of(root).output);
    if (rank_ != root) std::copy(source, source + values.size(), values.begin());
    place_->meet();
  }

  /// Returns when all ranks have called it.
  void barrier() {
    enter("barrier", 0, nullptr, nullptr, 0);
    place_->meet();
  }

 private:
  template <class T>
  [[nodiscard]] static constexpr char code() {
    static_assert(std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, std::int64_t>,
                  "collectives carry double, float or std::int64_t");
    return std::is_same_v<T, double> ? 'd' : std::is_same_v<T, float> ? 'f' : 'i';
  }

  /// Publishes this rank's call, waits for the others', and compares: all see the same verdict.
  void enter(const char* name, char type, const void* input, void* output, std::size_t count, int root = 0) {
    place_->publish(rank_, {name, type, input, output, count, root});
    place_->meet();
    const detail::call& first = place_->of(0);
    for (int r = 1; r < size(); ++r) {
      const detail::call& other = place_->of(r);
      if (std::string_view(first.name) == other.name && first.type == other.type && first.count == other.count &&
          first.root == other.root)
        continue;
      const std::string what = "rank 0 called " + describe(first) + ", rank " + std::to_string(r) + " called " +
                               describe(other);
      place_->meet();  // nobody may publish again before all have compared
      throw shape_error(what, "dist::threads", "every rank must call the same collectives in the same order");
    }
  }

  [[nodiscard]] static std::string describe(const detail::call& c) {
    return std::string(c.name) + " of " + std::to_string(c.count) + " elements of type " +
           (c.type == 0 ? std::string("none") : std::string(1, c.type));
  }

  void check_parts(std::size_t all, std::size_t mine) const {
    if (all != mine * static_cast<std::size_t>(size()))
      throw shape_error(std::to_string(all) + " elements are not " + std::to_string(size()) + " parts of " +
                            std::to_string(mine), "dist::threads");
  }

  struct range {
    std::size_t begin;
    std::size_t end;
  };
  [[nodiscard]] range share(std::size_t count) const {
    const auto r = static_cast<std::size_t>(rank_);
    const auto n = static_cast<std::size_t>(size());
    return {count / n * r + std::min(r, count % n), count / n * (r + 1) + std::min(r + 1, count % n)};
  }

  detail::meeting_place* place_;
  int rank_;
};

static_assert(lodestone::communicator<communicator>);

/// Runs body(group) on `ranks` threads and waits for all of them.
///
/// An exception of one rank makes the others' collectives throw `abandoned`; when all have left, the first exception
/// that was not such a consequence is rethrown here.
template <class Body>
void run(int ranks, const Body& body) {
  if (ranks < 1) throw config_error("must be at least 1", "ranks");
  detail::meeting_place place(ranks);
  const auto serve = [&](int rank) {
    communicator group(place, rank);
    try {
      body(group);
      place.leave();
    } catch (const abandoned&) {
      place.fail(rank, std::current_exception(), true);
    } catch (...) {
      place.fail(rank, std::current_exception(), false);
    }
  };
  std::vector<std::thread> others;
  try {
    for (int rank = 1; rank < ranks; ++rank) others.emplace_back(serve, rank);
    serve(0);
  } catch (...) {  // the system has no more threads: those that run must not wait for the rest
    place.fail(static_cast<int>(others.size()) + 1, std::current_exception(), false);
  }
  for (std::thread& thread : others) thread.join();
  if (const std::exception_ptr failure = place.failure()) std::rethrow_exception(failure);
}

}  // namespace lodestone::dist::threads
