// The model of the demonstration on one backend: what it is trained with, and how it is measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorders/jsonl.hpp>
#include <lodestone/train/recorders/progress.hpp>

#include "arithmetic.hpp"

namespace lodestone_cli {

/// The model, whatever its arithmetic.
class demo_model {
 public:
  virtual ~demo_model() = default;
  /// Where it is computed, for headlines: "the CPU", or the name of a GPU.
  [[nodiscard]] virtual std::string place() = 0;
  [[nodiscard]] virtual lodestone::evaluation evaluate(const lodestone::in_memory_store& data,
                                                       std::int64_t bucket = 0) = 0;
  /// A run of its own over `data`; steps go to the file `metrics` and their losses to `losses`.
  virtual void train(const lodestone::in_memory_store& data, lodestone::normalize per,
                     const lodestone::train::loop_options& options, const std::filesystem::path& metrics,
                     std::vector<double>& losses) = 0;
  /// As a model folder with float weights; other files come from `source`.
  virtual void save(const std::filesystem::path& folder, const std::filesystem::path& source) = 0;
};

/// What the demonstration trains.
struct demo_model_job {
  std::filesystem::path folder;
  lodestone::model_config config;
  lodestone::parameters::purpose use;
};

/// Loads the model on the settings' backend, in their element type.
std::unique_ptr<demo_model> load_demo_model(const settings& s, const demo_model_job& job);
std::unique_ptr<demo_model> load_demo_model_on_host(const settings& s, const demo_model_job& job);
std::unique_ptr<demo_model> load_demo_model_on_device(const settings& s, const demo_model_job& job);

constexpr std::int64_t demo_pack_tokens = 4096;

[[nodiscard]] inline lodestone::optim::adamw make_demo_optimizer() {
  lodestone::optim::adamw adamw{.learning_rate = 3e-3, .beta2 = 0.99};
  adamw.rate = lodestone::optim::cosine(0.1);
  return adamw;
}

[[nodiscard]] inline lodestone::batching::packed make_demo_packing() {
  lodestone::batching::packed packing;
  packing.tokens = demo_pack_tokens;
  packing.packs_per_step = 1;
  return packing;
}

/// A run of `program` over `data`; steps go to the file `metrics` and their losses to `losses`.
template <class Program>
void train_demo(Program& program, const lodestone::in_memory_store& data,
                const lodestone::train::loop_options& options, const std::filesystem::path& metrics,
                std::vector<double>& losses) {
  struct curve {
    std::vector<double>* losses;
    void record(const lodestone::step_record& event) { losses->push_back(event.loss); }
  };
  lodestone::recorders heard{lodestone::progress_recorder{}, lodestone::jsonl_recorder{metrics}, curve{&losses}};
  lodestone::train::no_saver nothing_to_save;
  const lodestone::in_memory_store none;
  lodestone::train::run(program, data, none, options, heard, nothing_to_save, [] { return false; });
}

/// The model in one arithmetic.
template <class Arithmetic>
class demo_model_in final : public demo_model {
 public:
  demo_model_in(const settings& s, const demo_model_job& job)
      : weights_(lodestone::parameters::load<backend>(
            job.folder, group_, {job.use, job.config, static_cast<int>(s.threads)})) {}

  [[nodiscard]] std::string place() override {
    if constexpr (requires(backend& b) { b.facts(); })
      return weights_.backend().facts().name;
    else
      return "the CPU";
  }

  [[nodiscard]] lodestone::evaluation evaluate(const lodestone::in_memory_store& data, std::int64_t bucket) override {
    return make_program(lodestone::normalize::token).evaluate(data, bucket);
  }

  void train(const lodestone::in_memory_store& data, lodestone::normalize per,
             const lodestone::train::loop_options& options, const std::filesystem::path& metrics,
             std::vector<double>& losses) override {
    auto program = make_program(per);
    weights_.zero_moments();  // each stage is a run of its own
    train_demo(program, data, options, metrics, losses);
  }

  void save(const std::filesystem::path& folder, const std::filesystem::path& source) override {
    lodestone::parameters::save_folder(weights_, folder, source, {.type = lodestone::dtype::f32});
  }

 private:
  using backend = typename Arithmetic::backend;
  using model = lodestone::llama<backend, typename Arithmetic::attention>;

  auto make_program(lodestone::normalize per) {
    return lodestone::program{model{weights_.config(), weights_},
                              lodestone::loss::weighted_sft{.per = per},
                              make_demo_packing(),
                              lodestone::position::contiguous{},
                              lodestone::activations::keep_attention{},
                              make_demo_optimizer(),
                              group_};
  }

  lodestone::dist::single group_;
  lodestone::parameters::replicated<backend> weights_;
};

}  // namespace lodestone_cli
