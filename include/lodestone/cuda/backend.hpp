// The CUDA backend: every operation of the model on one GPU.
//
// More than 400 lines in one header: it is one class, the list of operations, each a check and a launch; what they do
// is in the launchers (operations.hpp), products (matmul.hpp) and checks (core/checks.hpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lodestone/attention/shape.hpp>
#include <lodestone/attention/slices.hpp>
#include <lodestone/core/arena.hpp>
#include <lodestone/core/checks.hpp>
#include <lodestone/core/list.hpp>
#include <lodestone/core/machine.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/token_groups.hpp>
#include <lodestone/cuda/device.hpp>
#include <lodestone/cuda/matmul.hpp>
#include <lodestone/cuda/operations.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/rope.hpp>

namespace lodestone {

/// Operations on the memory of one GPU, with the contracts of the host backend (host/backend.hpp). T is bf16 (products
/// on tensor cores) or float (the check on the device, without TF32); sums, statistics, tables, gradients of parameters
/// and optimiser states are float.
///
/// Operations are put on one lane, in order, and return before they are done; what returns numbers to the host waits
/// for them. Blocks of the arena are reused in the order of the lane. Shapes and indices are checked before each launch
/// and throw shape_error; a failure of the device throws device_error. The bits of every result depend on the input and
/// the device alone. One thread at a time may call into one backend object.
template <class T>
class cuda {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, bf16>, "the CUDA backend computes in bf16 or float");

 public:
  using value_type = T;           ///< of weights and activations
  using accumulate_type = float;  ///< of tables, statistics, gradients of parameters and optimiser states
  using space = device_memory;    ///< of views and blocks
  using parking_space = pinned_memory;  ///< where parked tensors lie
  /// Of the logits that the head makes at once: products long enough for the chip, and few rewrites of the float weight
  /// gradient.
  static constexpr std::int64_t head_chunk_bytes = std::int64_t{1} << 30;
  /// Views of device memory, and lists that upload() has copied there; the host's copy of a list stays with it.
  ///@{
  template <class U>
  using matrix = tensor_view<U, 2, device_memory>;
  template <class U>
  using vector = tensor_view<U, 1, device_memory>;
  using tokens = backend_list<std::int32_t, device_memory>;
  using indices = backend_list<std::int64_t, device_memory>;
  using stream_tokens = token_list<device_memory>;
  ///@}

  /// The GPU number `device`. Throws device_error when there is none.
  explicit cuda(int device = 0) : facts_(on_cuda::describe_device(device)), parts_(select(device)) {}
  cuda(const cuda&) = delete;
  cuda& operator=(const cuda&) = delete;
  ~cuda() {
    (void)cudaStreamSynchronize(parts_.copies.get());
    (void)cudaStreamSynchronize(parts_.lane.get());
  }

  [[nodiscard]] const on_cuda::device_facts& facts() const { return facts_; }  ///< as they were at construction
  /// Where operations go; policies put their kernels there too.
  [[nodiscard]] cudaStream_t lane() const { return parts_.lane.get(); }
  /// Waits for everything asked for so far.
  void synchronize() const { parts_.lane.synchronize(); }

  /// How each matrix product is computed (cuda/matmul.hpp). Products met for the first time take cuBLASLt's own choice;
  /// choose_products() times others for all that were met so far, in memory of its own, and fixes the fastest with the
  /// same bits. choices() is text for a training state; set_choices() takes it over and returns an empty string, or a
  /// sentence when it was made for another device or version. Throws format_error for other text.
  ///@{
  std::vector<on_cuda::timed_product> choose_products() { return parts_.products.choose(parts_.lane); }
  [[nodiscard]] std::string choices() const { return parts_.products.choices(facts_.name); }
  [[nodiscard]] std::string set_choices(std::string_view text) {
    return parts_.products.set_choices(text, facts_.name);
  }
  ///@}

  /// A block of the program's arena; it must not outlive the backend.
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, device_memory> allocate(extents<Rank> shape) {
    return memory_.template allocate<U>(shape);
  }
  [[nodiscard]] lodestone::arena<device_memory>& memory() { return memory_; }  ///< holds the blocks of allocate()

