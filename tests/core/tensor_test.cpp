#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <boost/test/unit_test.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/extents.hpp>
#include <lodestone/core/tensor.hpp>

using namespace lodestone;

namespace {

using matrix = tensor<float, 2>;
static_assert(!std::is_copy_constructible_v<matrix> && !std::is_copy_assignable_v<matrix>);
static_assert(std::is_nothrow_move_constructible_v<matrix> && std::is_nothrow_move_assignable_v<matrix>);
static_assert(std::is_trivially_copyable_v<tensor_view<float, 2>>);
static_assert(std::is_convertible_v<tensor_view<float, 2>, tensor_view<const float, 2>>);
static_assert(!std::is_convertible_v<tensor_view<const float, 2>, tensor_view<float, 2>>);
static_assert(!std::is_convertible_v<tensor_view<double, 2>, tensor_view<const float, 2>>);
static_assert(!std::is_convertible_v<const matrix&, tensor_view<float, 2>>);

matrix counting(std::int64_t rows, std::int64_t columns) {
  matrix m(extents<2>{{rows, columns}});
  for (std::int64_t i = 0; i < m.count(); ++i) m.data()[i] = static_cast<float>(i);
  return m;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(core_tensor)

BOOST_AUTO_TEST_CASE(extents_count_and_print) {
  const extents shape{std::int64_t{2}, std::int64_t{3}, std::int64_t{5}};
  static_assert(std::is_same_v<decltype(shape), const extents<3>>);
  BOOST_TEST(shape.count() == 30);
  BOOST_TEST(shape.row_count() == 15);
  BOOST_TEST(shape[1] == 3);
  BOOST_TEST(to_string(shape) == "[2, 3, 5]");
  BOOST_TEST(to_string(extents<1>{{7}}) == "[7]");
  BOOST_TEST((shape == extents<3>{{2, 3, 5}}));
  BOOST_TEST((shape != extents<3>{{2, 3, 6}}));
  BOOST_TEST((extents<2>{{0, 4}}.count()) == 0);
  BOOST_TEST((extents<1>{{4}}.row_count()) == 1);
}

BOOST_AUTO_TEST_CASE(sizes_past_the_range_or_below_zero_are_refused) {
  constexpr std::int64_t large = std::int64_t{1} << 40;
  BOOST_CHECK_THROW((void)(extents<2>{{large, large}}.count()), shape_error);
  BOOST_CHECK_THROW((void)(extents<2>{{-1, 4}}.count()), shape_error);
  BOOST_CHECK_THROW((void)checked_product(large, large), shape_error);
  BOOST_CHECK_THROW((void)checked_product(3, -1), shape_error);
  BOOST_CHECK_THROW(matrix(extents<2>{{-1, 4}}), shape_error);
  BOOST_CHECK_THROW(matrix(extents<2>{{large, std::int64_t{1} << 22}}), shape_error);  // the bytes overflow
  static_assert(checked_product(std::int64_t{1} << 31, std::int64_t{1} << 31) == std::int64_t{1} << 62);
}

BOOST_AUTO_TEST_CASE(a_tensor_owns_aligned_zeros) {
  const tensor<double, 3> t(extents<3>{{2, 3, 5}});
  BOOST_TEST(t.count() == 30);
  BOOST_TEST(t.size(2) == 5);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(t.data()) % 64 == 0);
  for (const double value : t.flat()) BOOST_TEST(value == 0.0);
  const matrix nothing(extents<2>{{0, 5}});
  BOOST_TEST(nothing.data() == nullptr);
  BOOST_TEST(nothing.flat().empty());
  BOOST_TEST(nothing.view().empty());
}

BOOST_AUTO_TEST_CASE(moving_leaves_an_empty_tensor) {
  matrix a = counting(2, 3);
  const float* data = a.data();
  matrix b = std::move(a);
  BOOST_TEST(b.data() == data);
  BOOST_TEST(a.data() == nullptr);  // NOLINT(bugprone-use-after-move): that is the contract
  BOOST_TEST(a.count() == 0);
  matrix c = counting(5, 5);
  c = std::move(b);
  BOOST_TEST(c.data() == data);
  BOOST_TEST((c.shape() == extents<2>{{2, 3}}));
  matrix& self = c;
  c = std::move(self);
  BOOST_TEST(c.data() == data);
}

BOOST_AUTO_TEST_CASE(views_cut_rows_and_columns_without_copying) {
  matrix m = counting(4, 5);
  const tensor_view<float, 2> view = m;
  BOOST_TEST(view(2, 3) == 13.0F);
  BOOST_TEST(view.row(3)[0] == 15.0F);
  const auto block = view.rows(1, 3).columns(2, 4);
  BOOST_TEST((block.shape() == extents<2>{{2, 2}}));
  BOOST_TEST(block.stride() == 5);
  BOOST_TEST(block(1, 1) == 13.0F);
  BOOST_TEST(!block.is_contiguous());
  BOOST_CHECK_THROW((void)block.flat(), shape_error);
  BOOST_TEST(view.rows(1, 3).is_contiguous());
  BOOST_TEST(view.rows(1, 2).columns(1, 3).is_contiguous());  // one row
  BOOST_TEST(view.rows(1, 3).flat().size() == 10U);
  block(0, 0) = -1.0F;
  BOOST_TEST(m.view()(1, 2) == -1.0F);
  const tensor_view<const float, 2> constant = block;
  BOOST_TEST(constant(0, 0) == -1.0F);
  BOOST_TEST(view.rows(4, 4).empty());
  BOOST_TEST(view.columns(5, 5).empty());
  BOOST_TEST((tensor_view<float, 2>().empty()));
}

BOOST_AUTO_TEST_CASE(vectors_may_be_columns_of_a_matrix) {
  matrix m = counting(4, 5);
  const tensor_view<float, 1> column(m.data() + 1, {{4}}, 5);
  BOOST_TEST(column(3) == 16.0F);
  BOOST_TEST(!column.is_contiguous());
  BOOST_TEST(column.rows(1, 3)(0) == 6.0F);
}

BOOST_AUTO_TEST_CASE(ranges_outside_a_view_are_refused) {
  matrix m = counting(4, 5);
  const auto view = m.view();
  BOOST_CHECK_THROW((void)view.rows(-1, 2), shape_error);
  BOOST_CHECK_THROW((void)view.rows(2, 1), shape_error);
  BOOST_CHECK_THROW((void)view.rows(0, 5), shape_error);
  BOOST_CHECK_THROW((void)view.columns(-1, 2), shape_error);
  BOOST_CHECK_THROW((void)view.columns(2, 1), shape_error);
  BOOST_CHECK_THROW((void)view.columns(0, 6), shape_error);
}

BOOST_AUTO_TEST_CASE(offsets_pass_two_to_the_31) {
  // No memory behind it: only the arithmetic of addresses counts.
  const tensor_view<std::uint8_t, 2> huge(nullptr, {{std::int64_t{1} << 20, std::int64_t{1} << 20}});
  BOOST_TEST(huge.count() == std::int64_t{1} << 40);
  BOOST_TEST(huge.stride() == std::int64_t{1} << 20);
}

BOOST_AUTO_TEST_CASE(errors_say_where_what_and_what_to_do) {
  BOOST_TEST(std::string(error("bad", "here", "fix it").what()) == "here: bad; fix it");
  BOOST_TEST(std::string(error("bad").what()) == "bad");
  BOOST_TEST(std::string(error("bad", "", "fix it").what()) == "bad; fix it");
  BOOST_TEST(std::string(data_error("no answer", "a.jsonl:3").what()) == "a.jsonl:3: no answer");
  static_assert(std::is_base_of_v<std::runtime_error, error>);
  static_assert(std::is_base_of_v<error, shape_error> && std::is_base_of_v<error, format_error> &&
                std::is_base_of_v<error, data_error> && std::is_base_of_v<error, config_error> &&
                std::is_base_of_v<error, io_error> && std::is_base_of_v<error, numeric_error>);
}

BOOST_AUTO_TEST_CASE(messages_hold_nothing_that_a_terminal_should_not_see) {
  const std::string raw =
      std::string("a\xC3\xA4\xE4\xBD\xA0 \x1B[31m \xFF \xED\xA0\x80 \xC0\x80 tab\t") + '\0' + "\x7F end";
  const data_error failure(raw, "d\x01.jsonl:3");
  BOOST_TEST(failure.what() == std::string("d\\x01.jsonl:3: a\xC3\xA4\xE4\xBD\xA0 \\x1b[31m \\xff \\xed\\xa0\\x80 "
                                           "\\xc0\\x80 tab\t\\x00\\x7f end"));
  BOOST_CHECK_THROW(refuse_zero_byte(std::string_view("{}\0", 3), "config.json"), format_error);
  BOOST_CHECK_NO_THROW(refuse_zero_byte("{}", "config.json"));
}

BOOST_AUTO_TEST_SUITE_END()
