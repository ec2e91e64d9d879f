// An attention policy that tells which key each head looks at most, beside what the policy it wraps computes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lodestone/attention/concept.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone {

/// What observed_attention sees during one pass of a model over a stream: for each layer, head and watched row, the key
/// with the largest attention weight. One object serves one model and one thread.
class attention_watch {
 public:
  /// From now on the given rows (ascending, unique) of a stream of `length` rows are watched. Throws shape_error for
  /// rows that do not ascend within it.
  void begin(std::span<const std::int64_t> rows, std::int64_t length) {
    std::int64_t last = -1;
    for (const std::int64_t row : rows) {
      if (row <= last || row >= length)
        throw shape_error("row " + std::to_string(row) + " of " + std::to_string(length), "watched attention",
                          "give rows of the stream in ascending order");
      last = row;
    }
    rows_.assign(rows.begin(), rows.end());
    length_ = length;
    heads_ = 0;
    keys_.clear();
    is_on_ = true;
  }

  /// Watches no longer; what was seen stays until begin().
  void end() { is_on_ = false; }

  [[nodiscard]] bool is_on() const { return is_on_; }                            ///< between begin() and end()
  [[nodiscard]] const std::vector<std::int64_t>& rows() const { return rows_; }  ///< those of begin()
  [[nodiscard]] std::int64_t heads() const { return heads_; }                    ///< of a layer; 0 before the first
  /// Layers seen since begin().
  [[nodiscard]] std::int64_t layers() const { return static_cast<std::int64_t>(keys_.size()); }

  /// The key, as a row of the stream, that a head of a layer looks at most from rows()[i]; of equal ones the first.
  [[nodiscard]] std::int64_t key(std::int64_t layer, std::int64_t head, std::int64_t i) const {
    const std::int64_t place = head * static_cast<std::int64_t>(rows_.size()) + i;
    return keys_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(place)];
  }

  /// The places of the watched rows among `count` query rows: a layer that computes chosen rows only has just these.
  /// Throws shape_error where it has others.
  [[nodiscard]] std::vector<std::int64_t> places(std::int64_t count) const {
    if (count == length_) return rows_;
    if (count != static_cast<std::int64_t>(rows_.size()))
      throw shape_error("a layer has " + std::to_string(count) + " query rows, neither the stream's " +
                            std::to_string(length_) + " nor the " + std::to_string(rows_.size()) + " watched ones",
                        "watched attention", "ask the model for the output of the watched rows and of no others");
    std::vector<std::int64_t> own(rows_.size());
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<std::int64_t>(i);
    return own;
  }

  /// Takes the keys [heads, rows] of the next layer.
  void add(std::int64_t heads, std::vector<std::int64_t> keys) {
    heads_ = heads;
    keys_.push_back(std::move(keys));
  }

 private:
  bool is_on_ = false;
  std::vector<std::int64_t> rows_;
  std::int64_t length_ = 0;
  std::int64_t heads_ = 0;
  std::vector<std::vector<std::int64_t>> keys_;  // [layer][head * rows + i]
};

/// A policy that computes what `Policy` does and shows its watch, when that is on, where the watched rows look: scores
/// of these rows with all keys are made once more, a head at a time, by the backend's products, whatever the policy and
/// the backend. Memory: rows x keys numbers of one head. Copies share the watch.
template <class Policy>
struct observed_attention {
  Policy policy{};                                                               ///< computes the attention
  std::shared_ptr<attention_watch> watch = std::make_shared<attention_watch>();  ///< sees it

  /// As the policy's.
  template <class Backend>
  void forward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
               attention_input<Backend> q, attention_input<Backend> k, attention_input<Backend> v,
               attention_output<Backend> o, attention_statistics<Backend> lse) const {
    policy.forward(backend, shape, slices, q, k, v, o, lse);
    if (watch->is_on()) observe(backend, shape, slices, q, k);
  }

  /// As the policy's.
  template <class Backend>
  void backward(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
                attention_input<Backend> q, attention_input<Backend> k, attention_input<Backend> v,
                attention_input<Backend> o, attention_statistics_input<Backend> lse, attention_input<Backend> d_o,
                attention_output<Backend> dq, attention_output<Backend> dk, attention_output<Backend> dv) const {
    policy.backward(backend, shape, slices, q, k, v, o, lse, d_o, dq, dk, dv);
  }

 private:
  template <class Backend>
  void observe(Backend& backend, const attention_shape& shape, std::span<const slice> slices,
               attention_input<Backend> q, attention_input<Backend> k) const {
    const std::vector<std::int64_t> places = watch->places(q.size(0));
    const auto count = static_cast<std::int64_t>(places.size());
    std::vector<std::int64_t> keys;
    if (count == 0) return watch->add(shape.heads, std::move(keys));
    const std::int64_t size = shape.head_dim;
    const auto rows = backend.upload(std::span<const std::int64_t>{places});
    const auto chosen = backend.template allocate<typename Backend::value_type>(extents<2>{{count, q.size(1)}});
    backend.gather_rows(q, rows, chosen.view());
    const auto scores = backend.template allocate<typename Backend::accumulate_type>(extents<2>{{count, k.size(0)}});
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      const std::int64_t at = head / shape.group() * size;
      backend.gemm_nt(const_view(chosen.view().columns(head * size, (head + 1) * size)), k.columns(at, at + size),
                      scores.view(), typename Backend::accumulate_type{0});
      const auto values = backend.to_host(const_view(scores.view()));
      for (std::int64_t i = 0; i < count; ++i) {
        const auto score = [&](std::int64_t key) { return element(values, i, key); };
        keys.push_back(best(slices, places[static_cast<std::size_t>(i)], score));
      }
    }
    watch->add(shape.heads, std::move(keys));
  }

  template <class Tensor>
  [[nodiscard]] static auto element(const Tensor& values, std::int64_t i, std::int64_t key) {
    if constexpr (requires { values.view(); })
      return values.view()(i, key);  // a copy on the host
    else
      return values(i, key);
  }

  /// The key that `row` sees with the largest score; the softmax keeps their order, its scale being positive.
  template <class Score>
  [[nodiscard]] static std::int64_t best(std::span<const slice> slices, std::int64_t row, const Score& score) {
    std::int64_t found = -1;
    for (const slice& own : slices) {
      if (row < own.q_begin || row >= own.q_end) continue;
      for (std::int64_t key = own.first_key(row); key < own.last_key(row); ++key)
        if (found < 0 || score(key) > score(found) || (score(key) == score(found) && key < found)) found = key;
    }
    return found;
  }
};

}  // namespace lodestone
