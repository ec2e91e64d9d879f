#include <lodestone/batching/assemble.hpp>
#include <lodestone/batching/example.hpp>
#include <lodestone/batching/token_batch.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/random.hpp>
#include <lodestone/position/contiguous.hpp>

using namespace lodestone;

namespace {

struct item {
  std::vector<std::int32_t> tokens, labels;
  std::vector<float> weights;
  double weight = 1.0;
  std::int64_t group = no_group;
  std::int32_t role = 0;
  double reference = no_reference;
};

struct store {
  std::vector<item> items;
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(items.size()); }
  [[nodiscard]] std::int64_t length(std::int64_t i) const {
    return static_cast<std::int64_t>(items[static_cast<std::size_t>(i)].tokens.size());
  }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    const item& one = items[static_cast<std::size_t>(i)];
    return {.tokens = one.tokens,
            .labels = one.labels,
            .weights = one.weights,
            .weight = one.weight,
            .index = i,
            .group = one.group,
            .role = one.role,
            .reference = one.reference};
  }
};
static_assert(example_store<store>);
static_assert(!example_store<std::vector<int>>);

store three_examples() {
  return {{
      {{10, 11, 12, 13}, {no_label, 12, 13, 2}, {0.0F, 1.0F, 1.0F, 0.5F}, 1.0},
      {{20, 21}, {21, no_label}, {2.0F, 0.0F}, 0.25},
      {{30, 31, 32}, {31, 32, no_label}, {0.0F, 0.0F, 0.0F}, 1.0},  // labels, but all weigh nothing
  }};
}

// Positions that depend on everything a policy may look at.
struct strides {
  void fill(const example_view& example, std::uint64_t seed, std::uint64_t epoch, std::span<std::int32_t> out) const {
    random_stream random(seed, random_purpose::position, epoch, static_cast<std::uint64_t>(example.index));
    std::int32_t id = 0;
    for (std::int32_t& place : out) place = id += 1 + static_cast<std::int32_t>(random.below(9));
  }
};
static_assert(position_policy<strides>);