  /// Begins to copy a tensor to page-locked memory, on a lane of its own and after what the operations have been asked
  /// so far; its device memory is given back by await_copies().
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, pinned_memory> park(block<U, Rank, device_memory> tensor) {
    if (!tensor) return {};
    const auto view = tensor.view();
    auto away = parking_.template allocate<U>(view.shape());
    leaving_.push_back(std::move(tensor).as_bytes());
    copy_beside(away.view().data(), view.data(), view.count() * static_cast<std::int64_t>(sizeof(U)),
                cudaMemcpyDeviceToHost);
    return away;
  }
  /// Begins to copy it back; operations may use it after await_copies(). The page-locked memory is free at once:
  /// whatever is copied there next is behind this copy on the same lane.
  template <class U, std::size_t Rank>
  [[nodiscard]] block<U, Rank, device_memory> fetch(block<U, Rank, pinned_memory> away) {
    if (!away) return {};
    const auto view = away.view();
    auto tensor = memory_.template allocate<U>(view.shape());
    copy_beside(tensor.view().data(), view.data(), view.count() * static_cast<std::int64_t>(sizeof(U)),
                cudaMemcpyHostToDevice);
    return tensor;
  }
  /// Operations asked for from now on wait for the copies begun so far; the caller does not.
  void await_copies() {
    if (!copies_begun_) return;
    parts_.copied.record(parts_.copies);
    parts_.copied.hold_back(parts_.lane);
    leaving_.clear();
    copies_begun_ = false;
  }
  /// Locks `bytes` of the host's memory for parked tensors; none must be parked.
  void reserve_parking(std::int64_t bytes) {
    await_copies();
    parts_.copies.synchronize();
    parking_.reserve(bytes);
  }
  /// Bytes that the arena may take: its own, and what the device has free less 1 GiB for modules and libraries.
  [[nodiscard]] std::int64_t available_memory() const {
    std::size_t free = 0;
    std::size_t total = 0;
    on_cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return std::max<std::int64_t>(0, static_cast<std::int64_t>(free) - (std::int64_t{1} << 30)) + memory_.capacity();
  }
  /// Bytes that parked tensors may take at most: what they have reserved, and what the host has free.
  [[nodiscard]] std::int64_t available_parking() const {
    const std::int64_t free = available_main_memory();  // the largest number where it is not known
    return free + std::min(parking_.capacity(), std::numeric_limits<std::int64_t>::max() - free);
  }
  /// Page-locked memory of parked tensors.
  [[nodiscard]] lodestone::arena<pinned_memory>& parking() { return parking_; }

  /// A list of the host on the device.
  template <class U>
  [[nodiscard]] backend_list<U, device_memory> upload(std::span<const U> values) {
    backend_list<U, device_memory> list{
        memory_.template allocate<U>(extents<1>{{static_cast<std::int64_t>(values.size())}}),
        std::vector<U>(values.begin(), values.end())};
    from_host(values, list.device.view());
    return list;
  }

  /// The tokens of a stream; with `for_gradient` also their groups, as embed_gradient() needs. The host makes these
  /// before the first copy waits for the lane: while the device is busy with what was asked before.
  [[nodiscard]] stream_tokens upload_tokens(std::span<const std::int32_t> ids, bool for_gradient) {
    token_groups groups = for_gradient ? token_groups::of(ids) : token_groups{};
    stream_tokens list{upload(ids), {}, {}, std::move(groups)};
    if (!for_gradient) return list;
    const extents<1> shape{{list.size()}};
    list.pieces = memory_.template allocate<token_piece>(shape);
    list.order = memory_.template allocate<std::int32_t>(shape);
    const auto pieces = static_cast<std::int64_t>(list.groups.pieces.size());
    from_host(std::span<const token_piece>{list.groups.pieces}, list.pieces.view().rows(0, pieces));
    from_host(std::span<const std::int32_t>{list.groups.order}, list.order.view());
    return list;
  }

  /// The elements of a view on the host; waits for them.
  template <class U, std::size_t Rank>
  [[nodiscard]] tensor<std::remove_const_t<U>, Rank> to_host(tensor_view<U, Rank, device_memory> view) const {
    tensor<std::remove_const_t<U>, Rank> result(view.shape());
    if (result.count() == 0) return result;
    const auto width = static_cast<std::size_t>(view.shape().row_count()) * sizeof(U);
    if (view.is_contiguous())
      on_cuda::check(cudaMemcpyAsync(result.data(), view.data(), static_cast<std::size_t>(view.count()) * sizeof(U),
                                     cudaMemcpyDeviceToHost, lane()), "copy to the host");
    else
      on_cuda::check(
          cudaMemcpy2DAsync(result.data(), width, view.data(), static_cast<std::size_t>(view.stride()) * sizeof(U),
                            width, static_cast<std::size_t>(view.size(0)), cudaMemcpyDeviceToHost, lane()),
          "copy to the host");
    synchronize();
    return result;
  }

