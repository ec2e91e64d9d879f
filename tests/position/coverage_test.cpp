#include <lodestone/position/coverage.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/position/contiguous.hpp>
#include <lodestone/position/logo.hpp>

using namespace lodestone;

namespace {

/// `count` examples of n tokens, of which the last row but one has a target.
struct equal_store {
  std::int64_t count;
  std::vector<std::int32_t> tokens, labels;
  std::vector<float> weights;

  equal_store(std::int64_t examples, std::size_t n)
      : count(examples), tokens(n, 1), labels(n, no_label), weights(n, 0.0F) {
    labels[n - 2] = 1;
    weights[n - 2] = 1.0F;
  }
  [[nodiscard]] std::int64_t size() const { return count; }
  [[nodiscard]] std::int64_t length(std::int64_t) const { return static_cast<std::int64_t>(tokens.size()); }
  [[nodiscard]] example_view operator[](std::int64_t i) const {
    return {.tokens = tokens, .labels = labels, .weights = weights, .index = i};
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(position_coverage)

BOOST_AUTO_TEST_CASE(counts_of_contiguous_ids_are_known) {
  const equal_store store(3, 10);
  const position::coverage all =
      position::measure_coverage(store, position::contiguous{}, 16, 1, {.epochs = 2, .limit = 0, .buckets = 4});
  BOOST_TEST(all.samples == 6);
  BOOST_TEST(all.tokens == 60);
  BOOST_TEST(all.seen == 10);
  BOOST_TEST(all.share() == 0.625);
  BOOST_TEST(all.beyond == 0);
  BOOST_REQUIRE(all.buckets.size() == 4U);
  const std::vector<std::int64_t> tokens{24, 24, 12, 0}, targets{0, 0, 6, 0}, seen{4, 4, 2, 0};
  for (std::size_t b = 0; b < 4; ++b) {
    BOOST_TEST(all.buckets[b].low == std::int64_t(4 * b));
    BOOST_TEST(all.buckets[b].high == std::int64_t(4 * b + 4));
    BOOST_TEST(all.buckets[b].tokens == tokens[b]);
    BOOST_TEST(all.buckets[b].targets == targets[b]);
    BOOST_TEST(all.buckets[b].seen == seen[b]);
  }
  const position::coverage short_window = position::measure_coverage(store, position::contiguous{}, 7, 1);
  BOOST_TEST(short_window.beyond == 9);
  BOOST_TEST(short_window.seen == 7);
  BOOST_TEST(short_window.buckets.size() == 7U);  // of one id each
}

BOOST_AUTO_TEST_CASE(buckets_add_up_and_synthesis_covers_what_contiguous_ids_leave) {
  const equal_store store(40, 300);
  const position::layout_rule rule{.chunk = 32, .question = 8};
  const position::coverage wide = position::measure_coverage(
      store, position::logo_mix{.window = 3'000, .rule = rule}, 3'000, 1, {.epochs = 25, .limit = 0});
  std::int64_t tokens = 0, seen = 0, targets = 0;
  for (const position::coverage_bucket& bucket : wide.buckets) {
    tokens += bucket.tokens, seen += bucket.seen, targets += bucket.targets;
    // 1,000 x 300 tokens over 16 buckets; the ends of a bin are reached less often than its middle.
    if (bucket.low > 0 && bucket.high < 3'000) BOOST_TEST(static_cast<double>(bucket.tokens) > 0.6 * 300'000 / 16);
  }
  BOOST_TEST(tokens == wide.tokens);
  BOOST_TEST(seen == wide.seen);
  BOOST_TEST(targets == 1'000);
  BOOST_TEST(wide.share() > 0.99);
  const position::coverage narrow = position::measure_coverage(store, position::contiguous{}, 3'000, 1);
  BOOST_TEST(narrow.share() == 0.1);
}

BOOST_AUTO_TEST_CASE(a_limit_takes_samples_of_all_examples_and_epochs) {
  struct first_id {
    mutable std::vector<std::int64_t> asked;
    void fill(const example_view& example, std::uint64_t, std::uint64_t epoch, std::span<std::int32_t> out) const {
      asked.push_back(example.index + 100 * static_cast<std::int64_t>(epoch));
      position::contiguous{}.fill(example, 0, 0, out);
    }
  };
  const first_id policy;
  const position::coverage some =
      position::measure_coverage(equal_store(10, 4), policy, 8, 1, {.epochs = 2, .limit = 5});
  BOOST_TEST(some.samples == 5);
  const std::vector<std::int64_t> expected{0, 4, 8, 102, 106};
  BOOST_TEST(policy.asked == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_text_shows_every_bucket) {
  const equal_store store(3, 10);
  const std::string text = position::to_text(
      position::measure_coverage(store, position::contiguous{}, 16, 1, {.epochs = 1, .limit = 0, .buckets = 4}));
  BOOST_TEST(text ==
             "position ids of 3 samples in a window of 16: 62.5 % of the ids seen\n"
             "  ids from           tokens     targets   ids seen\n"
             "         0             12           0    100.0 %  ##############################\n"
             "         4             12           0    100.0 %  ##############################\n"
             "         8              6           3     50.0 %  ###############\n"
             "        12              0           0      0.0 %\n");
  BOOST_CHECK_THROW(static_cast<void>(position::measure_coverage(store, position::contiguous{}, 0, 1)), config_error);
}

BOOST_AUTO_TEST_SUITE_END()
