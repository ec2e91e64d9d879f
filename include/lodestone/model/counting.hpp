// A backend that computes nothing and counts everything: the same step code tells how much memory and work it needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/arena.hpp>
#include <lodestone/core/list.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/token_groups.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/rope.hpp>

namespace lodestone {

/// Work of a program in numbers that do not depend on the machine.
struct work {
  double matrix_flops = 0.0;     ///< of matrix products, 2 M N C each
  double attention_flops = 0.0;  ///< 4 D a (query head, key) pair forward, 10 D backward: the least a policy can do
  double bytes = 0.0;            ///< read and written by operations, each operand once
  double parked_bytes = 0.0;     ///< of tensors that leave the device, and come back

  [[nodiscard]] double flops() const { return matrix_flops + attention_flops; }  ///< of both kinds
};

/// Has every operation of `Backend` and its types, but no memory behind its views. The arena takes the same sequence of
/// blocks as a real step, so its peak() is the real step's peak to the byte.
template <class Backend>
class count {
 public:
  /// The element types of `Backend`, T and A for short, in a space without memory.
  ///@{
  using value_type = typename Backend::value_type;
  using accumulate_type = typename Backend::accumulate_type;
  using space = no_memory;
  using parking_space = no_memory;
  static constexpr std::int64_t head_chunk_bytes = Backend::head_chunk_bytes;  ///< as the real backend
  using T = value_type;
  using A = accumulate_type;
  ///@}
  /// Views that carry a shape only: there is nothing behind data().
  ///@{
  template <class U>
  using matrix = tensor_view<U, 2, no_memory>;
  template <class U>
  using vector = tensor_view<U, 1, no_memory>;
  ///@}
  /// Whether lists are read where they lie and operations hold no memory, as on the host.
  static constexpr bool is_on_host = std::is_same_v<typename Backend::space, host_memory>;
  /// What upload() returns: the list itself on a host, else a list with a block of the arena.
  ///@{
  template <class U>
  using list = std::conditional_t<is_on_host, std::span<const U>, backend_list<U, no_memory>>;
  using tokens = list<std::int32_t>;
  using indices = list<std::int64_t>;
  using stream_tokens = std::conditional_t<is_on_host, tokens, token_list<no_memory>>;
  ///@}

  count() = default;
  count(const count&) = delete;
  count& operator=(const count&) = delete;

  [[nodiscard]] const work& done() const { return done_; }      ///< since construction or the last reset_work()
  void reset_work() { done_ = {}; }                             ///< the arena and its peak stay
  [[nodiscard]] arena<no_memory>& memory() { return memory_; }  ///< its peak() is the need in bytes

  /// A block without memory that takes its place in the arena; it must not outlive this backend.
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, no_memory> allocate(extents<Rank> shape) {
    return memory_.template allocate<U>(shape);
  }
  /// Memory of parked tensors.
  [[nodiscard]] arena<no_memory>& parking() { return parking_; }
  /// Parked tensors take memory of their own where the backend has it: the device's is given back as late as there.
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, no_memory> park(block<U, Rank, no_memory> tensor) {
    if constexpr (parks_elsewhere) {
      if (!tensor) return {};
      auto away = parking_.template allocate<U>(tensor.view().shape());
      done_.parked_bytes += static_cast<double>(tensor.view().count()) * static_cast<double>(sizeof(U));
      leaving_.push_back(std::move(tensor).as_bytes());
      return away;
    } else {
      return tensor;
    }
  }
  /// The rest of the contract of host::park, counted.
  ///@{
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, no_memory> fetch(block<U, Rank, no_memory> away) {
    if constexpr (parks_elsewhere) {
      if (!away) return {};
      return memory_.template allocate<U>(away.view().shape());
    } else {
      return away;
    }
  }
  void await_copies() { leaving_.clear(); }
  void reserve_parking(std::int64_t) {}
  ///@}

