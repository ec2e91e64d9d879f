#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/attention/gather.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/counting.hpp>
#include <lodestone/model/head.hpp>
#include <lodestone/model/layer.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/model/parameters.hpp>
#include <lodestone/model/projection.hpp>
#include <lodestone/model/scored_rows.hpp>
#include <lodestone/model/tape.hpp>
#include <lodestone/train/memory.hpp>

#include "model/small_model.hpp"

using namespace lodestone;
using namespace lodestone_test;

namespace {

using store = parameters::replicated<host<double>>;
using model = llama<host<double>, blocked_attention>;

/// A policy whose calls of one micro-batch share something: here a list of what was made, and how often it was asked.
struct sharing_attention {
  static inline std::int64_t batches = 0;
  static inline std::int64_t made = 0;
  static inline std::int64_t calls = 0;

  template <class Backend>
  struct per_batch {
    struct key {
      std::vector<slice> slices;
      std::int64_t queries, keys;
      friend bool operator==(const key&, const key&) = default;
    };
    mutable std::vector<key> all;
    bool is_counted = (++batches, true);

    void prepare(Backend&, const attention_shape&, std::span<const slice> slices, std::int64_t queries,
                 std::int64_t keys) const {
      const key own{{slices.begin(), slices.end()}, queries, keys};
      if (std::ranges::find(all, own) == all.end()) all.push_back(own), ++made;
    }
    template <class Q, class... Rest>
    void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Q q, Q k,
                 const Rest&... rest) const {
      expect_prepared(slices, q.size(0), k.size(0));
      blocked_attention{}.forward(backend, shape, slices, q, k, rest...);
    }
    template <class Q, class... Rest>
    void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices, Q q, Q k,
                  const Rest&... rest) const {
      expect_prepared(slices, q.size(0), k.size(0));
      blocked_attention{}.backward(backend, shape, slices, q, k, rest...);
    }
    void expect_prepared(std::span<const slice> slices, std::int64_t queries, std::int64_t keys) const {
      ++calls;
      const key own{{slices.begin(), slices.end()}, queries, keys};
      BOOST_TEST((std::ranges::find(all, own) != all.end()), queries << " queries, " << keys << " keys");
    }
  };
};

/// A loss with fixed coefficients, so that it is linear in log p.
auto fixed_coefficients(const token_batch& batch) {
  std::vector<double> c;
  for (std::size_t k = 0; k < batch.scored.size(); ++k) c.push_back(-0.1 - 0.07 * static_cast<double>(k % 5));
  return c;
}

double linear_loss(model& m, const token_batch& batch) {
  const std::vector<double> c = fixed_coefficients(batch);
  const std::vector<double> log_probs = m.log_probs(batch);
  double sum = 0.0;
  for (std::size_t k = 0; k < c.size(); ++k) sum += c[k] * log_probs[k];
  return sum;
}

double train_once(model& m, const token_batch& batch, const activation_table& table) {
  const std::vector<double> c = fixed_coefficients(batch);
  return m.train(
      batch, table, true,
      [&](std::span<const double>, std::span<double> out) {
        std::ranges::copy(c, out.begin());
        return 0.0;
      },
      true);
}

std::vector<std::vector<double>> gradients(store& weights) {
  std::vector<std::vector<double>> all;
  for (std::int64_t unit = 0; unit < weights.units(); ++unit) {
    const auto flat = weights.gradient(unit).flat();
    all.emplace_back(flat.begin(), flat.end());
  }
  return all;
}