  /// Fills a flat view with elements that lie on the host.
  template <class U>
  void from_host(std::span<const U> values, vector<U> view) const {
    check_shapes(static_cast<std::int64_t>(values.size()) == view.size(0) && view.is_contiguous(), "from_host",
                 "equal sizes", view);
    if (values.empty()) return;
    // Of pageable memory: the call returns when the values have been read.
    on_cuda::check(cudaMemcpyAsync(view.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice, lane()),
                   "copy to the device");
  }

  /// cosine, sine [T, R/2] for the position ids [T] and sequence lengths [T]; see fill_rope_table.
  void rope_table(const rope_config& config, std::span<const std::int32_t> positions,
                  std::span<const std::int64_t> lengths, matrix<float> cosine, matrix<float> sine) {
    check_shapes(positions.size() == lengths.size() && cosine.size(0) == static_cast<std::int64_t>(positions.size()) &&
                     cosine.size(1) == config.dimensions / 2 && sine.shape() == cosine.shape(),
                 "rope table", "cosine[T,R/2], sine[T,R/2]", cosine, sine);
    const rope_frequencies turns = frequencies_of<float>(config, lengths);
    const auto frequencies = upload(std::span<const double>{turns.frequencies});
    const auto rows = upload(std::span<const std::int32_t>{turns.row_of});
    const auto ids = upload(positions);
    on_cuda::rope_table<float>(lane(), ids.data(), rows.data(), frequencies.data(), position::attention_scaling(config),
                               cosine, sine);
  }

  /// Attention over slices by the given policy: q [Tq, H D], k, v [Tk, K D] -> o [Tq, H D], lse [Tq H].
  template <class Policy>
  void attend(const Policy& policy, const attention_shape& shape, std::span<const slice> slices, matrix<const T> q,
              matrix<const T> k, matrix<const T> v, matrix<T> o, vector<float> lse) {
    check_shapes(q.size(1) == shape.heads * shape.head_dim && k.size(1) == shape.kv_heads * shape.head_dim &&
                     k.shape() == v.shape() && o.shape() == q.shape() && lse.size(0) == q.size(0) * shape.heads,
                 "attention", "q[Tq,H*D], k[Tk,K*D], v[Tk,K*D], o[Tq,H*D], lse[Tq*H]", q, k, v, o, lse);
    policy.forward(*this, shape, slices, q, k, v, o, lse);
  }
  /// Its gradients; o and lse are those of the whole row. dq, dk, dv are overwritten.
  template <class Policy>
  void attend_backward(const Policy& policy, const attention_shape& shape, std::span<const slice> slices,
                       matrix<const T> q, matrix<const T> k, matrix<const T> v, matrix<const T> o,
                       vector<const float> lse, matrix<const T> d_o, matrix<T> dq, matrix<T> dk, matrix<T> dv) {
    check_shapes(q.size(1) == shape.heads * shape.head_dim && k.size(1) == shape.kv_heads * shape.head_dim &&
                     k.shape() == v.shape() && o.shape() == q.shape() && d_o.shape() == q.shape() &&
                     dq.shape() == q.shape() && dk.shape() == k.shape() && dv.shape() == k.shape() &&
                     lse.size(0) == q.size(0) * shape.heads,
                 "attention", "q, o, d_o, dq[Tq,H*D], k, v, dk, dv[Tk,K*D], lse[Tq*H]", q, k, v, o, d_o, dq, dk, dv,
                 lse);
    policy.backward(*this, shape, slices, q, k, v, o, lse, d_o, dq, dk, dv);
  }

