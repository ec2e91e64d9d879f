#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/counting.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/tape.hpp>
#include <lodestone/train/memory.hpp>

#include "model/small_model.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

/// Memory apart from the backend's. A copy may still read what was given back.
struct elsewhere {
  static constexpr bool keeps_blocks = true;
  static void* allocate(std::size_t bytes) { return host_memory::allocate(bytes); }
  static void deallocate(void* pointer) noexcept { host_memory::deallocate(pointer); }
};

/// The host backend with the worst copies that the contract allows: none is done before await_copies(), a tensor that
/// is on its way back reads as NaN until then, and one that has left becomes NaN.
class late_copies : public host<double> {
 public:
  using parking_space = elsewhere;
  using host<double>::host;

  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, elsewhere> park(block<U, Rank, host_memory> tensor) {
    if (!tensor) return {};
    auto away = parking_.allocate<U>(tensor.view().shape());
    put_off(tensor.view(), away.view());
    moved += static_cast<std::int64_t>(sizeof(U)) * tensor.view().count();
    poisoned_.push_back(tensor.view().flat());
    leaving_.push_back(std::move(tensor).as_bytes());
    return away;
  }
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, host_memory> fetch(block<U, Rank, elsewhere> away) {
    if (!away) return {};
    auto tensor = allocate<U>(away.view().shape());
    std::ranges::fill(tensor.view().flat(), std::numeric_limits<double>::quiet_NaN());
    put_off(away.view(), tensor.view());
    return tensor;
  }
  void await_copies() {
    for (const auto& copy : copies_) copy();
    for (const std::span<double> gone : poisoned_) std::ranges::fill(gone, std::numeric_limits<double>::quiet_NaN());
    copies_.clear();
    poisoned_.clear();
    leaving_.clear();
  }
  void reserve_parking(std::int64_t bytes) { parking_.reserve(bytes); }
  [[nodiscard]] arena<elsewhere>& parking() { return parking_; }

  template <class Policy>
  void attend_backward(const Policy& policy, const attention_shape& shape, std::span<const slice> slices,
                       matrix<const double> q, matrix<const double> k, matrix<const double> v, matrix<const double> o,
                       vector<const double> lse, matrix<const double> d_o, matrix<double> dq, matrix<double> dk,
                       matrix<double> dv) {
    if (fails_in-- == 0) throw data_error("no more attention", "test");
    host<double>::attend_backward(policy, shape, slices, q, k, v, o, lse, d_o, dq, dk, dv);
  }

  std::int64_t moved = 0;      ///< bytes that left
  std::int64_t fails_in = -1;  ///< so many calls of attend_backward from now

 private:
  template <class From, class To>
  void put_off(From source, To target) {
    copies_.push_back([from = source.flat(), to = target.flat()] { std::ranges::copy(from, to.begin()); });
  }

  arena<elsewhere> parking_;
  std::vector<std::function<void()>> copies_;
  std::vector<std::span<double>> poisoned_;
  std::vector<block<std::byte, 1, host_memory>> leaving_;
};

template <class Backend>
using model_of = llama<Backend, blocked_attention>;

/// The loss and all gradients of one pass forward and backward.
template <class Backend>
auto train_once(parameters::replicated<Backend>& weights, const token_batch& batch, const activation_table& table) {
  model_of<Backend> m(weights.config(), weights);
  weights.zero_gradients();
  const double loss = m.train(
      batch, table, false,
      [&](std::span<const double> log_probs, std::span<double> c) {
        double sum = 0.0;
        for (std::size_t k = 0; k < c.size(); ++k) sum += (c[k] = -batch.scored[k].weight) * log_probs[k];
        return sum;
      },
      true);
  std::pair<double, std::vector<double>> all{loss, {}};
  for (std::int64_t unit = 0; unit < weights.units(); ++unit) {
    const auto flat = weights.gradient(unit).flat();
    all.second.insert(all.second.end(), flat.begin(), flat.end());
  }
  return all;
}

