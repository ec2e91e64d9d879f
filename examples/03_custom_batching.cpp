// A batching strategy of your own: lengths in, a plan of steps out. This one is a curriculum, from short to long.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

#include <lodestone/batching/concept.hpp>
#include <lodestone/batching/packed.hpp>

// Examples ordered by length, in `stages` equal parts; each part is packed, so a long example never shares a step with
// a short one and the context grows as training goes on.
struct curriculum {
  std::int64_t stages = 4;
  lodestone::batching::packed packing;

  lodestone::epoch_plan plan(std::span<const std::int64_t> lengths, std::uint64_t seed, std::uint64_t epoch) const {
    std::vector<std::int64_t> order(lengths.size());
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::ranges::stable_sort(order, {}, [&](std::int64_t i) { return lengths[static_cast<std::size_t>(i)]; });

    lodestone::epoch_plan all;
    const auto count = static_cast<std::int64_t>(order.size());
    for (std::int64_t stage = 0; stage < stages; ++stage) {
      const std::span part(order.begin() + count * stage / stages, order.begin() + count * (stage + 1) / stages);
      std::vector<std::int64_t> part_lengths;
      for (const std::int64_t example : part) part_lengths.push_back(lengths[static_cast<std::size_t>(example)]);
      for (lodestone::step_plan& step : packing.plan(part_lengths, seed, epoch).steps) {
        for (lodestone::micro_batch& pack : step.micro_batches)
          for (std::int64_t& example : pack.examples) example = part[static_cast<std::size_t>(example)];
        all.steps.push_back(std::move(step));
      }
    }
    return all;
  }
};

static_assert(lodestone::batching_strategy<curriculum>);

int main() {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < 400; ++i) lengths.push_back(100 + i * i % 7'919);
  const curriculum batching{.stages = 4, .packing = {.tokens = 8'192, .packs_per_step = 8}};
  const lodestone::epoch_plan epoch = batching.plan(lengths, /*seed=*/1, /*epoch=*/0);

  std::vector<int> seen(lengths.size(), 0);  // the law of every strategy: each example stands in the plan once
  for (std::size_t s = 0; s < epoch.steps.size(); ++s) {
    std::int64_t longest = 0;
    for (const lodestone::micro_batch& pack : epoch.steps[s].micro_batches)
      for (const std::int64_t example : pack.examples) {
        seen[static_cast<std::size_t>(example)] += 1;
        longest = std::max(longest, lengths[static_cast<std::size_t>(example)]);
      }
    std::printf("step %2zu: %zu packs, longest example %lld tokens\n", s + 1, epoch.steps[s].micro_batches.size(),
                static_cast<long long>(longest));
  }
  return std::ranges::all_of(seen, [](int times) { return times == 1; }) ? 0 : 1;
}
