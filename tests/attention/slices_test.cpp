#include <cstdint>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/gather.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/random.hpp>

using namespace lodestone;

namespace {

// The definition of a slice, pair by pair.
bool sees(const slice& s, std::int64_t q, std::int64_t k) {
  if (q < s.q_begin || q >= s.q_end || k < s.k_begin || k >= s.k_end) return false;
  if (s.kind == slice_kind::full) return true;
  const std::int64_t last = q - s.q_begin + s.keys() - s.queries();  // index within the slice
  const std::int64_t j = k - s.k_begin;
  return j <= last && (s.window == 0 || j > last - s.window);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attention_slices)

BOOST_AUTO_TEST_CASE(ranges_of_keys_and_pair_counts_follow_the_definition) {
  for (std::int64_t queries = 0; queries <= 6; ++queries)
    for (std::int64_t keys = 0; keys <= 7; ++keys)
      for (std::int64_t window = 0; window <= 8; ++window)
        for (const slice_kind kind : {slice_kind::full, slice_kind::causal}) {
          if (kind == slice_kind::full && window > 0) continue;
          const slice s{5, 5 + queries, 9, 9 + keys, kind, window};
          std::int64_t count = 0;
          for (std::int64_t q = s.q_begin; q < s.q_end; ++q)
            for (std::int64_t k = 0; k < 20; ++k) {
              const bool visible = k >= s.first_key(q) && k < s.last_key(q);
              BOOST_TEST_INFO("q " << q << " k " << k << " window " << window);
              BOOST_REQUIRE(visible == sees(s, q, k));
              count += visible ? 1 : 0;
            }
          BOOST_REQUIRE(pairs(s) == count);
        }
  const std::vector<slice> list{{0, 4, 0, 4}, {4, 6, 0, 4, slice_kind::full}};
  BOOST_TEST(pairs(list) == 10 + 8);
}

BOOST_AUTO_TEST_CASE(lists_that_describe_a_mask_once_are_accepted) {
  BOOST_CHECK_NO_THROW(check_slices({}, 0, 0));
  const std::vector<slice> pack{{4, 9, 4, 9}, {0, 4, 0, 4}, {9, 9, 9, 9}};
  BOOST_CHECK_NO_THROW(check_slices(pack, 9, 9));
  const std::vector<slice> prefix{{0, 4, 0, 4}, {4, 9, 0, 4, slice_kind::full}, {4, 6, 4, 6}, {6, 9, 6, 9}};
  BOOST_CHECK_NO_THROW(check_slices(prefix, 9, 9));
  const std::vector<slice> decode{{0, 1, 0, 70}};
  BOOST_CHECK_NO_THROW(check_slices(decode, 1, 70));
}

BOOST_AUTO_TEST_CASE(overlaps_and_ranges_outside_the_stream_are_refused) {
  const auto refuse = [](const std::vector<slice>& list, const std::string& word) {
    BOOST_CHECK_EXCEPTION(check_slices(list, 10, 10), shape_error,
                          [&](const shape_error& e) { return std::string(e.what()).find(word) != std::string::npos; });
  };
  refuse({{0, 11, 0, 10}}, "outside");
  refuse({{0, 10, 0, 11}}, "outside");
  refuse({{-1, 3, 0, 3}}, "outside");
  refuse({{4, 3, 0, 3}}, "outside");
  refuse({{0, 3, 4, 3}}, "outside");
  refuse({{0, 5, 0, 5}, {4, 6, 4, 6}}, "overlap");
  refuse({{0, 5, 0, 5}, {5, 6, 0, 6}, {3, 6, 4, 5, slice_kind::full}}, "overlap");
  refuse({{0, 3, 0, 3, slice_kind::full, 2}}, "window");
  refuse({{0, 3, 0, 3, slice_kind::causal, -1}}, "window");
}

BOOST_AUTO_TEST_CASE(overlap_is_found_wherever_it_hides) {
  random_stream random(11, random_purpose::user);
  for (int round = 0; round < 2000; ++round) {
    std::vector<slice> list;
    for (int i = 0; i < 4; ++i) {
      const auto q = static_cast<std::int64_t>(random.below(8));
      const auto k = static_cast<std::int64_t>(random.below(8));
      list.push_back({q, q + static_cast<std::int64_t>(random.below(4)), k,
                      k + static_cast<std::int64_t>(random.below(4)), slice_kind::full});
    }
    int most = 0;
    for (std::int64_t q = 0; q < 11; ++q)
      for (std::int64_t k = 0; k < 11; ++k) {
        int count = 0;
        for (const slice& s : list) count += sees(s, q, k) ? 1 : 0;
        most = std::max(most, count);
      }
    bool accepted = true;
    try {
      check_slices(list, 11, 11);
    } catch (const shape_error&) {
      accepted = false;
    }
    BOOST_REQUIRE(accepted == (most <= 1));
  }
}

BOOST_AUTO_TEST_CASE(gathered_rows_see_the_keys_that_they_saw) {
  const std::vector<slice> list{{0, 7, 0, 7},
                                {7, 12, 0, 7, slice_kind::full},
                                {7, 12, 7, 12, slice_kind::causal, 3},
                                {12, 20, 12, 17}};  // its first three rows see nothing
  random_stream random(12, random_purpose::user);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::int64_t> rows;
    for (std::int64_t row = 0; row < 22; ++row)
      if (random.below(2) == 0) rows.push_back(row);
    const std::vector<slice> gathered = gather_slices(list, rows);
    BOOST_CHECK_NO_THROW(check_slices(gathered, static_cast<std::int64_t>(rows.size()), 22));
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (std::int64_t k = 0; k < 22; ++k) {
        bool before = false;
        bool after = false;
        for (const slice& s : list) before = before || sees(s, rows[i], k);
        for (const slice& s : gathered) after = after || sees(s, static_cast<std::int64_t>(i), k);
        BOOST_REQUIRE(before == after);
      }
  }
}

BOOST_AUTO_TEST_SUITE_END()
