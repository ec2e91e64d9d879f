// The plan report: what an epoch holds, what it loses, and how long ranks would wait for each other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/cost.hpp>

namespace lodestone::batching {

/// Least, mean and most of a quantity over the micro-batches.
struct spread {
  /// All 0 where there is nothing to count.
  ///@{
  std::int64_t least = 0;
  double mean = 0.0;
  std::int64_t most = 0;
  ///@}
};

/// Examples whose length is in [low, high).
struct length_bucket {
  std::int64_t low = 0;       ///< tokens: a power of two
  std::int64_t high = 0;      ///< tokens: 2 low
  std::int64_t examples = 0;  ///< number of them
  std::int64_t tokens = 0;    ///< of all of them
};

/// Predicted times of an epoch on `ranks` ranks, in the cost model's unit; `mean` is the time without any waiting.
struct rank_times {
  int ranks = 1;                  ///< number of ranks
  double mean = 0.0;              ///< cost of the epoch / ranks
  double once_per_step = 0.0;     ///< balanced assignment, ranks meet at the end of a step
  double each_micro_batch = 0.0;  ///< balanced assignment, ranks meet at each micro-batch
  double in_plan_order = 0.0;     ///< micro-batches dealt out as they come, ranks meet at each micro-batch

  /// The slowest rank over the mean: 1 means that nobody waits.
  [[nodiscard]] double slowest_over_mean(double time) const { return mean > 0.0 ? time / mean : 1.0; }
};

/// The numbers of a report.
struct plan_report {
  std::string name;                      ///< of the strategy, as the text shows it
  std::int64_t examples = 0;             ///< in the data
  std::int64_t tokens = 0;               ///< of all examples in the data
  std::int64_t steps = 0;                ///< of the epoch
  std::int64_t micro_batches = 0;        ///< of the epoch
  std::int64_t examples_lost = 0;        ///< in the data but not in the plan; 0 by the law of batching strategies
  std::int64_t tokens_lost = 0;          ///< tokens of the examples lost
  std::int64_t examples_repeated = 0;    ///< in the plan more than once
  std::int64_t capacity = 0;             ///< tokens that a micro-batch could hold
  double fill = 0.0;                     ///< tokens of the plan / (micro-batches x capacity)
  spread sequences;                      ///< per micro-batch
  spread stream;                         ///< tokens per micro-batch
  spread step_tokens;                    ///< tokens per step
  std::vector<length_bucket> histogram;  ///< powers of two, from the shortest example to the longest
  double cost = 0.0;                     ///< of the epoch
  double attention_share = 0.0;          ///< of the cost
  std::vector<rank_times> ranks;         ///< one entry for each number of ranks that make_report() was given

  /// The times on `count` ranks; null when make_report() was not given that number.
  [[nodiscard]] const rank_times* on(int count) const;
};

namespace detail {

[[nodiscard]] std::vector<length_bucket> length_histogram(std::span<const std::int64_t> lengths);

/// "12,345,678"
[[nodiscard]] std::string grouped(std::int64_t value);

template <class... Values>
[[nodiscard]] std::string printed(const char* format, Values... values) {
  char text[256];
  const int length = std::snprintf(text, sizeof text, format, values...);
  return {text, static_cast<std::size_t>(std::clamp(length, 0, static_cast<int>(sizeof text) - 1))};
}

}  // namespace detail

/// Measures `plan` over examples of the given lengths, or shapes where answers share their prompts. `capacity` is the
/// budget of a pack; 0 takes the longest stream.
///@{
[[nodiscard]] plan_report make_report(std::string name, const epoch_plan& plan, std::span<const std::int64_t> lengths,
                                      const cost_model& model, std::span<const int> rank_counts,
                                      std::int64_t capacity = 0);
[[nodiscard]] plan_report make_report(std::string name, const epoch_plan& plan, std::span<const example_shape> shapes,
                                      const cost_model& model, std::span<const int> rank_counts,
                                      std::int64_t capacity = 0);
///@}

/// The report as text, one idea a line.
[[nodiscard]] std::string to_text(const plan_report& report);

/// Predicted epoch times of several strategies over the same examples on `ranks` ranks, relative to the first report's
/// time in plan order with a meeting at each micro-batch. Reports that lack that number of ranks are left out.
[[nodiscard]] std::string compare_text(std::span<const plan_report> reports, int ranks);

}  // namespace lodestone::batching

#ifndef LODESTONE_COMPILED
#include <lodestone/batching/report.ipp>
#endif
