// AdamW: its settings, which tensors decay, and the scalars of one step; the arithmetic on tensors is the backend's.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lodestone/core/error.hpp>
#include <lodestone/optim/concept.hpp>
#include <lodestone/optim/schedule.hpp>

namespace lodestone::optim {

/// Everything that one AdamW update of one tensor needs besides the tensors, all in double.
///
/// With g = gradient_scale * gradient (clipping and accumulation in one factor), and m, v the moments:
///     w <- w - learning_rate * weight_decay * w
///     m <- beta1 m + (1 - beta1) g                v <- beta2 v + (1 - beta2) g^2
///     w <- w - learning_rate * (m / bias_correction1) / (sqrt(v / bias_correction2) + epsilon)
/// which is torch.optim.AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2).
struct adamw_step {
  double learning_rate = 0.0;     ///< of this step, by the schedule
  double beta1 = 0.9;             ///< decay of the first moment m
  double beta2 = 0.95;            ///< decay of the second moment v
  double epsilon = 1e-8;          ///< added to the root of the corrected v
  double weight_decay = 0.0;      ///< 0 for a tensor that does not decay
  double bias_correction1 = 1.0;  ///< 1 - beta1^t, t = 1 in the first step
  double bias_correction2 = 1.0;  ///< 1 - beta2^t
  double gradient_scale = 1.0;    ///< factor on the gradient, before the moments
};

/// Which tensors weight decay pulls towards zero: choices for adamw::decays.
namespace decay {

/// The token embedding, which the output head may share.
[[nodiscard]] inline bool is_embedding(std::string_view name) { return name.find("embed") != std::string_view::npos; }

/// Every matrix; norms and biases, which are vectors, stay free. The usual choice.
[[nodiscard]] inline bool matrices(const tensor_facts& tensor) { return tensor.rank >= 2; }

/// Every matrix but the embedding: rows of rare tokens would shrink without ever being trained.
[[nodiscard]] inline bool matrices_but_embeddings(const tensor_facts& tensor) {
  return tensor.rank >= 2 && !is_embedding(tensor.name);
}

/// All tensors, as torch.optim.AdamW does with one parameter group.
[[nodiscard]] inline bool everything(const tensor_facts&) { return true; }

}  // namespace decay

/// AdamW with decoupled weight decay, a learning-rate schedule and global-norm clipping.
///
/// The defaults are LongAlign's: betas 0.9 and 0.95, epsilon 1e-8, no decay, clipping at 1.
struct adamw {
  double learning_rate = 2e-5;  ///< the peak, not negative
  double beta1 = 0.9;           ///< in [0, 1)
  double beta2 = 0.95;          ///< in [0, 1)
  double epsilon = 1e-8;        ///< positive
  double weight_decay = 0.0;    ///< not negative; for the tensors that `decays` names
  double clip = 1.0;            ///< limit of the global gradient norm; 0: none
  /// The factor on the learning rate: warm-up over 3% of the steps, then a cosine towards 0.
  optim::schedule rate{.after = decline::cosine, .warmup_ratio = 0.03};
  bool (*decays)(const tensor_facts&) = decay::matrices;  ///< the no-decay group is everything else

  static constexpr int moments = 2;  ///< state tensors for each weight tensor: m and v

  /// Throws config_error naming the setting that is out of range.
  void check() const {
    if (!(learning_rate >= 0.0)) throw config_error("must not be negative", "optim.learning_rate");
    if (!(beta1 >= 0.0 && beta1 < 1.0)) throw config_error("must lie in [0, 1)", "optim.beta1");
    if (!(beta2 >= 0.0 && beta2 < 1.0)) throw config_error("must lie in [0, 1)", "optim.beta2");
    if (!(epsilon > 0.0)) throw config_error("must be positive", "optim.epsilon");
    if (!(weight_decay >= 0.0)) throw config_error("must not be negative", "optim.weight_decay");
    if (!(clip >= 0.0)) throw config_error("must be 0 (off) or positive", "optim.clip");
  }

  /// Learning rate of step `number` in [1, total].
  [[nodiscard]] double rate_at(std::int64_t number, std::int64_t total) const {
    return learning_rate * rate.factor(number, total);
  }

  /// The scalars of step `number` in [1, total] for one tensor.
  [[nodiscard]] adamw_step step(std::int64_t number, std::int64_t total, const tensor_facts& tensor,
                                double gradient_scale = 1.0) const {
    check();
    const auto t = static_cast<double>(number);
    return {.learning_rate = rate_at(number, total),
            .beta1 = beta1,
            .beta2 = beta2,
            .epsilon = epsilon,
            .weight_decay = decays(tensor) ? weight_decay : 0.0,
            .bias_correction1 = 1.0 - std::pow(beta1, t),
            .bias_correction2 = 1.0 - std::pow(beta2, t),
            .gradient_scale = gradient_scale};
  }

  /// One update on the backend: weights, state[0] = m, state[1] = v and gradient are flat views of one length.
  template <class Backend, class Weights, class State, class Gradient>
  void update(Backend& backend, Weights weights, const State& state, Gradient gradient,
              const adamw_step& scalars) const {
    backend.adamw(weights, state[0], state[1], gradient, scalars);
  }
};

static_assert(optimiser<adamw>);

}  // namespace lodestone::optim
