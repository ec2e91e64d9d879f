// Definitions of cost.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>

#include <lodestone/activations/cost.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::activations {

LODESTONE_INLINE tensor_cost cost_of(const model_config& c, std::int64_t layer, activation name,
                                     const pass_size& size) {
  const auto e = static_cast<double>(c.hidden);
  const auto f = static_cast<double>(c.feed_forward);
  const auto q = static_cast<double>(c.q_size());
  const auto qk = static_cast<double>(c.q_size() + c.kv_size());
  const auto qkv = static_cast<double>(c.qkv_size());
  const auto heads = static_cast<double>(c.heads);
  const auto all_heads = static_cast<double>(c.heads + c.kv_heads);
  const auto v = static_cast<double>(size.value_bytes);
  const auto s = static_cast<double>(size.statistic_bytes);
  const auto all = static_cast<double>(size.tokens);
  const double rows = layer + 1 == c.layers ? static_cast<double>(size.last_rows) : all;
  const auto product = [](double m, double n, double inner) { return price(2.0 * m * n * inner, 0.0, 0.0); };
  const auto moved = [](double bytes) { return price(0.0, bytes, 0.0); };
  switch (name) {
    case activation::input: return {all * e * v, 0.0};
    case activation::normed_in: return {all * (e * v + s), moved(all * 2.0 * e * v)};
    case activation::raw_qk: return {};
    case activation::qkv: return {all * (qkv * v + (c.qk_norm ? qk * v + all_heads * s : 0.0)), product(all, qkv, e)};
    case activation::attention: {
      const auto window = static_cast<double>(c.window(layer));
      const double seen = (window > 0.0 ? std::min(size.pairs, all * window) : size.pairs) * rows / std::max(all, 1.0);
      return {rows * (q * v + heads * s), price(4.0 * q * seen, 0.0, 0.0)};
    }
    case activation::middle: return {rows * e * v, product(rows, e, q)};
    case activation::normed_mid: return {rows * (e * v + s), moved(rows * 2.0 * e * v)};
    case activation::gate_up: return {rows * 2.0 * f * v, product(rows, 2.0 * f, e)};
    case activation::activated: return {rows * f * v, moved(rows * 3.0 * f * v)};
  }
  return {};
}

}  // namespace lodestone::activations
