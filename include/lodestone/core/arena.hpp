// One memory arena per program: blocks are cut from a single allocation whose size is known before the first step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <type_traits>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/extents.hpp>
#include <lodestone/core/tensor.hpp>

namespace lodestone {

/// Decides where blocks lie in an address range, without any memory: best fit, neighbours merged when freed.
///
/// The same sequence of calls gives the same offsets, so running a step on this layout alone (counting.hpp) yields the
/// exact number of bytes that the real step needs, fragmentation included. What happened before does not matter once
/// all blocks are back: the range ends where its last block does, so every step begins with none.
class arena_layout {
 public:
  static constexpr std::int64_t alignment = 256;  ///< bytes; what cudaMalloc guarantees and any vector load wants

  /// Offset of a new block of `bytes` (rounded up to the alignment). The range grows as needed.
  [[nodiscard]] std::int64_t allocate(std::int64_t bytes);

  /// Gives the block at `offset` back; `bytes` is what it was allocated with, and 0 does nothing. Throws error when no
  /// block lies there.
  void release(std::int64_t offset, std::int64_t bytes);

  [[nodiscard]] std::int64_t peak() const { return peak_; }      ///< bytes that the range ever needed
  [[nodiscard]] std::int64_t in_use() const { return in_use_; }  ///< bytes of live blocks

 private:
  std::map<std::int64_t, std::int64_t> free_;  // offset -> size of each hole below end_
  std::map<std::int64_t, std::int64_t> used_;
  std::int64_t end_ = 0;  // of the last block
  std::int64_t peak_ = 0;
  std::int64_t in_use_ = 0;
};

/// Memory that is never touched: the space of the counting backend. Addresses are distinct from null, nothing more.
struct no_memory {
  /// Nothing is allocated and nothing freed: every pointer is the same.
  ///@{
  [[nodiscard]] static void* allocate(std::size_t) { return reinterpret_cast<void*>(std::uintptr_t{4096}); }
  static void deallocate(void*) noexcept {}
  ///@}
};

template <class Space>
class arena;

/// T[sizes...] that returns to its arena when it goes. Move-only; elements are uninitialised.
template <class T, std::size_t Rank, class Space>
class block {
 public:
  block() = default;
  /// Moves: the source is then empty, and views of the memory stay valid.
  ///@{
  block(block&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), offset_(other.offset_), view_(std::exchange(other.view_, {})) {}
  block& operator=(block&& other) noexcept {
    if (this != &other) {
      reset();
      owner_ = std::exchange(other.owner_, nullptr);
      offset_ = other.offset_;
      view_ = std::exchange(other.view_, {});
    }
    return *this;
  }
  ///@}
  block(const block&) = delete;
  block& operator=(const block&) = delete;
  ~block() { reset(); }

  /// Gives the memory back now.
  void reset() noexcept;

  /// The memory as a view, valid until the block that owns it is reset or destroyed; an empty block gives an empty
  /// view.
  ///@{
  [[nodiscard]] tensor_view<T, Rank, Space> view() const { return view_; }
  operator tensor_view<T, Rank, Space>() const { return view_; }        // NOLINT(google-explicit-constructor)
  operator tensor_view<const T, Rank, Space>() const { return view_; }  // NOLINT(google-explicit-constructor)
  ///@}
  /// False when default-made, moved from or reset.
  [[nodiscard]] explicit operator bool() const { return owner_ != nullptr; }

  /// The same memory without a type, for lists of blocks that only wait to be given back.
  [[nodiscard]] block<std::byte, 1, Space> as_bytes() && requires(!std::is_const_v<T>) {
    const auto bytes = static_cast<std::int64_t>(sizeof(T)) * view_.count();
    auto* const data = reinterpret_cast<std::byte*>(view_.data());
    view_ = {};
    return {std::exchange(owner_, nullptr), offset_, tensor_view<std::byte, 1, Space>{data, extents<1>{{bytes}}}};
  }

 private:
  friend class arena<Space>;
  template <class U, std::size_t OtherRank, class S>
  friend class block;
  block(arena<Space>* owner, std::int64_t offset, tensor_view<T, Rank, Space> view)
      : owner_(owner), offset_(offset), view_(view) {}

