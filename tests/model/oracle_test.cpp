// Every family against transformers: logits, label log-probabilities, loss and the gradient of every tensor of the tiny
// models in tests/data/models, which tests/oracle/model_cases.py made in double precision.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/model/llama.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

using namespace lodestone;

namespace {

const std::vector<std::string> families{
    "llama",  "llama-tied",   "llama-biases",  "llama-linear", "llama-dynamic", "llama-yarn", "llama3",   "smollm2",
    "mistral", "mistral-window", "qwen2", "qwen2-window", "qwen3", "glm", "chatglm3", "glm4-remote"};

/// The documents of an oracle file as one pack.
token_batch batch_of(const safetensors::file& oracle) {
  token_batch batch;
  const auto ids = oracle.values<std::int64_t>("ids");
  const auto labels = oracle.values<std::int64_t>("labels");
  std::size_t begin = 0;
  for (const std::int64_t length : oracle.values<std::int64_t>("lengths")) {
    const auto count = static_cast<std::size_t>(length);
    lodestone_test::append_document(batch, ids.subspan(begin, count), labels.subspan(begin, count));
    begin += count;
  }
  return batch;
}

/// Logits, log-probabilities, loss and gradients of one folder; everything within `tolerance` relatively, tensor by
/// tensor in the 2-norm.
template <class T, class Attention, class Activations>
void compare(const std::string& name, const Activations& policy, double tolerance) {
  const auto folder = lodestone_test::data("models/" + name);
  const safetensors::file oracle(folder / "oracle.safetensors");
  auto store = lodestone_test::load<T>(folder);
  llama<host<T>, Attention> model(store.config(), store);
  const token_batch batch = batch_of(oracle);
  const auto check = [&](const std::string& what, auto ours, std::span<const double> theirs, double allowed) {
    const double apart = lodestone_test::distance(ours, theirs);
    BOOST_CHECK_MESSAGE(apart < allowed, name << ": " << what << " differs by " << apart);
    return apart;
  };

  std::vector<std::int64_t> rows(batch.tokens.size());
  std::iota(rows.begin(), rows.end(), 0);
  const auto logits = model.logits(batch, rows);
  check("logits", std::span<const T>(logits.view().data(), static_cast<std::size_t>(logits.view().count())),
        oracle.values<double>("logits"), tolerance);

  std::vector<double> expected;
  const auto all = oracle.values<double>("log_probs");
  for (const scored_token& s : batch.scored) expected.push_back(all[static_cast<std::size_t>(s.row)]);
  const std::vector<double> scores = model.log_probs(batch);
  check("log_probs", std::span<const double>(scores), expected, tolerance);

  const double share = -1.0 / static_cast<double>(batch.scored.size());
  const auto mean = [&](std::span<const double>, std::span<double> c) {
    std::ranges::fill(c, share);
    return 0.0;
  };
  std::vector<double> trained;
  const double loss = model.train(batch, policy.table(store.config().layers), true, mean, true, &trained);
  BOOST_CHECK_CLOSE_FRACTION(loss, oracle.values<double>("loss")[0], tolerance);
  check("log_probs while training", std::span<const double>(trained), expected, tolerance);

  std::ptrdiff_t compared = 0;
  double worst = 0.0;
  lodestone_test::for_each_tensor(store, [&](std::int64_t unit, const std::string& tensor, std::int64_t,
                                             std::int64_t offset, std::int64_t count) {
    const std::span<const T> ours(store.gradient(unit).data() + offset, static_cast<std::size_t>(count));
    // Softmax ignores what all keys share, so the gradient of a bias on keys is what rotation leaves of a cancellation.
    const double allowed = tensor.ends_with("k_proj.bias") ? 10.0 * tolerance : tolerance;
    worst = std::max(worst, check("the gradient of " + tensor, ours, oracle.values<double>("grad." + tensor), allowed));
    ++compared;
  });
  const auto gradients = std::ranges::count_if(
      oracle.entries(), [](const safetensors::entry& e) { return e.name.starts_with("grad."); });
  BOOST_CHECK_EQUAL(compared, gradients);  // none was left out
  BOOST_TEST_MESSAGE(name << ": " << compared << " gradients, the worst apart by " << worst);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_oracle)

// The weights are exact in double, so only the order of additions differs: some tens of roundings of 1e-16.
constexpr double in_double = 1e-13;

BOOST_AUTO_TEST_CASE(every_family_agrees_with_transformers_in_double) {
  for (const std::string& name : families)
    compare<double, reference_attention>(name, activations::keep_all{}, in_double);
}

BOOST_AUTO_TEST_CASE(blocked_attention_agrees_as_well) {
  for (const std::string& name : families)
    compare<double, blocked_attention>(name, activations::keep_all{}, in_double);
}

BOOST_AUTO_TEST_CASE(recomputed_activations_agree_as_well) {
  for (const std::string& name : families) {
    compare<double, blocked_attention>(name, activations::checkpoint{}, in_double);
    compare<double, blocked_attention>(name, activations::keep_attention{}, in_double);
  }
}

BOOST_AUTO_TEST_CASE(every_family_agrees_with_transformers_in_float) {
  for (const std::string& name : families) compare<float, blocked_attention>(name, activations::keep_all{}, 1e-5);
}

// The oracle's stores are filled by the tests' own reader: the library's must give the same bits.
BOOST_AUTO_TEST_CASE(the_loader_reads_the_weights_of_every_family) {
  std::vector<std::filesystem::path> folders{lodestone_test::source_dir() / "examples/data/models/tinystories-656k",
                                             lodestone_test::data("models/stories260k")};
  for (const std::string& name : families) folders.push_back(lodestone_test::data("models/" + name));
  for (const auto& folder : folders) {
    const auto expected = lodestone_test::load<float>(folder);
    const auto store = parameters::load<host<float>>(folder);
    BOOST_REQUIRE(store.config() == expected.config());
    for (std::int64_t unit = 0; unit < unit_count(store.config()); ++unit)
      BOOST_CHECK_MESSAGE(std::ranges::equal(store.weights(unit).flat(), expected.weights(unit).flat()),
                          folder << ": unit " << unit << " has other weights");
  }
}

BOOST_AUTO_TEST_SUITE_END()