  /// Lists take memory where the backend has memory of its own.
  template <class U>
  [[nodiscard]] auto upload(std::span<const U> values) {
    if constexpr (std::is_same_v<typename Backend::space, host_memory>)
      return values;
    else
      return backend_list<U, no_memory>{
          memory_.template allocate<U>(extents<1>{{static_cast<std::int64_t>(values.size())}}),
          std::vector<U>(values.begin(), values.end())};
  }

  /// The same for the tokens of a stream; room for their groups depends on their number alone.
  [[nodiscard]] stream_tokens upload_tokens(std::span<const std::int32_t> ids, bool for_gradient) {
    if constexpr (is_on_host) {
      (void)for_gradient;
      return ids;
    } else {
      stream_tokens list{upload(ids), {}, {}, {}};
      const extents<1> shape{{list.size()}};
      if (for_gradient) list.pieces = allocate<token_piece>(shape);
      if (for_gradient) list.order = allocate<std::int32_t>(shape);
      return list;
    }
  }

  /// Matrix products: 2 M N C operations with the inner size C; the output is read only where beta is not 0.
  ///@{
  template <class Y>
  void gemm_nt(matrix<const T> x, matrix<const T> w, matrix<Y> y, std::type_identity_t<Y> beta) {
    product(x, w, y, x.size(1), !(beta == Y{0}));
  }
  void gemm_nn(matrix<const T> dy, matrix<const T> w, matrix<T> dx, T beta) {
    product(dy, w, dx, dy.size(1), !(beta == T{0}));
  }
  void gemm_tn(matrix<const T> dy, matrix<const T> x, matrix<A> dw, A beta) {
    product(dy, x, dw, dy.size(0), beta != A{0});
  }
  ///@}
  /// Count bytes and, unless is_on_host, take the memory that the device's operation holds while it runs.
  /// sum_of_squares() returns 0, all_finite() true.
  ///@{
  void add_bias(matrix<T> y, vector<const T>) { touch(y, 2); }
  void bias_gradient(matrix<const T> dy, vector<A>) { touch(dy, 1); }
  void embed(const tokens&, matrix<const T>, matrix<T> out) { touch(out, 2); }
  void embed_gradient(const stream_tokens&, matrix<const T> dout, matrix<A>) { touch(dout, 3); }
  void rmsnorm(matrix<const T> x, vector<const T>, A, matrix<T>, vector<A>) { touch(x, 2); }
  void rmsnorm_gradient(matrix<const T> x, vector<const T>, vector<const A>, matrix<const T>, matrix<T>, vector<A>,
                        T beta) {
    touch(x, beta == T{0} ? 3 : 4);
  }
  void rope_table(const rope_config& config, std::span<const std::int32_t> positions,
                  std::span<const std::int64_t> lengths, matrix<A> cosine, matrix<A>) {
    if constexpr (!is_on_host) {
      const rope_frequencies turns = frequencies_of<A>(config, lengths);
      const auto frequencies = upload(std::span<const double>{turns.frequencies});
      const auto rows = upload(std::span<const std::int32_t>{turns.row_of});
      const auto ids = upload(positions);
    }
    touch(cosine, 2);
  }
  void rope(matrix<T> x, std::int64_t, matrix<const A>, matrix<const A>, bool, bool) { touch(x, 2); }
  void swiglu(matrix<const T>, matrix<T> out) { touch(out, 3); }
  void swiglu_gradient(matrix<const T>, matrix<const T> dout, matrix<T>) { touch(dout, 5); }
  void add(matrix<const T> x, matrix<T>) { touch(x, 3); }
  void gather_rows(matrix<const T>, const indices&, matrix<T> y) { touch(y, 2); }
  void scatter_add_rows(matrix<const T> dy, const indices&, matrix<T>) { touch(dy, 3); }
  void label_log_probs(matrix<const A> logits, const indices& offsets, const tokens&, vector<A>, std::span<double>) {
    if constexpr (!is_on_host) take<double>(offsets.values.back() - offsets.values.front());
    touch(logits, 1);
  }
  void label_gradient(matrix<const A> logits, vector<const A>, const indices& offsets, const tokens&,
                      std::span<const double>, matrix<T> d_logits) {
    if constexpr (!is_on_host) take<double>(offsets.values.back() - offsets.values.front());
    touch(logits, 1);
    touch(d_logits, 1);
  }
  void adamw(vector<A> weights, vector<A>, vector<A>, vector<const A>, const optim::adamw_step&) { touch(weights, 7); }
  [[nodiscard]] double sum_of_squares(vector<const A> values) {
    touch(values, 1);
    return 0.0;
  }
  [[nodiscard]] bool all_finite(vector<const A> values) {
    touch(values, 1);
    return true;
  }
  template <class U, std::size_t Rank>
  void fill(tensor_view<U, Rank, no_memory> view, std::type_identity_t<U>) {
    touch(view, 1);
  }
  template <class U, std::size_t Rank>
  void scale(tensor_view<U, Rank, no_memory> view, double) {
    touch(view, 2);
  }
  template <class From, class To, std::size_t Rank>
  void copy(tensor_view<From, Rank, no_memory> source, tensor_view<To, Rank, no_memory> target) {
    touch(source, 1);
    touch(target, 1);
  }
  ///@}

