#include <lodestone/loss/concept.hpp>
#include <lodestone/loss/weighted_sft.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/batching/assemble.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/position/contiguous.hpp>

using namespace lodestone;

namespace {

/// Examples in memory. token_losses[i][j] is the loss of the j-th target of example i.
class store {
 public:
  struct item {
    std::vector<std::int32_t> tokens, labels;
    std::vector<float> weights;
    double weight = 1.0;
  };

  /// An example with `prompt` unscored rows and one target for each weight.
  void add(std::size_t prompt, const std::vector<float>& target_weights, double weight = 1.0) {
    item one;
    one.weight = weight;
    for (std::size_t r = 0; r < prompt + target_weights.size(); ++r) {
      one.tokens.push_back(static_cast<std::int32_t>(r));
      one.labels.push_back(r < prompt ? no_label : static_cast<std::int32_t>(r + 1));
      one.weights.push_back(r < prompt ? 0.0F : target_weights[r - prompt]);
    }
    items_.push_back(std::move(one));
  }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(items_.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    return static_cast<std::int64_t>(items_[static_cast<std::size_t>(i)].tokens.size());
  }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const item& one = items_[static_cast<std::size_t>(i)];
    return {one.tokens, one.labels, one.weights, one.weight, i};
  }

 private:
  std::vector<item> items_;
};
static_assert(example_store<store>);

/// A made-up log-probability for target `label` of an example: the same in whatever batch it stands.
using oracle = double (*)(std::int64_t example, std::int32_t label);

std::vector<double> log_probs(const token_batch& batch, oracle log_prob) {
  std::vector<double> result;
  for (const scored_token& token : batch.scored)
    result.push_back(log_prob(batch.sequences[static_cast<std::size_t>(token.sequence)].example, token.label));
  return result;
}

struct outcome {
  double value = 0.0;
  std::vector<std::vector<double>> gradient;  // [example][target]: d loss / d token loss
};

/// Adds one micro-batch to an outcome, as one step of accumulation does.
template <class Loss>
void accumulate(const Loss& loss, const store& data, const step_totals& totals, const micro_batch& plan,
                std::int64_t pack, oracle log_prob, outcome& sum) {
  const token_batch batch = batching::assemble(data, plan, position::contiguous{}, 0, 0, pack);
  const std::vector<double> p = log_probs(batch, log_prob);
  std::vector<double> c(p.size());
  sum.value += loss.coefficients(totals, batch.sequences, batch.scored, p, c);
  sum.gradient.resize(static_cast<std::size_t>(data.size()));
  for (const sequence& s : batch.sequences)
    for (std::int64_t k = s.scored_begin; k < s.scored_end; ++k)
      sum.gradient[static_cast<std::size_t>(s.example)].push_back(-c[static_cast<std::size_t>(k)]);
}

template <class Loss>
outcome evaluate(const Loss& loss, const store& data, const step_plan& step, oracle log_prob) {
  const step_totals totals = batching::totals(data, step);
  outcome sum;
  std::int64_t pack = 0;
  for (const micro_batch& plan : step.micro_batches) accumulate(loss, data, totals, plan, pack++, log_prob, sum);
  return sum;
}

/// The same step with micro-batch i on rank i % ranks; the value is summed by the communicator.
template <class Loss>
double evaluate_on_ranks(const Loss& loss, const store& data, const step_plan& step, oracle log_prob, int ranks) {
  std::vector<double> values(static_cast<std::size_t>(ranks));
  dist::threads::run(ranks, [&](dist::threads::communicator& group) {
    const step_totals totals = batching::totals(data, step);
    outcome mine;
    for (std::size_t i = static_cast<std::size_t>(group.rank()); i < step.micro_batches.size();
         i += static_cast<std::size_t>(ranks))
      accumulate(loss, data, totals, step.micro_batches[i], static_cast<std::int64_t>(i), log_prob, mine);
    group.all_reduce(std::span(&mine.value, 1));
    values[static_cast<std::size_t>(group.rank())] = mine.value;
  });
  for (const double value : values) BOOST_TEST(value == values[0]);
  return values[0];
}

