// Parameter stores: who holds the weights, gradients and optimiser state of each unit, and when they are whole.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <lodestone/core/arena.hpp>
#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/dist/any.hpp>
#include <lodestone/model/adapters.hpp>
#include <lodestone/model/config.hpp>
#include <lodestone/model/layout.hpp>
#include <lodestone/model/stored_tensors.hpp>

namespace lodestone::parameters {

/// The part of a unit that this rank's optimiser updates: elements [begin, end) of the unit's gradient buffer.
template <class Backend>
struct owned_part {
  /// Flat, of the accumulation type.
  using view = tensor_view<typename Backend::accumulate_type, 1, typename Backend::space>;
  std::int64_t begin = 0;  ///< first element updated here
  std::int64_t end = 0;    ///< one past the last
  view master;    ///< [end - begin] weights in the accumulation type
  view gradient;  ///< [end - begin] summed over all ranks
  view first;     ///< [end - begin] first moment
  view second;    ///< [end - begin] second moment
};

/// A parameter store.
///
/// Requires, for a unit in [0, L + 2):
///  1. `config()`, `trained()`, `backend()`, `layout(unit)`.
///  2. `acquire(unit)` / `release(unit)`: between them `weights(unit)` is whole. They nest and may communicate.
///  3. `gradient(unit)`: the local sums of this step, or an empty view when the unit is not trained.
///  4. `gradients_final(unit)`: called once a step by every rank, units in the same order; afterwards `owned(unit)`
///     holds the sum over ranks of the part that this rank updates.
///  5. `updated(unit)`: the optimiser has changed owned(unit).master; the next acquire sees it.
///  6. `zero_gradients()`; `is_sharded()`: whether acquire and release communicate (then ranks meet in every
///     micro-batch) and the owned parts of the ranks are disjoint (then norms over them are summed over ranks).
/// Laws: with equal data all stores give the same weights after a step, whatever their sharding.
template <class S>
concept parameter_store = requires(S& store, std::int64_t unit) {
  { store.config() } -> std::convertible_to<const model_config&>;
  { store.trained() } -> std::convertible_to<const trained_parts&>;
  store.backend();
  { store.layout(unit) } -> std::convertible_to<const unit_layout&>;
  store.acquire(unit);
  store.release(unit);
  store.weights(unit);
  store.gradient(unit);
  store.gradients_final(unit);
  store.owned(unit);
  store.updated(unit);
  store.zero_gradients();
  { store.is_sharded() } -> std::convertible_to<bool>;
};

/// Whether a buffer exists for training (gradients and moments) or only for inference.
enum class purpose : std::uint8_t { inference, training };

/// Every rank holds everything; gradients are summed over ranks as each unit becomes final. With one rank, acquire and
/// release do nothing at all.
///
/// The weight buffer is the master copy where the compute type is the accumulation type (every host backend); backends
/// with a narrower compute type keep both.
template <class Backend>
class replicated {
 public:
  /// The backend and its types.
  ///@{
  using backend_type = Backend;
  using value_type = typename Backend::value_type;
  using accumulate_type = typename Backend::accumulate_type;
  using space = typename Backend::space;
  ///@}
  /// Whether weights are kept a second time in the accumulation type: the optimiser's small steps would round away.
  static constexpr bool has_master = !std::same_as<value_type, accumulate_type>;

  /// Buffers for `config`, weights zero (adapters too: see initialise_adapters). Gradients, moments and, where the
  /// compute type is narrow, masters exist for the `trained` parts only. Throws config_error for adapters whose targets
  /// fit nothing.
  replicated(model_config config, std::unique_ptr<Backend> backend, purpose use, dist::any_communicator group = {},
             trained_parts trained = {})
      : config_(std::move(config)),
        backend_(std::move(backend)),
        group_(group),
        use_(use),
        trained_(std::move(trained)) {
    check_targets(config_, trained_.adapters);
    for (std::int64_t unit = 0; unit < unit_count(config_); ++unit) {
      unit_buffers u;
      u.layout = make_unit_layout(config_, unit, trained_, use == purpose::training);
      u.weights = tensor<value_type, 1, space>(extents<1>{{u.layout.count}});
      if (use == purpose::training) {
        const extents<1> trained{{u.layout.gradient_count}};
        u.gradient = buffer(trained);
        u.first = buffer(trained);
        u.second = buffer(trained);
        if (has_master || u.layout.gradient_count != u.layout.count) u.master = buffer(trained);
      }
      units_.push_back(std::move(u));
    }
    if constexpr (!std::same_as<space, host_memory>) {  // memory of a device comes with what it held before
      for (unit_buffers& u : units_) {
        backend_->fill(u.weights.view(), value_type{});
        if (u.master.count() != 0) backend_->fill(u.master.view(), accumulate_type{0});
      }
      zero_gradients();
      zero_moments();
    }
  }

  [[nodiscard]] const model_config& config() const { return config_; }  ///< the one that the buffers were made for
  [[nodiscard]] Backend& backend() { return *backend_; }  ///< owned by the store
  [[nodiscard]] dist::any_communicator& group() { return group_; }  ///< the ranks that gradients are summed over
  [[nodiscard]] purpose use() const { return use_; }  ///< inference: gradients and moments are empty
  [[nodiscard]] const trained_parts& trained() const { return trained_; }  ///< what training changes
  [[nodiscard]] std::int64_t units() const { return static_cast<std::int64_t>(units_.size()); }  ///< L + 2
  /// `unit` in [0, units()).
  [[nodiscard]] const unit_layout& layout(std::int64_t unit) const { return at(unit).layout; }

