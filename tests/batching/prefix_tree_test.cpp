// Prefix trees: rows that sequences share, what each row sees, and groups that are taken out again.
#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/slices.hpp>
#include <lodestone/batching/prefix_tree.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/random.hpp>

using namespace lodestone;
using batching::prefix_tree;
using batching::prefixes;
using batching::scored_tail;

namespace {

using ids = std::vector<std::int32_t>;

/// Rows that `row` sees, itself included, in order.
std::vector<std::int64_t> seen_by(const token_batch& batch, std::int64_t row) {
  std::vector<std::int64_t> keys;
  for (const slice& s : batch.slices)
    if (row >= s.q_begin && row < s.q_end)
      for (std::int64_t k = s.first_key(row); k < s.last_key(row); ++k) keys.push_back(k);
  std::sort(keys.begin(), keys.end());
  return keys;
}

/// Every scored token stands in a row that sees exactly the tokens before it, at their positions.
void check(const token_batch& batch, const std::vector<ids>& sequences, const std::vector<std::int64_t>& firsts) {
  check_slices(batch.slices, batch.size(), batch.size());
  BOOST_REQUIRE_EQUAL(batch.sequences.size(), sequences.size());
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const lodestone::sequence& own = batch.sequences[s];
    BOOST_REQUIRE_EQUAL(own.scored_end - own.scored_begin, std::ssize(sequences[s]) - firsts[s]);
    for (std::int64_t k = 0; k < own.scored_end - own.scored_begin; ++k) {
      const scored_token& scored = batch.scored[static_cast<std::size_t>(own.scored_begin + k)];
      const std::int64_t token = firsts[s] + k;
      BOOST_TEST(scored.label == sequences[s][static_cast<std::size_t>(token)]);
      const std::vector<std::int64_t> seen = seen_by(batch, scored.row);
      BOOST_REQUIRE_EQUAL(std::ssize(seen), token);
      for (std::int64_t i = 0; i < token; ++i) {
        const auto row = static_cast<std::size_t>(seen[static_cast<std::size_t>(i)]);
        BOOST_TEST(batch.tokens[row] == sequences[s][static_cast<std::size_t>(i)]);
        BOOST_TEST(batch.positions[row] == i);
        BOOST_TEST(batch.lengths[row] >= std::ssize(sequences[s]) - 1);
      }
    }
  }
}

std::vector<scored_tail> tails(const std::vector<ids>& sequences, const std::vector<std::int64_t>& firsts) {
  std::vector<scored_tail> result;
  for (std::size_t s = 0; s < sequences.size(); ++s) result.push_back({sequences[s], firsts[s]});
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(batching_prefix_tree)

BOOST_AUTO_TEST_CASE(choices_of_one_letter_take_the_rows_of_their_prompt) {
  const std::vector<ids> sequences{{1, 2, 3, 7}, {1, 2, 3, 8}, {1, 2, 3, 9, 4}, {1, 2, 5}};
  const std::vector<std::int64_t> firsts{3, 3, 3, 2};
  prefix_tree tree;
  tree.add(tails(sequences, firsts));
  const token_batch batch = tree.batch();
  BOOST_TEST(batch.tokens == (ids{1, 2, 3, 9}), boost::test_tools::per_element());
  BOOST_TEST(batch.slices.size() == 1U);
  check(batch, sequences, firsts);
}

BOOST_AUTO_TEST_CASE(every_row_sees_the_beginning_of_its_sequence_and_nothing_else) {
  random_stream random(3, random_purpose::user);
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random.below(n)); };
  for (int round = 0; round < 300; ++round) {
    std::vector<ids> sequences(static_cast<std::size_t>(1 + below(6)));
    std::vector<std::int64_t> firsts;
    std::set<ids> beginnings;
    std::int64_t rows = 0;
    for (ids& own : sequences) {
      own.resize(static_cast<std::size_t>(1 + below(9)));
      for (std::int32_t& token : own) token = static_cast<std::int32_t>(below(2));
      firsts.push_back(1 + below(own.size()));
      for (auto end = own.begin(); end + 1 < own.end(); ++end) beginnings.insert({own.begin(), end + 1});
      rows += std::ssize(own) - 1;
    }
    for (const prefixes kind : {prefixes::shared, prefixes::separate}) {
      prefix_tree tree(kind);
      tree.add(tails(sequences, firsts));
      const token_batch batch = tree.batch();
      BOOST_TEST(batch.size() == (kind == prefixes::shared ? std::ssize(beginnings) : rows));
      BOOST_TEST(tree.size() == batch.size());
      check(batch, sequences, firsts);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_group_that_is_taken_out_leaves_no_trace) {
  random_stream random(4, random_purpose::user);
  const auto group_of = [&](std::size_t count) {
    std::vector<ids> group(count);
    for (ids& own : group)
      for (std::uint64_t n = 2 + random.below(7); n > 0; --n) own.push_back(static_cast<std::int32_t>(random.below(2)));
    return group;
  };
  for (int round = 0; round < 200; ++round) {
    const std::vector<ids> kept = group_of(3), removed = group_of(4), last = group_of(2);
    const auto ones = [](const std::vector<ids>& group) { return std::vector<std::int64_t>(group.size(), 1); };
    prefix_tree with;
    with.add(tails(kept, ones(kept)));
    with.add(tails(removed, ones(removed)));
    with.drop_last();
    with.add(tails(last, ones(last)));
    prefix_tree without;
    without.add(tails(kept, ones(kept)));
    without.add(tails(last, ones(last)));
    const token_batch a = with.batch(), b = without.batch();
    BOOST_TEST(a.tokens == b.tokens, boost::test_tools::per_element());
    BOOST_TEST((a.slices == b.slices));
    BOOST_TEST(a.lengths == b.lengths, boost::test_tools::per_element());
    std::vector<ids> both = kept;
    both.insert(both.end(), last.begin(), last.end());
    check(a, both, ones(both));
  }
}

BOOST_AUTO_TEST_CASE(two_slices_a_run_however_many_sequences) {
  prefix_tree tree;
  std::vector<ids> sequences;
  for (std::int32_t i = 0; i < 100; ++i) sequences.push_back({0, 1, 2, 100 + i, 3, 4});
  for (const ids& own : sequences) {
    const scored_tail whole{own, 4};
    tree.add({&whole, 1});
  }
  const token_batch batch = tree.batch();
  BOOST_TEST(batch.size() == 203);
  BOOST_TEST(batch.slices.size() == 102U);  // the beginning, what follows sees it, and each end
}

BOOST_AUTO_TEST_CASE(what_has_nothing_before_it_has_no_score) {
  const ids own{1, 2};
  prefix_tree tree;
  for (const std::int64_t first : {0, 3, -1}) {
    const scored_tail wrong{own, first};
    BOOST_CHECK_THROW(tree.add({&wrong, 1}), shape_error);
  }
  BOOST_TEST(tree.empty());
  const scored_tail nothing{std::span<const std::int32_t>(own).first(1), 1};
  tree.add({&nothing, 1});
  BOOST_TEST(tree.batch().size() == 0);
  BOOST_TEST(tree.batch().sequences.size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
