#include <lodestone/core/list.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/extents.hpp>
#include <lodestone/core/tensor.hpp>

using namespace lodestone;

BOOST_AUTO_TEST_SUITE(core_list)

BOOST_AUTO_TEST_CASE(operations_read_the_device_copy_and_check_the_host_copy) {
  arena<host_memory> memory;
  backend_list<std::int64_t, host_memory> list{memory.allocate<std::int64_t, 1>(extents<1>{{3}}), {4, 1, 7}};
  for (std::int64_t i = 0; i < list.size(); ++i)
    list.device.view().data()[i] = 10 * list.values[static_cast<std::size_t>(i)];
  BOOST_TEST(list.size() == 3);
  BOOST_TEST(list.data() == list.device.view().data());
  BOOST_TEST(list.data() != list.values.data());
  BOOST_TEST(list.data()[2] == 70);
  BOOST_TEST(list.values[2] == 7);
}

BOOST_AUTO_TEST_CASE(a_list_that_moves_keeps_its_memory_until_it_goes) {
  arena<host_memory> memory;
  {
    backend_list<std::int32_t, host_memory> first{memory.allocate<std::int32_t, 1>(extents<1>{{2}}), {5, 6}};
    const std::int32_t* const place = first.data();
    const backend_list<std::int32_t, host_memory> second = std::move(first);
    BOOST_TEST(second.data() == place);
    BOOST_TEST((second.values == std::vector<std::int32_t>{5, 6}));
    BOOST_TEST(memory.in_use() > 0);
  }
  BOOST_TEST(memory.in_use() == 0);
  const backend_list<std::int32_t, host_memory> none{};
  BOOST_TEST(none.size() == 0);
  BOOST_TEST(none.data() == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
