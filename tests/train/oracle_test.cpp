// Five AdamW steps against PyTorch in double precision: losses, gradient norms, rates and every final parameter.
// The numbers come from tests/oracle/training_cases.py.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/train/step.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

namespace {

/// The documents of one step of the oracle as a store of examples.
class step_examples {
 public:
  step_examples(const safetensors::file& oracle, std::int64_t step) {
    const std::string prefix = std::to_string(step) + ".";
    for (const std::int64_t id : oracle.values<std::int64_t>(prefix + "ids"))
      tokens_.push_back(static_cast<std::int32_t>(id));
    for (const std::int64_t label : oracle.values<std::int64_t>(prefix + "labels"))
      labels_.push_back(label < 0 ? no_label : static_cast<std::int32_t>(label));
    const auto weights = oracle.values<double>(prefix + "label_weights");
    for (std::size_t row = 0; row < weights.size(); ++row)
      weights_.push_back(labels_[row] == no_label ? 0.0F : static_cast<float>(weights[row]));
    const auto document_weights = oracle.values<double>(prefix + "sequence_weights");
    document_weights_.assign(document_weights.begin(), document_weights.end());
    for (const std::int64_t length : oracle.values<std::int64_t>(prefix + "lengths"))
      begins_.push_back(begins_.back() + static_cast<std::size_t>(length));
  }

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(document_weights_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    return static_cast<std::int64_t>((*this)[i].tokens.size());
  }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    const std::size_t begin = begins_[at];
    const std::size_t count = begins_[at + 1] - begin;
    return {std::span(tokens_).subspan(begin, count), std::span(labels_).subspan(begin, count),
            std::span(weights_).subspan(begin, count), document_weights_[at], i};
  }

 private:
  std::vector<std::int32_t> tokens_;
  std::vector<std::int32_t> labels_;
  std::vector<float> weights_;
  std::vector<double> document_weights_;
  std::vector<std::size_t> begins_{0};
};

/// Trains five steps and compares; with `split` every document is a micro-batch of its own.
void compare(const std::string& name, bool split) {
  const auto folder = lodestone_test::data("models/" + name);
  const safetensors::file oracle(folder / "training.safetensors");
  const safetensors::file weights(folder / "model.safetensors");
  auto store = lodestone_test::load<double>(folder);
  llama<host<double>, blocked_attention> model(store.config(), store);

  optim::adamw optimizer{.learning_rate = 1e-3, .weight_decay = 0.1};
  optimizer.rate = {.after = optim::decline::cosine, .warmup_steps = 2};
  const activation_table table = activations::keep_all{}.table(store.config().layers);
  dist::single group;
  const auto losses = oracle.values<double>("losses");
  for (std::int64_t step = 0; step < static_cast<std::int64_t>(losses.size()); ++step) {
    const step_examples data(oracle, step);
    step_plan plan;
    batching::assignment ranks{.of_rank = {{}}};
    for (std::int64_t i = 0; i < data.size(); ++i) {
      if (split || i == 0) plan.micro_batches.emplace_back();
      plan.micro_batches.back().examples.push_back(i);
    }
    for (std::size_t k = 0; k < plan.micro_batches.size(); ++k)
      ranks.of_rank[0].push_back(static_cast<std::int64_t>(k));
    const auto result = train::run_step(model, loss::weighted_sft{}, data, plan, ranks, position::contiguous{}, table,
                                        optimizer, train::step_place{.number = step + 1, .total = 5}, group);
    const auto at = static_cast<std::size_t>(step);
    BOOST_CHECK_CLOSE_FRACTION(result.loss, losses[at], 1e-12);
    BOOST_CHECK_CLOSE_FRACTION(result.gradient_norm, oracle.values<double>("gradient_norms")[at], 1e-12);
    BOOST_CHECK_CLOSE_FRACTION(result.learning_rate, oracle.values<double>("learning_rates")[at], 1e-14);
  }

  std::size_t compared = 0;
  double worst = 0.0;
  lodestone_test::for_each_tensor(store, [&](std::int64_t unit, const std::string& tensor, std::int64_t offset,
                                             std::int64_t, std::int64_t count) {
    const std::span values(store.weights(unit).data() + offset, static_cast<std::size_t>(count));
    const auto expected = oracle.values<double>("final." + tensor);
    const auto before = weights.values<float>(tensor);
    BOOST_REQUIRE_EQUAL(values.size(), expected.size());
    double moved = 0.0;  // tolerance is relative to how far training moved the tensor, not to its size
    double apart = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      moved = std::max(moved, std::abs(expected[i] - static_cast<double>(before[i])));
      apart = std::max(apart, std::abs(values[i] - expected[i]));
    }
    BOOST_CHECK_GT(moved, 1e-4);
    // Adam divides by the root of the second moment: where a gradient nearly vanishes, its roundings are amplified.
    BOOST_CHECK_MESSAGE(apart < 1e-9 * moved, name << ": " << tensor << " is apart by " << apart << " of " << moved);
    worst = std::max(worst, apart / moved);
    ++compared;
  });
  const auto finals = std::ranges::count_if(oracle.entries(), [](const safetensors::entry& e) {
    return e.name.starts_with("final.");
  });
  BOOST_CHECK_EQUAL(compared, static_cast<std::size_t>(finals));
  BOOST_TEST_MESSAGE(name << ": the worst tensor is apart by " << worst << " of its movement");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(train_oracle)

BOOST_AUTO_TEST_CASE(five_steps_of_a_tied_model_equal_pytorch) { compare("llama-tied", false); }

BOOST_AUTO_TEST_CASE(five_steps_of_a_model_with_biases_equal_pytorch) { compare("qwen2", false); }

BOOST_AUTO_TEST_CASE(one_micro_batch_a_document_equals_pytorch_as_well) {
  compare("llama-tied", true);
  compare("qwen2", true);
}

BOOST_AUTO_TEST_SUITE_END()
