// Groups stay whole: units of a store, selections, what is held out, chosen answers alone.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <set>

#include <lodestone/data/groups.hpp>
#include <lodestone/data/memory_store.hpp>

using namespace lodestone;

namespace {

/// Groups 0, 1, ... of as many answers as the numbers say; 1 is an example that stands alone. Tokens tell example from
/// example.
in_memory_store store_of(const std::vector<std::int64_t>& sizes) {
  in_memory_store store;
  std::int64_t group = 0;
  for (const std::int64_t size : sizes) {
    for (std::int64_t j = 0; j < size; ++j) {
      encoded_sequence one;
      const auto id = static_cast<std::int32_t>(store.size());
      one.tokens = {100, id};
      one.labels = {id, no_label};
      one.weights = {1.0F, 0.0F};
      if (size > 1) {
        one.group = group;
        one.role = static_cast<std::int32_t>(j);
        one.prompt = 1;
      }
      store.add(std::move(one));
    }
    if (size > 1) ++group;
  }
  return store;
}

using indices = std::vector<std::int64_t>;

template <class Store>
indices groups_of(const Store& store) {
  indices result;
  for (std::int64_t i = 0; i < store.size(); ++i) result.push_back(store[i].group);
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(data_groups)

BOOST_AUTO_TEST_CASE(units_are_groups_and_lone_examples) {
  const in_memory_store store = store_of({2, 1, 3, 1, 1, 4});
  const indices begins = unit_begins(store);
  BOOST_TEST(begins == (indices{0, 2, 3, 6, 7, 8, 12}), boost::test_tools::per_element());
  BOOST_TEST(examples_of(begins, indices{2, 0, 2}) == (indices{3, 4, 5, 0, 1, 3, 4, 5}),
             boost::test_tools::per_element());
  BOOST_TEST(unit_begins(in_memory_store()) == indices{0}, boost::test_tools::per_element());
  for (const std::int64_t wrong : {-1, 6}) BOOST_CHECK_THROW((void)examples_of(begins, indices{wrong}), shape_error);
}

BOOST_AUTO_TEST_CASE(selections_keep_groups_whole_and_number_them_anew) {
  const in_memory_store store = store_of({2, 1, 3, 2});
  const selected_store selected(store, examples_of(unit_begins(store), indices{2, 2, 1, 0}));
  BOOST_TEST(groups_of(selected) == (indices{0, 0, 0, 1, 1, 1, no_group, 2, 2}), boost::test_tools::per_element());
  BOOST_TEST(selected[4].role == 1);
  BOOST_TEST(selected[4].prompt == 1);
  BOOST_TEST(selected[4].index == 4);
  BOOST_TEST(unit_begins(selected) == (indices{0, 3, 6, 7, 9}), boost::test_tools::per_element());
  // A selection of a selection, too.
  BOOST_TEST(groups_of(selected_store(selected, {6, 7, 8, 3, 4, 5})) == (indices{no_group, 0, 0, 1, 1, 1}),
             boost::test_tools::per_element());
  for (const indices& torn : {indices{3, 4}, {4, 5}, {3, 5, 4}, {0, 2, 1}, {1}, {0, 1, 0}, {4}}) {
    const auto names_it = [](const shape_error& failure) {
      return std::string(failure.what()).find("takes some answers of group") != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(selected_store(store, torn), shape_error, names_it);
  }
  BOOST_CHECK_THROW(selected_store(store, {8}), shape_error);
}

BOOST_AUTO_TEST_CASE(what_is_held_out_is_whole_and_disjoint) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t u = 0; u < 60; ++u) sizes.push_back(1 + u % 4);
  const in_memory_store store = store_of(sizes);
  const indices begins = unit_begins(store);
  std::set<indices> seen;
  std::vector<int> held(60, 0);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const held_out_split split = hold_out(begins, 15, seed);
    indices all = split.training;
    all.insert(all.end(), split.held_out.begin(), split.held_out.end());
    std::sort(all.begin(), all.end());
    BOOST_REQUIRE(static_cast<std::int64_t>(all.size()) == store.size());
    for (std::size_t i = 0; i < all.size(); ++i) BOOST_REQUIRE(all[i] == static_cast<std::int64_t>(i));
    const selected_store out(store, split.held_out);  // throws for a torn group
    const indices units = unit_begins(out);
    BOOST_REQUIRE(units.size() == 16U);
    BOOST_CHECK_NO_THROW(selected_store(store, split.training));
    for (std::size_t u = 0; u < 60; ++u)
      held[u] += std::count(split.held_out.begin(), split.held_out.end(), begins[u]) > 0;
    seen.insert(split.held_out);
  }
  BOOST_TEST(seen.size() > 190U);
  // Every unit is held out a quarter of the time: 50 of 200, standard deviation 6.1.
  for (const int count : held) BOOST_TEST((count > 20 && count < 80));
  BOOST_TEST(hold_out(begins, 15, 7).held_out == hold_out(begins, 15, 7).held_out, boost::test_tools::per_element());
  BOOST_TEST(hold_out(begins, 0, 7).held_out.empty());
  for (const std::int64_t wrong : {-1, 60}) BOOST_CHECK_THROW((void)hold_out(begins, wrong, 7), config_error);
}

BOOST_AUTO_TEST_CASE(chosen_answers_stand_alone) {
  const in_memory_store store = store_of({2, 1, 3});
  const chosen_answers chosen(store);
  BOOST_REQUIRE(chosen.size() == 3);
  BOOST_TEST(groups_of(chosen) == (indices{no_group, no_group, no_group}), boost::test_tools::per_element());
  BOOST_TEST(chosen[2].tokens[1] == 3);
  BOOST_TEST(chosen[2].index == 2);
  BOOST_TEST(chosen.source(1) == 2);
  BOOST_TEST(chosen.length(0) == 2);
}

BOOST_AUTO_TEST_SUITE_END()
