// The host backend: every operation of the model on ordinary memory, with Eigen products and a thread pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/arena.hpp>
#include <lodestone/core/machine.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/host/elementwise.hpp>
#include <lodestone/host/gemm.hpp>
#include <lodestone/host/head.hpp>
#include <lodestone/host/normalise.hpp>
#include <lodestone/host/optimise.hpp>
#include <lodestone/host/rope.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/rope.hpp>

namespace lodestone {

/// Operations on float or double in host memory; the reference that other backends are compared with.
///
/// Every operation checks its shapes once and throws shape_error; views may have any row stride. The bits of every
/// result are independent of the number of threads. Operations return when they are done. One thread at a time may call
/// into one backend object. The contracts, with shapes and equations, stand at the function of the same name in
/// on_host.
template <class T>
class host {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>, "the host backend computes in float or double");

 public:
  using value_type = T;       ///< of weights and activations
  using accumulate_type = T;  ///< of tables, coefficients, statistics and optimiser states
  using space = host_memory;  ///< of views and blocks
  using parking_space = host_memory;  ///< where parked tensors lie
  static constexpr std::int64_t head_chunk_bytes = std::int64_t{64} << 20;  ///< of logits at once in the head

  /// Views of host memory, and lists that operations read in place.
  ///@{
  template <class U>
  using matrix = tensor_view<U, 2>;
  template <class U>
  using vector = tensor_view<U, 1>;
  using tokens = std::span<const std::int32_t>;
  using indices = std::span<const std::int64_t>;
  ///@}

  /// `threads` threads, the caller included; 0 takes all cores.
  explicit host(int threads = 0)
      : pool_(std::make_shared<thread_pool>(threads > 0 ? threads : thread_pool::default_threads())) {}
  /// Shares a pool, so that several backends do not compete for the cores.
  explicit host(std::shared_ptr<thread_pool> pool) : pool_(std::move(pool)) {
    if (pool_ == nullptr) throw config_error("a backend needs a thread pool", "host");
  }
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  [[nodiscard]] thread_pool& pool() { return *pool_; }  ///< borrowed by every operation
  [[nodiscard]] const std::shared_ptr<thread_pool>& shared_pool() const { return pool_; }  ///< for further backends

  /// A block of the program's arena; it must not outlive the backend.
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, host_memory> allocate(extents<Rank> shape) {
    return memory_.template allocate<U>(shape);
  }
  [[nodiscard]] lodestone::arena<host_memory>& memory() { return memory_; }  ///< holds the blocks of allocate()

  /// A tensor that is not needed for a while, where it does not take the backend's memory, and back again. Here both
  /// are one, so nothing moves. The contract, for backends whose memory is scarce: both begin a copy that runs beside
  /// the operations; a fetched tensor may be used, and the memory of a parked one is given back, after await_copies().
  ///@{
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, parking_space> park(block<U, Rank, space> tensor) {
    return tensor;
  }
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, space> fetch(block<U, Rank, parking_space> away) {
    return away;
  }
  ///@}
  /// What follows waits for every copy that park and fetch have begun.
  void await_copies() {}
  /// Sets memory aside for parked tensors; none must be parked.
  void reserve_parking(std::int64_t) {}

  /// Bytes that blocks may take besides those that live now.
  [[nodiscard]] std::int64_t available_memory() const { return available_main_memory(); }
  /// Bytes that parked tensors may take: none, for they would stay where they are.
  [[nodiscard]] std::int64_t available_parking() const { return 0; }

  /// Makes a list on the host readable by operations: here it already is.
  template <class U>
  [[nodiscard]] std::span<const U> upload(std::span<const U> values) const {
    return values;
  }
  /// The same for the tokens of a stream; with `for_gradient` also for embed_gradient(), which other backends prepare.
  [[nodiscard]] tokens upload_tokens(tokens ids, bool for_gradient) const {
    (void)for_gradient;
    return ids;
  }

  /// The elements of a view where the host can read them: here they already are.
  template <class U, std::size_t Rank>
  [[nodiscard]] tensor_view<const U, Rank> to_host(tensor_view<U, Rank> view) const {
    return view;
  }

  /// Fills a flat view with elements that lie on the host.
  template <class U>
  void from_host(std::span<const U> values, vector<U> view) const {
    if (static_cast<std::int64_t>(values.size()) != view.size(0)) throw shape_error("sizes differ", "from_host");
    std::copy(values.begin(), values.end(), view.flat().begin());
  }

  /// cosine, sine [T, R/2] for the position ids [T] and sequence lengths [T]; see fill_rope_table.
  void rope_table(const rope_config& config, tokens positions, indices lengths, matrix<T> cosine, matrix<T> sine) {
    fill_rope_table<T>(config, positions, lengths, cosine, sine);
  }

