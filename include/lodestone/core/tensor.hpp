// Row-major tensors: `tensor` owns its memory, `tensor_view` is passed by value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/extents.hpp>

namespace lodestone {

/// Ordinary memory, aligned to 64 bytes (a cache line, an AVX-512 register).
struct host_memory {
  static constexpr std::size_t alignment = 64;  ///< bytes
  /// Uninitialised memory, to be given back by deallocate(). Throws std::bad_alloc.
  [[nodiscard]] static void* allocate(std::size_t bytes) {
    return ::operator new(bytes, std::align_val_t{alignment});
  }
  /// Takes what allocate() returned, or null.
  static void deallocate(void* pointer) noexcept { ::operator delete(pointer, std::align_val_t{alignment}); }
};

/// A window on T[sizes...] in row-major order, whose rows may lie further apart than their length.
///
/// The last Rank - 1 axes are contiguous; consecutive indices of axis 0 are `stride()` elements apart. This is enough
/// for every matrix that Lodestone meets: a column block of a fused projection is a view with a larger stride. A view
/// never owns and never checks indices in operator(); rows() and columns() check once.
template <class T, std::size_t Rank, class Space = host_memory>
class tensor_view {
 public:
  using element_type = T;                     ///< constant in a view for reading
  using value_type = std::remove_const_t<T>;  ///< never constant
  using space = Space;                        ///< whose memory data() points to
  static constexpr std::size_t rank = Rank;   ///< number of axes

  tensor_view() = default;
  /// Refers to `data`, which the caller keeps alive; without `stride` the rows lie end to end.
  ///@{
  constexpr tensor_view(T* data, extents<Rank> shape) : data_(data), shape_(shape), stride_(shape.row_count()) {}
  constexpr tensor_view(T* data, extents<Rank> shape, std::int64_t stride)
      : data_(data), shape_(shape), stride_(stride) {}
  ///@}

  /// A view of mutable elements is also a view of constant ones.
  template <class U>
    requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>)
  constexpr tensor_view(tensor_view<U, Rank, Space> other)  // NOLINT(google-explicit-constructor): widening only
      : data_(other.data()), shape_(other.shape()), stride_(other.stride()) {}

  [[nodiscard]] constexpr T* data() const { return data_; }                                   ///< element 0, or null
  [[nodiscard]] constexpr const extents<Rank>& shape() const { return shape_; }               ///< outermost axis first
  [[nodiscard]] constexpr std::int64_t size(std::size_t axis) const { return shape_[axis]; }  ///< of an axis below Rank
  [[nodiscard]] constexpr std::int64_t count() const { return shape_.count(); }               ///< number of elements
  [[nodiscard]] constexpr std::int64_t stride() const { return stride_; }                     ///< elements between rows
  /// Whether the elements lie end to end, as flat() needs them.
  [[nodiscard]] constexpr bool is_contiguous() const { return stride_ == shape_.row_count() || shape_[0] <= 1; }
  [[nodiscard]] constexpr bool empty() const { return count() == 0; }  ///< has no elements

  /// Pointer to row i (axis 0).
  [[nodiscard]] constexpr T* row(std::int64_t i) const { return data_ + i * stride_; }

  /// One element; indices are not checked.
  ///@{
  [[nodiscard]] constexpr T& operator()(std::int64_t i) const requires(Rank == 1) { return data_[i * stride_]; }
  [[nodiscard]] constexpr T& operator()(std::int64_t i, std::int64_t j) const requires(Rank == 2) {
    return data_[i * stride_ + j];
  }
  ///@}

  /// Rows [begin, end) of axis 0.
  [[nodiscard]] constexpr tensor_view rows(std::int64_t begin, std::int64_t end) const {
    if (begin < 0 || end < begin || end > shape_[0]) throw shape_error("rows out of range", to_string(shape_));
    extents<Rank> shape = shape_;
    shape.sizes[0] = end - begin;
    return {data_ + begin * stride_, shape, stride_};
  }