/// Compares some elements of every parameter's gradient with central differences.
void check_gradients(const std::string& name, const model_config& config, const token_batch& batch) {
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  m.set_head_chunk_bytes(3 * config.vocabulary * 8);  // several chunks
  const double loss = train_once(m, batch, activations::keep_all{}.table(config.layers));
  BOOST_TEST(loss == linear_loss(m, batch), boost::test_tools::tolerance(1e-12));
  for (std::int64_t unit = 0; unit < weights->units(); ++unit) {
    const unit_layout& layout = weights->layout(unit);
    for (std::size_t k = 0; k < parameter_kinds; ++k) {
      const parameter_place& place = layout.places[k];
      if (place.rows == 0) continue;
      const std::int64_t stride = std::max<std::int64_t>(1, place.count() / 7);
      for (std::int64_t i = 0; i < place.count(); i += stride) {
        double& w = weights->mutable_weights(unit)(place.offset + i);
        const double saved = w;
        const double h = 1e-5;
        w = saved + h;
        const double up = linear_loss(m, batch);
        w = saved - h;
        const double down = linear_loss(m, batch);
        w = saved;
        const double expected = (up - down) / (2.0 * h);
        const double got = weights->gradient(unit)(place.gradient_offset + i);
        BOOST_TEST(std::abs(got - expected) <= 1e-8 * (1.0 + std::abs(expected)),
                   name << " unit " << unit << " parameter " << k << " element " << i << ": " << got << " against "
                        << expected);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(model_llama)

BOOST_AUTO_TEST_CASE(gradients_of_every_parameter_equal_finite_differences) {
  for (const auto& [name, config] : small_families())
    check_gradients(name, config, small_batch({5, 1, 7}, config.vocabulary));
}

BOOST_AUTO_TEST_CASE(gradients_with_a_shared_prefix_equal_finite_differences) {
  const model_config config = small_config();
  check_gradients("shared prefix", config, shared_prefix_batch(5, {3, 1, 4}, config.vocabulary));
}

BOOST_AUTO_TEST_CASE(gradients_when_every_row_is_scored) {
  const model_config config = small_config();
  check_gradients("all rows", config, small_batch({4, 3}, config.vocabulary, 2, 1.1));
}

BOOST_AUTO_TEST_CASE(a_shared_prefix_equals_repeated_prompts) {
  const model_config config = small_config();
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  const token_batch shared = shared_prefix_batch(6, {3, 4}, config.vocabulary);
  const std::vector<double> together = m.log_probs(shared);
  for (const sequence& answer : shared.sequences) {
    token_batch alone;
    for (std::int64_t i = 0; i < 6 + answer.end - answer.begin; ++i) {
      const auto row = static_cast<std::size_t>(i < 6 ? i : answer.begin + i - 6);
      alone.tokens.push_back(shared.tokens[row]);
      alone.positions.push_back(static_cast<std::int32_t>(i));
      alone.lengths.push_back(6 + answer.end - answer.begin);
    }
    alone.slices = {{0, alone.size(), 0, alone.size()}};
    for (std::int64_t k = answer.scored_begin; k < answer.scored_end; ++k)
      alone.scored.push_back(
          {6 + k - answer.scored_begin - 1, shared.scored[static_cast<std::size_t>(k)].label, 0, 1.0});
    const std::vector<double> apart = m.log_probs(alone);
    for (std::size_t k = 0; k < apart.size(); ++k)
      BOOST_TEST(apart[k] == together[static_cast<std::size_t>(answer.scored_begin) + k],
                 boost::test_tools::tolerance(1e-12));
  }
}

BOOST_AUTO_TEST_CASE(every_activation_table_gives_the_same_bits) {
  for (const auto& [name, config] : small_families()) {
    const token_batch batch = small_batch({5, 2, 7}, config.vocabulary);
    auto weights = small_store<host<double>>(config);
    model m(config, *weights);
    train_once(m, batch, activations::keep_all{}.table(config.layers));
    const auto expected = gradients(*weights);
    std::vector<activation_table> tables{activations::checkpoint{}.table(config.layers),
                                         activations::keep_attention{}.table(config.layers)};
    random_stream random(3, random_purpose::user);
    for (int k = 0; k < 20; ++k) {  // any mixture is a valid table
      activation_table table = activations::keep_all{}.table(config.layers);
      for (auto& row : table.layers)
        for (std::size_t name_index = 1; name_index < activation_kinds; ++name_index)
          row[name_index] = random.below(2) == 0 ? residence::recompute : residence::host;
      tables.push_back(table);
    }
    for (const activation_table& table : tables) {
      weights->zero_gradients();
      train_once(m, batch, table);
      BOOST_TEST((gradients(*weights) == expected), name << ": a table changed the gradients");
    }
  }
}

BOOST_AUTO_TEST_CASE(an_mlp_in_row_tiles_gives_the_loss_and_gradients_of_one_tile) {
  for (const auto& [name, config] : small_families())
    for (const double share : {0.6, 1.1}) {  // the last layer for some rows, and for all
      const token_batch batch = small_batch({5, 2, 7}, config.vocabulary, 1, share);
      auto weights = small_store<host<double>>(config);
      model m(config, *weights);
      activation_table table = activations::checkpoint{}.table(config.layers);
      table.mlp_rows = batch.size();
      const double loss = train_once(m, batch, table);
      const auto expected = gradients(*weights);
      double scale = 0.0;
      for (const auto& unit : expected)
        for (const double g : unit) scale = std::max(scale, std::abs(g));
      for (const std::int64_t rows : {1, 3, 5}) {
        std::vector<std::vector<double>> first;
        for (activation_table tiled : {activations::checkpoint{}.table(config.layers),
                                       activations::keep_all{}.table(config.layers)}) {
          tiled.mlp_rows = rows;
          weights->zero_gradients();
          BOOST_TEST(train_once(m, batch, tiled) == loss, boost::test_tools::tolerance(1e-12));
          const auto got = gradients(*weights);
          double worst = 0.0;
          for (std::size_t unit = 0; unit < got.size(); ++unit)
            for (std::size_t i = 0; i < got[unit].size(); ++i)
              worst = std::max(worst, std::abs(got[unit][i] - expected[unit][i]));
          BOOST_TEST(worst <= 1e-12 * scale, name << " in tiles of " << rows << ": off by " << worst);
          if (first.empty()) first = got;
          BOOST_TEST((got == first), name << " in tiles of " << rows << ": a table changed the bits");
        }
      }
    }
}

BOOST_AUTO_TEST_CASE(tiles_cover_the_rows_evenly) {
  for (const std::int64_t limit : {1, 3, 7, 128, 1280})
    for (std::int64_t rows = 1; rows < 3000; rows += rows < 300 ? 1 : 97) {
      const std::int64_t tile = even_tile(rows, limit);
      BOOST_TEST((tile >= 1 && tile <= limit));
      BOOST_TEST((rows + tile - 1) / tile == (rows + limit - 1) / limit);  // no tile more than needed
      if (limit % 128 == 0) BOOST_TEST(tile % 128 == 0);
    }
}

BOOST_AUTO_TEST_CASE(no_tensor_of_the_mlp_has_all_rows_unless_it_is_kept) {
  model_config config = small_config();
  config.feed_forward = 4000;
  activation_table table = activations::keep_attention{}.table(config.layers);
  table.mlp_rows = 8;
  const auto peak = [&](std::int64_t tokens) {
    return train::count_micro_batch<model>(config, small_batch({tokens}, config.vocabulary), table).activation_bytes;
  };
  BOOST_TEST(peak(400) < 400 * config.feed_forward * 8);
  BOOST_TEST(peak(800) - peak(400) < 400 * 8 * 300);  // of E, H D and statistics alone
  table.layers[0][static_cast<std::size_t>(activation::gate_up)] = residence::device;
  BOOST_TEST(peak(400) > 2 * 400 * config.feed_forward * 8);
}

BOOST_AUTO_TEST_CASE(a_table_without_inputs_or_rows_is_refused) {
  const model_config config = small_config();
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  const token_batch batch = small_batch({4}, config.vocabulary);
  activation_table table = activations::keep_all{}.table(config.layers);
  table.layers[1][0] = residence::recompute;
  BOOST_CHECK_THROW(train_once(m, batch, table), config_error);
  BOOST_CHECK_THROW(train_once(m, batch, activations::keep_all{}.table(1)), config_error);
  table = activations::keep_all{}.table(2);
  table.mlp_rows = -1;
  BOOST_CHECK_THROW(train_once(m, batch, table), config_error);
}

BOOST_AUTO_TEST_CASE(a_changed_token_of_one_document_changes_no_log_probability_of_another) {
  for (const auto& [name, config] : small_families()) {
    auto weights = small_store<host<double>>(config);
    model m(config, *weights);
    token_batch batch = small_batch({5, 4, 6}, config.vocabulary);
    const std::vector<double> before = m.log_probs(batch);
    batch.tokens[6] = (batch.tokens[6] + 1) % static_cast<std::int32_t>(config.vocabulary);
    const std::vector<double> after = m.log_probs(batch);
    bool own_changed = false;
    for (std::size_t k = 0; k < before.size(); ++k) {
      if (batch.scored[k].sequence == 1)
        own_changed = own_changed || before[k] != after[k];
      else
        BOOST_TEST(before[k] == after[k], name << ": scored token " << k);
    }
    BOOST_TEST(own_changed, name);
  }
}

BOOST_AUTO_TEST_CASE(packed_documents_have_the_log_probabilities_of_documents_alone) {
  const model_config config = small_config();
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  const token_batch batch = small_batch({5, 4, 6}, config.vocabulary);
  const std::vector<double> packed = m.log_probs(batch);
  for (const sequence& own : batch.sequences) {
    token_batch alone;
    for (std::int64_t row = own.begin; row < own.end; ++row) {
      alone.tokens.push_back(batch.tokens[static_cast<std::size_t>(row)]);
      alone.positions.push_back(batch.positions[static_cast<std::size_t>(row)]);
      alone.lengths.push_back(own.end - own.begin);
    }
    alone.slices = {{0, alone.size(), 0, alone.size()}};
    for (std::int64_t k = own.scored_begin; k < own.scored_end; ++k) {
      scored_token token = batch.scored[static_cast<std::size_t>(k)];
      token.row -= own.begin;
      alone.scored.push_back(token);
    }
    const std::vector<double> log_probs = m.log_probs(alone);
    for (std::size_t k = 0; k < log_probs.size(); ++k)
      BOOST_TEST(log_probs[k] == packed[static_cast<std::size_t>(own.scored_begin) + k],
                 boost::test_tools::tolerance(1e-12));
  }
}

BOOST_AUTO_TEST_CASE(logits_of_chosen_rows_equal_logits_of_all_rows) {
  for (const auto& [name, config] : small_families()) {
    auto weights = small_store<host<double>>(config);
    model m(config, *weights);
    const token_batch batch = small_batch({5, 4}, config.vocabulary);
    const std::vector<std::int64_t> every{0, 1, 2, 3, 4, 5, 6, 7, 8};
    const std::vector<std::int64_t> some{1, 4, 5, 7, 8};
    const auto all = m.logits(batch, every);
    const auto chosen = m.logits(batch, some);
    for (std::size_t r = 0; r < some.size(); ++r)
      for (std::int64_t v = 0; v < config.vocabulary; ++v)
        BOOST_TEST(std::abs(chosen.view()(static_cast<std::int64_t>(r), v) - all.view()(some[r], v)) < 1e-12, name);
  }
}

BOOST_AUTO_TEST_CASE(a_cache_continues_where_it_ended) {
  for (const auto& [name, config] : small_families()) {
    auto weights = small_store<host<double>>(config);
    model m(config, *weights);
    const token_batch whole = small_batch({9}, config.vocabulary);
    auto cache = m.make_cache(9);
    const std::vector<std::vector<std::int64_t>> parts{{0, 4}, {4, 5}, {5, 6}, {6, 9}};
    for (const auto& part : parts) {
      token_batch piece;
      for (auto row = static_cast<std::size_t>(part[0]); row < static_cast<std::size_t>(part[1]); ++row) {
        piece.tokens.push_back(whole.tokens[row]);
        piece.positions.push_back(whole.positions[row]);
        piece.lengths.push_back(9);
      }
      const auto logits = m.extend(cache, piece);
      const std::vector<std::int64_t> row{part[1] - 1};
      const auto expected = m.logits(whole, row);
      for (std::int64_t v = 0; v < config.vocabulary; ++v)
        BOOST_TEST(std::abs(logits.view()(0, v) - expected.view()(0, v)) < 1e-12, name);
    }
    token_batch more = small_batch({1}, config.vocabulary);
    BOOST_CHECK_THROW(static_cast<void>(m.extend(cache, more)), shape_error);
  }
}

BOOST_AUTO_TEST_CASE(frozen_projections_give_the_other_gradients_unchanged) {
  const model_config config = small_config();
  const token_batch batch = small_batch({5, 6}, config.vocabulary);
  auto trained = small_store<host<double>>(config);
  model m(config, *trained);
  train_once(m, batch, activations::keep_all{}.table(config.layers));

  auto frozen = small_store<host<double>>(config, 1, trained_parts{.projections = false});
  llama<host<double>, blocked_attention, projections::frozen> f(config, *frozen);
  const std::vector<double> c = fixed_coefficients(batch);
  f.train(
      batch, activations::keep_all{}.table(config.layers), true,
      [&](std::span<const double>, std::span<double> out) {
        std::ranges::copy(c, out.begin());
        return 0.0;
      },
      true);
  BOOST_TEST(frozen->training_bytes() < trained->training_bytes());
  for (std::int64_t unit = 0; unit < trained->units(); ++unit)
    for (std::size_t k = 0; k < parameter_kinds; ++k) {
      const auto kind = static_cast<parameter>(k);
      const auto own = frozen->layout(unit).gradient_vector(frozen->gradient(unit), kind);
      const auto full = trained->layout(unit).gradient_vector(trained->gradient(unit), kind);
      if (kind == parameter::qkv_weight || kind == parameter::down_weight) BOOST_TEST(own.size(0) == 0);
      for (std::int64_t i = 0; i < own.size(0); ++i) BOOST_TEST(own(i) == full(i));
    }
}

BOOST_AUTO_TEST_CASE(a_loss_that_is_not_linear_takes_two_passes_to_the_same_gradient) {
  const model_config config = small_config();
  const token_batch batch = small_batch({5, 6}, config.vocabulary);
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  // L = sum over sequences of (mean log p)^2: the coefficients depend on the log-probabilities.
  const auto squared = [&](std::span<const double> log_probs, std::span<double> c) {
    double loss = 0.0;
    for (const sequence& own : batch.sequences) {
      double mean = 0.0;
      const auto n = static_cast<double>(own.scored_end - own.scored_begin);
      for (std::int64_t k = own.scored_begin; k < own.scored_end; ++k)
        mean += log_probs[static_cast<std::size_t>(k)] / n;
      loss += mean * mean;
      for (std::int64_t k = own.scored_begin; k < own.scored_end; ++k) c[static_cast<std::size_t>(k)] = 2.0 * mean / n;
    }
    return loss;
  };
  const double loss = m.train(batch, activations::checkpoint{}.table(config.layers), false, squared, true);
  std::vector<double> ignored(batch.scored.size());
  BOOST_TEST(loss == squared(m.log_probs(batch), ignored), boost::test_tools::tolerance(1e-12));
  double& w = weights->mutable_weights(1)(weights->layout(1)[parameter::o_weight].offset + 3);
  const double got = weights->gradient(1)(weights->layout(1)[parameter::o_weight].gradient_offset + 3);
  const double saved = w;
  w = saved + 1e-5;
  const double up = squared(m.log_probs(batch), ignored);
  w = saved - 1e-5;
  const double down = squared(m.log_probs(batch), ignored);
  BOOST_TEST(got == (up - down) / 2e-5, boost::test_tools::tolerance(1e-7));
}

BOOST_AUTO_TEST_CASE(the_counting_backend_predicts_the_arena_to_the_byte) {
  for (const auto& [name, config] : small_families())
    for (const activation_table& table : {activations::keep_all{}.table(2), activations::checkpoint{}.table(2)}) {
      const token_batch batch = small_batch({50, 31}, config.vocabulary);
      const train::need need = train::count_micro_batch<model>(config, batch, table);
      auto weights = small_store<host<double>>(config);
      weights->backend().memory().reserve(need.activation_bytes);
      model m(config, *weights);
      train_once(m, batch, table);
      BOOST_TEST(weights->backend().memory().peak() == need.activation_bytes, name);
      BOOST_TEST(weights->backend().memory().outside() == 0, name);
      BOOST_TEST(weights->backend().memory().in_use() == 0, name);
      BOOST_TEST(need.done.matrix_flops > 0.0);
      BOOST_TEST(need.done.attention_flops > 0.0);
    }
}

BOOST_AUTO_TEST_CASE(checkpointing_needs_less_memory_and_more_work) {
  const model_config config = small_config();
  const token_batch batch = small_batch({200}, config.vocabulary);
  const train::need all = train::count_micro_batch<model>(config, batch, activations::keep_all{}.table(2));
  const train::need least = train::count_micro_batch<model>(config, batch, activations::checkpoint{}.table(2));
  BOOST_TEST(least.activation_bytes < all.activation_bytes);
  BOOST_TEST(least.done.matrix_flops > all.done.matrix_flops);
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_does_not_change_a_bit) {
  const model_config config = small_config();
  const token_batch batch = small_batch({40, 70, 9}, config.vocabulary);
  std::vector<std::vector<double>> expected;
  for (const int threads : {1, 2, 3}) {
    auto weights = small_store<host<double>>(config, threads);
    model m(config, *weights);
    train_once(m, batch, activations::keep_all{}.table(2));
    if (threads == 1)
      expected = gradients(*weights);
    else
      BOOST_TEST((gradients(*weights) == expected), threads << " threads");
  }
}

BOOST_AUTO_TEST_CASE(wrong_tokens_and_overlapping_slices_are_refused) {
  const model_config config = small_config();
  auto weights = small_store<host<double>>(config);
  model m(config, *weights);
  token_batch batch = small_batch({4}, config.vocabulary);
  batch.tokens[2] = static_cast<std::int32_t>(config.vocabulary);
  BOOST_CHECK_THROW(static_cast<void>(m.log_probs(batch)), data_error);
  batch = small_batch({4}, config.vocabulary);
  batch.slices.push_back({2, 4, 0, 4, slice_kind::full});
  BOOST_CHECK_THROW(static_cast<void>(m.log_probs(batch)), shape_error);
}

BOOST_AUTO_TEST_CASE(a_policy_shares_what_it_made_among_the_calls_of_a_micro_batch) {
  model_config config = small_config();
  config.layers = 5;
  config.windows = {0, 3, 0, 3, 0};
  auto weights = small_store<host<double>>(config);
  auto others = small_store<host<double>>(config);
  model plain(config, *weights);
  llama<host<double>, sharing_attention> sharing(config, *others);
  const activation_table table = activations::checkpoint{}.table(config.layers);
  for (const double share : {0.3, 1.1}) {  // the last layer for some rows, and for all
    const token_batch batch = small_batch({5, 1, 7}, config.vocabulary, 1, share);
    const std::vector<double> c = fixed_coefficients(batch);
    const auto coefficients = [&](std::span<const double>, std::span<double> out) {
      std::ranges::copy(c, out.begin());
      return 0.0;
    };
    weights->zero_gradients();
    others->zero_gradients();
    sharing_attention::batches = sharing_attention::made = sharing_attention::calls = 0;
    BOOST_TEST(sharing.train(batch, table, true, coefficients, true) == train_once(plain, batch, table));
    BOOST_TEST((gradients(*others) == gradients(*weights)));
    BOOST_TEST(sharing_attention::batches == 1);
    BOOST_TEST(sharing_attention::made == (share < 1.0 ? 3 : 2));  // whole, with a window, the gathered rows
    BOOST_TEST(sharing_attention::calls == 3 * config.layers);     // forward, again, backward
    BOOST_TEST((sharing.log_probs(batch) == plain.log_probs(batch)));
    BOOST_TEST(sharing_attention::batches == 2);
  }
  auto cache = sharing.make_cache(9);  // its slices see rows of earlier calls
  static_cast<void>(sharing.extend(cache, small_batch({4}, config.vocabulary)));
  static_cast<void>(sharing.extend(cache, small_batch({3}, config.vocabulary)));
}

BOOST_AUTO_TEST_CASE(gathered_slices_see_the_same_keys) {
  const std::vector<slice> slices{
      {0, 6, 0, 6}, {6, 9, 0, 6, slice_kind::full}, {6, 9, 6, 9}, {9, 15, 9, 15, slice_kind::causal, 2}};
  const std::vector<std::int64_t> rows{0, 2, 3, 6, 8, 9, 13, 14};
  const std::vector<slice> gathered = gather_slices(slices, rows);
  check_slices(gathered, static_cast<std::int64_t>(rows.size()), 15);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::vector<bool> expected(15, false);
    std::vector<bool> got(15, false);
    for (const slice& s : slices)
      if (rows[r] >= s.q_begin && rows[r] < s.q_end)
        for (std::int64_t k = s.first_key(rows[r]); k < s.last_key(rows[r]); ++k)
          expected[static_cast<std::size_t>(k)] = true;
    for (const slice& s : gathered)
      if (static_cast<std::int64_t>(r) >= s.q_begin && static_cast<std::int64_t>(r) < s.q_end)
        for (std::int64_t k = s.first_key(static_cast<std::int64_t>(r)); k < s.last_key(static_cast<std::int64_t>(r));
             ++k)
          got[static_cast<std::size_t>(k)] = true;
    BOOST_TEST(got == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_SUITE_END()
