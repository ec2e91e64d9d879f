// A linear layer of the model: dense, frozen, or with low-rank adapters.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/model/layout.hpp>

namespace lodestone {

/// The factors of a linear layer's low-rank adapters, or their gradients: empty views where there are none.
template <class T, class Space>
struct adapter_factors {
  tensor_view<T, 2, Space> a;  ///< [n r, C], r rows for each of the n adapted ranges
  tensor_view<T, 2, Space> b;  ///< [rows of all ranges, r]
  adapted_rows adapted;        ///< the outputs that the rows of b add to

  /// Rank r.
  [[nodiscard]] std::int64_t rank() const { return b.size(1); }
  /// Columns of x A^T that belong to range i.
  [[nodiscard]] auto inputs(tensor_view<T, 2, Space> x_a, std::size_t i) const {
    const auto at = static_cast<std::int64_t>(i);
    return x_a.columns(at * rank(), (at + 1) * rank());
  }
  /// B of range i.
  [[nodiscard]] tensor_view<T, 2, Space> outputs(std::size_t i) const {
    std::int64_t begin = 0;
    for (std::size_t before = 0; before < i; ++before)
      begin += adapted.ranges[before].end - adapted.ranges[before].begin;
    return b.rows(begin, begin + adapted.ranges[i].end - adapted.ranges[i].begin);
  }

  /// The adapters of outputs [begin, end) alone.
  [[nodiscard]] adapter_factors rows(std::int64_t begin, std::int64_t end) const {
    adapter_factors part;
    if (a.size(0) == 0) return part;
    std::int64_t row = 0;            // of b, where the range at hand begins
    std::int64_t first_row = 0;      // of b, kept
    std::int64_t last_row = 0;
    std::int64_t first_block = -1;
    std::int64_t last_block = 0;
    for (std::size_t i = 0; i < adapted.count; ++i) {
      const adapted_rows::range range = adapted.ranges[i];
      const adapted_rows::range kept{std::max(range.begin, begin), std::min(range.end, end)};
      if (kept.begin < kept.end) {
        if (first_block < 0) {
          first_block = static_cast<std::int64_t>(i);
          first_row = row + kept.begin - range.begin;
        }
        last_block = static_cast<std::int64_t>(i) + 1;
        last_row = row + kept.end - range.begin;
        part.adapted.ranges[part.adapted.count++] = {kept.begin - begin, kept.end - begin};
      }
      row += range.end - range.begin;
    }
    if (first_block < 0) return part;
    part.a = a.rows(first_block * rank(), last_block * rank());
    part.b = b.rows(first_row, last_row);
    return part;
  }
};

/// The parameters of one linear layer: views, empty where absent.
template <class T, class Space>
struct linear_parameters {
  tensor_view<const T, 2, Space> weight;     ///< [N, C]: y = x weightT + bias
  tensor_view<const T, 1, Space> bias;       ///< [N] or empty
  adapter_factors<const T, Space> adapters;  ///< or empty
  double scale = 0.0;                        ///< of the adapters

  /// The layer restricted to outputs [begin, end): a row block such as the queries of a fused qkv.
  [[nodiscard]] linear_parameters rows(std::int64_t begin, std::int64_t end) const {
    return {weight.rows(begin, end), bias.size(0) == 0 ? bias : bias.rows(begin, end), adapters.rows(begin, end),
            scale};
  }
};

/// The gradients of linear_parameters, with their shapes.
template <class T, class Space>
struct linear_gradients {
  tensor_view<T, 2, Space> weight;     ///< [N, C] or empty when frozen
  tensor_view<T, 1, Space> bias;       ///< [N] or empty
  adapter_factors<T, Space> adapters;  ///< or empty

  /// The gradients of linear_parameters::rows(begin, end); what is empty stays empty.
  [[nodiscard]] linear_gradients rows(std::int64_t begin, std::int64_t end) const {
    return {weight.size(0) == 0 ? weight : weight.rows(begin, end),
            bias.size(0) == 0 ? bias : bias.rows(begin, end), adapters.rows(begin, end)};
  }
};

/// A projection policy evaluates linear layers forward and backward.
///
/// Requires: `trains_weight` (static constexpr bool: whether a weight and bias may have a gradient); `has_adapters`
/// (the same for low-rank adapters); `forward(b, p, x, y, beta)`: y = x weightT + bias + beta y; `backward(b, p, g, x,
/// dy, dx, beta)`: dx = dy weight + beta dx and g += the parameter gradients. Laws: backward is the transpose of
/// forward (finite differences).
template <class P>
concept projection = requires {
  { P::trains_weight } -> std::convertible_to<bool>;
  { P::has_adapters } -> std::convertible_to<bool>;
};

namespace projections {

namespace detail {

template <class Backend, class P, class X, class Y, class T>
void forward(Backend& b, const P& p, X x, Y y, T beta) {
  b.gemm_nt(x, p.weight, y, beta);
  if (p.bias.size(0) != 0) b.add_bias(y, p.bias);
}

template <class Backend, class P, class G, class X, class Dy, class Dx, class T>
void backward(Backend& b, const P& p, const G& g, X x, Dy dy, Dx dx, T beta) {
  b.gemm_nn(dy, p.weight, dx, beta);
  if (g.weight.size(0) != 0) b.gemm_tn(dy, x, g.weight, typename decltype(g.weight)::value_type{1});
  if (g.bias.size(0) != 0) b.bias_gradient(dy, g.bias);
}

}  // namespace detail

/// Trained in full, or frozen where the store gives no gradient.
struct dense {
  static constexpr bool trains_weight = true;   ///< weight and bias may have a gradient
  static constexpr bool has_adapters = false;   ///< the store may have none