  /// Columns [begin, end) of a matrix; the stride stays.
  [[nodiscard]] constexpr tensor_view columns(std::int64_t begin, std::int64_t end) const requires(Rank == 2) {
    if (begin < 0 || end < begin || end > shape_[1]) throw shape_error("columns out of range", to_string(shape_));
    return {data_ + begin, extents<2>{{shape_[0], end - begin}}, stride_};
  }

  /// The elements in order; the view must be contiguous.
  [[nodiscard]] constexpr std::span<T> flat() const {
    if (!is_contiguous()) throw shape_error("a strided view has no flat form", to_string(shape_));
    return {data_, static_cast<std::size_t>(count())};
  }

 private:
  T* data_ = nullptr;
  extents<Rank> shape_{};
  std::int64_t stride_ = 0;
};

/// The same window, for reading: spells out the conversion where a template parameter must be deduced.
template <class T, std::size_t Rank, class Space>
[[nodiscard]] constexpr tensor_view<const T, Rank, Space> const_view(tensor_view<T, Rank, Space> view) {
  return view;
}

/// Owns T[sizes...] in row-major order. Move-only; elements are zero-initialised on the host.
template <class T, std::size_t Rank, class Space = host_memory>
class tensor {
  static_assert(std::is_trivially_copyable_v<T>, "a tensor holds plain numbers");

 public:
  using value_type = T;                      ///< a plain number
  static constexpr std::size_t rank = Rank;  ///< number of axes

  tensor() = default;
  /// Allocates, unless a size is 0. Throws shape_error when the bytes pass 2^63, and what Space::allocate throws.
  explicit tensor(extents<Rank> shape) : shape_(shape) {
    const auto bytes = static_cast<std::size_t>(checked_product(shape.count(), sizeof(T)));
    if (bytes == 0) return;
    data_ = static_cast<T*>(Space::allocate(bytes));
    if constexpr (std::is_same_v<Space, host_memory>)
      for (std::int64_t i = 0; i < shape.count(); ++i) new (data_ + i) T{};
  }
  /// Moves: the source is then empty, and views of the memory stay valid.
  ///@{
  tensor(tensor&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), shape_(std::exchange(other.shape_, {})) {}
  tensor& operator=(tensor&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      shape_ = std::exchange(other.shape_, {});
    }
    return *this;
  }
  ///@}
  tensor(const tensor&) = delete;  ///< copies of gigabytes are written out, never implied
  tensor& operator=(const tensor&) = delete;
  ~tensor() { release(); }

  /// The whole tensor as a view, for reading when the tensor is constant; valid as long as the memory is owned.
  ///@{
  [[nodiscard]] tensor_view<T, Rank, Space> view() { return {data_, shape_}; }
  [[nodiscard]] tensor_view<const T, Rank, Space> view() const { return {data_, shape_}; }
  operator tensor_view<T, Rank, Space>() { return view(); }              // NOLINT(google-explicit-constructor)
  operator tensor_view<const T, Rank, Space>() const { return view(); }  // NOLINT(google-explicit-constructor)
  ///@}

  /// The first element; null when there are no elements.
  ///@{
  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  ///@}
  [[nodiscard]] const extents<Rank>& shape() const { return shape_; }               ///< outermost axis first
  [[nodiscard]] std::int64_t size(std::size_t axis) const { return shape_[axis]; }  ///< of an axis below Rank
  [[nodiscard]] std::int64_t count() const { return shape_.count(); }               ///< number of elements
  /// The elements in order, in the memory of Space.
  ///@{
  [[nodiscard]] std::span<T> flat() { return {data_, static_cast<std::size_t>(count())}; }
  [[nodiscard]] std::span<const T> flat() const { return {data_, static_cast<std::size_t>(count())}; }
  ///@}

 private:
  void release() noexcept {
    if (data_ != nullptr) Space::deallocate(data_);
    data_ = nullptr;
  }

  T* data_ = nullptr;
  extents<Rank> shape_{};
};

}  // namespace lodestone
