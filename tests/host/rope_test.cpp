#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/rope.hpp>

#include "matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;
using host_test::framed;

namespace {

struct tables {
  tensor<double, 2> angles;
  tensor<double, 2> cosine;
  tensor<double, 2> sine;
  tables(std::int64_t rows, std::int64_t half)
      : angles(host_test::normal<double, 2>({{rows, half}}, 9)), cosine(angles.shape()), sine(angles.shape()) {
    for (std::size_t i = 0; i < angles.flat().size(); ++i) {
      cosine.flat()[i] = std::cos(angles.flat()[i]);
      sine.flat()[i] = std::sin(angles.flat()[i]);
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(host_rope)

BOOST_AUTO_TEST_CASE(pairs_turn_like_complex_numbers) {
  // R = 2 * half elements of each head of `size` are rotated; the rest passes.
  constexpr std::int64_t cases[][3] = {{3, 6, 3}, {2, 16, 4}, {5, 8, 4}, {1, 2, 1}, {2, 5, 0}};
  for (const auto& [heads, size, half] : cases)
    for (const bool interleaved : {false, true})
      for (const bool inverse : {false, true}) {
        constexpr std::int64_t rows = 70;
        host<double> backend(2);
        const tables t(rows, half);
        const framed<double> x(rows, heads * size, 1);
        std::vector<double> expected = elements(x.view);
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t i = 0; i < half; ++i) {
              const std::int64_t at = (row * heads + h) * size;
              const auto first = static_cast<std::size_t>(at + (interleaved ? 2 * i : i));
              const auto second = static_cast<std::size_t>(at + (interleaved ? 2 * i + 1 : i + half));
              const double angle = t.angles.view()(row, i) * (inverse ? -1 : 1);
              const auto turned = std::complex<double>(expected[first], expected[second]) * std::polar(1.0, angle);
              expected[first] = turned.real();
              expected[second] = turned.imag();
            }
        backend.rope(x, size, t.cosine, t.sine, interleaved, inverse);
        BOOST_TEST(distance(elements(x.view), expected) <= 1e-14);
        BOOST_TEST(x.intact());
      }
}

BOOST_AUTO_TEST_CASE(inverse_undoes_the_rotation) {
  host<double> backend(2);
  const tables t(20, 4);
  const framed<double> x(20, 24, 1);
  const std::vector<double> before = elements(x.view);
  backend.rope(x, 12, t.cosine, t.sine, false, false);
  BOOST_TEST(distance(elements(x.view), before) > 0.1);
  backend.rope(x, 12, t.cosine, t.sine, false, true);
  BOOST_TEST(distance(elements(x.view), before) <= 1e-14);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  host<float> backend(1);
  tensor<float, 2> x(extents<2>{{4, 12}});
  tensor<float, 2> table(extents<2>{{4, 3}});
  tensor<float, 2> other(extents<2>{{3, 3}});
  BOOST_CHECK_THROW(backend.rope(x, 5, table, table, false, false), shape_error);
  BOOST_CHECK_THROW(backend.rope(x, 4, table, table, false, false), shape_error);
  BOOST_CHECK_THROW(backend.rope(x, 6, other, other, false, false), shape_error);
  BOOST_CHECK_THROW(backend.rope(x, 6, table, other, false, false), shape_error);
}

BOOST_AUTO_TEST_SUITE_END()