template <class T>
void check_equal(const std::vector<T>& computed, const std::vector<T>& expected) {
  BOOST_TEST(computed == expected, boost::test_tools::per_element());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(batching_assemble)

BOOST_AUTO_TEST_CASE(examples_lie_end_to_end_with_their_own_slices_and_positions) {
  const token_batch batch =
      batching::assemble(three_examples(), micro_batch{{2, 0, 1}}, position::contiguous{}, 1, 0, 5);
  check_equal<std::int32_t>(batch.tokens, {30, 31, 32, 10, 11, 12, 13, 20, 21});
  check_equal<std::int32_t>(batch.positions, {0, 1, 2, 0, 1, 2, 3, 0, 1});
  check_equal<std::int64_t>(batch.lengths, {3, 3, 3, 4, 4, 4, 4, 2, 2});
  const std::vector<slice> slices{{0, 3, 0, 3}, {3, 7, 3, 7}, {7, 9, 7, 9}};
  BOOST_TEST((batch.slices == slices));
  check_slices(batch.slices, batch.size(), batch.size());

  BOOST_TEST_REQUIRE(batch.scored.size() == 4U);
  const std::vector<std::int64_t> rows{4, 5, 6, 7};
  const std::vector<std::int32_t> labels{12, 13, 2, 21};
  const std::vector<double> weights{1.0, 1.0, 0.5, 2.0};
  for (std::size_t k = 0; k < 4; ++k) {
    BOOST_TEST(batch.scored[k].row == rows[k]);
    BOOST_TEST(batch.scored[k].label == labels[k]);
    BOOST_TEST(batch.scored[k].weight == weights[k]);
    BOOST_TEST(batch.scored[k].sequence == (k < 3 ? 1 : 2));
  }
  BOOST_TEST_REQUIRE(batch.sequences.size() == 3U);
  const sequence& silent = batch.sequences[0];
  BOOST_TEST(silent.example == 2);
  BOOST_TEST(silent.target_weight == 0.0);
  BOOST_TEST(silent.scored_begin == silent.scored_end);
  const sequence& first = batch.sequences[1];
  BOOST_TEST(first.begin == 3);
  BOOST_TEST(first.end == 7);
  BOOST_TEST(first.scored_begin == 0);
  BOOST_TEST(first.scored_end == 3);
  BOOST_TEST(first.target_weight == 2.5);
  const sequence& last = batch.sequences[2];
  BOOST_TEST(last.weight == 0.25);
  BOOST_TEST(last.target_weight == 2.0);
  BOOST_TEST(last.pack == 5);
  BOOST_TEST(last.group == 2);
}

BOOST_AUTO_TEST_CASE(preference_groups_are_numbered_passed_on_and_counted) {
  store data = three_examples();
  data.items.push_back(data.items[0]);
  data.items.push_back(data.items[1]);
  data.items[0].group = data.items[1].group = 40, data.items[1].role = 1;
  data.items[3].group = data.items[4].group = 12, data.items[4].role = 3;
  data.items[1].reference = -2.5;
  const token_batch batch = batching::assemble(data, micro_batch{{1, 2, 4, 0, 3}}, position::contiguous{}, 1, 0, 0);
  std::vector<std::int32_t> groups, roles;
  for (const sequence& s : batch.sequences) groups.push_back(s.group), roles.push_back(s.role);
  check_equal<std::int32_t>(groups, {0, 1, 2, 0, 2});
  check_equal<std::int32_t>(roles, {1, 0, 3, 0, 0});
  BOOST_TEST(batch.sequences[0].reference == -2.5);
  BOOST_TEST(std::isnan(batch.sequences[2].reference));

  const auto count = [&](const step_plan& step) { return batching::totals(data, step).groups; };
  BOOST_TEST(count({{{{1, 2, 4, 0, 3}}}}) == 2.0);
  BOOST_TEST(count({{{{1, 0}}, {{2}}, {{4, 3}}}}) == 2.0);
  BOOST_TEST(count({{{{1, 0}}, {{0, 1}}}}) == 2.0);  // drawn twice
  BOOST_TEST(count({{{{2}}}}) == 0.0);               // stands alone
  BOOST_TEST(count({{{{1, 4}}}}) == 0.0);            // nothing chosen
  data.items[0].weight = 0.0;
  BOOST_TEST(count({{{{1, 2, 4, 0, 3}}}}) == 1.0);
}

BOOST_AUTO_TEST_CASE(absolute_positions_run_on_through_the_pack) {
  const token_batch batch = batching::assemble(three_examples(), micro_batch{{1, 0}}, position::contiguous{}, 1, 0, 0,
                                               {.absolute_positions = true});
  check_equal<std::int32_t>(batch.positions, {0, 1, 2, 3, 4, 5});
  check_equal<std::int64_t>(batch.lengths, {2, 2, 4, 4, 4, 4});
}

BOOST_AUTO_TEST_CASE(a_window_belongs_to_every_slice) {
  const token_batch batch =
      batching::assemble(three_examples(), micro_batch{{1, 0}}, position::contiguous{}, 1, 0, 0, {.window = 3});
  for (const slice& s : batch.slices) BOOST_TEST(s.window == 3);
}

BOOST_AUTO_TEST_CASE(positions_of_an_example_do_not_depend_on_its_company) {
  const store data = three_examples();
  const token_batch together = batching::assemble(data, micro_batch{{1, 2, 0}}, strides{}, 7, 3, 0);
  const token_batch alone = batching::assemble(data, micro_batch{{0}}, strides{}, 7, 3, 0);
  BOOST_TEST(std::equal(alone.positions.begin(), alone.positions.end(), together.positions.begin() + 5));
  BOOST_TEST(together.lengths.back() == together.positions.back() + 1);  // the window that the ids span
  const token_batch next_epoch = batching::assemble(data, micro_batch{{0}}, strides{}, 7, 4, 0);
  BOOST_TEST((alone.positions != next_epoch.positions));
}

BOOST_AUTO_TEST_CASE(an_empty_micro_batch_is_an_empty_stream) {
  const token_batch batch = batching::assemble(three_examples(), micro_batch{}, position::contiguous{}, 0, 0, 0);
  BOOST_TEST(batch.size() == 0);
  BOOST_TEST(batch.slices.empty());
}

BOOST_AUTO_TEST_CASE(an_example_that_weighs_nothing_is_read_but_not_scored) {
  store data = three_examples();
  data.items[0].weight = 0.0;
  const token_batch batch = batching::assemble(data, micro_batch{{0}}, position::contiguous{}, 0, 0, 0);
  BOOST_TEST(batch.size() == 4);
  BOOST_TEST(batch.scored.empty());
  BOOST_TEST(batch.sequences[0].target_weight == 0.0);
}

BOOST_AUTO_TEST_CASE(errors_name_the_example) {
  const auto message = [](const store& data, std::vector<std::int64_t> examples) -> std::string {
    try {
      static_cast<void>(batching::assemble(data, micro_batch{std::move(examples)}, position::contiguous{}, 0, 0, 0));
    } catch (const error& failure) {
      return failure.what();
    }
    return "no error";
  };
  const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(says(message(three_examples(), {3}), "example 3"));
  BOOST_TEST(says(message(three_examples(), {-1}), "example -1"));
  store empty = three_examples();
  empty.items[1] = {};
  BOOST_TEST(says(message(empty, {0, 1}), "example 1: has no tokens"));
  store ragged = three_examples();
  ragged.items[2].labels.pop_back();
  BOOST_TEST(says(message(ragged, {2}), "example 2"));
  store negative = three_examples();
  negative.items[0].weights[1] = -1.0F;
  BOOST_TEST(says(message(negative, {0}), "example 0"));
  store broken = three_examples();
  broken.items[0].weight = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST(says(message(broken, {0}), "example 0"));
}

BOOST_AUTO_TEST_SUITE_END()
