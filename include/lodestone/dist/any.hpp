// A communicator behind one type, so that stores and trainers need not be templates over it.
#pragma once

#include <cstdint>
#include <span>

#include <lodestone/dist/concept.hpp>

namespace lodestone::dist {

/// Refers to any communicator (not owned). Collectives cost one indirect call, nothing against what they do.
class any_communicator {
 public:
  /// A world of one.
  any_communicator() = default;

  /// Refers to `group`, which must outlive this object and its copies.
  template <communicator C>
  any_communicator(C& group)  // NOLINT(google-explicit-constructor): a reference to the same group
      : group_(&group), table_(&table_of<C>) {}

  [[nodiscard]] int rank() const { return group_ == nullptr ? 0 : table_->rank(group_); }  ///< 0 in a world of one
  [[nodiscard]] int size() const { return group_ == nullptr ? 1 : table_->size(group_); }  ///< 1 in a world of one
  /// Waits until every rank is here; throws what the group's own throws.
  void barrier() {
    if (group_ != nullptr) table_->barrier(group_);
  }
  /// Every rank's values become the sum over ranks; throws what the group's own throws.
  ///@{
  void all_reduce(std::span<double> values) {
    if (group_ != nullptr) table_->all_reduce_f64(group_, values);
  }
  void all_reduce(std::span<float> values) {
    if (group_ != nullptr) table_->all_reduce_f32(group_, values);
  }
  void all_reduce(std::span<std::int64_t> values) {
    if (group_ != nullptr) table_->all_reduce_i64(group_, values);
  }
  ///@}

 private:
  struct functions {
    int (*rank)(void*);
    int (*size)(void*);
    void (*barrier)(void*);
    void (*all_reduce_f64)(void*, std::span<double>);
    void (*all_reduce_f32)(void*, std::span<float>);
    void (*all_reduce_i64)(void*, std::span<std::int64_t>);
  };

  template <class C>
  static constexpr functions table_of{
      [](void* group) -> int { return static_cast<C*>(group)->rank(); },
      [](void* group) -> int { return static_cast<C*>(group)->size(); },
      [](void* group) { static_cast<C*>(group)->barrier(); },
      [](void* group, std::span<double> values) { static_cast<C*>(group)->all_reduce(values); },
      [](void* group, std::span<float> values) { static_cast<C*>(group)->all_reduce(values); },
      [](void* group, std::span<std::int64_t> values) { static_cast<C*>(group)->all_reduce(values); },
  };

  void* group_ = nullptr;
  const functions* table_ = nullptr;
};

}  // namespace lodestone::dist