  /// y[M,N] = x[M,C] w[N,C]^T + beta y; y may be float where x is bf16.
  template <class Y>
  void gemm_nt(matrix<const T> x, matrix<const T> w, matrix<Y> y, std::type_identity_t<Y> beta) {
    checks::gemm_nt(x, w, y);
    if constexpr (std::is_same_v<T, bf16>)
      if (is_for_few_rows(x, w)) return on_cuda::few_rows<Y>(lane(), x, w, y, !(beta == Y{}));
    product<Y>(on_cuda::product::nt, x.size(0), w, x, y, beta);
  }
  /// Operations that belong together in a pass of few rows, in one kernel and with the bits of one after the other.
  ///@{
  /// Whether the next three serve a model's layers for so many rows.
  [[nodiscard]] static bool joins_operations(std::int64_t rows, std::int64_t hidden, bool whole_heads_turn) {
    return std::is_same_v<T, bf16> && rows <= on_cuda::most_normed_rows && hidden > 512 && hidden % 8 == 0 &&
           rows * (hidden + 8) * 2 <= on_cuda::most_normed_bytes && whole_heads_turn;
  }
  /// y[M,N] = rmsnorm(x[M,C], norm) w[N,C]^T.
  void normed_product(matrix<const T> x, vector<const T> norm, float epsilon, matrix<const T> w, matrix<T> y) {
    checks::gemm_nt(x, w, y);
    join_normed(x, norm, epsilon, w, y, false);
  }
  /// y[M,F] = swiglu(rmsnorm(x[M,C], norm) w[2F,C]^T).
  void normed_gated_product(matrix<const T> x, vector<const T> norm, float epsilon, matrix<const T> w, matrix<T> y) {
    check_shapes(x.size(1) == w.size(1) && x.size(0) == y.size(0) && w.size(0) == 2 * y.size(1), "normed_gated_product",
                 "x[M,C], w[2F,C], y[M,F]", x, w, y);
    join_normed(x, norm, epsilon, w, y, true);
  }
  /// rope of the queries and keys of qkv [T, (heads + 2 kv_heads) D]; keys and values of row t go to row rows[t] of the
  /// cache [., 2 kv_heads D], and what qkv then holds of the keys is not said.
  void rope_to_cache(matrix<T> qkv, const attention_shape& shape, matrix<const float> cosine, matrix<const float> sine,
                     bool interleaved, const indices& rows, matrix<T> cache) {
    const std::int64_t width = 2 * shape.kv_heads * shape.head_dim;
    check_shapes(qkv.size(1) == shape.heads * shape.head_dim + width && cache.size(1) == width &&
                     cosine.size(0) == qkv.size(0) && 2 * cosine.size(1) == shape.head_dim &&
                     sine.shape() == cosine.shape() && rows.size() == qkv.size(0),
                 "rope_to_cache", "qkv[T,(H+2K)*D], cosine[T,D/2], sine[T,D/2], cache[.,2*K*D]", qkv, cosine, sine,
                 cache);
    for (const std::int64_t row : rows.values)
      if (row < 0 || row >= cache.size(0))
        throw shape_error("row " + std::to_string(row) + " of a cache of " + std::to_string(cache.size(0)) + " rows",
                          "rope_to_cache");
    if constexpr (std::is_same_v<T, bf16>)
      on_cuda::rope_to_cache<T>(lane(), qkv, shape.heads, shape.kv_heads, cosine, sine, interleaved, rows.data(),
                                cache);
  }
  ///@}
  /// dx[M,C] = dy[M,N] w[N,C] + beta dx.
  void gemm_nn(matrix<const T> dy, matrix<const T> w, matrix<T> dx, T beta) {
    checks::gemm_nn(dy, w, dx);
    product<T>(on_cuda::product::nn, dy.size(0), w, dy, dx, beta);
  }
  /// dw[N,C] = dy[M,N]^T x[M,C] + beta dw.
  void gemm_tn(matrix<const T> dy, matrix<const T> x, matrix<float> dw, float beta) {
    checks::gemm_tn(dy, x, dw);
    if (dy.size(0) == 0) {
      if (beta == 0.0F) fill(dw, 0.0F);
      return;
    }
    parts_.products.template run<T, float>(parts_.lane, on_cuda::product::tn, dy.size(0), dw.size(0), dw.size(1),
                                           {dy.data(), dy.stride()}, {x.data(), x.stride()}, dw.data(), dw.stride(),
                                           beta);
  }
  /// The function of this name in on_host, put on the lane; what returns numbers to the host waits for them.
  ///@{
  void add_bias(matrix<T> y, vector<const T> bias) {
    checks::add_bias(y, bias);
    on_cuda::add_bias<T>(lane(), y, bias);
  }
  void bias_gradient(matrix<const T> dy, vector<float> db) {
    checks::bias_gradient(dy, db);
    on_cuda::bias_gradient<T>(lane(), dy, db, parts_.scratch.data());
  }

