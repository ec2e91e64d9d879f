// A position policy of your own: short examples that train a long window, by leaving gaps between position ids.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

#include <lodestone/core/random.hpp>
#include <lodestone/position/concept.hpp>

// Ids drawn without repetition from [0, window) and sorted (Ruoss et al., arXiv 2305.16843): n tokens of text see
// relative distances of up to `window`. Selection sampling: one pass, no table of the window.
struct sparse_positions {
  std::int64_t window = 65'536;

  void fill(const lodestone::example_view& example, std::uint64_t seed, std::uint64_t epoch,
            std::span<std::int32_t> out) const {
    // The stream belongs to (seed, epoch, example): the same ids whatever the order of execution, or after a resume.
    lodestone::random_stream random(seed, lodestone::random_purpose::position, epoch,
                                    static_cast<std::uint64_t>(example.index));
    auto wanted = static_cast<double>(out.size());
    auto left = static_cast<double>(std::max(window, static_cast<std::int64_t>(out.size())));
    std::size_t next = 0;
    for (std::int32_t id = 0; next < out.size(); ++id, left -= 1.0)
      if (random.uniform() * left < wanted) {
        out[next++] = id;
        wanted -= 1.0;
      }
  }
};

static_assert(lodestone::position_policy<sparse_positions>);

int main() {
  const std::vector<std::int32_t> tokens(512, 1);
  const std::vector<float> weights(512, 1.0F);
  const lodestone::example_view example{.tokens = tokens, .labels = tokens, .weights = weights, .index = 3};
  std::vector<std::int32_t> ids(tokens.size());
  std::vector<std::int32_t> again(tokens.size());
  const sparse_positions positions{.window = 8'192};

  bool lawful = true;
  for (const std::uint64_t epoch : {0U, 1U, 2U}) {
    positions.fill(example, /*seed=*/42, epoch, ids);
    positions.fill(example, /*seed=*/42, epoch, again);
    const bool increasing = std::ranges::adjacent_find(ids, std::ranges::greater_equal{}) == ids.end();
    lawful = lawful && increasing && ids == again && ids.front() >= 0 && ids.back() < positions.window;
    std::printf("epoch %d: %d %d %d %d ... %d\n", static_cast<int>(epoch), ids[0], ids[1], ids[2], ids[3], ids.back());
  }
  std::printf("strictly increasing and reproducible: %s\n", lawful ? "yes" : "no");
  return lawful ? 0 : 1;
}
