// An attention policy of your own: local attention, in which a row sees only the last `reach` tokens of its document.
#include <cstdio>
#include <filesystem>
#include <vector>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/model/llama.hpp>

using namespace lodestone;

// A policy evaluates attention over slices. This one narrows every slice and leaves the work to the policy within.
struct local_attention {
  std::int64_t reach = 64;
  blocked_attention within{};

  template <class Backend, class... Tensors>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Tensors... rest) const {
    within.forward(backend, shape, narrowed(slices), rest...);
  }
  template <class Backend, class... Tensors>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Tensors... rest) const {
    within.backward(backend, shape, narrowed(slices), rest...);
  }

 private:
  [[nodiscard]] std::vector<slice> narrowed(std::span<const slice> slices) const {
    std::vector<slice> result(slices.begin(), slices.end());
    for (slice& s : result)
      if (s.kind == slice_kind::causal && (s.window == 0 || s.window > reach)) s.window = reach;
    return result;
  }
};

static_assert(attention_policy<local_attention, host<float>>);

int main(int, char** arguments) {
  const std::filesystem::path folder = std::filesystem::path(arguments[1]) / "models" / "tinystories-656k";
  auto weights = parameters::load<host<float>>(folder, {}, {.use = parameters::purpose::inference});
  llama<host<float>, blocked_attention> whole(weights.config(), weights);
  llama<host<float>, local_attention> local(weights.config(), weights, local_attention{.reach = 64});

  // One document of 128 tokens; row r predicts the token after it, and is scored for it.
  token_batch batch;
  for (std::int32_t t = 0; t < 128; ++t) {
    batch.tokens.push_back(t == 0 ? 1 : 100 + t * t % 1'000);
    batch.positions.push_back(t);
    batch.lengths.push_back(128);
    if (t > 0) batch.scored.push_back({.row = t - 1, .label = batch.tokens.back()});
  }
  batch.slices = {{.q_end = 128, .k_end = 128}};
  batch.sequences = {{.end = 128, .scored_end = 127, .target_weight = 127.0}};

  const std::vector<double> all = whole.log_probs(batch);
  const std::vector<double> near = local.log_probs(batch);
  std::size_t equal = 0;
  while (equal < all.size() && all[equal] == near[equal]) ++equal;
  std::printf("the first %zu predictions are equal bit for bit; later ones see 64 tokens instead of all\n", equal);
  return equal >= 64 && equal < all.size() ? 0 : 1;
}