  void embed(const tokens& ids, matrix<const T> table, matrix<T> out) {
    checks::embed(ids.values, table, out);
    on_cuda::embed<T>(lane(), ids.data(), table, out);
  }
  void embed_gradient(const stream_tokens& ids, matrix<const T> dout, matrix<float> dtable) {
    checks::embed_gradient(ids.values, dout, dtable);
    const token_groups& groups = ids.groups;
    if (static_cast<std::int64_t>(groups.order.size()) != ids.size())
      throw shape_error("the tokens were uploaded without their groups", "embed_gradient",
                        "pass for_gradient = true to upload_tokens");
    const vector<const token_piece> pieces = ids.pieces.view();
    on_cuda::embed_gradient<T>(lane(), pieces.rows(0, static_cast<std::int64_t>(groups.pieces.size())), groups.joins,
                               groups.partials, ids.order.view().data(), dout, dtable, parts_.scratch.data());
  }

  void rmsnorm(matrix<const T> x, vector<const T> weight, float epsilon, matrix<T> y, vector<float> rstd) {
    checks::rmsnorm(x, weight, y, rstd);
    on_cuda::rmsnorm<T>(lane(), x, weight, epsilon, y, rstd);
  }
  void rmsnorm_gradient(matrix<const T> x, vector<const T> weight, vector<const float> rstd, matrix<const T> dy,
                        matrix<T> dx, vector<float> dweight, T beta) {
    checks::rmsnorm_gradient(x, weight, rstd, dy, dx, dweight);
    on_cuda::rmsnorm_gradient<T>(lane(), x, weight, rstd, dy, dx, dweight, !(beta == T{0}), parts_.scratch.data());
  }
  void rope(matrix<T> x, std::int64_t head_dim, matrix<const float> cosine, matrix<const float> sine, bool interleaved,
            bool inverse) {
    checks::rope(x, head_dim, cosine, sine);
    on_cuda::rope<T>(lane(), x, head_dim, cosine, sine, interleaved, inverse);
  }

  void swiglu(matrix<const T> gate_up, matrix<T> out) {
    checks::swiglu(gate_up, out);
    on_cuda::swiglu<T>(lane(), gate_up, out);
  }
  void swiglu_gradient(matrix<const T> gate_up, matrix<const T> dout, matrix<T> dgate_up) {
    checks::swiglu_gradient(gate_up, dout, dgate_up);
    on_cuda::swiglu_gradient<T>(lane(), gate_up, dout, dgate_up);
  }
  void add(matrix<const T> x, matrix<T> y) {
    check_shapes(x.shape() == y.shape(), "add", "x[M,N], y[M,N]", x, y);
    on_cuda::add<T>(lane(), x, y);
  }
  void gather_rows(matrix<const T> x, const indices& rows, matrix<T> y) {
    checks::gather_rows(x, rows.values, y);
    on_cuda::gather_rows<T>(lane(), x, rows.data(), y);
  }
  void scatter_add_rows(matrix<const T> dy, const indices& rows, matrix<T> dx) {
    checks::scatter_add_rows(dy, rows.values, dx);
    on_cuda::scatter_add_rows<T>(lane(), dy, rows.data(), dx);
  }

  /// ids[m]: the largest logit of row m, of equal ones the lowest id; -1 where one is no number, or the largest
  /// infinite. Waits for them.
  void largest(matrix<const float> logits, std::span<std::int32_t> ids) {
    check_shapes(logits.size(0) == std::ssize(ids) && logits.size(1) > 0, "largest", "logits[m,V], ids[m]", logits);
    const auto result = memory_.template allocate<std::int32_t>(extents<1>{{logits.size(0)}});
    on_cuda::largest<float>(lane(), logits, result.view().data());
    if (ids.empty()) return;
    on_cuda::check(cudaMemcpyAsync(ids.data(), result.view().data(), ids.size_bytes(), cudaMemcpyDeviceToHost, lane()),
                   "copy to the host");
    synchronize();
  }

