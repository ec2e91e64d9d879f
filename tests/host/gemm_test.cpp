#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/host/backend.hpp>
#include <lodestone/host/gemm.hpp>
#include <lodestone/host/tile_product.hpp>

#include "matrices.hpp"

using namespace lodestone;
using host_test::distance;
using host_test::elements;
using host_test::framed;

namespace {

enum class product { nt, nn, tn };

// rows x columns outputs with `depth` terms each; the operands have the shapes of the product.
template <class T>
void check_product(product kind, std::int64_t rows, std::int64_t columns, std::int64_t depth, T beta) {
  BOOST_TEST_CONTEXT("product " << static_cast<int>(kind) << ", " << rows << " x " << columns << " x " << depth
                                << ", beta " << beta) {
    const framed<T> a(kind == product::tn ? depth : rows, kind == product::tn ? rows : depth, 1);
    const framed<T> b(kind == product::nt ? columns : depth, kind == product::nt ? depth : columns, 2);
    const framed<T> y(rows, columns, 3);
    std::vector<double> expected;
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) {
        double sum = beta == T{0} ? 0.0 : static_cast<double>(y(i, j));
        for (std::int64_t k = 0; k < depth; ++k)
          sum += static_cast<double>(kind == product::tn ? a(k, i) : a(i, k)) *
                 static_cast<double>(kind == product::nt ? b(j, k) : b(k, j));
        expected.push_back(sum);
      }
    if (beta == T{0})
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) y(i, j) = std::numeric_limits<T>::quiet_NaN();  // must not be read
    host<T> backend(2);
    if (kind == product::nt) backend.gemm_nt(a, b, y, beta);
    if (kind == product::nn) backend.gemm_nn(a, b, y, beta);
    if (kind == product::tn) backend.gemm_tn(a, b, y, beta);
    BOOST_TEST(distance(elements(y.view), expected) <= host_test::tolerance<T>);
    BOOST_TEST(y.intact());
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(host_gemm)

BOOST_AUTO_TEST_CASE(products_equal_plain_loops_on_strided_views_of_odd_sizes) {
  constexpr std::int64_t shapes[][3] = {{1, 1, 1},   {1, 37, 9},   {5, 3, 7},    {33, 17, 65},   {64, 64, 64},
                                        {130, 1, 5}, {2, 300, 20}, {70, 90, 31}, {290, 530, 12}, {13, 29, 1100}};
  for (const auto& shape : shapes)
    for (const product kind : {product::nt, product::nn, product::tn})
      for (const int beta : {0, 1}) {
        check_product<double>(kind, shape[0], shape[1], shape[2], beta);
        check_product<float>(kind, shape[0], shape[1], shape[2], static_cast<float>(beta));
      }
}

BOOST_AUTO_TEST_CASE(long_reductions_are_cut_into_chunks_that_add_up) {
  check_product<double>(product::tn, 24, 40, 5003, 1.0);
  check_product<float>(product::tn, 24, 40, 5003, 0.0F);
  check_product<double>(product::tn, 40, 530, 2100, 1.0);
}

BOOST_AUTO_TEST_CASE(tilings_cover_small_and_large_products) {
  using on_host::detail::choose_chunked_tiling;
  using on_host::detail::choose_tiling;
  using on_host::detail::tiles_of;
  for (const std::int64_t rows : {0, 1, 100, 4096, 100'000})
    for (const std::int64_t columns : {0, 1, 100, 4096})
      for (const std::int64_t depth : {0, 1, 5000, 1'000'000}) {
        const auto plain = choose_tiling(rows, columns, depth);
        BOOST_TEST((plain.rows > 0 && plain.columns > 0 && plain.depth >= depth));
        const auto chunked = choose_chunked_tiling(rows, columns, depth);
        BOOST_TEST((chunked.rows > 0 && chunked.columns > 0 && chunked.depth > 0));
        if (chunked.depth < depth) BOOST_TEST(tiles_of(chunked, rows, columns, depth) <= 32);  // memory of the partials
      }
  BOOST_TEST((tiles_of(choose_chunked_tiling(64, 64, 8192), 64, 64, 8192) > 1));
}

BOOST_AUTO_TEST_CASE(empty_products_do_nothing_or_clear) {
  for (const product kind : {product::nt, product::nn, product::tn}) {
    check_product<double>(kind, 0, 5, 3, 0.0);
    check_product<double>(kind, 5, 0, 3, 1.0);
    check_product<double>(kind, 4, 3, 0, 0.0);  // a sum of no terms is 0
    check_product<double>(kind, 4, 3, 0, 1.0);
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  constexpr std::int64_t rows = 2300;  // enough for the weight gradient to be summed in chunks
  const auto x = host_test::normal<float, 2>({{rows, 190}}, 1);
  const auto w = host_test::normal<float, 2>({{310, 190}}, 2);
  const auto dy = host_test::normal<float, 2>({{rows, 310}}, 3);
  std::vector<std::vector<unsigned char>> seen;
  for (const int threads : {1, 2, 3}) {
    host<float> backend(threads);
    tensor<float, 2> y(extents<2>{{rows, 310}});
    tensor<float, 2> dx(extents<2>{{rows, 190}});
    tensor<float, 2> dw(extents<2>{{310, 190}});
    backend.gemm_nt(x, w, y, 0);
    backend.gemm_nn(dy, w, dx, 0);
    backend.gemm_tn(dy, x, dw, 0);
    for (const auto* result : {&y, &dx, &dw}) seen.push_back(host_test::bits(*result));
  }
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST((seen[i] == seen[i + 3]));
    BOOST_TEST((seen[i] == seen[i + 6]));
  }
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_named) {
  host<float> backend(1);
  tensor<float, 2> x(extents<2>{{2, 3}});
  tensor<float, 2> w(extents<2>{{4, 5}});
  tensor<float, 2> y(extents<2>{{2, 4}});
  BOOST_CHECK_EXCEPTION(backend.gemm_nt(x, w, y, 0), shape_error, [](const shape_error& e) {
    const std::string what = e.what();
    return what.find("gemm_nt") != std::string::npos && what.find("[4, 5]") != std::string::npos &&
           what.find("w[N,C]") != std::string::npos;
  });
  BOOST_CHECK_THROW(backend.gemm_nn(x, w, y, 0), shape_error);
  BOOST_CHECK_THROW(backend.gemm_tn(x, w, y, 0), shape_error);
}

BOOST_AUTO_TEST_CASE(tile_products_equal_plain_loops_for_every_width_and_remainder) {
  const auto run = []<class T, int Bytes>() {
    constexpr std::int64_t lanes = Bytes / static_cast<int>(sizeof(T));
    for (const std::int64_t vectors : {1, 2, 3, 4, 7})
      for (const std::int64_t rows : {1, 2, 5, 6, 12, 23})
        for (const bool transposed : {false, true}) {
          const std::int64_t columns = vectors * lanes;
          const std::int64_t depth = 11;
          const framed<T> a(transposed ? depth : rows, transposed ? rows : depth, 4);
          const framed<T> b(depth, columns, 5);
          const framed<T> c(rows, columns, 6);
          std::vector<double> expected;
          for (std::int64_t i = 0; i < rows; ++i)
            for (std::int64_t j = 0; j < columns; ++j) {
              double sum = transposed ? static_cast<double>(c(i, j)) : 0.0;
              for (std::int64_t k = 0; k < depth; ++k)
                sum += static_cast<double>(transposed ? a(k, i) : a(i, k)) * static_cast<double>(b(k, j));
              expected.push_back(sum);
            }
          const std::int64_t stride = a.view.stride();
          on_host::tile_product<T, Bytes>(rows, columns, depth,
                                          {a.view.data(), transposed ? 1 : stride, transposed ? stride : 1},
                                          b.view.data(), b.view.stride(), c.view.data(), c.view.stride(), transposed);
          BOOST_TEST(distance(elements(c.view), expected) <= host_test::tolerance<T>);
          BOOST_TEST(c.intact());
        }
  };
  run.operator()<float, 16>();
  run.operator()<double, 16>();
  run.operator()<float, on_host::register_bytes>();
  run.operator()<double, on_host::register_bytes>();
}

BOOST_AUTO_TEST_SUITE_END()
