#include <lodestone/position/concept.hpp>
#include <lodestone/position/contiguous.hpp>

#include <cstdint>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace lodestone;

namespace {

struct not_a_policy {
  void fill(int) const {}
};
static_assert(position_policy<position::contiguous>);
static_assert(!position_policy<not_a_policy>);

}  // namespace

BOOST_AUTO_TEST_SUITE(position_contiguous)

BOOST_AUTO_TEST_CASE(ids_count_from_zero_whatever_the_key) {
  const std::vector<std::int32_t> tokens(5, 7);
  example_view example;
  example.tokens = tokens;
  std::vector<std::int32_t> ids(5, -1);
  position::contiguous{}.fill(example, 1, 2, ids);
  const std::vector<std::int32_t> expected{0, 1, 2, 3, 4};
  BOOST_TEST(ids == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