  arena<Space>* owner_ = nullptr;
  std::int64_t offset_ = 0;
  tensor_view<T, Rank, Space> view_;
};

/// Hands out blocks of one reserved range. What does not fit the reservation is allocated on its own (and counted), so
/// that code without a prepared arena still works; a prepared program never does that inside a step. Where allocating
/// is slow, as the Space says by `keeps_blocks`, such blocks are kept and given out again for the same size.
///
/// Not thread-safe: an arena belongs to the thread that drives its backend. It must outlive its blocks and stay in
/// place, hence neither copied nor moved.
template <class Space>
class arena {
 public:
  arena() = default;
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;
  ~arena() {
    drop_spares();
    if (base_ != nullptr) Space::deallocate(base_);
  }

  /// Reserves `bytes` once for all blocks to come; throws when blocks are live.
  void reserve(std::int64_t bytes) {
    if (layout_.in_use() != 0) throw error("an arena is reserved before its first block, not after");
    drop_spares();
    if (base_ != nullptr) Space::deallocate(std::exchange(base_, nullptr));
    layout_ = {};
    outside_ = 0;
    capacity_ = bytes;
    if (bytes > 0) base_ = static_cast<std::byte*>(Space::allocate(static_cast<std::size_t>(bytes)));
  }

  /// Throws shape_error when the bytes pass 2^63, and what Space::allocate throws for a block outside the reservation.
  template <class T, std::size_t Rank>
  [[nodiscard]] block<T, Rank, Space> allocate(extents<Rank> shape) {
    const std::int64_t bytes = checked_product(shape.count(), sizeof(T));
    const std::int64_t offset = layout_.allocate(bytes);
    void* data = nullptr;
    if (offset + bytes <= capacity_) {
      data = base_ + offset;
    } else {
      try {
        data = allocate_outside(bytes);
      } catch (...) {
        layout_.release(offset, bytes);
        throw;
      }
      ++outside_;
    }
    return {this, offset, tensor_view<T, Rank, Space>{static_cast<T*>(data), shape}};
  }

  [[nodiscard]] std::int64_t peak() const { return layout_.peak(); }        ///< bytes, see arena_layout
  [[nodiscard]] std::int64_t in_use() const { return layout_.in_use(); }    ///< bytes
  [[nodiscard]] std::int64_t capacity() const { return capacity_; }         ///< bytes reserved
  [[nodiscard]] std::int64_t outside() const { return outside_; }           ///< blocks that missed the reservation

 private:
  template <class T, std::size_t Rank, class S>
  friend class block;

  void release(std::int64_t offset, std::int64_t bytes, void* data) {
    if (offset + bytes > capacity_) {
      if (keeps_blocks)
        spares_.emplace(bytes, data);
      else
        Space::deallocate(data);
    }
    layout_.release(offset, bytes);
  }

  static constexpr bool keeps_blocks = requires { Space::keeps_blocks; };

  [[nodiscard]] void* allocate_outside(std::int64_t bytes) {
    if constexpr (keeps_blocks) {
      if (const auto spare = spares_.find(bytes); spare != spares_.end()) {
        void* const data = spare->second;
        spares_.erase(spare);
        return data;
      }
      try {
        return Space::allocate(static_cast<std::size_t>(bytes));
      } catch (const error&) {
        if (spares_.empty()) throw;
        drop_spares();  // and then there may be room
      }
    }
    return Space::allocate(static_cast<std::size_t>(bytes));
  }
  void drop_spares() noexcept {
    for (const auto& [bytes, data] : spares_) Space::deallocate(data);
    spares_.clear();
  }

  arena_layout layout_;
  std::multimap<std::int64_t, void*> spares_;  // bytes -> blocks outside the reservation that nobody holds
  std::byte* base_ = nullptr;
  std::int64_t capacity_ = 0;
  std::int64_t outside_ = 0;
};

template <class T, std::size_t Rank, class Space>
void block<T, Rank, Space>::reset() noexcept {
  if (owner_ == nullptr) return;
  const auto bytes = static_cast<std::int64_t>(sizeof(T)) * view_.count();
  std::exchange(owner_, nullptr)->release(offset_, bytes, const_cast<std::remove_const_t<T>*>(view_.data()));
  view_ = {};
}

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/core/arena.ipp>
#endif
