// The model of the demonstration's second half on one backend: its two programs, and how it is measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/loss/logo.hpp>
#include <lodestone/position/logo.hpp>

#include "../retrieval/measure.hpp"
#include "demo_model.hpp"

namespace lodestone_cli {

/// Tokens of what is trained, and the window over which its positions are spread: eight times as many.
///@{
constexpr std::int64_t short_tokens = 512;
constexpr std::int64_t long_tokens = 8 * short_tokens;
///@}
constexpr std::int64_t groups_per_step = 8;
/// Tokens of a stream that holds one long prompt, or eight short ones, with three answers each.
constexpr std::int64_t stream_tokens = long_tokens + 256;

/// The model, whatever its arithmetic.
class retrieval_model {
 public:
  virtual ~retrieval_model() = default;
  /// Greedy answers to the questions of `tasks`.
  [[nodiscard]] virtual retrieval::matches answer(const retrieval::task_maker& make,
                                                  std::span<const retrieval::task> tasks) = 0;
  /// LOGO's loss of preference groups, rewards and margins, with the positions that the texts have.
  [[nodiscard]] virtual lodestone::evaluation compare(const lodestone::in_memory_store& groups) = 0;
  /// LongAlign: supervised, in packs, with the loss weighted; positions are spread over the window.
  virtual void align(const lodestone::in_memory_store& data, const lodestone::train::loop_options& options,
                     const std::filesystem::path& metrics, std::vector<double>& losses) = 0;
  /// LOGO: preference groups that share their prompts; positions are spread over the window.
  virtual void prefer(const lodestone::in_memory_store& groups, const lodestone::train::loop_options& options,
                      const std::filesystem::path& metrics, std::vector<double>& losses) = 0;
  /// As a model folder with float weights; other files come from `source`.
  virtual void save(const std::filesystem::path& folder, const std::filesystem::path& source) = 0;
};

/// Loads the model on the settings' backend, in their element type.
///@{
std::unique_ptr<retrieval_model> load_retrieval_model(const settings& s, const demo_model_job& job);
std::unique_ptr<retrieval_model> load_retrieval_model_on_host(const settings& s, const demo_model_job& job);
std::unique_ptr<retrieval_model> load_retrieval_model_on_device(const settings& s, const demo_model_job& job);
///@}

/// LOGO with the paper's numbers for Mistral-7B.
[[nodiscard]] inline lodestone::loss::logo make_demo_preference() {
  return {.beta = 2.5, .gamma = 0.25, .sft_weight = 0.1};
}

/// LOGO's positions over the long window. The texts bring their chunks, which cut no fact.
[[nodiscard]] inline lodestone::position::logo_mix make_demo_positions() { return {.window = long_tokens}; }

[[nodiscard]] inline lodestone::optim::adamw make_retrieval_optimizer(double learning_rate) {
  lodestone::optim::adamw adamw{.learning_rate = learning_rate, .beta2 = 0.98};
  adamw.rate = {.after = lodestone::optim::decline::cosine, .warmup_ratio = 0.05, .floor = 0.02};
  return adamw;
}

/// The model in one arithmetic.
template <class Arithmetic>
class retrieval_model_in final : public retrieval_model {
 public:
  retrieval_model_in(const settings& s, const demo_model_job& job)
      : weights_(lodestone::parameters::load<backend>(job.folder, group_,
                                                      {job.use, job.config, static_cast<int>(s.threads)})) {}

  [[nodiscard]] retrieval::matches answer(const retrieval::task_maker& make,
                                          std::span<const retrieval::task> tasks) override {
    model own{weights_.config(), weights_};
    return retrieval::measure(own, make, tasks);
  }

  [[nodiscard]] lodestone::evaluation compare(const lodestone::in_memory_store& groups) override {
    return make_preference_program(lodestone::position::contiguous{}).evaluate(groups);
  }

  void align(const lodestone::in_memory_store& data, const lodestone::train::loop_options& options,
             const std::filesystem::path& metrics, std::vector<double>& losses) override {
    lodestone::program program{model{weights_.config(), weights_},
                               lodestone::loss::weighted_sft{},
                               make_demo_packing(),
                               make_demo_positions(),
                               lodestone::activations::keep_all{},
                               make_retrieval_optimizer(1e-3),
                               group_};
    weights_.zero_moments();
    train_demo(program, data, options, metrics, losses);
  }

  void prefer(const lodestone::in_memory_store& groups, const lodestone::train::loop_options& options,
              const std::filesystem::path& metrics, std::vector<double>& losses) override {
    auto program = make_preference_program(make_demo_positions());
    weights_.zero_moments();
    train_demo(program, groups, options, metrics, losses);
  }

  void save(const std::filesystem::path& folder, const std::filesystem::path& source) override {
    lodestone::parameters::save_folder(weights_, folder, source, {.type = lodestone::dtype::f32});
  }

 private:
  using backend = typename Arithmetic::backend;
  using model = lodestone::llama<backend, typename Arithmetic::attention>;

  template <class Position>
  auto make_preference_program(const Position& position) {
    return lodestone::program{
        model{weights_.config(), weights_},
        make_demo_preference(),
        lodestone::batching::shared_prefix{.tokens = stream_tokens, .groups_per_step = groups_per_step},
        position,
        lodestone::activations::keep_all{},
        make_retrieval_optimizer(3e-4),
        group_};
  }

  lodestone::dist::single group_;
  lodestone::parameters::replicated<backend> weights_;
};

}  // namespace lodestone_cli
