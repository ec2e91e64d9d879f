#include <lodestone/core/token_groups.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/random.hpp>

namespace {

using namespace lodestone;

/// Rows of each token in the order in which the pieces and joins add them up; fails when anything is missed or twice.
std::map<std::int32_t, std::vector<std::int32_t>> rows_by_token(const token_groups& groups, std::int64_t longest) {
  std::map<std::int32_t, std::vector<std::int32_t>> result;
  std::vector<std::vector<std::int32_t>> partials(static_cast<std::size_t>(groups.partials));
  const std::size_t sums = groups.pieces.size() - static_cast<std::size_t>(groups.joins);
  std::int32_t before = std::numeric_limits<std::int32_t>::max();
  for (std::size_t i = 0; i < sums; ++i) {
    const token_piece& piece = groups.pieces[i];
    BOOST_TEST(piece.count >= 1);
    BOOST_TEST(piece.count <= longest);
    BOOST_TEST(piece.count <= before);  // longest first
    before = piece.count;
    const auto begin = groups.order.begin() + piece.begin;
    if (piece.partial < 0) BOOST_TEST(result[piece.token].empty());
    auto& rows = piece.partial < 0 ? result[piece.token] : partials.at(static_cast<std::size_t>(piece.partial));
    BOOST_TEST(rows.empty());
    rows.assign(begin, begin + piece.count);
  }
  for (std::size_t i = sums; i < groups.pieces.size(); ++i) {
    const token_piece& join = groups.pieces[i];
    BOOST_TEST(join.partial == -1);
    BOOST_TEST(join.count >= 2);
    auto& rows = result[join.token];
    BOOST_TEST(rows.empty());
    for (std::int32_t k = join.begin; k < join.begin + join.count; ++k) {
      auto& some = partials.at(static_cast<std::size_t>(k));
      BOOST_TEST(!some.empty());
      rows.insert(rows.end(), some.begin(), some.end());
      some.clear();
    }
  }
  BOOST_TEST(std::ranges::all_of(partials, [](const auto& rows) { return rows.empty(); }));
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(core_token_groups)

BOOST_AUTO_TEST_CASE(every_row_is_added_once_to_its_token_in_stream_order) {
  random_stream random(1, random_purpose::user);
  for (const std::int64_t count : {0, 1, 2, 64, 65, 129, 1000, 32'768, 40'000})
    for (const std::uint64_t vocabulary : {1, 2, 500, 130'000}) {
      std::vector<std::int32_t> tokens;
      for (std::int64_t i = 0; i < count; ++i)  // one token 30% of the stream
        tokens.push_back(static_cast<std::int32_t>(random.below(10) < 3 ? vocabulary / 2 : random.below(vocabulary)));
      std::map<std::int32_t, std::vector<std::int32_t>> expected;
      for (std::size_t i = 0; i < tokens.size(); ++i) expected[tokens[i]].push_back(static_cast<std::int32_t>(i));
      const token_groups groups = token_groups::of(tokens);
      BOOST_TEST((rows_by_token(groups, token_groups::longest_piece(count)) == expected), count << " " << vocabulary);
      BOOST_TEST(static_cast<std::int64_t>(groups.pieces.size()) <= count);
      BOOST_TEST(groups.partials < token_groups::most_partials);
      BOOST_TEST((groups.joins == 0) == (groups.partials == 0));
    }
}

BOOST_AUTO_TEST_CASE(ids_of_all_bits_are_sorted) {
  const std::vector<std::int32_t> tokens{std::numeric_limits<std::int32_t>::max(), 0, -1, 1 << 22, 1 << 11, 0, -1};
  const std::vector<std::int32_t> expected{1, 5, 4, 3, 0, 2, 6};  // as unsigned numbers: callers refuse negative ones
  BOOST_TEST(token_groups::of(tokens).order == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(partial_sums_stay_few_in_streams_that_are_long) {
  std::vector<std::int32_t> tokens(1 << 20);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i / 2049);  // just too long
  const token_groups groups = token_groups::of(tokens);
  BOOST_TEST(token_groups::longest_piece(1 << 20) == 2048);
  BOOST_TEST(groups.partials == 2 * ((1 << 20) / 2049));
  BOOST_TEST(groups.partials < token_groups::most_partials);
}

BOOST_AUTO_TEST_SUITE_END()
