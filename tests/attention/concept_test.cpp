#include <cstdint>
#include <span>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/attention/concept.hpp>
#include <lodestone/attention/reference.hpp>
#include <lodestone/attention/shape.hpp>

using namespace lodestone;

namespace {

// A third policy, as a user would write one: it refines another by a check of its own.
struct at_most_64_wide {
  blocked_attention inner;
  template <class... Arguments>
  void forward(auto& backend, const attention_shape& shape, Arguments... arguments) const {
    inner.forward(backend, shape, arguments...);
  }
  template <class... Arguments>
  void backward(auto& backend, const attention_shape& shape, Arguments... arguments) const {
    inner.backward(backend, shape, arguments...);
  }
};

struct forward_only {
  template <class Backend>
  void forward(Backend&, const attention_shape&, std::span<const slice>, attention_input<Backend>,
               attention_input<Backend>, attention_input<Backend>, attention_output<Backend>,
               attention_statistics<Backend>) const {}
};

// Forgets the log-sum-exp, without which partial results cannot merge.
struct without_statistics : forward_only {
  template <class Backend>
  void backward(Backend&, const attention_shape&, std::span<const slice>, attention_input<Backend>,
                attention_input<Backend>, attention_input<Backend>, attention_input<Backend>, attention_output<Backend>,
                attention_output<Backend>, attention_output<Backend>) const {}
};

// A policy is a value without hidden state: its passes are const.
struct not_const {
  template <class Backend>
  void forward(Backend&, const attention_shape&, std::span<const slice>, attention_input<Backend>,
               attention_input<Backend>, attention_input<Backend>, attention_output<Backend>,
               attention_statistics<Backend>) {}
};

static_assert(attention_policy<blocked_attention, host<float>>);
static_assert(attention_policy<blocked_attention, host<double>>);
static_assert(attention_policy<reference_attention, host<float>>);
static_assert(attention_policy<reference_attention, host<double>>);
static_assert(attention_policy<at_most_64_wide, host<float>>);
static_assert(has_attention_forward<forward_only, host<float>>);
static_assert(!has_attention_backward<forward_only, host<float>>);
static_assert(!attention_policy<forward_only, host<float>>);
static_assert(!attention_policy<without_statistics, host<float>>);
static_assert(!has_attention_forward<not_const, host<float>>);
static_assert(!attention_policy<attention_shape, host<float>>);
static_assert(attention_shape{.heads = 12, .kv_heads = 4, .head_dim = 8, .scale = 1.0}.group() == 3);

}  // namespace

BOOST_AUTO_TEST_SUITE(attention_concept)

BOOST_AUTO_TEST_CASE(a_policy_of_the_user_evaluates_attention) {
  host<double> backend(1);
  tensor<double, 2> x(extents<2>{{1, 1}});
  x.flat()[0] = 2.0;
  tensor<double, 2> o(extents<2>{{1, 1}});
  tensor<double, 1> lse(extents<1>{{1}});
  const slice one{0, 1, 0, 1, slice_kind::causal};
  const attention_shape shape{.heads = 1, .kv_heads = 1, .head_dim = 1, .scale = 0.5};
  at_most_64_wide{}.forward(backend, shape, std::span(&one, 1), attention_input<host<double>>(x),
                            attention_input<host<double>>(x), attention_input<host<double>>(x), o.view(), lse.view());
  BOOST_TEST(o.flat()[0] == 2.0);
  BOOST_TEST(lse.flat()[0] == 2.0);
}

BOOST_AUTO_TEST_SUITE_END()
