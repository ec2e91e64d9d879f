// A parameter store whose first layer is divided among the ranks: what every pass over the model must meet for.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <lodestone/dist/any.hpp>
#include <lodestone/dist/threads.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/parameters.hpp>

#include "model/small_model.hpp"

namespace lodestone_test {

/// Shards the first layer among the ranks and replicates the rest: acquire gathers, gradients_final scatters the sum.
class sharded_layer_store {
 public:
  using value_type = double;

  sharded_layer_store(const lodestone::model_config& config, lodestone::dist::threads::communicator& group)
      : inner_(small_store<lodestone::host<double>>(config, 1, {}, lodestone::dist::any_communicator(group))),
        group_(&group) {
    const std::int64_t count = inner_->layout(sharded).count;
    part_ = (count + group.size() - 1) / group.size();
    begin_ = std::min(count, part_ * group.rank());
    end_ = std::min(count, begin_ + part_);
    shard_.resize(static_cast<std::size_t>(part_));
    const auto whole = inner_->weights(sharded);
    for (std::int64_t i = begin_; i < end_; ++i) shard_[static_cast<std::size_t>(i - begin_)] = whole(i);
    forget();
  }

  [[nodiscard]] const lodestone::model_config& config() const { return inner_->config(); }
  [[nodiscard]] const lodestone::trained_parts& trained() const { return inner_->trained(); }
  [[nodiscard]] lodestone::host<double>& backend() { return inner_->backend(); }
  [[nodiscard]] const lodestone::unit_layout& layout(std::int64_t unit) const { return inner_->layout(unit); }
  void acquire(std::int64_t unit) {
    if (unit != sharded || depth_++ > 0) return;
    std::vector<double> all(shard_.size() * static_cast<std::size_t>(group_->size()));
    group_->all_gather(std::span<const double>{shard_}, std::span<double>{all});
    const auto whole = inner_->mutable_weights(sharded);
    for (std::int64_t i = 0; i < whole.size(0); ++i) whole(i) = all[static_cast<std::size_t>(i)];
  }
  void release(std::int64_t unit) {
    if (unit == sharded && --depth_ == 0) forget();
  }
  [[nodiscard]] auto weights(std::int64_t unit) const { return std::as_const(*inner_).weights(unit); }
  [[nodiscard]] auto gradient(std::int64_t unit) { return inner_->gradient(unit); }
  void gradients_final(std::int64_t unit) {
    if (unit != sharded) return inner_->gradients_final(unit);
    std::vector<double> all(shard_.size() * static_cast<std::size_t>(group_->size()), 0.0);
    const auto own = inner_->gradient(unit).flat();
    std::ranges::copy(own, all.begin());
    summed_.assign(shard_.size(), 0.0);
    group_->reduce_scatter(std::span<const double>{all}, std::span<double>{summed_});
  }
  [[nodiscard]] lodestone::parameters::owned_part<lodestone::host<double>> owned(std::int64_t unit) {
    if (unit != sharded)
      return group_->rank() == 0 ? inner_->owned(unit) : lodestone::parameters::owned_part<lodestone::host<double>>{};
    const lodestone::extents<1> size{{end_ - begin_}};
    first_.resize(shard_.size());
    second_.resize(shard_.size());
    return {begin_, end_, {shard_.data(), size}, {summed_.data(), size}, {first_.data(), size}, {second_.data(), size}};
  }
  void updated(std::int64_t unit) {  // rank 0 updates what is replicated and sends it to the others
    if (unit != sharded) group_->broadcast(inner_->mutable_weights(unit).flat(), 0);
  }
  void zero_gradients() { inner_->zero_gradients(); }
  [[nodiscard]] bool is_sharded() const { return true; }

  [[nodiscard]] lodestone::parameters::replicated<lodestone::host<double>>& inner() { return *inner_; }

 private:
  static constexpr std::int64_t sharded = 1;

  /// Outside acquire/release the layer is not there: using it then would show as NaN.
  void forget() {
    const auto whole = inner_->mutable_weights(sharded);
    for (std::int64_t i = 0; i < whole.size(0); ++i) whole(i) = std::nan("");
  }

  std::unique_ptr<lodestone::parameters::replicated<lodestone::host<double>>> inner_;
  lodestone::dist::threads::communicator* group_;
  std::int64_t part_ = 0, begin_ = 0, end_ = 0;
  int depth_ = 0;
  std::vector<double> shard_, summed_, first_, second_;
};

}  // namespace lodestone_test