/// The worked example of docs/03_longalign.md: 4 targets of loss 1, 1 of loss 4, 2 of loss 2.
store worked_example() {
  store data;
  data.add(3, {1, 1, 1, 1});
  data.add(5, {1});
  data.add(2, {1, 1});
  return data;
}
double worked_log_prob(std::int64_t example, std::int32_t) { return example == 0 ? -1.0 : example == 1 ? -4.0 : -2.0; }
const step_plan two_packs{{{{0, 1}}, {{2}}}};

void check_close(double computed, double expected) { BOOST_TEST(std::abs(computed - expected) < 1e-14); }

double some_log_prob(std::int64_t example, std::int32_t label) {
  random_stream random(7, random_purpose::user, static_cast<std::uint64_t>(label), static_cast<std::uint64_t>(example));
  return -4.0 * random.uniform() - 0.01;
}

store mixed_examples() {
  store data;
  data.add(3, {1.0F, 0.5F, 2.0F}, 1.0);
  data.add(1, {1.0F}, 0.25);
  data.add(4, {}, 1.0);                // no target
  data.add(2, {1.0F, 1.0F}, 0.0);      // weighs nothing
  data.add(2, {0.0F, 1.0F, 0.0F, 3.0F}, 2.0);
  data.add(1, {0.0F, 0.0F}, 1.0);      // all its targets weigh nothing
  data.add(6, {1, 1, 1, 1, 1, 1, 1, 1}, 1.0);
  return data;
}

const std::vector<step_plan> divisions{
    {{{{0, 1, 2, 3, 4, 5, 6}}}},
    {{{{0}}, {{1}}, {{2}}, {{3}}, {{4}}, {{5}}, {{6}}}},
    {{{{6, 0}}, {{5, 1, 2}}, {{4, 3}}}},
    {{{{3, 5, 2}}, {{1, 4, 0, 6}}}},
};

/// A loss that is not linear in log p, written as a user would: the share of probability that the mean target misses,
/// L = sum_i w_i (1 - exp(mean_t log p_t)) / sum_i w_i. It needs the log-probabilities before it has coefficients.
struct missing_probability {
  static constexpr bool is_always_linear = false;
  [[nodiscard]] static constexpr bool is_linear() { return false; }

  [[nodiscard]] double coefficients(const step_totals& totals, std::span<const sequence> sequences,
                                    std::span<const scored_token> scored, std::span<const double> log_probs,
                                    std::span<double> c) const {
    double value = 0.0;
    for (const sequence& s : sequences) {
      if (s.target_weight == 0.0) continue;
      double mean = 0.0;
      for (auto k = static_cast<std::size_t>(s.scored_begin); k < static_cast<std::size_t>(s.scored_end); ++k)
        mean += scored[k].weight * log_probs[k] / s.target_weight;
      const double share = s.weight / totals.sequence_weight;
      value += share * (1.0 - std::exp(mean));
      for (auto k = static_cast<std::size_t>(s.scored_begin); k < static_cast<std::size_t>(s.scored_end); ++k)
        c[k] = -share * std::exp(mean) * scored[k].weight / s.target_weight;
    }
    return value;
  }
};
static_assert(loss_function<missing_probability>);

struct without_linearity {
  double coefficients(const step_totals&, std::span<const sequence>, std::span<const scored_token>,
                      std::span<const double>, std::span<double>) const {
    return 0.0;
  }
};
static_assert(!loss_function<without_linearity>);