  /// y = x weightT + bias + beta y.
  template <class Backend, class P, class X, class Y, class T>
  void forward(Backend& b, const P& p, X x, Y y, T beta) const {
    detail::forward(b, p, x, y, beta);
  }
  /// dx = dy weight + beta dx; adds dyT x to the weight's gradient and the column sums of dy to the bias's, if any.
  template <class Backend, class P, class G, class X, class Dy, class Dx, class T>
  void backward(Backend& b, const P& p, const G& g, X x, Dy dy, Dx dx, T beta) const {
    detail::backward(b, p, g, x, dy, dx, beta);
  }
};

/// Never trained: no gradient, no optimiser state, and no product for them.
struct frozen {
  static constexpr bool trains_weight = false;  ///< no gradient for weight and bias
  static constexpr bool has_adapters = false;   ///< the store may have none

  /// y = x weightT + bias + beta y.
  template <class Backend, class P, class X, class Y, class T>
  void forward(Backend& b, const P& p, X x, Y y, T beta) const {
    detail::forward(b, p, x, y, beta);
  }
  /// dx = dy weight + beta dx; g and x are ignored.
  template <class Backend, class P, class G, class X, class Dy, class Dx, class T>
  void backward(Backend& b, const P& p, const G&, X, Dy dy, Dx dx, T beta) const {
    b.gemm_nn(dy, p.weight, dx, beta);
  }
};

/// Dense, with low-rank adapters where the store has them: y = x W^T + bias + u B^T with u = scale x A^T, for each
/// adapted range of outputs. The A of all ranges are one matrix, so that u [T, n r] is one product; backward makes u
/// again.
struct lora {
  static constexpr bool trains_weight = true;  ///< weight and bias may have a gradient
  static constexpr bool has_adapters = true;   ///< the store may have some

  /// y = x W^T + bias + u B^T + beta y.
  template <class Backend, class P, class X, class Y, class T>
  void forward(Backend& b, const P& p, X x, Y y, T beta) const {
    detail::forward(b, p, x, y, beta);
    if (p.adapters.adapted.count == 0) return;
    const auto u = inputs(b, p, x);
    for (std::size_t i = 0; i < p.adapters.adapted.count; ++i)
      b.gemm_nt(p.adapters.inputs(const_view(u.view()), i), p.adapters.outputs(i), cut(y, p, i), T{1});
  }

  /// dB += dy^T u, du = scale dy B, dA += du^T x, dx += du A.
  template <class Backend, class P, class G, class X, class Dy, class Dx, class T>
  void backward(Backend& b, const P& p, const G& g, X x, Dy dy, Dx dx, T beta) const {
    detail::backward(b, p, g, x, dy, dx, beta);
    if (p.adapters.adapted.count == 0) return;
    using sum = typename decltype(g.weight)::value_type;
    const auto u = inputs(b, p, x);
    const auto d_u = b.template allocate<T>(u.view().shape());
    for (std::size_t i = 0; i < p.adapters.adapted.count; ++i) {
      const std::int64_t at = static_cast<std::int64_t>(i) * p.adapters.rank();
      if (g.adapters.b.size(0) != 0)
        b.gemm_tn(cut(dy, p, i), p.adapters.inputs(const_view(u.view()), i), g.adapters.outputs(i), sum{1});
      b.gemm_nn(cut(dy, p, i), p.adapters.outputs(i), d_u.view().columns(at, at + p.adapters.rank()), T{0});
    }
    if (p.scale != 1.0) b.scale(d_u.view(), p.scale);
    if (g.adapters.a.size(0) != 0) b.gemm_tn(const_view(d_u.view()), x, g.adapters.a, sum{1});
    b.gemm_nn(const_view(d_u.view()), p.adapters.a, dx, T{1});
  }

 private:
  /// The outputs of range i.
  template <class View, class P>
  [[nodiscard]] static View cut(View y, const P& p, std::size_t i) {
    return y.columns(p.adapters.adapted.ranges[i].begin, p.adapters.adapted.ranges[i].end);
  }
  /// u = scale x A^T [T, n r].
  template <class Backend, class P, class X>
  [[nodiscard]] static auto inputs(Backend& b, const P& p, X x) {
    using element = std::remove_const_t<typename X::value_type>;
    auto u = b.template allocate<element>(extents<2>{{x.size(0), p.adapters.a.size(0)}});
    b.gemm_nt(x, p.adapters.a, u.view(), element{0});
    if (p.scale != 1.0) b.scale(u.view(), p.scale);
    return u;
  }
};

static_assert(projection<dense> && projection<frozen> && projection<lora>);

}  // namespace projections
}  // namespace lodestone
