// A linear layer of the model: dense (trained) or frozen. Low-rank adapters are further models of the same concept.
#pragma once

#include <concepts>
#include <cstdint>

#include <lodestone/core/tensor.hpp>

namespace lodestone {

/// The parameters of one linear layer and their gradients: views, empty where absent.
template <class T, class Space>
struct linear_parameters {
  tensor_view<const T, 2, Space> weight;  ///< [N, C]: y = x weightT + bias
  tensor_view<const T, 1, Space> bias;    ///< [N] or empty

  /// The layer restricted to outputs [begin, end): a row block such as the queries of a fused qkv.
  [[nodiscard]] linear_parameters rows(std::int64_t begin, std::int64_t end) const {
    return {weight.rows(begin, end), bias.size(0) == 0 ? bias : bias.rows(begin, end)};
  }
};

/// The gradients of linear_parameters, with their shapes.
template <class T, class Space>
struct linear_gradients {
  tensor_view<T, 2, Space> weight;  ///< [N, C] or empty when frozen
  tensor_view<T, 1, Space> bias;    ///< [N] or empty

  /// The gradients of linear_parameters::rows(begin, end); what is empty stays empty.
  [[nodiscard]] linear_gradients rows(std::int64_t begin, std::int64_t end) const {
    return {weight.size(0) == 0 ? weight : weight.rows(begin, end),
            bias.size(0) == 0 ? bias : bias.rows(begin, end)};
  }
};

/// A projection policy evaluates linear layers forward and backward.
///
/// Requires: `trains_weight` (static constexpr bool: whether the layout gives the weight and bias a gradient);
/// `forward(b, p, x, y, beta)`: y = x weightT + bias + beta y; `backward(b, p, g, x, dy, dx, beta)`: dx = dy weight +
/// beta dx and g += the parameter gradients. Laws: backward is the transpose of forward (finite differences).
template <class P>
concept projection = requires { { P::trains_weight } -> std::convertible_to<bool>; };

namespace projections {

namespace detail {

template <class Backend, class P, class X, class Y, class T>
void forward(Backend& b, const P& p, X x, Y y, T beta) {
  b.gemm_nt(x, p.weight, y, beta);
  if (p.bias.size(0) != 0) b.add_bias(y, p.bias);
}

}  // namespace detail

/// Trained in full.
struct dense {
  static constexpr bool trains_weight = true;  ///< weight and bias have a gradient

  /// y = x weightT + bias + beta y.
  template <class Backend, class P, class X, class Y, class T>
  void forward(Backend& b, const P& p, X x, Y y, T beta) const {
    detail::forward(b, p, x, y, beta);
  }
  /// dx = dy weight + beta dx; adds dyT x to the weight's gradient and the column sums of dy to the bias's, if any.
  template <class Backend, class P, class G, class X, class Dy, class Dx, class T>
  void backward(Backend& b, const P& p, const G& g, X x, Dy dy, Dx dx, T beta) const {
    b.gemm_nn(dy, p.weight, dx, beta);
    b.gemm_tn(dy, x, g.weight, typename decltype(g.weight)::value_type{1});
    if (g.bias.size(0) != 0) b.bias_gradient(dy, g.bias);
  }
};

/// Never trained: no gradient, no optimiser state, and no product for them.
struct frozen {
  static constexpr bool trains_weight = false;  ///< no gradient for weight and bias

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

static_assert(projection<dense> && projection<frozen>);

}  // namespace projections
}  // namespace lodestone