template <class Loss>
void check_coefficients_are_the_gradient(const Loss& loss, const store& data, const step_plan& step) {
  const step_totals totals = batching::totals(data, step);
  std::int64_t pack = 0;
  for (const micro_batch& plan : step.micro_batches) {
    const token_batch batch = batching::assemble(data, plan, position::contiguous{}, 0, 0, pack++);
    std::vector<double> p = log_probs(batch, some_log_prob);
    std::vector<double> c(p.size()), ignored(p.size());
    static_cast<void>(loss.coefficients(totals, batch.sequences, batch.scored, p, c));
    for (std::size_t k = 0; k < p.size(); ++k) {
      const double h = 1e-5;
      const double there = p[k];
      p[k] = there + h;
      const double above = loss.coefficients(totals, batch.sequences, batch.scored, p, ignored);
      p[k] = there - h;
      const double below = loss.coefficients(totals, batch.sequences, batch.scored, p, ignored);
      p[k] = there;
      BOOST_TEST(std::abs((above - below) / (2.0 * h) - c[k]) < 1e-9);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(loss_weighted_sft)

BOOST_AUTO_TEST_CASE(worked_example_has_the_published_values) {
  const store data = worked_example();
  const auto value = [&](const loss::weighted_sft& loss) {
    return evaluate(loss, data, two_packs, worked_log_prob).value;
  };
  check_close(value({.per = normalize::sequence}), (1.0 + 4.0 + 2.0) / 3.0);                       // 2.33333
  check_close(value({.per = normalize::pack}), (8.0 / 5.0 + 4.0 / 2.0) / 2.0);                     // 1.8
  check_close(value({.per = normalize::token}), 12.0 / 7.0);                                       // 1.71429
  check_close(value({.per = normalize::constant, .divisor = 1.5}), (1.6 * 2 + 2.0 * 1) / 1.5 / 2);  // 1.73333
  check_close(value({.per = normalize::user}), 12.0);
  check_close(value({.per = normalize::user, .divisor = 4.0}), 3.0);
}

BOOST_AUTO_TEST_CASE(worked_example_has_the_published_gradients) {
  const store data = worked_example();
  const auto gradient = [&](normalize per, std::size_t example) {
    const outcome all = evaluate(loss::weighted_sft{.per = per}, data, two_packs, worked_log_prob);
    for (const double g : all.gradient[example]) check_close(g, all.gradient[example][0]);
    return all.gradient[example][0];
  };
  check_close(gradient(normalize::sequence, 0), 1.0 / 12.0);
  check_close(gradient(normalize::sequence, 1), 1.0 / 3.0);
  check_close(gradient(normalize::sequence, 2), 1.0 / 6.0);
  check_close(gradient(normalize::pack, 0), 1.0 / 10.0);
  check_close(gradient(normalize::pack, 1), 1.0 / 10.0);
  check_close(gradient(normalize::pack, 2), 1.0 / 4.0);
  for (std::size_t i = 0; i < 3; ++i) check_close(gradient(normalize::token, i), 1.0 / 7.0);
}

// The published scheme step by step: weights 1/N_i, scaled by K/M, summed inside a pack, averaged over packs. With one
// rank and two micro-steps the released code takes M of each micro-step instead, which is another number.
BOOST_AUTO_TEST_CASE(equation_4_equals_equation_2_and_the_released_accumulation_does_not) {
  const double k_over_m = 2.0 / 3.0;
  const double pack_a = (4 * 1.0 * 0.25 + 4.0 * 1.0) * k_over_m;
  const double pack_b = (2 * 2.0 * 0.5) * k_over_m;
  check_close(pack_a, 10.0 / 3.0);
  check_close(pack_b, 4.0 / 3.0);
  const store data = worked_example();
  const loss::weighted_sft loss{.per = normalize::sequence};
  check_close(evaluate(loss, data, two_packs, worked_log_prob).value, (pack_a + pack_b) / 2.0);

  double per_micro_step = 0.0;
  for (const micro_batch& plan : two_packs.micro_batches)
    per_micro_step += evaluate(loss, data, step_plan{{plan}}, worked_log_prob).value / 2.0;
  check_close(per_micro_step, 2.25);
}

// ranks x accumulation x packs per rank
BOOST_AUTO_TEST_CASE(every_division_of_the_worked_example_gives_one_loss) {
  const store data = worked_example();
  const loss::weighted_sft loss{};
  const double expected = 7.0 / 3.0;
  check_close(evaluate_on_ranks(loss, data, two_packs, worked_log_prob, 2), expected);  // 2 x 1 x 1
  check_close(evaluate_on_ranks(loss, data, two_packs, worked_log_prob, 1), expected);  // 1 x 2 x 1
  check_close(evaluate_on_ranks(loss, data, two_packs, worked_log_prob, 3), expected);  // one rank has no pack

  // 1 x 1 x 2: both packs in one stream, told apart by their number; the pack normaliser must see two.
  token_batch batch = batching::assemble(data, micro_batch{{0, 1, 2}}, position::contiguous{}, 0, 0, 0);
  batch.sequences[2].pack = 1;
  const step_totals totals = batching::totals(data, two_packs);
  const std::vector<double> p = log_probs(batch, worked_log_prob);
  std::vector<double> c(p.size());
  const auto value = [&](normalize per, double divisor = 1.0) {
    return loss::weighted_sft{.per = per, .divisor = divisor}.coefficients(totals, batch.sequences, batch.scored, p, c);
  };
  check_close(value(normalize::sequence), expected);
  check_close(value(normalize::token), 12.0 / 7.0);
  check_close(value(normalize::pack), 1.8);
  check_close(value(normalize::constant, 1.5), 5.2 / 3.0);
}

BOOST_AUTO_TEST_CASE(weights_enter_as_the_formulas_say) {
  const store data = mixed_examples();
  double sequence_sum = 0.0, sequence_weight = 0.0, token_sum = 0.0, token_weight = 0.0;
  for (std::int64_t i = 0; i < data.size(); ++i) {
    const example_view example = data[i];
    double losses = 0.0, weights = 0.0;
    for (std::size_t r = 0; r < example.labels.size(); ++r) {
      if (example.labels[r] == no_label) continue;
      const double a = static_cast<double>(example.weights[r]);
      losses += a == 0.0 ? 0.0 : -a * some_log_prob(i, example.labels[r]);
      weights += a;
    }
    if (weights == 0.0) continue;
    sequence_sum += example.weight * losses / weights;
    sequence_weight += example.weight;
    token_sum += example.weight * losses;
    token_weight += example.weight * weights;
  }
  const auto value = [&](normalize per) {
    return evaluate(loss::weighted_sft{.per = per}, data, divisions[2], some_log_prob).value;
  };
  check_close(value(normalize::sequence), sequence_sum / sequence_weight);
  check_close(value(normalize::token), token_sum / token_weight);
  check_close(value(normalize::user), token_sum);
}

template <class Loss>
void check_invariance(const Loss& loss) {
  const store data = mixed_examples();
  const outcome reference = evaluate(loss, data, divisions[0], some_log_prob);
  for (const step_plan& step : divisions) {
    const outcome other = evaluate(loss, data, step, some_log_prob);
    check_close(other.value, reference.value);
    for (std::size_t i = 0; i < reference.gradient.size(); ++i) {
      BOOST_TEST_REQUIRE(other.gradient[i].size() == reference.gradient[i].size());
      for (std::size_t k = 0; k < reference.gradient[i].size(); ++k)
        check_close(other.gradient[i][k], reference.gradient[i][k]);
    }
    for (const int ranks : {1, 2, 3})
      check_close(evaluate_on_ranks(loss, data, step, some_log_prob, ranks), reference.value);
  }
}

BOOST_AUTO_TEST_CASE(loss_and_gradient_do_not_depend_on_the_division_of_a_step) {
  for (const normalize per : {normalize::sequence, normalize::token, normalize::user})
    check_invariance(loss::weighted_sft{.per = per, .divisor = 3.0});
  check_invariance(missing_probability{});
}

// The baseline, by its definition, does depend on the packs.
BOOST_AUTO_TEST_CASE(plain_packing_depends_on_the_packs) {
  const store data = mixed_examples();
  const loss::weighted_sft loss{.per = normalize::pack};
  const double one = evaluate(loss, data, divisions[2], some_log_prob).value;
  const double other = evaluate(loss, data, divisions[3], some_log_prob).value;
  BOOST_TEST(std::abs(one - other) > 1e-3);
}

BOOST_AUTO_TEST_CASE(sequences_without_targets_leave_every_total_and_are_counted) {
  const store data = mixed_examples();
  const step_totals totals = batching::totals(data, divisions[1]);
  BOOST_TEST(totals.sequences == 4.0);
  BOOST_TEST(totals.without_targets == 3);
  BOOST_TEST(totals.packs == 4.0);
  BOOST_TEST(totals.sequence_weight == 4.25);
  BOOST_TEST(totals.token_weight == 3.5 + 0.25 + 8.0 + 8.0);
  BOOST_TEST(totals.targets == 3 + 1 + 2 + 8);
  BOOST_TEST(totals.tokens == 6 + 2 + 4 + 4 + 6 + 3 + 14);
  for (const normalize per : {normalize::sequence, normalize::token, normalize::pack, normalize::constant,
                              normalize::user}) {
    const outcome all = evaluate(loss::weighted_sft{.per = per}, data, divisions[1], some_log_prob);
    BOOST_TEST(std::isfinite(all.value));
    for (const std::size_t silent : {2U, 3U, 5U}) BOOST_TEST(all.gradient[silent].empty());
    // Without those three examples the numbers are the same.
    const step_plan rest{{{{0}}, {{1}}, {{4}}, {{6}}}};
    check_close(evaluate(loss::weighted_sft{.per = per}, data, rest, some_log_prob).value, all.value);
  }
}

BOOST_AUTO_TEST_CASE(a_step_without_any_target_has_loss_zero) {
  store data;
  data.add(4, {});
  for (const normalize per : {normalize::sequence, normalize::token, normalize::pack, normalize::constant,
                              normalize::user})
    BOOST_TEST(evaluate(loss::weighted_sft{.per = per}, data, {{{{0}}}}, some_log_prob).value == 0.0);
}

BOOST_AUTO_TEST_CASE(coefficients_are_the_gradient) {
  const store data = mixed_examples();
  for (const step_plan& step : divisions) {
    for (const normalize per : {normalize::sequence, normalize::token, normalize::pack, normalize::constant,
                                normalize::user})
      check_coefficients_are_the_gradient(loss::weighted_sft{.per = per, .divisor = 2.0}, data, step);
    check_coefficients_are_the_gradient(missing_probability{}, data, step);
  }
}

BOOST_AUTO_TEST_CASE(coefficients_are_known_before_the_forward_pass) {
  const store data = mixed_examples();
  const step_totals totals = batching::totals(data, divisions[0]);
  const token_batch batch =
      batching::assemble(data, divisions[0].micro_batches[0], position::contiguous{}, 0, 0, 0);
  const std::vector<double> p = log_probs(batch, some_log_prob);
  std::vector<double> before(p.size()), after(p.size());
  const loss::weighted_sft loss{};
  BOOST_TEST(loss.is_linear());
  BOOST_TEST(loss.coefficients(totals, batch.sequences, batch.scored, {}, before) == 0.0);
  const double value = loss.coefficients(totals, batch.sequences, batch.scored, p, after);
  BOOST_TEST(before == after, boost::test_tools::per_element());
  double sum = 0.0;
  for (std::size_t k = 0; k < p.size(); ++k) sum += before[k] * p[k];
  check_close(sum, value);
}

BOOST_AUTO_TEST_CASE(wrong_sizes_and_settings_are_refused) {
  const store data = worked_example();
  const token_batch batch = batching::assemble(data, micro_batch{{0}}, position::contiguous{}, 0, 0, 0);
  const step_totals totals = batching::totals(data, two_packs);
  std::vector<double> c(3);
  BOOST_CHECK_THROW(static_cast<void>(loss::weighted_sft{}.coefficients(totals, batch.sequences, batch.scored, {}, c)),
                    shape_error);
  const loss::weighted_sft by_zero{.per = normalize::user, .divisor = 0.0};
  BOOST_CHECK_THROW(static_cast<void>(by_zero.sequence_scales(totals, batch.sequences)), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
