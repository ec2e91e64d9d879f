// Definitions of report.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <limits>
#include <utility>

#include <lodestone/batching/assignment.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::batching {

LODESTONE_INLINE const rank_times* plan_report::on(int count) const {
  for (const rank_times& times : ranks)
    if (times.ranks == count) return &times;
  return nullptr;
}

namespace detail {

class spread_counter {
 public:
  void add(std::int64_t value) {
    least_ = std::min(least_, value);
    most_ = std::max(most_, value);
    sum_ += value;
    ++count_;
  }
  [[nodiscard]] spread result() const {
    if (count_ == 0) return {};
    return {least_, static_cast<double>(sum_) / static_cast<double>(count_), most_};
  }

 private:
  std::int64_t least_ = std::numeric_limits<std::int64_t>::max();
  std::int64_t most_ = 0;
  std::int64_t sum_ = 0;
  std::int64_t count_ = 0;
};

LODESTONE_INLINE std::vector<length_bucket> length_histogram(std::span<const std::int64_t> lengths) {
  std::vector<length_bucket> buckets;
  for (std::int64_t low = 1; low > 0 && low <= std::int64_t{1} << 61; low *= 2) buckets.push_back({low, 2 * low});
  std::size_t first = buckets.size();
  std::size_t last = 0;
  for (const std::int64_t length : lengths) {
    std::size_t i = 0;
    while (i + 1 < buckets.size() && buckets[i].high <= length) ++i;
    ++buckets[i].examples;
    buckets[i].tokens += length;
    first = std::min(first, i);
    last = std::max(last, i);
  }
  if (first == buckets.size()) return {};
  return {buckets.begin() + static_cast<std::ptrdiff_t>(first),
          buckets.begin() + static_cast<std::ptrdiff_t>(last) + 1};
}

LODESTONE_INLINE std::string grouped(std::int64_t value) {
  std::string digits = std::to_string(value);
  for (auto i = static_cast<std::ptrdiff_t>(digits.size()) - 3; i > (value < 0 ? 1 : 0); i -= 3)
    digits.insert(static_cast<std::size_t>(i), 1, ',');
  return digits;
}

}  // namespace detail

LODESTONE_INLINE plan_report make_report(std::string name, const epoch_plan& plan,
                                         std::span<const std::int64_t> lengths, const cost_model& model,
                                         std::span<const int> rank_counts, std::int64_t capacity) {
  std::vector<example_shape> shapes;
  for (const std::int64_t length : lengths) shapes.push_back({.length = length});
  return make_report(std::move(name), plan, shapes, model, rank_counts, capacity);
}

LODESTONE_INLINE plan_report make_report(std::string name, const epoch_plan& plan,
                                         std::span<const example_shape> shapes, const cost_model& model,
                                         std::span<const int> rank_counts, std::int64_t capacity) {
  std::vector<std::int64_t> lengths;
  for (const example_shape& shape : shapes) lengths.push_back(shape.length);
  cost_model attention_alone = model;
  attention_alone.per_token = attention_alone.per_micro_batch = 0.0;
  plan_report report;
  report.name = std::move(name);
  report.examples = static_cast<std::int64_t>(lengths.size());
  report.histogram = detail::length_histogram(lengths);
  for (const int ranks : rank_counts) report.ranks.push_back({.ranks = ranks});

  std::vector<int> seen(lengths.size(), 0);
  detail::spread_counter sequences, stream, step_tokens;
  double attention = 0.0;
  std::int64_t planned = 0;
  for (const step_plan& step : plan.steps) {
    ++report.steps;
    std::int64_t in_step = 0;
    for (const micro_batch& batch : step.micro_batches) {
      ++report.micro_batches;
      const std::int64_t in_batch = stream_tokens(batch, shapes);
      for (const std::int64_t example : batch.examples)
        if (++seen[static_cast<std::size_t>(example)] > 1) ++report.examples_repeated;
      attention += attention_alone.micro_batch(batch, shapes);
      sequences.add(static_cast<std::int64_t>(batch.examples.size()));
      stream.add(in_batch);
      in_step += in_batch;
    }
    step_tokens.add(in_step);
    planned += in_step;
    const std::vector<double> step_costs = costs(step, shapes, model);
    double sum = 0.0;
    for (const double cost : step_costs) sum += cost;
    report.cost += sum;
    for (rank_times& times : report.ranks) {
      times.mean += sum / times.ranks;
      times.once_per_step +=
          step_time(assign(step_costs, times.ranks, meeting::once_per_step), step_costs, meeting::once_per_step);
      times.each_micro_batch +=
          step_time(assign(step_costs, times.ranks, meeting::each_micro_batch), step_costs, meeting::each_micro_batch);
      times.in_plan_order +=
          step_time(assign_in_order(step_costs.size(), times.ranks), step_costs, meeting::each_micro_batch);
    }
  }
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    report.tokens += lengths[i];
    if (seen[i] > 0) continue;
    ++report.examples_lost;
    report.tokens_lost += lengths[i];
  }
  report.sequences = sequences.result();
  report.stream = stream.result();
  report.step_tokens = step_tokens.result();
  report.capacity = capacity > 0 ? capacity : report.stream.most;
  const double room = static_cast<double>(report.micro_batches) * static_cast<double>(report.capacity);
  report.fill = room > 0.0 ? static_cast<double>(planned) / room : 0.0;
  report.attention_share = report.cost > 0.0 ? attention / report.cost : 0.0;
  return report;
}

