// Parts of a training program that are chosen at run time: small types that model the library's concepts, so that model
// and backend are compiled once and not for every product of options.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/activations/automatic.hpp>
#include <lodestone/activations/table.hpp>
#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/parity.hpp>
#include <lodestone/batching/separate.hpp>
#include <lodestone/batching/shared_prefix.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/checkpoint/adapter.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/loss/chosen.hpp>
#include <lodestone/loss/cpo.hpp>
#include <lodestone/loss/dpo.hpp>
#include <lodestone/loss/logo.hpp>
#include <lodestone/loss/orpo.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/logo.hpp>
#include <lodestone/position/original.hpp>
#include <lodestone/position/pose.hpp>
#include <lodestone/position/randpos.hpp>

#include "options.hpp"

namespace lodestone_cli {

/// One of the library's batching strategies.
class any_batching {
 public:
  template <lodestone::batching_strategy B>
  any_batching(B strategy) : strategy_(strategy) {}  // NOLINT(google-explicit-constructor): it stands for the strategy

  [[nodiscard]] lodestone::epoch_plan plan(std::span<const lodestone::example_shape> shapes, std::uint64_t seed,
                                           std::uint64_t epoch) const {
    return std::visit(
        [&]<class B>(const B& strategy) {
          if constexpr (lodestone::plans_shapes<B>) {
            return strategy.plan(shapes, seed, epoch);
          } else {
            std::vector<std::int64_t> lengths;
            for (const lodestone::example_shape& shape : shapes) lengths.push_back(shape.length);
            return strategy.plan(std::span<const std::int64_t>{lengths}, seed, epoch);
          }
        },
        strategy_);
  }

 private:
  std::variant<lodestone::batching::naive, lodestone::batching::sorted, lodestone::batching::packed,
               lodestone::batching::original_packed, lodestone::batching::shared_prefix,
               lodestone::batching::separate>
      strategy_;
};
static_assert(lodestone::batching_strategy<any_batching>);

/// One of the library's losses.
class any_loss {
 public:
  template <lodestone::loss_function L>
  any_loss(L loss) : loss_(loss) {}  // NOLINT(google-explicit-constructor)

  static constexpr bool is_always_linear = false;
  [[nodiscard]] bool is_linear() const {
    return std::visit([](const auto& loss) { return loss.is_linear(); }, loss_);
  }
  [[nodiscard]] double coefficients(const lodestone::step_totals& totals,
                                    std::span<const lodestone::sequence> sequences,
                                    std::span<const lodestone::scored_token> scored,
                                    std::span<const double> log_probs, std::span<double> c) const {
    return std::visit([&](const auto& loss) { return loss.coefficients(totals, sequences, scored, log_probs, c); },
                      loss_);
  }
  /// None for a loss that compares nothing.
  [[nodiscard]] std::vector<lodestone::preference_outcome> outcomes(
      std::span<const lodestone::sequence> sequences, std::span<const lodestone::scored_token> scored,
      std::span<const double> log_probs) const {
    return std::visit(
        [&]<class L>(const L& loss) -> std::vector<lodestone::preference_outcome> {
          if constexpr (lodestone::compares_answers<L>) return loss.outcomes(sequences, scored, log_probs);
          return {};
        },
        loss_);
  }

 private:
  std::variant<lodestone::loss::weighted_sft, lodestone::loss::logo, lodestone::loss::simpo, lodestone::loss::cpo,
               lodestone::loss::orpo, lodestone::loss::dpo, lodestone::loss::chosen>
      loss_;
};
static_assert(lodestone::loss_function<any_loss> && lodestone::compares_answers<any_loss>);

/// One of the library's position policies.
class any_position {
 public:
  template <lodestone::position_policy P>
  any_position(P policy) : policy_(policy) {}  // NOLINT(google-explicit-constructor)

  void fill(const lodestone::example_view& example, std::uint64_t seed, std::uint64_t epoch,
            std::span<std::int32_t> out) const {
    std::visit([&](const auto& policy) { policy.fill(example, seed, epoch, out); }, policy_);
  }