  /// Counts the pairs of the slices, whatever the policy does, and takes what the policy's reserve() does, where it has
  /// one.
  ///@{
  template <class Policy>
  void attend(const Policy& policy, const attention_shape& shape, std::span<const slice> slices, matrix<const T> q,
              matrix<const T> k, matrix<const T>, matrix<T>, vector<A>) {
    take_for(policy, shape, slices, q.size(0), k.size(0), false);
    done_.attention_flops += 4.0 * static_cast<double>(pairs(slices) * shape.heads) *
                             static_cast<double>(shape.head_dim);
    touch(q, 2);
    touch(k, 2);
  }
  template <class Policy>
  void attend_backward(const Policy& policy, const attention_shape& shape, std::span<const slice> slices,
                       matrix<const T> q, matrix<const T> k, matrix<const T>, matrix<const T>, vector<const A>,
                       matrix<const T>, matrix<T>, matrix<T>, matrix<T>) {
    take_for(policy, shape, slices, q.size(0), k.size(0), true);
    done_.attention_flops += 10.0 * static_cast<double>(pairs(slices) * shape.heads) *
                             static_cast<double>(shape.head_dim);
    touch(q, 4);
    touch(k, 4);
  }
  ///@}

 private:
  /// Memory that an operation holds while it runs.
  template <class U>
  void take(std::int64_t count) {
    const auto held = memory_.template allocate<U>(extents<1>{{count}});
  }
  /// Memory that a policy holds during a call: what its `reserve` takes.
  template <class Policy>
  void take_for(const Policy& policy, const attention_shape& shape, std::span<const slice> slices, std::int64_t queries,
                std::int64_t keys, bool backward) {
    if constexpr (requires { policy.reserve(*this, shape, slices, queries, keys, backward); }) {
      const auto held = policy.reserve(*this, shape, slices, queries, keys, backward);
    }
  }

  template <class X, class W, class Y>
  void product(X x, W w, Y y, std::int64_t inner, bool reads_output) {
    done_.matrix_flops +=
        2.0 * static_cast<double>(y.size(0)) * static_cast<double>(y.size(1)) * static_cast<double>(inner);
    touch(x, 1);
    touch(w, 1);
    touch(y, reads_output ? 2 : 1);
  }
  template <class U, std::size_t Rank>
  void touch(tensor_view<U, Rank, no_memory> view, int times) {
    done_.bytes += static_cast<double>(view.count()) * static_cast<double>(sizeof(U)) * times;
  }

  static constexpr bool parks_elsewhere =
      !std::is_same_v<typename Backend::parking_space, typename Backend::space>;

  arena<no_memory> memory_;
  arena<no_memory> parking_;
  std::vector<block<std::byte, 1, no_memory>> leaving_;  // parked since the last await_copies()
  work done_;
};

}  // namespace lodestone
