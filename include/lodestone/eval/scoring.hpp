// Log-probabilities of given texts: what perplexities and choices are made of, for any model that scores a batch.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <lodestone/batching/prefix_tree.hpp>
#include <lodestone/batching/token_batch.hpp>
#include <lodestone/model/config.hpp>

namespace lodestone::eval {

/// A model that knows the probability of text.
///
/// Requires
///  1. `log_probs(batch)`: log p(label) in nats of every scored token, in the order of batch.scored; keeps nothing.
///  2. `config()`: its model_config; vocabulary, windows of layers and positions are read.
/// Laws: log p of a token depends on the tokens that its row sees and on nothing else.
/// Not required: thread safety. llama (model/llama.hpp) is one, on every backend.
template <class M>
concept scoring_model = requires(M& model, const token_batch& batch) {
  { model.log_probs(batch) } -> std::convertible_to<std::vector<double>>;
  { model.config() } -> std::convertible_to<const model_config&>;
};

/// Any scoring model, chosen at run time. It does not own what it calls: that must outlive it.
class any_scoring_model {
 public:
  /// Stands for `model`; implicit, so that functions of this room take the model itself.
  template <class Model>
  requires(!std::same_as<Model, any_scoring_model> && scoring_model<Model>)
      any_scoring_model(Model& model)  // NOLINT(google-explicit-constructor)
      : log_probs_([&model](const token_batch& batch) { return model.log_probs(batch); }), config_(&model.config()) {}

  /// What the model does.
  ///@{
  [[nodiscard]] std::vector<double> log_probs(const token_batch& batch) const { return log_probs_(batch); }
  [[nodiscard]] const model_config& config() const { return *config_; }
  ///@}

 private:
  std::function<std::vector<double>(const token_batch&)> log_probs_;
  const model_config* config_;
};
static_assert(scoring_model<any_scoring_model>);

/// Sequences that are asked for together.
using scored_group = std::vector<batching::scored_tail>;

/// Hears group number i: the log-probabilities of its sequences, each from its first scored token on.
using group_listener = std::function<void(std::size_t, const std::vector<std::vector<double>>&)>;

/// Scores groups in order, as many in one batch as `tokens` rows hold and at least one, and calls each(i, ...) once for
/// every group, in order. Sequences of a batch share their common beginnings (batching/prefix_tree.hpp) unless a layer
/// of the model has a sliding window. `next(i, group)` fills group number i, whose tokens must live until the next
/// call, or returns false: there is none. Throws config_error for `tokens` below 1 and what the model throws.
void score_groups(const any_scoring_model& model, const std::function<bool(std::size_t, scored_group&)>& next,
                  std::int64_t tokens, const group_listener& each);

/// One sequence's log p(tokens[i] | tokens[0 .. i)) for i in [first, n), in a batch of its own.
[[nodiscard]] std::vector<double> score_tail(const any_scoring_model& model, std::span<const std::int32_t> tokens,
                                             std::int64_t first = 1);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/scoring.ipp>
#endif