std::vector<activation_table> tables(std::int64_t layers) {
  std::vector<activation_table> all{activations::offload_inputs{}.table(layers), activations::offload{}.table(layers)};
  random_stream random(4, random_purpose::user);
  for (int k = 0; k < 12; ++k) {
    activation_table table = activations::keep_all{}.table(layers);
    for (auto& row : table.layers)
      for (std::size_t name = 0; name < activation_kinds; ++name)
        row[name] = static_cast<residence>(random.below(name == 0 ? 2 : 3));
    table.mlp_rows = k % 2 == 0 ? 0 : 14;
    all.push_back(table);
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_tape)

BOOST_AUTO_TEST_CASE(tensors_that_wait_elsewhere_come_back_in_every_bit_and_in_time) {
  for (auto [name, config] : small_families()) {
    config.layers = 4;
    if (!config.windows.empty()) config.windows = {3, 0, 2, 0};
    for (const double share : {0.6, 1.1}) {
      const token_batch batch = small_batch({5, 2, 7}, config.vocabulary, 1, share);
      auto kept = small_store<host<double>>(config);
      const auto expected = train_once(*kept, batch, activations::keep_all{}.table(4));
      for (const activation_table& table : tables(4)) {
        auto weights = small_store<late_copies>(config);
        BOOST_TEST((train_once(*weights, batch, table) == expected), name << ": parking changed the bits");
        BOOST_TEST((train_once(*weights, batch, table) == expected), name << ": parking changed the second pass");
        BOOST_TEST(weights->backend().memory().in_use() == 0);
        BOOST_TEST(weights->backend().parking().in_use() == 0);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(both_memories_are_counted_to_the_byte) {
  for (auto [name, config] : small_families()) {
    config.layers = 5;
    config.windows.clear();
    const token_batch batch = small_batch({40, 31}, config.vocabulary);
    for (const activation_table& table : tables(5)) {
      const train::need need = train::count_micro_batch<model_of<late_copies>>(config, batch, table, false);
      auto weights = small_store<late_copies>(config);
      late_copies& b = weights->backend();
      b.reserve_parking(need.parked_bytes);
      b.memory().reserve(need.activation_bytes);
      for (int step = 0; step < 2; ++step) {
        b.moved = 0;
        train_once(*weights, batch, table);
        BOOST_TEST(b.memory().peak() == need.activation_bytes, name);
        BOOST_TEST(b.parking().peak() == need.parked_bytes, name);
        BOOST_TEST(b.memory().outside() == 0, name);
        BOOST_TEST(b.parking().outside() == 0, name);
        BOOST_TEST(static_cast<double>(b.moved) == need.done.parked_bytes, name);
      }
    }
    BOOST_TEST((train::count_micro_batch<model_of<host<double>>>(config, batch, activations::offload{}.table(5))
                    .parked_bytes == 0));
  }
}

BOOST_AUTO_TEST_CASE(adapters_train_alike_wherever_tensors_wait_and_both_memories_are_counted) {
  model_config config = small_config();
  config.layers = 4;
  adapter_config adapters;
  adapters.rank = 3;
  adapters.targets = {"all-linear"};
  const trained_parts trained = trained_parts::only(adapters, true, true);
  const token_batch batch = small_batch({5, 2, 7}, config.vocabulary);
  for (const std::int64_t rows : {0, 4}) {
    activation_table everything = activations::keep_all{}.table(4);
    everything.mlp_rows = rows;
    auto kept = small_store<host<double>>(config, 1, trained);
    const auto expected = train_once(*kept, batch, everything);
    for (activation_table table : tables(4)) {
      table.mlp_rows = rows;
      const train::need need =
          train::count_micro_batch<model_of<late_copies>>(config, batch, table, false, trained);
      auto weights = small_store<late_copies>(config, 1, trained);
      late_copies& b = weights->backend();
      b.reserve_parking(need.parked_bytes);
      b.memory().reserve(need.activation_bytes);
      BOOST_TEST((train_once(*weights, batch, table) == expected));
      BOOST_TEST(b.memory().peak() == need.activation_bytes);
      BOOST_TEST(b.parking().peak() == need.parked_bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(offloading_leaves_two_layers_on_the_device) {
  model_config config = small_config();
  const token_batch batch = small_batch({600}, config.vocabulary);
  const auto peak = [&](std::int64_t layers, const activation_table& table) {
    config.layers = layers;
    return train::count_micro_batch<model_of<late_copies>>(config, batch, table).activation_bytes;
  };
  const std::int64_t few = peak(4, activations::offload{}.table(4));
  BOOST_TEST(peak(40, activations::offload{}.table(40)) == few);
  BOOST_TEST(peak(40, activations::offload_inputs{}.table(40)) <= few);
  BOOST_TEST(peak(40, activations::checkpoint{}.table(40)) > peak(4, activations::checkpoint{}.table(4)));
}

BOOST_AUTO_TEST_CASE(an_exception_in_a_pass_leaves_the_next_one_whole) {
  model_config config = small_config();
  config.layers = 4;
  const token_batch batch = small_batch({5, 2, 7}, config.vocabulary);
  auto kept = small_store<host<double>>(config);
  const auto expected = train_once(*kept, batch, activations::keep_all{}.table(4));
  auto weights = small_store<late_copies>(config);
  const train::need need =
      train::count_micro_batch<model_of<late_copies>>(config, batch, activations::offload{}.table(4), false);
  weights->backend().memory().reserve(need.activation_bytes);  // what a copy writes to stays mapped
  for (const std::int64_t calls : {0, 1, 3}) {  // while the tensors of the next layer are on their way
    weights->backend().fails_in = calls;
    BOOST_CHECK_THROW(train_once(*weights, batch, activations::offload{}.table(4)), data_error);
    BOOST_TEST((train_once(*weights, batch, activations::offload{}.table(4)) == expected));
  }
}

BOOST_AUTO_TEST_SUITE_END()
