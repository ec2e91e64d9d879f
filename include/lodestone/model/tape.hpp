// What a forward pass leaves for the backward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/arena.hpp>
#include <lodestone/model/kv_cache.hpp>

namespace lodestone {

/// What a backend makes of a list on the host so that its operations can read it.
template <class Backend, class T>
using uploaded = decltype(std::declval<Backend&>().upload(std::span<const T>{}));
/// What it makes of the tokens of a stream.
template <class Backend>
using uploaded_tokens = decltype(std::declval<Backend&>().upload_tokens(std::span<const std::int32_t>{}, true));

/// The tensors of one layer, present or not. T rows; a layer that computes only chosen rows ("gathered": the last one)
/// has m of them in everything that follows the keys and values.
template <class Backend>
struct layer_tape {
  /// Blocks of the backend's arena: rows, and one number a row or a row and head.
  ///@{
  using space = typename Backend::space;
  using value = block<typename Backend::value_type, 2, space>;
  using statistic = block<typename Backend::accumulate_type, 1, space>;
  ///@}

  value input;         ///< x [T, E]
  value normed_in;     ///< [T, E]
  statistic rstd_in;   ///< [T]
  value raw_q;         ///< [m, H D] before q_norm
  value raw_k;         ///< [T, K D] before k_norm
  statistic rstd_q;    ///< [m H]
  statistic rstd_k;    ///< [T K]
  value qkv;           ///< [T, (H + 2K) D]; when gathered, empty in favour of
  value q;             ///< [m, H D] and
  value kv;            ///< [T, 2 K D]
  value attention;     ///< [m, H D]
  statistic lse;       ///< [m H]
  value middle;        ///< [m, E]
  value normed_mid;    ///< [m, E]
  statistic rstd_mid;  ///< [m]
  value gate_up;       ///< [m, 2F]
  value activated;     ///< [m, F]

  /// Whether the tensor is there; qkv also in its gathered form.
  [[nodiscard]] bool has(activation name) const {
    switch (name) {
      case activation::input: return static_cast<bool>(input);
      case activation::normed_in: return static_cast<bool>(normed_in);
      case activation::raw_qk: return static_cast<bool>(raw_k);
      case activation::qkv: return qkv || kv;
      case activation::attention: return static_cast<bool>(attention);
      case activation::middle: return static_cast<bool>(middle);
      case activation::normed_mid: return static_cast<bool>(normed_mid);
      case activation::gate_up: return static_cast<bool>(gate_up);
      case activation::activated: return static_cast<bool>(activated);
    }
    return false;
  }

  /// Visits the blocks of a named tensor, present or not, always in the same order.
  template <class Visit>
  void for_each(activation name, const Visit& visit) {
    switch (name) {
      case activation::input: visit(input); break;
      case activation::normed_in:
        visit(normed_in);
        visit(rstd_in);
        break;
      case activation::raw_qk:
        visit(raw_q);
        visit(raw_k);
        visit(rstd_q);
        visit(rstd_k);
        break;
      case activation::qkv:
        visit(qkv);
        visit(q);
        visit(kv);
        break;
      case activation::attention:
        visit(attention);
        visit(lse);
        break;
      case activation::middle: visit(middle); break;
      case activation::normed_mid:
        visit(normed_mid);
        visit(rstd_mid);
        break;
      case activation::gate_up: visit(gate_up); break;
      case activation::activated: visit(activated); break;
    }
  }

  /// Gives the tensor's blocks back, those of its statistics included; absent ones are skipped.
  void drop(activation name) {
    for_each(name, [](auto& tensor) { tensor.reset(); });
  }
};

/// The tensors of one layer that lie in the host's memory between forward and backward.
template <class Backend>
struct parked_tape {
  /// In the order in which layer_tape::for_each visits them.
  ///@{
  std::vector<block<typename Backend::value_type, 2, typename Backend::parking_space>> values;
  std::vector<block<typename Backend::accumulate_type, 1, typename Backend::parking_space>> statistics;
  ///@}

