// Trains a small model that can look things up, from nothing: the model of the demonstration's second half.
//
//     retrieval_train examples/data/state_union FOLDER --seconds 240
//
// It computes on a GPU where it was built for one and there is one, else on the CPU, which takes hours.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/program.hpp>
#ifdef LODESTONE_WITH_CUDA
#include <lodestone/cuda.hpp>
#endif

#include "folder.hpp"
#include "measure.hpp"
#include "task.hpp"

namespace {

using namespace lodestone;
namespace fs = std::filesystem;
using clock_type = std::chrono::steady_clock;

struct settings {
  fs::path texts;
  fs::path folder;
  fs::path from;
  retrieval::model_shape shape;
  std::int64_t tokens = 16'384;  // of a step
  std::int64_t steps = 0;        // 0: as many as fit into `seconds`, which differ from run to run
  double seconds = 240.0;
  double rate = 2e-3;
  double text_weight = 0.05;  // of targets that are not answers
  double drills = 0.25;       // share of examples
  double first_part = 0.1;    // of the steps, with drills alone; as many with contexts of at most 256 tokens
  double save_every = 60.0;   // seconds
  double measure_every = 20.0;
  std::int64_t measured = 8;  // contexts of each length
  std::uint64_t seed = 1;
  int threads = 0;
  bool on_host = false;
};

[[nodiscard]] double since(clock_type::time_point begin) {
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

/// The lengths of a step's examples: half of the tokens in the longest ones, the rest in shorter ones.
[[nodiscard]] std::vector<std::int64_t> lengths_of_step(const settings& s, std::int64_t longest) {
  std::vector<std::int64_t> lengths;
  std::int64_t left = s.tokens;
  for (std::int64_t length = longest, share = s.tokens / 2; length >= 128 && left >= length; length /= 2, share /= 2)
    for (std::int64_t k = 0; k < std::max<std::int64_t>(1, share / length) && left >= length; ++k, left -= length)
      lengths.push_back(length);
  for (; left >= 128; left -= 128) lengths.push_back(128);
  return lengths;
}

/// What the examples of a step are.
struct course {
  std::int64_t longest;  // tokens
  double drills;         // share of examples
};

/// Drills in short contexts until the skill has appeared, which long contexts and text delay; then tasks, soon in whole
/// contexts.
[[nodiscard]] course course_at(const settings& s, std::int64_t number, std::int64_t total) {
  const double done = static_cast<double>(number) / static_cast<double>(total);
  if (done < s.first_part) return {std::min<std::int64_t>(s.shape.context, 128), 1.0};
  return {done < 2.0 * s.first_part ? std::min<std::int64_t>(s.shape.context, 256) : s.shape.context, s.drills};
}

/// One step's plan: all examples in one micro-batch.
[[nodiscard]] step_plan plan_of_step(std::size_t examples) {
  step_plan plan;
  plan.micro_batches.emplace_back();
  for (std::size_t k = 0; k < examples; ++k)
    plan.micro_batches.front().examples.push_back(static_cast<std::int64_t>(k));
  return plan;
}

[[nodiscard]] in_memory_store examples_of_step(const retrieval::task_maker& make, const settings& s, const course& of,
                                               std::int64_t step) {
  in_memory_store store;
  for (const std::int64_t length : lengths_of_step(s, of.longest)) {
    const auto k = static_cast<std::uint64_t>(store.size());
    random_stream random(s.seed, random_purpose::synthesis, 0, (static_cast<std::uint64_t>(step) << 20) + k);
    if (static_cast<double>(k % 16) < 16.0 * of.drills) {
      store.add(make.drill(length, random));
      continue;
    }
    const auto size = retrieval::task_maker::size_of_example(length);
    store.add(make.example(make.make(size, random), static_cast<float>(s.text_weight)));
  }
  return store;
}

/// Matrices from a normal distribution, those that end a branch of a layer smaller; norms 1; biases 0, but those of the
/// first layer's queries and keys.
///
/// Looking up needs heads that look a fixed number of tokens back, and from random weights those take most of the
/// training to appear. Head h of the first layer begins as one: with k = a and q = a e^(-i m f) in the complex plane of
/// each frequency f, their product is a^2 cos((d - m) f) at distance d, which is largest at d = m = h + 1. Only the
/// higher frequencies tell near distances apart.
template <class Store>
void initialise(Store& weights, std::uint64_t seed) {
  const model_config& config = weights.config();
  std::vector<float> elements;
  std::uint64_t number = 0;
  for (const stored_tensor& tensor : stored_tensors(weights)) {
    random_stream random(seed, random_purpose::initialise, 0, number++);
    const bool of_first = tensor.unit == 1;
    const bool is_query = tensor.name.find("q_proj") != std::string::npos;
    const bool is_key = tensor.name.find("k_proj") != std::string::npos;
    elements.assign(static_cast<std::size_t>(tensor.count), tensor.name.ends_with(".bias") ? 0.0F : 1.0F);
    if (tensor.shape.size() == 2) {
      const bool ends_branch = tensor.kind == parameter::o_weight || tensor.kind == parameter::down_weight;
      double scale = tensor.kind == parameter::embedding ? 0.1 : std::pow(tensor.shape.back(), -0.5);
      if (ends_branch || (of_first && (is_query || is_key))) scale *= 0.25;
      for (float& element : elements) element = static_cast<float>(scale * random.normal());
    } else if (tensor.kind == parameter::qkv_bias && of_first && (is_query || is_key)) {
      constexpr double a = 4.0;
      const std::int64_t half = config.head_dim / 2;
      for (std::int64_t head = 0; head < config.heads; ++head)
        for (std::int64_t i = 0; i < half / 3; ++i) {
          const double f = std::pow(config.rope.base, -static_cast<double>(i) / static_cast<double>(half));
          const double angle = is_query ? -static_cast<double>(head + 1) * f : 0.0;
          const auto at = static_cast<std::size_t>(head * config.head_dim + i);
          elements[at] = static_cast<float>(a * std::cos(angle));
          elements[at + static_cast<std::size_t>(half)] = static_cast<float>(a * std::sin(angle));
        }
    }
    weights.set_weights(tensor, std::span<const float>{elements});
  }
}

void print_matches(const retrieval::matches& of, std::int64_t tokens) {
  std::printf("  at %lld tokens: facts %.3f (begun %.3f) quotations %.3f", static_cast<long long>(tokens),
              of.facts.share(), of.facts.begun_share(), of.quotations.share());
}

template <class Backend, class Attention>
int train(const settings& s) {
  retrieval::write_folder(s.folder / "start", s.shape);
  const tokenizer words = tokenizer::load(s.folder / "start");
  const retrieval::task_maker make(words, s.texts, false);
  const retrieval::task_maker held_out(words, s.texts, true);
  const std::vector<retrieval::task> near = retrieval::tasks_of(held_out, s.shape.context, s.measured, 7);
  const std::vector<retrieval::task> far = retrieval::tasks_of(held_out, 8 * s.shape.context, s.measured, 7);

  dist::single group;
  const model_config config = read_model_config(s.folder / "start");
  parameters::replicated<Backend> weights(
      config, std::make_unique<Backend>(std::is_same_v<typename Backend::space, host_memory> ? s.threads : 0),
      parameters::purpose::training, group);
  if (s.from.empty())
    initialise(weights, s.seed);
  else
    parameters::load_weights(weights, tensor_source(s.from));
  optim::adamw adamw{.learning_rate = s.rate, .beta2 = 0.98, .weight_decay = 0.01};
  adamw.rate = {.after = optim::decline::cosine, .warmup_ratio = 0.02, .floor = 0.02};
  lodestone::program program{llama<Backend, Attention>{config, weights},
                             loss::weighted_sft{.per = normalize::token},
                             batching::packed{.tokens = s.tokens, .packs_per_step = 1},
                             position::contiguous{},
                             activations::keep_all{},
                             adamw,
                             group};

  std::int64_t parameters = 0;
  for (const stored_tensor& tensor : stored_tensors(weights)) parameters += tensor.count;
  std::printf("%lld parameters\n", static_cast<long long>(parameters));
  in_memory_store data = examples_of_step(make, s, {s.shape.context, s.drills}, 1);
  const epoch_plan largest{{plan_of_step(static_cast<std::size_t>(data.size()))}};
  static_cast<void>(program.rehearse(data, largest));

  // Without --steps the time that has passed says how much of the run is done.
  const auto begin = clock_type::now();
  std::int64_t total = s.steps > 0 ? s.steps : 1'000'000;
  double measured_at = 0.0;
  double saved_at = 0.0;
  std::int64_t tokens = 0;
  data = examples_of_step(make, s, course_at(s, 1, total), 1);
  const auto save = [&] {
    parameters::save_folder(weights, s.folder / "model", s.folder / "start",
                            {.type = dtype::bf16, .existing = existing_folder::replace});
    saved_at = since(begin);
  };
  for (std::int64_t number = 1; number <= total; ++number) {
    std::future<in_memory_store> next = std::async(std::launch::async, [&make, &s, total, number] {
      return examples_of_step(make, s, course_at(s, number + 1, total), number + 1);
    });
    const step_plan plan = plan_of_step(static_cast<std::size_t>(data.size()));
    const auto result = program.step(data, plan, {.number = number, .total = total, .seed = s.seed});
    tokens += result.totals.tokens;
    data = next.get();
    const double now = since(begin);
    if (s.steps == 0)
      total = std::max(number, static_cast<std::int64_t>(static_cast<double>(number) * s.seconds / now));
    if (number == total || now - measured_at > s.measure_every) {
      std::printf("step %lld  %.0f s  %.0f tokens/s  loss %.4f  rate %.2e", static_cast<long long>(number), now,
                  static_cast<double>(tokens) / now, result.loss, result.learning_rate);
      print_matches(retrieval::measure(program.model(), held_out, near), s.shape.context);
      print_matches(retrieval::measure(program.model(), held_out, far), 8 * s.shape.context);
      std::printf("\n");
      std::fflush(stdout);
      measured_at = since(begin);
    }
    if (now - saved_at > s.save_every) save();
  }
  save();
  std::printf("%.0f seconds, %lld steps, %lld tokens; the model is in %s\n", since(begin),
              static_cast<long long>(total), static_cast<long long>(tokens), (s.folder / "model").c_str());
  return 0;
}

int run(const settings& s) {
#ifdef LODESTONE_WITH_CUDA
  if (!s.on_host && on_cuda::device_count() > 0) return train<cuda<bf16>, flash_or_reference>(s);
#endif
  return train<host<float>, blocked_attention>(s);
}

}  // namespace

int main(int count, char** arguments) {
  settings s;
  CLI::App app("Trains a small model that can look things up.");
  app.add_option("texts", s.texts, "folder of .txt files")->required();
  app.add_option("folder", s.folder, "where the model goes: FOLDER/model")->required();
  app.add_option("--seconds", s.seconds, "time for training; the number of steps follows from it")
      ->capture_default_str();
  app.add_option("--steps", s.steps, "a fixed number of steps: then the run repeats itself in every bit");
  app.add_option("--tokens", s.tokens, "of a step")->capture_default_str();
  app.add_option("--context", s.shape.context, "tokens of the longest example")->capture_default_str();
  app.add_option("--layers", s.shape.layers)->capture_default_str();
  app.add_option("--heads", s.shape.heads)->capture_default_str();
  app.add_option("--hidden", s.shape.hidden)->capture_default_str();
  app.add_option("--feed-forward", s.shape.feed_forward)->capture_default_str();
  app.add_option("--rope-base", s.shape.rope_base)->capture_default_str();
  app.add_option("--learning-rate", s.rate)->capture_default_str();
  app.add_option("--text-weight", s.text_weight, "weight of targets that are not answers")->capture_default_str();
  app.add_option("--drills", s.drills, "share of drills among the later examples")->capture_default_str();
  app.add_option("--first-part", s.first_part, "share of the steps with drills alone")->capture_default_str();
  app.add_option("--from", s.from, "a model folder of the same shape whose weights to begin with");
  app.add_option("--measured", s.measured, "contexts of each length to measure on")->capture_default_str();
  app.add_option("--measure-every", s.measure_every, "seconds")->capture_default_str();
  app.add_option("--save-every", s.save_every, "seconds")->capture_default_str();
  app.add_option("--seed", s.seed)->capture_default_str();
  app.add_option("--threads", s.threads, "of the CPU; 0: all cores")->capture_default_str();
  app.add_flag("--host", s.on_host, "on the CPU, also where there is a GPU");
  CLI11_PARSE(app, count, arguments);
  try {
    return run(s);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "retrieval_train: %s\n", failure.what());
    return 1;
  }
}