 private:
  std::variant<lodestone::position::contiguous, lodestone::position::logo_mix, lodestone::position::logo_continuous,
               lodestone::position::logo_sparse, lodestone::position::pose, lodestone::position::randpos,
               lodestone::position::original_notebook, lodestone::position::original_sparse,
               lodestone::position::original_continue>
      policy_;
};
static_assert(lodestone::position_policy<any_position>);

/// One of the library's activation policies.
class any_activations {
 public:
  template <lodestone::activations::activation_policy A>
  any_activations(A policy) : policy_(policy) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] lodestone::activation_table table(std::int64_t layers) const {
    return std::visit([&](const auto& policy) { return policy.table(layers); }, policy_);
  }
  /// That of `automatic`; none for a table that is fixed.
  [[nodiscard]] std::optional<lodestone::activations::memory_budget> budget() const {
    const auto* const fits = std::get_if<lodestone::activations::automatic>(&policy_);
    return fits == nullptr ? std::nullopt : fits->budget();
  }

 private:
  std::variant<lodestone::activations::automatic, lodestone::activations::keep_all,
               lodestone::activations::keep_attention, lodestone::activations::checkpoint,
               lodestone::activations::offload_inputs, lodestone::activations::offload>
      policy_;
};
static_assert(lodestone::activations::fits_memory<any_activations>);

namespace detail {

/// The value that stands beside `name`; the names were checked when the options were read.
template <class Value, std::size_t N>
[[nodiscard]] Value pick(const std::string& name, const std::pair<const char*, Value> (&choices)[N], const char* key) {
  for (const auto& [known, value] : choices)
    if (name == known) return value;
  throw lodestone::config_error("unknown value \"" + name + "\"", key);
}

}  // namespace detail

/// Tokens that a micro-batch may hold by the settings; 0: no bound.
[[nodiscard]] inline std::int64_t capacity(const settings& s, const std::string& strategy) {
  const bool has_packs = strategy == "packed" || strategy == "original" || strategy == "shared-prefix";
  return has_packs ? s.tokens : strategy == "sorted" ? s.group_tokens : 0;
}

/// `strategy` with the settings' numbers. The content of a step must be given in a unit that the strategy counts in.
[[nodiscard]] inline any_batching make_batching(const settings& s, const std::string& strategy) {
  using namespace lodestone::batching;
  if (strategy == "naive")
    return naive{.sequences_per_step = s.sequences_per_step, .tokens_per_step = s.tokens_per_step};
  if (strategy == "sorted")
    return sorted{.sequences_per_step = s.sequences_per_step,
                  .tokens_per_step = s.tokens_per_step,
                  .group = s.group,
                  .tokens = s.group_tokens};
  if (strategy == "original") return original_packed{.tokens = s.tokens, .packs_per_step = s.packs_per_step};
  if (strategy == "separate")
    return separate{.groups_per_step = s.groups_per_step, .tokens_per_step = s.tokens_per_step};
  const auto algorithm = detail::pick<packing>(s.packing,
                                               {{"next-fit", packing::next_fit},
                                                {"first-fit-decreasing", packing::first_fit_decreasing},
                                                {"best-fit-decreasing", packing::best_fit_decreasing}},
                                               "packing");
  if (strategy == "shared-prefix")
    return shared_prefix{.tokens = s.tokens,
                         .streams_per_step = s.packs_per_step,
                         .groups_per_step = s.groups_per_step,
                         .tokens_per_step = s.tokens_per_step,
                         .algorithm = algorithm};
  packed strategy_of_packs;
  strategy_of_packs.tokens = s.tokens;
  strategy_of_packs.algorithm = algorithm;
  strategy_of_packs.window = s.packing_window;
  strategy_of_packs.packs_per_step = s.packs_per_step;
  strategy_of_packs.sequences_per_step = s.sequences_per_step;
  strategy_of_packs.tokens_per_step = s.tokens_per_step;
  return strategy_of_packs;
}