  void label_log_probs(matrix<const float> logits, const indices& offsets, const tokens& labels, vector<float> lse,
                       std::span<double> log_probs) {
    check_labels(logits, lse, offsets.values, labels.values, log_probs.size(), "label_log_probs");
    const label_range range = range_of(offsets);
    const auto result = memory_.template allocate<double>(extents<1>{{range.count}});
    on_cuda::label_log_probs<float>(lane(), logits, offsets.data(), labels.data(), range.first, lse,
                                    result.view().data());
    if (range.count == 0) return;
    on_cuda::check(
        cudaMemcpyAsync(log_probs.data() + range.first, result.view().data(),
                        static_cast<std::size_t>(range.count) * sizeof(double), cudaMemcpyDeviceToHost, lane()),
        "copy to the host");
    synchronize();
  }
  void label_gradient(matrix<const float> logits, vector<const float> lse, const indices& offsets, const tokens& labels,
                      std::span<const double> coefficients, matrix<T> d_logits) {
    checks::label_gradient(logits, lse, offsets.values, labels.values, coefficients.size(), d_logits);
    const label_range range = range_of(offsets);
    const auto factors = memory_.template allocate<double>(extents<1>{{range.count}});
    from_host(coefficients.subspan(static_cast<std::size_t>(range.first), static_cast<std::size_t>(range.count)),
              factors.view());
    on_cuda::label_gradient<T>(lane(), logits, lse, offsets.data(), labels.data(), range.first, factors.view().data(),
                               d_logits);
  }

  void adamw(vector<float> weights, vector<float> first_moment, vector<float> second_moment,
             vector<const float> gradient, const optim::adamw_step& step) {
    checks::adamw(weights, first_moment, second_moment, gradient);
    const auto narrow = [](double value) { return static_cast<float>(value); };
    on_cuda::adamw<float>(lane(), weights, first_moment, second_moment, gradient,
                          {.decay = narrow(1.0 - step.learning_rate * step.weight_decay),
                           .beta1 = narrow(step.beta1),
                           .rest1 = narrow(1.0 - step.beta1),
                           .beta2 = narrow(step.beta2),
                           .rest2 = narrow(1.0 - step.beta2),
                           .rate = narrow(step.learning_rate / step.bias_correction1),
                           .root_correction = narrow(1.0 / std::sqrt(step.bias_correction2)),
                           .epsilon = narrow(step.epsilon),
                           .gradient_scale = narrow(step.gradient_scale)});
  }
  [[nodiscard]] double sum_of_squares(vector<const float> values) {
    check_shapes(values.is_contiguous(), "sum_of_squares", "a contiguous view", values);
    on_cuda::sum_of_squares<float>(lane(), values, parts_.result.data(), parts_.scratch.data());
    return to_host(const_view(parts_.result.view())).flat().front();
  }
  [[nodiscard]] bool all_finite(vector<const float> values) {
    check_shapes(values.is_contiguous(), "all_finite", "a contiguous view", values);
    on_cuda::all_finite<float>(lane(), values, parts_.result.data());
    return to_host(const_view(parts_.result.view())).flat().front() != 0.0;
  }

  template <class U, std::size_t Rank>
  void fill(tensor_view<U, Rank, device_memory> view, std::type_identity_t<U> value) {
    on_cuda::fill<U>(lane(), as_matrix(view), static_cast<float>(value));
  }
  template <class U, std::size_t Rank>
  void scale(tensor_view<U, Rank, device_memory> view, double factor) {
    on_cuda::scale<U>(lane(), as_matrix(view), static_cast<float>(factor));
  }
  ///@}
  /// target = source with conversion between float and bf16.
  template <class From, class To, std::size_t Rank>
  void copy(tensor_view<From, Rank, device_memory> source, tensor_view<To, Rank, device_memory> target) {
    check_shapes(source.shape() == target.shape(), "copy", "equal shapes", source, target);
    const bool flat = source.is_contiguous() && target.is_contiguous();
    const auto from = as_matrix(source, flat);
    on_cuda::copy<std::remove_const_t<From>, To>(lane(), const_of(from), as_matrix(target, flat));
  }

 private:
  /// The labels of a chunk of rows.
  struct label_range {
    std::int64_t first;
    std::int64_t count;
  };
  [[nodiscard]] static label_range range_of(const indices& offsets) {
    return {offsets.values.front(), offsets.values.back() - offsets.values.front()};
  }