  /// Attention over slices by the given policy: q [Tq, H D], k, v [Tk, K D] -> o [Tq, H D], lse [Tq H].
  template <class Policy>
  void attend(const Policy& policy, const attention_shape& shape, std::span<const slice> slices, matrix<const T> q,
              matrix<const T> k, matrix<const T> v, matrix<T> o, vector<T> lse) {
    policy.forward(*this, shape, slices, q, k, v, o, lse);
  }
  /// Its gradients; o and lse are those of the whole row. dq, dk, dv are overwritten.
  template <class Policy>
  void attend_backward(const Policy& policy, const attention_shape& shape, std::span<const slice> slices,
                       matrix<const T> q, matrix<const T> k, matrix<const T> v, matrix<const T> o, vector<const T> lse,
                       matrix<const T> d_o, matrix<T> dq, matrix<T> dk, matrix<T> dv) {
    policy.backward(*this, shape, slices, q, k, v, o, lse, d_o, dq, dk, dv);
  }

  /// The function of this name in on_host, run on pool().
  ///@{
  void gemm_nt(matrix<const T> x, matrix<const T> w, matrix<T> y, T beta) {
    on_host::gemm_nt<T>(*pool_, x, w, y, beta);
  }
  void gemm_nn(matrix<const T> dy, matrix<const T> w, matrix<T> dx, T beta) {
    on_host::gemm_nn<T>(*pool_, dy, w, dx, beta);
  }
  void gemm_tn(matrix<const T> dy, matrix<const T> x, matrix<T> dw, T beta) {
    on_host::gemm_tn<T>(*pool_, dy, x, dw, beta);
  }
  void add_bias(matrix<T> y, vector<const T> bias) { on_host::add_bias<T>(*pool_, y, bias); }
  void bias_gradient(matrix<const T> dy, vector<T> db) { on_host::bias_gradient<T>(*pool_, dy, db); }

  void embed(tokens ids, matrix<const T> table, matrix<T> out) { on_host::embed<T>(*pool_, ids, table, out); }
  void embed_gradient(tokens ids, matrix<const T> dout, matrix<T> dtable) {
    on_host::embed_gradient<T>(*pool_, ids, dout, dtable);
  }

  void rmsnorm(matrix<const T> x, vector<const T> weight, T epsilon, matrix<T> y, vector<T> rstd) {
    on_host::rmsnorm<T>(*pool_, x, weight, epsilon, y, rstd);
  }
  void rmsnorm_gradient(matrix<const T> x, vector<const T> weight, vector<const T> rstd, matrix<const T> dy,
                        matrix<T> dx, vector<T> dweight, T beta) {
    on_host::rmsnorm_gradient<T>(*pool_, x, weight, rstd, dy, dx, dweight, beta);
  }
  void rope(matrix<T> x, std::int64_t head_dim, matrix<const T> cosine, matrix<const T> sine, bool interleaved,
            bool inverse) {
    on_host::rope<T>(*pool_, x, head_dim, cosine, sine, interleaved, inverse);
  }

  void swiglu(matrix<const T> gate_up, matrix<T> out) { on_host::swiglu<T>(*pool_, gate_up, out); }
  void swiglu_gradient(matrix<const T> gate_up, matrix<const T> dout, matrix<T> dgate_up) {
    on_host::swiglu_gradient<T>(*pool_, gate_up, dout, dgate_up);
  }
  void add(matrix<const T> x, matrix<T> y) { on_host::add<T>(*pool_, x, y); }
  void gather_rows(matrix<const T> x, indices rows, matrix<T> y) { on_host::gather_rows<T>(*pool_, x, rows, y); }
  void scatter_add_rows(matrix<const T> dy, indices rows, matrix<T> dx) {
    on_host::scatter_add_rows<T>(*pool_, dy, rows, dx);
  }

  void label_log_probs(matrix<const T> logits, indices offsets, tokens labels, vector<T> lse,
                       std::span<double> log_probs) {
    on_host::label_log_probs<T>(*pool_, logits, offsets, labels, lse, log_probs);
  }
  void label_gradient(matrix<const T> logits, vector<const T> lse, indices offsets, tokens labels,
                      std::span<const double> coefficients, matrix<T> d_logits) {
    on_host::label_gradient<T>(*pool_, logits, lse, offsets, labels, coefficients, d_logits);
  }

  void adamw(vector<T> weights, vector<T> first_moment, vector<T> second_moment, vector<const T> gradient,
             const optim::adamw_step& step) {
    on_host::adamw<T>(*pool_, weights, first_moment, second_moment, gradient, step);
  }
  [[nodiscard]] double sum_of_squares(vector<const T> values) { return on_host::sum_of_squares<T>(*pool_, values); }
  [[nodiscard]] bool all_finite(vector<const T> values) { return on_host::all_finite<T>(*pool_, values); }

  template <class U, std::size_t Rank>
  void fill(tensor_view<U, Rank> view, std::type_identity_t<U> value) {
    on_host::fill(*pool_, view, value);
  }
  template <class U, std::size_t Rank>
  void scale(tensor_view<U, Rank> view, double factor) {
    on_host::scale(*pool_, view, factor);
  }
  ///@}
  /// target = source with conversion between float, double, bf16 and f16.
  template <class From, class To, std::size_t Rank>
  void copy(tensor_view<From, Rank> source, tensor_view<To, Rank> target) {
    on_host::copy(*pool_, source, target);
  }

 private:
  std::shared_ptr<thread_pool> pool_;
  lodestone::arena<host_memory> memory_;
};

}  // namespace lodestone
