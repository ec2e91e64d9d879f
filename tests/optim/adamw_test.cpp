#include <lodestone/optim/adamw.hpp>
#include <lodestone/optim/clip.hpp>
#include <lodestone/optim/concept.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace lodestone;

namespace {

// A second optimiser, written as a user would: no state, no backend operation beyond a loop.
struct sign_descent {
  static constexpr int moments = 0;
  double clip = 0.0;
  double learning_rate = 0.1;

  double step(std::int64_t, std::int64_t, const tensor_facts&, double) const { return learning_rate; }
  template <class Backend, class Weights, class State, class Gradient>
  void update(Backend&, Weights weights, const State&, Gradient gradient, double rate) const {
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= rate * (gradient[i] < 0.0 ? -1.0 : 1.0);
  }
};
struct without_step {
  static constexpr int moments = 0;
  double clip = 0.0;
};
static_assert(optimiser<sign_descent>);
static_assert(!optimiser<without_step>);

// The equations of adamw_step, one element after the other.
struct loop_backend {
  void adamw(std::span<double> w, std::span<double> m, std::span<double> v, std::span<const double> gradient,
             const optim::adamw_step& s) {
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double g = s.gradient_scale * gradient[i];
      w[i] -= s.learning_rate * s.weight_decay * w[i];
      m[i] = s.beta1 * m[i] + (1.0 - s.beta1) * g;
      v[i] = s.beta2 * v[i] + (1.0 - s.beta2) * g * g;
      w[i] -= s.learning_rate * (m[i] / s.bias_correction1) / (std::sqrt(v[i] / s.bias_correction2) + s.epsilon);
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(optim_adamw)

// torch.optim.AdamW in double: w = (0.5, -1.25), gradients (0.1, -0.2), (0.3, 0.05), (-0.15, 0.4), lr 0.01, betas
// (0.9, 0.95), eps 1e-8, weight_decay 0.1. Values printed by torch 2.11.
BOOST_AUTO_TEST_CASE(scalars_and_equations_equal_torch) {
  const optim::adamw settings{.learning_rate = 0.01, .weight_decay = 0.1, .rate = optim::constant()};
  std::vector<double> w{0.5, -1.25}, m(2, 0.0), v(2, 0.0);
  const std::array<std::array<double, 2>, 3> gradients{{{0.1, -0.2}, {0.3, 0.05}, {-0.15, 0.4}}};
  const std::array<std::array<double, 2>, 3> expected{{{0.4895000009999999, -1.2387500005},
                                                         {0.4799235800039695, -1.2327635915319066},
                                                         {0.47578180898398875, -1.2354897508902412}}};
  loop_backend backend;
  const tensor_facts matrix{"model.layers.0.mlp.up_proj.weight", 2};
  for (std::size_t t = 0; t < 3; ++t) {
    const auto scalars = settings.step(static_cast<std::int64_t>(t) + 1, 3, matrix);
    settings.update(backend, std::span(w), std::array{std::span(m), std::span(v)}, std::span(gradients[t]), scalars);
    for (std::size_t i = 0; i < 2; ++i) BOOST_TEST(std::abs(w[i] - expected[t][i]) < 1e-15);
  }
}

BOOST_AUTO_TEST_CASE(bias_corrections_are_exact_over_many_steps) {
  const optim::adamw settings{.rate = optim::constant()};
  const auto first = settings.step(1, 1'000'000, {"w", 2});
  BOOST_TEST(std::abs(first.bias_correction1 - 0.1) < 1e-15);
  BOOST_TEST(std::abs(first.bias_correction2 - 0.05) < 1e-15);
  const auto late = settings.step(1'000'000, 1'000'000, {"w", 2});
  BOOST_TEST(late.bias_correction1 == 1.0);
  BOOST_TEST(late.bias_correction2 == 1.0);
}

BOOST_AUTO_TEST_CASE(only_the_chosen_tensors_decay) {
  const tensor_facts norm{"model.layers.3.input_layernorm.weight", 1};
  const tensor_facts bias{"model.layers.3.self_attn.q_proj.bias", 1};
  const tensor_facts matrix{"model.layers.3.self_attn.q_proj.weight", 2};
  const tensor_facts embedding{"model.embed_tokens.weight", 2};
  optim::adamw settings{.weight_decay = 0.1};
  const auto decay = [&](const tensor_facts& tensor) { return settings.step(1, 10, tensor).weight_decay; };
  BOOST_TEST(decay(norm) == 0.0);
  BOOST_TEST(decay(bias) == 0.0);
  BOOST_TEST(decay(matrix) == 0.1);
  BOOST_TEST(decay(embedding) == 0.1);
  settings.decays = optim::decay::matrices_but_embeddings;
  BOOST_TEST(decay(embedding) == 0.0);
  BOOST_TEST(decay(matrix) == 0.1);
  settings.decays = optim::decay::everything;
  BOOST_TEST(decay(norm) == 0.1);
  settings.decays = [](const tensor_facts& tensor) { return tensor.name == "lm_head.weight"; };
  BOOST_TEST(decay(matrix) == 0.0);
}

BOOST_AUTO_TEST_CASE(the_schedule_reaches_the_step) {
  const optim::adamw settings{.learning_rate = 2e-5, .rate = optim::cosine(0.03)};
  BOOST_TEST(std::abs(settings.step(1, 1956, {"w", 2}).learning_rate - 3.38983e-07) < 5e-13);
}

BOOST_AUTO_TEST_CASE(settings_out_of_range_are_refused) {
  BOOST_CHECK_THROW(optim::adamw{.learning_rate = -1.0}.check(), config_error);
  BOOST_CHECK_THROW(optim::adamw{.beta1 = 1.0}.check(), config_error);
  BOOST_CHECK_THROW(optim::adamw{.beta2 = -0.1}.check(), config_error);
  BOOST_CHECK_THROW(optim::adamw{.epsilon = 0.0}.check(), config_error);
  BOOST_CHECK_THROW(optim::adamw{.weight_decay = std::nan("")}.check(), config_error);
  BOOST_CHECK_THROW(optim::adamw{.clip = -1.0}.check(), config_error);
}

BOOST_AUTO_TEST_CASE(a_users_optimiser_updates_through_the_same_calls) {
  const sign_descent settings;
  loop_backend backend;
  std::vector<double> w{1.0, 2.0};
  const std::vector<double> gradient{-3.0, 4.0};
  settings.update(backend, std::span(w), std::array<std::span<double>, 0>{}, std::span(gradient),
                  settings.step(1, 1, {"w", 1}, 1.0));
  BOOST_TEST(w[0] == 1.1);
  BOOST_TEST(w[1] == 1.9);
}

BOOST_AUTO_TEST_CASE(clipping_is_torchs) {
  BOOST_TEST(optim::clip_factor(25.0, 0.0) == 1.0);
  BOOST_TEST(optim::clip_factor(0.25, 1.0) == 1.0);
  BOOST_TEST(std::abs(optim::clip_factor(25.0, 1.0) - 1.0 / 5.000001) < 1e-16);
  BOOST_TEST(optim::clip_factor(0.0, 1.0) == 1.0);
  BOOST_CHECK_THROW(static_cast<void>(optim::clip_factor(std::nan(""), 1.0)), numeric_error);
  BOOST_CHECK_THROW(static_cast<void>(optim::clip_factor(std::numeric_limits<double>::infinity(), 0.0)),
                    numeric_error);
  BOOST_CHECK_THROW(static_cast<void>(optim::clip_factor(1.0, -1.0)), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