LODESTONE_INLINE std::string to_text(const plan_report& report) {
  using detail::grouped;
  using detail::printed;
  std::string text = report.name + ": " + grouped(report.examples) + " examples, " + grouped(report.tokens) +
                     " tokens; " + grouped(report.steps) + " steps, " + grouped(report.micro_batches) +
                     " micro-batches\n";
  text += "  lost                       " + grouped(report.tokens_lost) + " tokens, " + grouped(report.examples_lost) +
          " examples";
  if (report.examples_repeated > 0) text += "; " + grouped(report.examples_repeated) + " examples repeated";
  text += "\n";
  text += printed("  fill                       %.2f%% of %s tokens a micro-batch\n", 100.0 * report.fill,
                  grouped(report.capacity).c_str());
  const auto line = [&](const char* what, const spread& s) {
    text += printed("  %-26s %s / %.1f / %s (least, mean, most)\n", what, grouped(s.least).c_str(), s.mean,
                    grouped(s.most).c_str());
  };
  line("sequences a micro-batch", report.sequences);
  line("tokens a micro-batch", report.stream);
  line("tokens a step", report.step_tokens);
  text += printed("  predicted cost             %.4g, attention %.1f%% of it\n", report.cost,
                  100.0 * report.attention_share);

  std::int64_t most = 1;
  for (const length_bucket& bucket : report.histogram) most = std::max(most, bucket.examples);
  if (!report.histogram.empty()) text += "  tokens an example          examples     share of tokens\n";
  for (const length_bucket& bucket : report.histogram) {
    const auto bar = static_cast<std::size_t>((40 * bucket.examples + most - 1) / most);
    const double share =
        static_cast<double>(bucket.tokens) / static_cast<double>(std::max<std::int64_t>(report.tokens, 1));
    text += printed("  %10s to %-10s   %-12s %5.1f%%  ", grouped(bucket.low).c_str(), grouped(bucket.high - 1).c_str(),
                    grouped(bucket.examples).c_str(), 100.0 * share) + std::string(bar, '#') + "\n";
  }
  if (!report.ranks.empty())
    text += "  slowest rank over the mean   meeting once a step   at each micro-batch   (in plan order)\n";
  for (const rank_times& times : report.ranks)
    text += printed("  %10d ranks %29.3f %21.3f %17.3f\n", times.ranks, times.slowest_over_mean(times.once_per_step),
                    times.slowest_over_mean(times.each_micro_batch), times.slowest_over_mean(times.in_plan_order));
  return text;
}

LODESTONE_INLINE std::string compare_text(std::span<const plan_report> reports, int ranks) {
  using detail::printed;
  const rank_times* base = reports.empty() ? nullptr : reports[0].on(ranks);
  if (base == nullptr || !(base->in_plan_order > 0.0)) return {};
  std::string text =
      printed("predicted epoch time on %d ranks, %s in plan order = 1\n", ranks, reports[0].name.c_str());
  text += "  strategy             once a step   at each micro-batch   (in plan order)\n";
  for (const plan_report& report : reports) {
    const rank_times* times = report.on(ranks);
    if (times == nullptr) continue;
    text += printed("  %-16s %15.3f %21.3f %17.3f\n", report.name.c_str(), times->once_per_step / base->in_plan_order,
                    times->each_micro_batch / base->in_plan_order, times->in_plan_order / base->in_plan_order);
  }
  return text;
}

}  // namespace lodestone::batching