  /// Do nothing: the weights are always whole.
  ///@{
  void acquire(std::int64_t) {}
  void release(std::int64_t) {}
  ///@}

  /// The unit's flat weight buffer in the compute type, [layout(unit).count].
  [[nodiscard]] tensor_view<const value_type, 1, space> weights(std::int64_t unit) const {
    return at(unit).weights.view();
  }
  /// The weights for writing where there is no master copy: set_weights() serves every backend.
  [[nodiscard]] tensor_view<value_type, 1, space> mutable_weights(std::int64_t unit)
    requires(!has_master)
  {
    return at(unit).weights.view();
  }
  /// Gives a tensor its elements, [place.count] on the host: the compute copy and, where there is one, the master.
  void set_weights(const stored_tensor& place, std::span<const accumulate_type> elements) {
    unit_buffers& u = at(place.unit);
    const auto weights = u.weights.view().rows(place.offset, place.offset + place.count);
    if constexpr (has_master) {
      std::vector<value_type> narrow(elements.size());
      for (std::size_t i = 0; i < narrow.size(); ++i) narrow[i] = convert<value_type>(elements[i]);
      backend_->from_host(std::span<const value_type>{narrow}, weights);
    } else {
      backend_->from_host(elements, weights);
    }
    if (u.master.count() != 0 && place.is_trained)
      backend_->from_host(elements, u.master.view().rows(place.gradient_offset, place.gradient_offset + place.count));
  }

  /// The unit's sums since zero_gradients(), [layout(unit).gradient_count]; empty for inference.
  [[nodiscard]] tensor_view<accumulate_type, 1, space> gradient(std::int64_t unit) {
    return at(unit).gradient.view();
  }

  /// Sums the unit's gradient over the ranks of group(); nothing with one rank. Throws config_error when several ranks
  /// compute on a device.
  void gradients_final(std::int64_t unit) {
    if (group_.size() == 1) return;
    if constexpr (std::same_as<space, host_memory>)
      group_.all_reduce(at(unit).gradient.flat());
    else
      throw config_error("ranks that share gradients on a device need a communicator of the device", "ranks",
                         "use one rank");
  }

  /// All of the unit. Where some parameters are frozen, the trained ones have a buffer of their own.
  [[nodiscard]] owned_part<Backend> owned(std::int64_t unit) {
    unit_buffers& u = at(unit);
    if constexpr (!has_master)
      if (u.master.count() != 0) move_trained(u, true);
    return {0, u.layout.gradient_count, master_of(u),
            u.gradient.view(), u.first.view(), u.second.view()};
  }
  /// Writes the changed master into the compute weights; nothing where the weights are the master themselves.
  void updated(std::int64_t unit) {
    if (unit_buffers& u = at(unit); u.master.count() != 0) move_trained(u, false);
  }

  /// Sets the sums of all units to zero, before the first micro-batch of a step.
  void zero_gradients() {
    for (unit_buffers& u : units_) backend_->fill(u.gradient.view(), accumulate_type{0});
  }
  [[nodiscard]] bool is_sharded() const { return false; }  ///< every rank owns every unit

  /// Forgets the optimiser's moments: the next step is the first of a new run.
  void zero_moments() {
    for (unit_buffers& u : units_) {
      backend_->fill(u.first.view(), accumulate_type{0});
      backend_->fill(u.second.view(), accumulate_type{0});
    }
  }

  /// Bytes of weights, and of gradients, masters and moments.
  ///@{
  [[nodiscard]] std::int64_t weight_bytes() const {
    std::int64_t elements = 0;
    for (const unit_buffers& u : units_) elements += u.weights.count();
    return elements * static_cast<std::int64_t>(sizeof(value_type));
  }
  [[nodiscard]] std::int64_t training_bytes() const {
    std::int64_t elements = 0;
    for (const unit_buffers& u : units_)
      elements += u.gradient.count() + u.first.count() + u.second.count() + u.master.count();
    return elements * static_cast<std::int64_t>(sizeof(accumulate_type));
  }
  ///@}

 private:
  using buffer = tensor<accumulate_type, 1, space>;

  struct unit_buffers {
    unit_layout layout;
    tensor<value_type, 1, space> weights;
    buffer master;  // where the weights are narrower, or some parameters of the unit are frozen
    buffer gradient;
    buffer first;
    buffer second;
  };

  [[nodiscard]] unit_buffers& at(std::int64_t unit) { return units_[static_cast<std::size_t>(unit)]; }
  [[nodiscard]] const unit_buffers& at(std::int64_t unit) const { return units_[static_cast<std::size_t>(unit)]; }

  [[nodiscard]] static tensor_view<accumulate_type, 1, space> master_of(unit_buffers& u) {
    if (u.layout.gradient_count == 0) return {};
    if constexpr (has_master)
      return u.master.view();
    else
      return u.master.count() != 0 ? u.master.view() : u.weights.view();
  }

  void move_trained(unit_buffers& u, bool to_master) {
    for (const parameter_place& place : u.layout.places) {
      if (place.rows == 0 || !place.is_trained) continue;
      const auto weight = u.weights.view().rows(place.offset, place.offset + place.count());
      const auto master = u.master.view().rows(place.gradient_offset, place.gradient_offset + place.count());
      if (to_master)
        backend_->copy(weight, master);
      else
        backend_->copy(master, weight);
    }
  }

  model_config config_;
  std::unique_ptr<Backend> backend_;
  dist::any_communicator group_;
  purpose use_;
  trained_parts trained_;
  std::vector<unit_buffers> units_;
};

}  // namespace lodestone::parameters