/// The policy of the settings; ids that run on through a pack are contiguous ones that assemble() moves.
[[nodiscard]] inline any_position make_position(const settings& s) {
  namespace position = lodestone::position;
  const std::int64_t window = s.position_window;
  const position::layout_rule rule{.chunk = s.position_chunk, .question = s.position_question};
  const auto tail = s.position_tail == "far-end" ? position::tail_place::far_end : position::tail_place::adjacent;
  return detail::pick<any_position>(
      s.position,
      {{"contiguous", position::contiguous{}},
       {"absolute", position::contiguous{}},
       {"logo-continuous", position::logo_continuous{.window = window, .tail = tail, .rule = rule}},
       {"logo-sparse", position::logo_sparse{.window = window, .tail = tail, .rule = rule}},
       {"logo-mix",
        position::logo_mix{.window = window, .continuous = s.position_continuous, .tail = tail, .rule = rule}},
       {"pose", position::pose{.window = window}},
       {"randpos", position::randpos{.window = window}},
       {"original-notebook", position::original_notebook{.window = window, .rule = rule}},
       {"original-sparse", position::original_sparse{.window = window, .rule = rule}},
       {"original-continue", position::original_continue{.window = window, .rule = rule}}},
      "position");
}

/// Throws what the policy throws for an example that it cannot place, before anything is trained. Whether an example
/// fits depends on its length and its parts alone: one draw shows it.
template <lodestone::example_store Store>
void check_positions(const settings& s, const Store& examples) {
  if (!is_synthetic(s.position)) return;
  const any_position position = make_position(s);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < examples.size(); ++i) {
    const std::int64_t length = examples.length(i);
    // Of the others only length and window decide, and a draw may take time as the window is long.
    if (!s.position.starts_with("original") && length <= s.position_window) continue;
    ids.resize(static_cast<std::size_t>(length));
    position.fill(examples[i], static_cast<std::uint64_t>(s.seed), 0, ids);
  }
}

/// Position ids that a run reaches: the longest example, or the window that synthetic ids are spread over.
[[nodiscard]] inline std::int64_t positions_reached(const settings& s, std::int64_t longest) {
  return is_synthetic(s.position) ? std::max(longest, s.position_window) : longest;
}

/// The element type that a written model has: what the settings say, or that of the model folder.
[[nodiscard]] lodestone::dtype export_type(const settings& s);

/// The policy of that name; `automatic` within the settings' budget.
[[nodiscard]] inline any_activations make_activations(const settings& s, const std::string& name) {
  namespace activations = lodestone::activations;
  if (name == "automatic")
    return activations::automatic{{.device_bytes = static_cast<std::int64_t>(s.memory_budget * 1024 * 1024 * 1024)}};
  return detail::pick<any_activations>(name,
                                       {{"keep-all", activations::keep_all{}},
                                        {"keep-attention", activations::keep_attention{}},
                                        {"checkpoint", activations::checkpoint{}},
                                        {"offload-inputs", activations::offload_inputs{}},
                                        {"offload", activations::offload{}}},
                                       "activations");
}
[[nodiscard]] inline any_activations make_activations(const settings& s) { return make_activations(s, s.activations); }

/// What is trained: everything, or adapters. Those of a folder keep their own settings.
[[nodiscard]] inline lodestone::trained_parts make_trained(const settings& s, const lodestone::model_config& config) {
  if (!s.adapter.empty()) return lodestone::adapter_source(s.adapter, config).parts();
  if (s.lora_rank == 0) return {};
  lodestone::adapter_config adapters{.rank = s.lora_rank,
                                     .alpha = s.lora_alpha,
                                     .is_rank_stabilised = s.lora_stabilised,
                                     .targets = s.lora_targets};
  lodestone::check_targets(config, adapters);
  return lodestone::trained_parts::only(std::move(adapters), s.lora_embeddings, s.lora_norms);
}

/// Fills a store from the model folder, and its adapters from theirs or as new ones.
template <class Store>
void load_model(Store& weights, const settings& s) {
  lodestone::parameters::load_weights(weights, lodestone::tensor_source(s.model));
  if (s.adapter.empty())
    lodestone::initialise_adapters(weights, static_cast<std::uint64_t>(s.seed));
  else
    lodestone::parameters::load_adapter(weights, lodestone::adapter_source(s.adapter, weights.config()));
}

