// The packer alone: from the lengths of examples to packs, with no model, no data and no other library in sight.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <lodestone/batching/packed.hpp>
#include <lodestone/core/random.hpp>

int main() {
  // Lengths as in long instruction data: most examples are short, most tokens are in the long ones.
  lodestone::random_stream random(/*seed=*/7, lodestone::random_purpose::user);
  std::vector<std::int64_t> lengths(2'000);
  std::int64_t tokens = 0;
  for (std::int64_t& length : lengths) {
    length = random.uniform() < 0.75 ? 200 + static_cast<std::int64_t>(random.below(2'000))
                                     : 8'000 + static_cast<std::int64_t>(random.below(57'000));
    tokens += length;
  }

  using lodestone::batching::packing;
  const struct {
    const char* name;
    packing algorithm;
  } algorithms[] = {{"next fit", packing::next_fit},
                    {"first fit, longest first", packing::first_fit_decreasing},
                    {"best fit, longest first", packing::best_fit_decreasing}};

  std::printf("%zu examples, %lld tokens, packs of 65,536\n", lengths.size(), static_cast<long long>(tokens));
  std::size_t fewest = lengths.size();
  for (const auto& [name, algorithm] : algorithms) {
    const lodestone::batching::packed batching{.tokens = 65'536, .packs_per_step = 8, .algorithm = algorithm};
    const lodestone::epoch_plan epoch = batching.plan(lengths, /*seed=*/42, /*epoch=*/0);
    std::size_t packs = 0;
    std::size_t examples = 0;
    for (const lodestone::step_plan& step : epoch.steps)
      for (const lodestone::micro_batch& pack : step.micro_batches) {
        packs += 1;
        examples += pack.examples.size();
      }
    const double fill = static_cast<double>(tokens) / (65'536.0 * static_cast<double>(packs));
    std::printf("%-26s %4zu packs, %5.1f%% full, %zu steps, %zu examples lost\n", name, packs, 100.0 * fill,
                epoch.steps.size(), lengths.size() - examples);
    if (examples != lengths.size()) return 1;
    fewest = packs < fewest ? packs : fewest;
  }
  return static_cast<double>(fewest) * 65'536.0 >= static_cast<double>(tokens) ? 0 : 1;
}