  /// Begins to move what the table keeps on the host.
  void park(Backend& b, layer_tape<Backend>& tape, const activation_table& table, std::int64_t layer) {
    for_each(tape, table, layer, [&](auto& tensor, auto& list) { list.push_back(b.park(std::move(tensor))); });
  }
  /// Begins to bring it back.
  void fetch(Backend& b, layer_tape<Backend>& tape, const activation_table& table, std::int64_t layer) {
    std::size_t value = 0;
    std::size_t statistic = 0;
    for_each(tape, table, layer, [&](auto& tensor, auto& list) {
      std::size_t& next = static_cast<const void*>(&list) == &values ? value : statistic;
      if (next < list.size()) tensor = b.fetch(std::move(list[next++]));
    });
    values.clear();
    statistics.clear();
  }

 private:
  template <class Visit>
  void for_each(layer_tape<Backend>& tape, const activation_table& table, std::int64_t layer, const Visit& visit) {
    for (std::size_t k = 0; k < activation_kinds; ++k) {
      const auto name = static_cast<activation>(k);
      if (table(layer, name) != residence::host) continue;
      tape.for_each(name, [&](auto& tensor) {
        if constexpr (std::is_same_v<std::remove_reference_t<decltype(tensor)>, typename layer_tape<Backend>::value>)
          visit(tensor, values);
        else
          visit(tensor, statistics);
      });
    }
  }
};

/// New rows of a pass, and where a cache keeps their keys and values.
struct cache_write {
  std::int64_t begin = 0;  ///< first row of the pass
  std::int64_t end = 0;    ///< one past the last
  std::int64_t row = 0;    ///< of the cache, for the first
};

/// One forward pass: what all layers share, and their tapes.
template <class Backend>
struct forward_pass {
  /// The backend's space, and a table of cosines or sines in its memory.
  ///@{
  using space = typename Backend::space;
  using table = block<typename Backend::accumulate_type, 2, space>;
  ///@}

  std::int64_t T = 0;  ///< tokens of the batch
  std::int64_t m = 0;  ///< rows of the last layer's output
  uploaded_tokens<Backend> tokens;       ///< [T], for the embedding's gradient too when it is trained
  uploaded<Backend, std::int64_t> rows;  ///< [m] when gathered
  bool gathers = false;                  ///< the last layer computes the chosen rows only
  /// [T, R / 2], R rotated elements of a head.
  ///@{
  table cosine, sine;
  ///@}
  /// [m, R / 2] when gathered.
  ///@{
  table row_cosine, row_sine;
  ///@}
  std::vector<slice> slices;      ///< of the batch, or one a sequence of the cache; layers narrow them by their window
  std::vector<slice> row_slices;  ///< when gathered
  std::vector<layer_tape<Backend>> tapes;                ///< [L]
  std::vector<parked_tape<Backend>> away;                ///< of the same layers
  block<typename Backend::value_type, 2, space> output;  ///< [m, E] before the final norm
  kv_cache<Backend>* cache = nullptr;       ///< not null: keys and values go to it and come from it
  std::vector<cache_write> cache_writes;    ///< one for each sequence
  uploaded<Backend, std::int64_t> cache_rows{};  ///< [T] where backends join operations: the same as a row for each
  std::int64_t key_begin = 0;               ///< first row of the cache that is attended to: row 0 of the slices' keys
  std::int64_t keys = 0;                    ///< rows that are attended to: T, or rows of the cache
  const activation_table* activations = nullptr;  ///< null when no backward pass follows: nothing is kept
  std::int64_t mlp_rows = 0;                      ///< rows of an MLP tile; 0 for the default

  /// Whether a tensor stays after the forward pass of its layer.
  [[nodiscard]] bool keeps(std::int64_t layer, activation name) const {
    return activations != nullptr && (*activations)(layer, name) != residence::recompute;
  }
};

}  // namespace lodestone