/// The preference loss of the settings, each with its own defaults.
[[nodiscard]] any_loss make_preference_loss(const settings& s);

/// The loss of the settings' command.
[[nodiscard]] inline any_loss make_loss(const settings& s) {
  using lodestone::normalize;
  if (s.command != "sft") return make_preference_loss(s);
  return lodestone::loss::weighted_sft{.per = detail::pick<normalize>(s.normaliser,
                                         {{"sequence", normalize::sequence},
                                          {"token", normalize::token},
                                          {"pack", normalize::pack},
                                          {"constant", normalize::constant},
                                          {"user", normalize::user}},
                                         "normaliser"),
          .divisor = s.divisor};
}

[[nodiscard]] inline lodestone::optim::adamw make_optimizer(const settings& s) {
  namespace optim = lodestone::optim;
  using decays = bool (*)(const lodestone::tensor_facts&);
  optim::adamw adamw{.learning_rate = s.learning_rate,
                     .beta1 = s.beta1,
                     .beta2 = s.beta2,
                     .epsilon = s.epsilon,
                     .weight_decay = s.weight_decay,
                     .clip = s.clip};
  adamw.rate = {.after = detail::pick<optim::decline>(s.schedule,
                                                      {{"constant", optim::decline::constant},
                                                       {"linear", optim::decline::linear},
                                                       {"cosine", optim::decline::cosine}},
                                                      "schedule"),
                .warmup_ratio = s.warmup_ratio,
                .warmup_steps = s.warmup_steps,
                .floor = s.learning_rate_floor};
  adamw.decays = detail::pick<decays>(s.decay,
                                      {{"matrices", &optim::decay::matrices},
                                       {"matrices-but-embeddings", &optim::decay::matrices_but_embeddings},
                                       {"everything", &optim::decay::everything}},
                                      "decay");
  adamw.check();
  return adamw;
}

[[nodiscard]] inline lodestone::rope_override make_rope_override(const settings& s) {
  using lodestone::rope_scaling_kind;
  lodestone::rope_override change;
  change.base = s.rope_base;
  if (s.rope_scaling != "keep")
    change.scaling = detail::pick<rope_scaling_kind>(s.rope_scaling,
                                                     {{"none", rope_scaling_kind::none},
                                                      {"linear", rope_scaling_kind::linear},
                                                      {"dynamic", rope_scaling_kind::dynamic_ntk},
                                                      {"yarn", rope_scaling_kind::yarn},
                                                      {"llama3", rope_scaling_kind::llama3}},
                                                     "rope_scaling");
  change.factor = s.rope_factor;
  change.original_max_positions = s.rope_original_max_positions;
  change.max_positions = s.max_positions;
  return change;
}

/// The settings' model, with what they change of its rotary positions.
[[nodiscard]] inline lodestone::model_config read_config(const settings& s) {
  return lodestone::with_rope_override(lodestone::read_model_config(s.model), make_rope_override(s));
}

/// The settings' model and adapter for a command that does not train. `config` must outlive the store.
template <class Arithmetic>
[[nodiscard]] lodestone::parameters::replicated<typename Arithmetic::backend> load_weights(
    const settings& s, const lodestone::model_config& config) {
  lodestone::parameters::load_options options;
  options.use = lodestone::parameters::purpose::inference;
  options.config = config;
  options.threads = s.threads > 0 ? static_cast<int>(s.threads) : lodestone::thread_pool::default_threads();
  if (!s.adapter.empty()) options.trained = lodestone::adapter_source(s.adapter, config).parts();
  auto weights = lodestone::parameters::load<typename Arithmetic::backend>(s.model, {}, options);
  if (!s.adapter.empty()) lodestone::parameters::load_adapter(weights, lodestone::adapter_source(s.adapter, config));
  return weights;
}

[[nodiscard]] inline lodestone::batching::assemble_options make_assemble_options(const settings& s) {
  lodestone::batching::assemble_options options;
  options.absolute_positions = s.position == "absolute";
  return options;
}

}  // namespace lodestone_cli