  /// What needs the device to be chosen first.
  struct parts {
    on_cuda::stream lane;
    on_cuda::stream copies;    // beside the operations, in order among themselves
    on_cuda::event computed{};
    on_cuda::event copied{};
    on_cuda::matmul products{};
    tensor<std::byte, 1, device_memory> scratch{extents<1>{{static_cast<std::int64_t>(on_cuda::scratch_bytes)}}};
    tensor<double, 1, device_memory> result{extents<1>{{1}}};
  };
  [[nodiscard]] static parts select(int device) {
    on_cuda::check(cudaSetDevice(device), "cudaSetDevice");
    return {};
  }

  /// Whether few_rows serves a product: cuBLASLt reads the weights of such products no faster, and chooses another
  /// order of additions for another number of rows.
  [[nodiscard]] static bool is_for_few_rows(matrix<const T> x, matrix<const T> w) {
    const auto fits = [](matrix<const T> m) {
      return reinterpret_cast<std::uintptr_t>(m.data()) % 16 == 0 && m.stride() % 8 == 0;
    };
    return x.size(0) <= on_cuda::most_few_rows && w.size(1) > 0 && w.size(1) % 8 == 0 && fits(x) && fits(w);
  }

  void join_normed(matrix<const T> x, vector<const T> norm, float epsilon, matrix<const T> w, matrix<T> y, bool gates) {
    check_shapes(norm.size(0) == x.size(1) && norm.is_contiguous() && is_for_few_rows(x, w) &&
                     reinterpret_cast<std::uintptr_t>(norm.data()) % 16 == 0 &&
                     joins_operations(x.size(0), x.size(1), true),
                 "a normed product", "norm[C], and few rows that lie on 16 bytes", x, norm, w, y);
    if constexpr (std::is_same_v<T, bf16>) on_cuda::few_rows_normed<T>(lane(), x, norm, epsilon, w, y, gates);
  }

  /// A copy on the copies' lane, after the operations asked for so far.
  void copy_beside(void* target, const void* source, std::int64_t bytes, cudaMemcpyKind kind) {
    copies_begun_ = true;
    parts_.computed.record(parts_.lane);
    parts_.computed.hold_back(parts_.copies);
    if (bytes > 0)
      on_cuda::check(cudaMemcpyAsync(target, source, static_cast<std::size_t>(bytes), kind, parts_.copies.get()),
                     "copy beside the operations");
  }

  template <class Y>
  void product(on_cuda::product kind, std::int64_t tokens_count, matrix<const T> w, matrix<const T> a, matrix<Y> z,
               Y beta) {
    const float factor = static_cast<float>(beta);
    if (kind == on_cuda::product::nn && w.size(0) == 0) {
      if (factor == 0.0F) fill(z, Y{});
      return;
    }
    parts_.products.template run<T, Y>(parts_.lane, kind, tokens_count, w.size(0), w.size(1), {a.data(), a.stride()},
                                       {w.data(), w.stride()}, z.data(), z.stride(), factor);
  }

  /// A view as rows of elements; a contiguous one as rows of 4,096 where they divide it, so that launches fill the
  /// device.
  template <class U, std::size_t Rank>
  [[nodiscard]] static matrix<U> as_matrix(tensor_view<U, Rank, device_memory> view, bool flat) {
    if (!flat) return {view.data(), extents<2>{{view.size(0), view.shape().row_count()}}, view.stride()};
    constexpr std::int64_t width = 4096;
    const std::int64_t count = view.count();
    if (count % width == 0) return {view.data(), extents<2>{{count / width, width}}};
    return {view.data(), extents<2>{{1, count}}};
  }
  template <class U, std::size_t Rank>
  [[nodiscard]] static matrix<U> as_matrix(tensor_view<U, Rank, device_memory> view) {
    return as_matrix(view, view.is_contiguous());
  }
  template <class U>
  [[nodiscard]] static matrix<const std::remove_const_t<U>> const_of(matrix<U> view) {
    return {view.data(), view.shape(), view.stride()};
  }

  on_cuda::device_facts facts_;
  parts parts_;
  lodestone::arena<device_memory> memory_;
  lodestone::arena<pinned_memory> parking_;
  std::vector<block<std::byte, 1, device_memory>> leaving_;  // parked since the last await_copies()
  bool copies_begun_ = false;                                // since then
};

}  // namespace lodestone
